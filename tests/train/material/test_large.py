"""Large pictures without the detail for their size."""

import numpy as np
import pytest

from qfm_metric.train.material import large as module
from qfm_metric.train.material.framing import Area
from qfm_metric.train.material.large import at_both_sizes, large
from qfm_metric.train.material.prices import Prices

PRICES = Prices(blur=lambda s: 1 / (1 + s), defocus=lambda r: 1 / (1 + 2 * r), noise=lambda d: 1 / (1 + d / 10))
CLEAN = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
SIZE = (96, 128)


@pytest.fixture(scope="module")
def drawn():
    return [large(CLEAN, np.random.default_rng(seed), SIZE, PRICES, 3.4, 0.07) for seed in range(60)]


def detail(pixels):
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


def ratio(frame):
    return frame.virtual[0] / SIZE[0]


def test_versions_are_of_the_virtual_size_and_their_frame_takes_them_whole(drawn):
    for versions, frame in drawn:
        assert all(version.pixels.shape == (*frame.virtual, 3) for version in versions)
        assert frame.area == Area(0, 0, *frame.virtual)
        assert [view.shape for view in frame.views(versions[0].pixels)] == [(*SIZE, 3)] * 2
    ratios = np.array([ratio(frame) for _, frame in drawn])
    assert 1 <= ratios.min() < 1.3
    assert 2.9 < ratios.max() <= 3.41  # rounded to whole px
    assert np.median(ratios) == pytest.approx(np.sqrt(3.4), rel=0.25)  # 3.5 standard deviations of 60 draws


def test_versions_are_enlarged_ever_more(drawn):
    for versions, _ in drawn:
        assert len(versions) == module.VERSIONS
        qualities = [version.quality for version in versions]
        assert qualities == sorted(qualities, reverse=True)
        assert len(set(qualities)) == len(qualities)
        if set(versions[0].costs) == {"upscaled"}:
            assert detail(versions[3].pixels) < detail(versions[0].pixels)


def test_no_version_has_more_detail_than_the_clean_picture_has_pixels(drawn):
    """At a ratio of 3.4 the 435 px of the width are enlarged from 256 at the most: by 1.7 in the best version."""
    for versions, frame in drawn:
        least = max(1.0, frame.virtual[1] / 256)
        upscaled = 1 - versions[0].costs["upscaled"]
        assert upscaled <= at_both_sizes(PRICES.blur, 0.5 * np.sqrt(least**2 - 1), ratio(frame)) + 1e-6


def test_a_loss_costs_the_mean_of_both_sizes():
    assert at_both_sizes(PRICES.blur, 2.0, 2.0) == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert at_both_sizes(PRICES.blur, 2.0, 1.0) == pytest.approx(1 / 3)


def test_half_of_them_have_noise_or_defocus_on_top(drawn):
    extras = [set(versions[0].costs) - {"upscaled"} for versions, _ in drawn]
    counts = {name: sum(extra == {name} for extra in extras) for name in ("noise", "blur")}
    assert sum(counts.values()) == pytest.approx(30, abs=14)  # 3.5 standard deviations of 60 draws
    assert min(counts.values()) >= 5
    for versions, _ in drawn:
        for version in versions:
            kept = np.prod([1 - cost for cost in version.costs.values()])
            assert version.quality == pytest.approx(kept)
        assert len({tuple(sorted(version.costs)) for version in versions}) == 1


def test_noise_is_made_at_the_large_size(drawn):
    """White noise is as strong between neighbours as it is far apart; enlarged noise would be soft."""
    noisy = [versions for versions, frame in drawn if "noise" in versions[3].costs and ratio(frame) > 2]
    strongest = min(noisy, key=lambda versions: 1 - versions[3].costs["noise"])[3].pixels.astype(float)
    rows = strongest - (np.roll(strongest, 1, 0) + np.roll(strongest, -1, 0)) / 2  # less what is smooth
    assert np.corrcoef(rows[:, 1:].ravel(), rows[:, :-1].ravel())[0, 1] < 0.5


def test_the_same_seed_draws_the_same(drawn):
    versions, frame = large(CLEAN, np.random.default_rng(5), SIZE, PRICES, 3.4, 0.07)
    assert frame == drawn[5][1]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(versions, drawn[5][0], strict=True))
