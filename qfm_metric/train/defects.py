"""Which defect a distortion of KADID-10k or TID2013 is to people's eyes, and the types that a network tells apart.

49 types are too many for names that people use: each is put to one of `qfm_metric.defects.NAMES`. Ours.
"""

from collections.abc import Iterable

import numpy as np

from .distortions import DATA_SETS
from .distortions.tid import mean_shift_sign

OF_TYPE = {
    "KADID-10k": {
        1: "blur",
        2: "blur",
        3: "motion_blur",
        4: "colour",
        5: "fringes",
        6: "banding",
        7: "colour",
        8: "colour",
        9: "compression",
        10: "compression",
        11: "noise",
        12: "noise",
        13: "specks",
        14: "noise",
        15: "smeared",
        16: "bright",
        17: "dark",
        19: "warped",
        20: "blocks",
        21: "blocks",
        22: "banding",
        23: "blocks",
        24: "oversharpened",
        25: "contrast",
    },
    "TID2013": {
        1: "noise",
        2: "noise",
        3: "noise",
        4: "noise",
        5: "noise",
        6: "specks",
        7: "banding",
        8: "blur",
        9: "smeared",
        10: "compression",
        11: "compression",
        12: "blocks",
        13: "blocks",
        14: "blocks",
        15: "blocks",
        17: "contrast",
        18: "colour",
        19: "noise",
        20: "compression",
        21: "compression",
        22: "banding",
        23: "fringes",
        24: "compression",
    },
}  # but for the shifts of the mean, which go either way: `defect_of`

OWN = ("enlarged", "sharpened", "exposure", "cast", "smear", "warp", "grain", "nothing")  # series that are ours
TYPES = [
    *((name, number) for name, types in DATA_SETS.items() for number in types),
    *(("own", kind) for kind in OWN),
]  # what the network's head of types tells apart; then there is `CLEAN`
CLEAN = len(TYPES)


def defect_of(data_set: str, type: int, level: int, seed: int) -> str:
    """The name of what `distort` does, called with these arguments.

    Level and seed decide whether a shift of the mean makes a picture brighter or darker. The third level of
    KADID-10k's does neither.
    """
    if (data_set, type) == ("KADID-10k", 18):
        return "bright" if DATA_SETS[data_set][type].parameters[level - 1] > 0 else "dark"
    if (data_set, type) == ("TID2013", 16):
        return "bright" if mean_shift_sign(np.random.default_rng(seed)) > 0 else "dark"
    return OF_TYPE[data_set][type]


def names_of(data_set: str, type: int) -> frozenset[str]:
    """All names that `defect_of` gives a type, whatever level and seed."""
    return frozenset(defect_of(data_set, type, level, seed) for level in range(1, 6) for seed in range(8))


def read_types(names: Iterable[str]) -> list[tuple[str, int]]:
    """Types as they are named to commands, such as "KADID-10k/10": data set and number."""
    return [(data_set, int(number)) for data_set, _, number in (name.partition("/") for name in names)]


def type_of(data_set: str, type: int | str) -> int:
    """The place in `TYPES`; `data_set` "own" has the kinds of `OWN`."""
    return TYPES.index((data_set, type))
