"""Series whose versions lie a few pixels beside the clean picture, and cost no more for it."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.small_world import MATERIAL, open_material

from qfm_metric.train.material import LENGTH
from qfm_metric.train.material.series import MOST_SHIFTED, Series, shifted

SIZE = (48, 48)
QUALITIES, TYPES = [1.0, 0.8, 0.5, 0.2], [57, 10, 10, -1]
AGAIN = [1.0, 1.0, 0.5, 0.2], [57, 57, 10, -1]  # the clean picture twice


def places(height, width):
    """A series of one picture, in which a pixel's value is its place."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    picture = np.stack([rows, columns, rows], -1)
    return Series([picture] * LENGTH, QUALITIES, [{}] * LENGTH, TYPES, 0)


def corners(series):
    return [tuple(picture[0, 0, :2].tolist()) for picture in series.pictures]


def test_versions_lie_up_to_some_pixels_beside_a_clean_picture_that_stays():
    seen, repeated = set(), 0
    for seed in range(60):
        found = shifted(np.random.default_rng(seed), places(64, 80), SIZE)
        clean, *versions = corners(found)
        assert clean == (MOST_SHIFTED, MOST_SHIFTED)
        assert {picture.shape for picture in found.pictures} == {(64 - 2 * MOST_SHIFTED, 80 - 2 * MOST_SHIFTED, 3)}
        seen |= {(top - clean[0], left - clean[1]) for top, left in versions}
        twice = found.qualities[1] == 1
        assert (found.qualities, found.types) == (AGAIN if twice else (QUALITIES, TYPES))
        repeated += twice
    assert 15 < repeated < 45  # half of 60, by four standard deviations
    for axis in zip(*seen, strict=True):
        assert set(axis) == set(range(-MOST_SHIFTED, MOST_SHIFTED + 1))


@pytest.mark.parametrize(("height", "width", "left"), [(48, 64, (48, 56)), (51, 50, (49, 48)), (40, 48, (40, 48))])
def test_no_shifted_picture_is_smaller_than_its_view_unless_it_was(height, width, left):
    found = shifted(np.random.default_rng(0), places(height, width), SIZE)
    assert {picture.shape[:2] for picture in found.pictures} == {left}


def test_some_of_the_series_are_shifted_and_pictures_of_nothing_are_not(world):
    config = replace(MATERIAL, shifted=0.5)
    some, none = (open_material(world, each).series for each in (config, replace(config, shifted=0.0)))
    changed, real = 0, 0
    for seed in range(40):
        one, other = (source.draw(np.random.default_rng(seed), (160, 160), joint=False) for source in (some, none))
        real += one.source >= 0
        changed += one.pictures[0].shape != other.pictures[0].shape
        assert (one.qualities[2:], one.costs[2:], one.types[2:]) == (
            other.qualities[2:],
            other.costs[2:],
            other.types[2:],
        )
        assert one.source >= 0 or np.array_equal(one.pictures, other.pictures)
    assert changed < real
    assert changed == pytest.approx(real / 2, abs=10)  # three standard deviations of 40 draws
