"""By what factor a picture was enlarged, from the mirror images that interpolation leaves in its spectrum.

Interpolation by a factor s keeps the content of the small picture below the frequency 0.5/s (cycles per pixel). Above
it, no kernel removes the mirror images quite: what is at f comes from 1/s - f. So both are coherent: from row to row
their amplitudes and phases change together, as the frequencies of a photograph do not otherwise. Blurring, sharpening
and noise make no such pairs. See Gallagher, "Detection of linear and cubic interpolation in JPEG compressed images"
(2005), for the same trace in the variance of pixels.
"""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_SIDE = 128
"""Pixels of the shorter side below which nothing is said: too few rows to tell coherence from chance."""

_WINDOW = 512  # pixels; wide enough to tell factors apart by 1 %
_WINDOWS = 2  # the ones with the most detail are looked at: there is nothing to see in a sky
_FREQUENCIES = 512  # of the axis of 1/s in [0, 1)
_SMALLEST, _LARGEST = 1.2, 6.0  # factors looked for; closer to 1, mirror images lie beyond the highest frequency
_SKIPPED = 3  # frequencies beside 0.5/s and 1/s that the window smears into each other
_DEPTH = 0.8  # in units of 1/s: mirror images are strong from .5 to here, and a JPEG's blocks leave little there
_BACKGROUND = 41  # of _FREQUENCIES: wider than a peak, narrower than what contents with straight lines add
_COHERENT = 0.1  # above the background, of 512 rows; photographs stay below, see benchmarks/facts_study.py
_HARMONIC = 0.8  # of the highest peak: a peak at 1/s may have one at 2/s that is as high, of the next mirror
_BLOCK = 8  # pixels of a JPEG's block: its grid makes k/8 coherent, 6/8 most


def enlargement_factor(pixels: NDArray[Any]) -> float | None:
    """The factor by which a picture was enlarged.

    Args:
        pixels: `(H, W)`, or `(H, W, C)` with C = 1 or 3 colours and, for C = 2 or 4, alpha.

    Returns:
        1.0 where there is no sign of it, else a factor in [1.2, 6]; 4/3 is passed over, as the grid of a JPEG looks
        like it. None if a side is shorter than `LEAST_SIDE`.
    """
    if min(pixels.shape[:2]) < LEAST_SIDE:
        return None
    planes = [plane for window in _detailed_windows(pixels) for plane in (window, window.T)]
    coherence = np.mean([_coherence(plane) for plane in planes], axis=0)
    excess = _without_blocks(coherence - _running_median(coherence))
    highest = float(excess.max())
    if highest < _COHERENT * math.sqrt(_WINDOW / min(planes[0].shape)):  # chance makes more of fewer rows
        return 1.0
    first = int(np.argmax(excess >= _HARMONIC * highest))
    peak = first + int(np.argmax(excess[first : first + 4]))
    return _FREQUENCIES / peak


def _detailed_windows(pixels: NDArray[Any]) -> list[NDArray[np.float32]]:
    """Brightness of up to 3 x 3 windows spread over the picture: the ones whose neighbouring pixels differ most."""
    sides = pixels.shape[:2]
    height, width = (min(side, _WINDOW) for side in sides)
    tops, lefts = ([*dict.fromkeys(np.linspace(0, max(side - _WINDOW, 0), 3).astype(int))] for side in sides)
    windows = [_luma(pixels[top : top + height, left : left + width]) for top in tops for left in lefts]
    windows.sort(key=lambda window: float(np.abs(np.diff(window, axis=1)).mean()), reverse=True)
    return windows[:_WINDOWS]


def _luma(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Brightness `(H, W)` on the scale of the pixels, what is transparent over white."""
    planes = [pixels] if pixels.ndim == 2 else list(np.moveaxis(pixels, -1, 0))
    alpha = planes.pop() if len(planes) in (2, 4) else None
    weights = [0.299, 0.587, 0.114] if len(planes) == 3 else [1]
    luma = sum((np.float32(weight) * plane for weight, plane in zip(weights, planes, strict=True)), np.float32(0))
    if alpha is not None:
        white = np.float32(1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max)
        luma = white + (luma - white) * (alpha / white)
    return np.asarray(luma, dtype=np.float32)


def _coherence(plane: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean squared coherence of the frequencies along axis 1 with their mirrors, `(_FREQUENCIES,)`, by 1/s."""
    length = plane.shape[1]
    windowed = (plane - plane.mean(axis=1, keepdims=True)) * np.hanning(length)
    spectrum = np.fft.rfft(windowed, axis=1).astype(np.complex64)
    power = np.sum(np.abs(spectrum) ** 2, axis=0)
    together = np.abs(spectrum.T @ spectrum) ** 2
    f, mirror, of = _pairs(length)
    squared = together[f, mirror] / np.maximum(power[f] * power[mirror], np.finfo(np.float32).tiny)
    sums, counts = np.bincount(of, squared, length), np.bincount(of, minlength=length)
    shifts = np.rint(np.arange(_FREQUENCIES) * length / _FREQUENCIES).astype(int) % length
    return np.asarray((sums / np.maximum(counts, 1))[shifts])


@cache
def _pairs(length: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All (f, 1/s - f, 1/s) whose coherence counts, in steps of 1/length."""
    f, mirror, of = [], [], []
    for shift in range(int(length / _LARGEST), int(length / _SMALLEST) + 1):
        above = np.arange(shift // 2 + _SKIPPED, min(length // 2 + 1, int(_DEPTH * shift)))
        f.append(above)
        mirror.append(shift - above)
        of.append(np.full(len(above), shift))
    return np.concatenate(f), np.concatenate(mirror), np.concatenate(of)


def _running_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(values, _BACKGROUND // 2, mode="reflect")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, _BACKGROUND), axis=-1))


def _without_blocks(excess: NDArray[np.float64]) -> NDArray[np.float64]:
    """`excess`, and 0 at the k/8 where the grid of a JPEG, present or former, explains it.

    The grid alone makes 6/8 coherent most, and the k/8 below at most .72 of that (.65 in 99 of 100); measured on JPEG
    files of photographs that were blurred or left as they were.
    """
    step = _FREQUENCIES // _BLOCK
    near = [slice(k * step - 2, k * step + 3) for k in range(1, 7)]
    of_grid = 0.65 * float(excess[near[5]].max())
    kept = np.array(excess)
    for place in near:
        if float(excess[place].max()) < of_grid or place is near[5]:
            kept[place] = 0
    return kept
