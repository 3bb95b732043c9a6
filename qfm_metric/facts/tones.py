"""How the levels of a picture are used: what is clipped, and to how many bits they are spaced."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STRIP = 2**20  # pixels that are counted at a time
_MARGIN = 2 / 255  # of full scale: what was clipped comes out of a JPEG up to that far from the end
_CROWDED = 16  # pixels per level that is used: then a level without any is a gap and no accident
_TAILS = 0.01  # of the pixels at either end, whose levels are sparse without a gap


@dataclass(frozen=True)
class Tones:
    """What the histograms of a picture say.

    Attributes:
        shadows: Percent of the visible pixels of which every channel is clipped to black.
        highlights: Percent of the visible pixels of which every channel is clipped to white.
        bits: Bits per channel that the levels need; None for floating point, and where no pixel is visible.
    """

    shadows: float
    highlights: float
    bits: int | None


def count_tones(pixels: NDArray[Any]) -> Tones:
    """The tones of a picture.

    Args:
        pixels: `(H, W)`, or `(H, W, C)` with C = 1 or 3 colours and, for C = 2 or 4, alpha; uint8, uint16, or floating
            point in [0, 1]. Pixels that are wholly transparent do not count.
    """
    rows = max(1, _STRIP // pixels.shape[1])
    strips = [_histograms(pixels[top : top + rows]) for top in range(0, len(pixels), rows)]
    darkest, brightest, *histograms = np.sum(strips, axis=0)
    count = int(darkest.sum())
    if count == 0:
        return Tones(0.0, 0.0, None)
    levels = len(darkest)
    margin = round(_MARGIN * (levels - 1))
    return Tones(
        shadows=100 * float(brightest[: margin + 1].sum()) / count,
        highlights=100 * float(darkest[levels - 1 - margin :].sum()) / count,
        bits=None if pixels.dtype.kind == "f" else max(_bits(histogram) for histogram in histograms),
    )


def _histograms(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """Of each pixel's darkest channel, of its brightest, and of each channel: `(2 + colours, levels)`."""
    planes = [pixels] if pixels.ndim == 2 else list(np.moveaxis(pixels, -1, 0))
    visible = planes.pop() > 0 if len(planes) in (2, 4) else None
    values = np.stack([plane.ravel() if visible is None else plane[visible] for plane in planes])
    if values.dtype.kind == "f":
        values = np.rint(values * 65535).astype(np.uint16)
    levels = int(np.iinfo(values.dtype).max) + 1
    return np.stack([np.bincount(v, minlength=levels) for v in (values.min(axis=0), values.max(axis=0), *values)])


def _bits(histogram: NDArray[np.int64]) -> int:
    """Bits that the levels in use need, of the log2(len(histogram)) that there are."""
    of = int(np.log2(len(histogram)))
    used = np.flatnonzero(histogram)
    evenly = next((bits for bits in range(1, of) if _evenly_spaced(used, bits, of)), of)
    unscaled = int(used[-1]).bit_length() if of > 8 else of  # 12 bits in the lower end of 16, as scientists store them
    return max(min(evenly, unscaled, _bits_by_gaps(histogram)), 1)


def _evenly_spaced(used: NDArray[np.int64], bits: int, of: int) -> bool:
    """Whether all levels are levels of `bits` bits that were shifted or scaled to `of` bits."""
    if not np.any(used % (1 << (of - bits))):
        return True
    spacing = ((1 << of) - 1) / ((1 << bits) - 1)
    off = np.abs(used - np.rint(used / spacing) * spacing)
    return bool(np.all(off < (1 if spacing >= 4 else 0.5)))  # less than 1 where it was cut off, not rounded


def _bits_by_gaps(histogram: NDArray[np.int64]) -> int:
    """Bits that the full scale would take at the density of levels between the tails; for levels that curves moved."""
    of = int(np.log2(len(histogram)))
    share = np.cumsum(histogram) / histogram.sum()
    first, last = (int(np.searchsorted(share, at)) for at in (_TAILS, 1 - _TAILS))
    between = histogram[first : last + 1]
    used = np.count_nonzero(between)
    if between.sum() < _CROWDED * used:
        return of
    return round(math.log2(used * len(histogram) / len(between)))
