"""Every type of distortion has a name that people use, and shifts of the mean are named as they turn out."""

from collections import Counter

import numpy as np
import pytest

from qfm_metric.defects import NAMES
from qfm_metric.train import defects
from qfm_metric.train.distortions import DATA_SETS, compose, distort, seed_of_step

ALL = [(name, number) for name, types in DATA_SETS.items() for number in types]
SHIFTS = {("KADID-10k", 18), ("TID2013", 16)}
GREY = np.full((32, 32, 3), 128, np.uint8)
GREY[0, 0], GREY[0, 1] = 0, 255  # the full range, which KADID-10k's types stretch to


def test_every_type_has_a_name_and_no_name_covers_more_than_a_fifth():
    names = [defects.defect_of(*kind, level=1, seed=0) for kind in ALL]
    assert set(names) <= set(NAMES)
    assert max(Counter(names).values()) <= len(ALL) / 5
    assert {(name, number) for name, types in defects.OF_TYPE.items() for number in types} == set(ALL) - SHIFTS


def test_types_are_those_of_the_data_sets_then_ours():
    assert defects.TYPES[: len(ALL)] == ALL
    assert [kind for name, kind in defects.TYPES if name == "own"] == list(defects.OWN)
    assert defects.CLEAN == len(defects.TYPES) == len(set(defects.TYPES))
    assert all(defects.type_of(*kind) == place for place, kind in enumerate(defects.TYPES))


def brightness(pixels):
    return float(np.mean(pixels[8:], dtype=float))


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_the_seed_of_a_mean_shift_of_tid2013_says_which_way_it_goes(level):
    found = set()
    for seed in range(12):
        name = defects.defect_of("TID2013", 16, level, seed)
        assert (brightness(distort(GREY, "TID2013", 16, level, seed)) > 128) == (name == "bright")
        found.add(name)
    assert found == {"bright", "dark"}


def test_the_level_of_a_mean_shift_of_kadid10k_says_which_way_it_goes():
    for level, way in ((1, 1), (2, 1), (4, -1), (5, -1)):
        change = brightness(distort(GREY, "KADID-10k", 18, level, 0)) - 128
        assert np.sign(change) == way
        assert defects.defect_of("KADID-10k", 18, level, 0) == ("bright" if way > 0 else "dark")


def test_a_shift_that_comes_second_is_named_as_it_turns_out():
    for seed in range(8):
        steps = [("KADID-10k", 1, 1), ("TID2013", 16, 5)]
        name = defects.defect_of(*steps[1], seed_of_step(seed, 1))
        assert (brightness(compose(GREY, steps, seed)) > 128) == (name == "bright")
