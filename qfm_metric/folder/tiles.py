"""Tiles of a picture that is too large, or too varied, for one score."""

import numpy as np

from ..images import Pixels


def split_tiles(pixels: Pixels, side: int) -> list[Pixels]:
    """A grid of equal parts whose sides are about `side` px (2/3 to 4/3 of it): none is a sliver at an edge."""
    rows, columns = (max(1, round(length / side)) for length in pixels.shape[:2])
    bands = np.array_split(pixels, rows, axis=0)
    return [tile for band in bands for tile in np.array_split(band, columns, axis=1)]
