"""Whether a JPEG file had been compressed before, from the histograms of its coefficients.

Who compresses a picture with step a and then with step b rounds each coefficient twice: to a multiple of a, then of b.
Some multiples of b then hold more multiples of a than others, and the histogram gets a comb of known teeth. What it
would look like after one compression is read from the same picture with its blocks moved by half a block, where neither
grid of steps shows (Lukas and Fridrich, "Estimation of primary quantization matrix in double compressed JPEG images",
2003). The step before is the one of greatest likelihood.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jpeg import standard_tables

_BLOCK = 8
_LEAST_BLOCKS = 256  # fewer hold too few coefficients for a histogram
_MOST_PIXELS = 640_000  # more add time and no certainty
_STRIP = 8 * _BLOCK  # rows that are kept together where only some are looked at
_LARGEST_STEP = 60  # before
_BINS = 40  # multiples of the step now; larger coefficients are few
_BEST = 96  # quality; above it the steps before are about 1, and 8-bit pixels leave no trace of them
_WORST = 10
_ROUNDING = 0.25  # scale of the logistic spread about a multiple, by rounding to 8 bits and to RGB; .45 of deviation
_PSEUDO = 0.3  # counts added to every bin, so that one coefficient in an unlikely bin decides nothing

# In nats of likelihood: what histograms of photographs compressed once reach by chance, and by not being quite like
# those of the moved blocks, the latter growing with the number of blocks. See benchmarks/facts_study.py.
_BY_CHANCE, _BY_BLOCK = 50.0, 0.03  # against one quality of standard tables
_ANY_BY_CHANCE, _ANY_BY_BLOCK = 100.0, 0.1  # against a free step for each frequency
_SAME = 0.8  # share of the best free steps' likelihood that standard tables must reach to be the ones

_ORDER = sorted(((row, column) for row in range(8) for column in range(8)), key=lambda at: (sum(at), at))
_FREQUENCIES = np.array([8 * row + column for row, column in _ORDER[1:15]])
"""The low frequencies but zero, which have enough coefficients that differ from 0; of 64, in rows."""


def earlier_compression(luma: NDArray[np.uint8], steps: NDArray[np.int64]) -> tuple[bool | None, int | None]:
    """Whether a file was compressed before on the same grid of blocks, and at what quality.

    Args:
        luma: `(H, W)`, the decoded brightness.
        steps: `(64,)`, its table, in rows.

    Returns:
        None, None if there are too few blocks that are not clipped; False, None if there is no sign of it; else True,
        and the quality from 10 to 96, or None if the tables before were not the standard's.
    """
    luma = _some_strips(luma[: len(luma) // _BLOCK * _BLOCK])
    now, moved = _coefficients(luma), _coefficients(luma[_BLOCK // 2 :, _BLOCK // 2 :])
    blocks = len(now)
    if min(blocks, len(moved)) < _LEAST_BLOCKS:
        return None, None
    gains = np.stack([_gains(now[:, i], moved[:, i], int(steps[f])) for i, f in enumerate(_FREQUENCIES)])
    tables = standard_tables()[_WORST - 1 : _BEST, _FREQUENCIES]
    known = tables <= _LARGEST_STEP
    by_quality = np.where(known, gains[np.arange(len(gains)), np.where(known, tables, 1)], 0).sum(axis=1)
    standard, free = float(by_quality.max()), float(gains.max(axis=1).sum())
    found = standard > _BY_CHANCE + _BY_BLOCK * blocks
    if not found and free < _ANY_BY_CHANCE + _ANY_BY_BLOCK * blocks:
        return False, None
    return True, _WORST + int(by_quality.argmax()) if found and standard > _SAME * free else None


def _some_strips(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture, or of a large one strips that are spread over its height."""
    step = -(-luma.size // _MOST_PIXELS)
    if step <= 1 or len(luma) < 2 * _STRIP:
        return luma
    strips = luma[: len(luma) // _STRIP * _STRIP].reshape(-1, _STRIP, luma.shape[1])[::step]
    return strips.reshape(-1, luma.shape[1])


def _coefficients(luma: NDArray[np.uint8]) -> NDArray[Any]:
    """Magnitudes of the cosine transforms of the blocks without a clipped pixel, `(blocks, len(_FREQUENCIES))`."""
    rows, columns = (side // _BLOCK for side in luma.shape)
    tiles = luma[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    blocks = tiles.swapaxes(1, 2).reshape(-1, _BLOCK * _BLOCK)
    blocks = blocks[(blocks.min(axis=1) > 0) & (blocks.max(axis=1) < 255)]
    return np.asarray(np.abs(blocks.astype(np.float32) @ _cosines()))


def _cosines() -> NDArray[np.float32]:
    """Orthonormal basis of `_FREQUENCIES`, `(64, len(_FREQUENCIES))`."""
    k, n = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    one = np.where(k == 0, np.sqrt(1 / 8), 0.5) * np.cos((2 * n + 1) * k * np.pi / 16)
    return np.asarray(np.kron(one, one)[_FREQUENCIES].T, dtype=np.float32)


def _gains(now: NDArray[Any], moved: NDArray[Any], step: int) -> NDArray[np.float64]:
    """By the step before, how much likelier than one compression it makes a frequency's histogram.

    In nats, `(_LARGEST_STEP + 1,)`; 0 for 0 and 1, which are no compression before.
    """
    counts = np.bincount(np.minimum(np.rint(now / step).astype(int), _BINS), minlength=_BINS + 1)
    ordered = np.sort(moved)

    def below(value: NDArray[Any]) -> NDArray[Any]:
        return np.searchsorted(ordered, value) / len(ordered)

    edges = (np.arange(_BINS) + 0.5) * step
    once = below(edges)
    before = np.arange(2, _LARGEST_STEP + 1)[:, None]
    nearest = np.rint(edges / before)
    twice = np.where(nearest > 1, below((nearest - 1.5) * before), 0)
    for multiple in (nearest - 1, nearest, nearest + 1):
        share = below((multiple + 0.5) * before) - np.where(multiple > 0, below((multiple - 0.5) * before), 0)
        twice += share / (1 + np.exp((multiple * before - edges) / _ROUNDING))
    likelihood = np.array([_log_likelihood(counts, to_edge) for to_edge in (once, *twice)])
    return np.concatenate([[0, 0], likelihood[1:] - likelihood[0]])


def _log_likelihood(counts: NDArray[np.int64], to_edge: NDArray[Any]) -> float:
    shares = np.diff(to_edge, prepend=0, append=1)
    total = counts.sum()
    smoothed = (shares * total + _PSEUDO) / (total + _PSEUDO * len(shares))
    return float(counts @ np.log(smoothed))
