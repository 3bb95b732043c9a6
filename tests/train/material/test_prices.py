"""Prices between people's levels."""

import math

import pytest

from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.material.prices import Prices
from qfm_metric.train.severity import DistortionLevel

LEVELS = [
    DistortionLevel("KADID-10k", type, "", level, 0.0, quality=1 - step * level)
    for type, step in ((1, 0.1), (2, 0.12), (11, 0.15))
    for level in range(1, 6)
]


def test_people_are_repeated_at_their_levels():
    prices = Prices.of(LEVELS)
    assert [prices.blur(sigma) for sigma in (0.1, 0.5, 1, 2, 5)] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    assert [prices.defocus(radius) for radius in (1, 2, 4, 6, 8)] == pytest.approx([0.88, 0.76, 0.64, 0.52, 0.4])
    deviations = [255 * math.sqrt(variance) for variance in (0.001, 0.002, 0.003, 0.005, 0.01)]
    assert [prices.noise(deviation) for deviation in deviations] == pytest.approx([0.85, 0.7, 0.55, 0.4, 0.25])


def test_between_and_beyond_levels():
    prices = Prices.of(LEVELS)
    assert [prices.blur(0), prices.defocus(0), prices.noise(0)] == [1, 1, 1]
    assert prices.blur(1.5) == pytest.approx(0.65)
    assert prices.defocus(0.5) == pytest.approx(0.94)
    assert prices.blur(50) == pytest.approx(0.5)


def test_a_table_without_them_is_refused():
    with pytest.raises(DataError, match="expected five levels of KADID-10k's type 2 among the human means, got 4"):
        Prices.of([level for level in LEVELS if (level.type, level.level) != (2, 3)])
