"""Synthetic distortions by data set, type and level, numbered as the data sets do."""

from collections.abc import Sequence

from .colour import Pixels
from .kadid import KADID
from .tid import TID
from .type import Distortion

DATA_SETS: dict[str, dict[int, Distortion]] = {"KADID-10k": KADID, "TID2013": TID}


def distort(pixels: Pixels, data_set: str, type: int, level: int, seed: int = 0) -> Pixels:
    """Distort a picture as a data set did.

    Args:
        pixels: `(H, W, 3)` uint8, any size. Radii, patches and blocks are made for about 512 x 384.
        data_set: "KADID-10k" or "TID2013".
        type: the data set's number of the type: 1..25 or 1..24.
        level: 1..5, weak to strong but for the types whose levels the data set orders otherwise.
        seed: fixes what is random. The same seed draws the same noise at every level.

    Returns:
        A new `(H, W, 3)` uint8 array; equal arguments give equal pixels.

    Raises:
        ValueError: an unknown data set, type or level, or pixels of another shape or dtype.
    """
    if data_set not in DATA_SETS:
        raise ValueError(f"unknown data set {data_set!r}; known: {', '.join(DATA_SETS)}")
    types = DATA_SETS[data_set]
    if type not in types:
        raise ValueError(f"unknown type {type!r}; {data_set} has {min(types)} to {max(types)}")
    return types[type](pixels, level, seed)


def compose(pixels: Pixels, steps: Sequence[tuple[str, int, int]], seed: int = 0) -> Pixels:
    """Distort by several (data set, type, level) one after the other; each draws other noise than the ones before.

    Examples:
        >>> blurred_and_coded = [("KADID-10k", 1, 3), ("KADID-10k", 10, 2)]
        >>> compose(np.full((48, 64, 3), 128, np.uint8), blurred_and_coded).shape
        (48, 64, 3)
    """
    for number, (data_set, type, level) in enumerate(steps):
        pixels = distort(pixels, data_set, type, level, seed + number * 1_000_003)
    return pixels
