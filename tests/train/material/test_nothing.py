"""Pictures of nothing."""

import numpy as np
import pytest

from qfm_metric.train.material.nothing import nothing, static


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [nothing(rng, (48, 64)) for _ in range(160)]


def colours(picture):
    return len(np.unique(picture.reshape(-1, 3), axis=0))


def test_it_is_mostly_static_but_also_flat_blocks_and_checkers(pictures):
    assert all(picture.shape == (48, 64, 3) and picture.dtype == np.uint8 for picture in pictures)
    counts = np.array([colours(picture) for picture in pictures])
    for few, share in ((counts == 1, 1 / 8), (counts == 2, 1 / 8)):  # flat; checkers and stripes
        assert 0.02 < np.mean(few) < 2 * share + 0.05  # four standard deviations around the share
    assert np.mean(counts > 2) > 0.6
    greys = [picture for picture in pictures if colours(picture) > 2 and (picture == picture[..., :1]).all()]
    assert 0.1 < len(greys) / len(pictures) < 0.4  # .4 of five in eight: a quarter


def test_nothing_repeats_but_by_its_seed(pictures):
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    again = np.random.default_rng(0)
    assert all(np.array_equal(nothing(again, (48, 64)), picture) for picture in pictures[:20])


@pytest.mark.parametrize("grey", [True, False])
def test_static_has_mean_0_and_deviation_1_and_many_textures(grey):
    rng = np.random.default_rng(0)
    likeness = set()
    for _ in range(40):
        values = static(rng, 64, 80, grey)
        assert values.shape == (64, 80, 3)
        assert abs(values.mean()) < 1e-4  # float32 over 15,000 values
        assert values.std() == pytest.approx(1, abs=1e-3)  # a millionth is added below the line
        assert (values == values[..., :1]).all() == grey
        likeness.add(round(float(np.corrcoef(values[:, 1:, 0].ravel(), values[:, :-1, 0].ravel())[0, 1]), 1))
    assert min(likeness) < -0.05  # neighbours that differ more than white noise's
    assert max(likeness) > 0.8  # and soft ones
