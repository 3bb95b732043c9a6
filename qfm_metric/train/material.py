"""What a training run looks at: labelled views in several shapes, ladders of degradation, validation pictures.

Everything is drawn from a seed, so a sample number names the same picture in every run and every process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model import QFMNet
from .data import Decoded
from .distortions import KINDS, Pixels, degrade
from .prefix import CachedViews, cache_views

RUNGS = 4  # of a ladder: the clean picture and three strengths
CLEAN_MOS = 0.65  # a picture this good is worth degrading

# Shape of the crop, and how often a batch is made of it. MOS are of whole pictures; the crops teach that neither the
# shape nor the number of tokens matters, at native resolution where the whole view is reduced.
CROPS = {
    "whole": (None, 0.5),
    "wide": ((352, 512), 0.2),
    "tall": ((512, 352), 0.2),
    "small": ((256, 256), 0.1),
}


@dataclass(frozen=True)
class Labelled:
    """Cached views with the MOS of each, `(N,)`, and how often a batch is drawn from them."""

    views: CachedViews
    mos: NDArray[np.float32]
    share: float


@dataclass(frozen=True)
class Material:
    """`ladders` holds `RUNGS` consecutive views a ladder, `ladder_mos` the MOS of each ladder's clean picture."""

    labelled: list[Labelled]
    ladders: CachedViews
    ladder_mos: NDArray[np.float32]
    validation: CachedViews
    validation_indices: NDArray[np.int64]


def gather(net: QFMNet, decoded: Decoded, folder: Path, ladders: int, seed: int, workers: int) -> Material:
    """Draw the material from decoded pictures and run the prefix on it; what is already in `folder` is kept."""
    train, val = decoded.select("train"), decoded.select("val")
    rng = np.random.default_rng(seed)

    def cached(name: str, picture: Callable[[int], Tensor], count: int) -> CachedViews:
        return cache_views(net, picture, count, folder / name, workers)

    validation = cached("validation", lambda i: to_tensor(decoded.pixels[val[i]]), len(val))
    labelled = []
    for name, (size, share) in CROPS.items():
        # A crop's label is less sure than the whole picture's, so fewer are kept.
        chosen = train if size is None else rng.permutation(train)[: len(train) // 2]
        views = cached(name, _cropper(decoded, chosen, size, seed), len(chosen))
        labelled.append(Labelled(views, decoded.mos[chosen], share))
    clean = rng.permutation(train[decoded.mos[train] >= CLEAN_MOS])[:ladders]
    views = cached("ladders", _ladder(decoded, clean, seed), len(clean) * RUNGS)
    return Material(labelled, views, decoded.mos[clean], validation, val)


def to_tensor(pixels: Pixels) -> Tensor:
    """`(H, W, 3)` uint8 to `(3, H, W)` in [0, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1) / 255


def crop(pixels: Pixels, size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A random crop of `size` (height, width)."""
    top, left = (rng.integers(0, have - want + 1) for have, want in zip(pixels.shape, size, strict=False))
    return pixels[top : top + size[0], left : left + size[1]]


def _cropper(
    decoded: Decoded, chosen: NDArray[np.int64], size: tuple[int, int] | None, seed: int
) -> Callable[[int], Tensor]:
    def picture(i: int) -> Tensor:
        pixels = decoded.pixels[chosen[i]]
        return to_tensor(pixels if size is None else crop(pixels, size, np.random.default_rng((seed, i))))

    return picture


def _ladder(decoded: Decoded, clean: NDArray[np.int64], seed: int) -> Callable[[int], Tensor]:
    """Sample `RUNGS * k + rung`: ladder k at that rung. Every other ladder is of a crop, seen at native resolution."""
    kinds = list(KINDS)

    def picture(i: int) -> Tensor:
        k, rung = divmod(i, RUNGS)
        rng = np.random.default_rng((seed, k))
        strengths = (np.arange(RUNGS - 1) + rng.uniform(0.1, 0.9, RUNGS - 1)) / (RUNGS - 1)
        pixels = decoded.pixels[clean[k]]
        if k % 2:
            pixels = crop(pixels, (384, 384), rng)
        if rung:
            pixels = degrade(pixels, kinds[k // 2 % len(kinds)], float(strengths[rung - 1]), seed=k)
        return to_tensor(pixels)

    return picture
