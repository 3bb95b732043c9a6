"""What a training run looks at: photographs, and series of versions of a picture that people would rate ever lower.

A series is a clean picture and what distortion, resampling or both make of it. How much quality each version keeps
comes from people, not from a network: the mean human score per type and level of KADID-10k and TID2013 (`severity`).
Everything is drawn from a seed, so a sample number names the same picture in every run and every process.
"""

from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..model import QFMConfig, QFMNet
from .datasets.table import DataError, Decoded
from .distortions import compose, distort
from .distortions.colour import Pixels
from .frozen import Views, cache_views
from .severity import Levels

RUNGS = 4  # of a series: the clean picture and three versions
CLEAN_MOS = 0.65  # a picture this good is worth degrading
FAR = 0.6  # side of a "far" view, as a share of the side of a view
FRAME = (384, 512)  # height, width: the size that KADID-10k's and TID2013's parameters are made for
KERNELS = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Pool:
    """Cached pictures of one shape, from which whole batches are drawn.

    Attributes:
        views: Of every sample; series lie together, the clean picture first.
        source: `(N,)` index of the decoded picture that a sample was made from; -1: made from none.
        quality: `(N,)` how much of its quality is kept, in [0, 1].
        starts: Samples at which a series begins that may be drawn; of single pictures, all.
        rungs: Samples of a series; 1: single pictures.
        share: How often a batch is drawn from this pool, against the others with or without series.
        types: Per start, "DATA SET/TYPE" of a series of one distortion type; empty for all others.
    """

    views: Views
    source: NDArray[np.int64]
    quality: NDArray[np.float32]
    starts: NDArray[np.int64]
    rungs: int
    share: float
    types: NDArray[np.str_]


@dataclass(frozen=True)
class Material:
    photos: list[Pool]
    series: list[Pool]
    validation: Views
    validation_indices: NDArray[np.int64]


@dataclass(frozen=True)
class MaterialConfig:
    """How much is drawn.

    Attributes:
        crops: Share of the training pictures of which crops and far views are drawn.
        far: How often photographs are drawn from afar, from 0 to .76: such views take a third of the time.
        series: Series per distortion type, of which there are 49.
        resampled, composed: Series of pictures reduced and enlarged, and of two distortions.
        nothing: Pictures of nothing.
        seed: Of every draw.
    """

    crops: float = 1.0
    far: float = 0.16
    series: int = 40
    resampled: int = 600
    composed: int = 400
    nothing: int = 200
    seed: int = 0


@dataclass(frozen=True)
class _Plan:
    """A pool before its pictures are made: `render(sample)` gives `(H, W, 3)` uint8."""

    name: str
    render: Callable[[int], Pixels]
    source: NDArray[np.int64]
    quality: NDArray[np.float32]
    rungs: int
    share: float
    far: bool = False
    types: Sequence[str] = ()


def gather(
    net: QFMNet,
    frozen: int,
    decoded: Decoded,
    levels: Levels,
    folder: Path,
    config: MaterialConfig,
    workers: int,
    openvino: bool = False,
) -> Material:
    """Draw the material from decoded pictures and run the frozen layers on it; what is already in `folder` is kept.

    With nothing frozen it is drawn when it is needed.
    """
    far = deepcopy(net)
    far.config = from_afar(net.config)

    def cached(plan: _Plan) -> Pool:
        made = cache_views(
            far if plan.far else net,
            frozen,
            lambda i: to_tensor(plan.render(i)),
            len(plan.source),
            folder / plan.name,
            workers,
            openvino,
        )
        starts = np.arange(0, len(plan.source), plan.rungs)
        types = np.array(plan.types or [""] * len(starts))
        return Pool(made, plan.source, plan.quality, starts, plan.rungs, plan.share, types)

    train, val = decoded.select("train"), decoded.select("val")
    if not len(train) or not len(val):
        raise DataError(f"expected pictures to train on and to validate with, got {len(train)} and {len(val)}")
    clean = train[decoded.mos[train] >= CLEAN_MOS]
    validation = cached(_photos("validation", decoded, val, None, 0, config.seed))
    photos = [cached(plan) for plan in _photo_plans(decoded, train, config) if len(plan.source)]
    plans = _series_plans(decoded, clean, levels, config) if levels else []
    series = [cached(plan) for plan in plans if len(plan.source)]
    return Material(photos, series, validation.views, val)


def from_afar(config: QFMConfig) -> QFMConfig:
    """A smaller view: large pictures are reduced more than ours of 512 px, and it has that ratio at less cost."""
    return replace(config, view_pixels=int(config.view_pixels * FAR**2))


def leave_out(material: Material, types: Collection[str]) -> Material:
    """The material without series of some distortion types ("KADID-10k/10"), and without any whose types are mixed."""

    def keep(pool: Pool) -> Pool:
        kept = ~np.isin(pool.types, ["", *types]) | (pool.source[pool.starts] < 0)
        return replace(pool, starts=pool.starts[kept], types=pool.types[kept])

    return replace(material, series=[pool for pool in map(keep, material.series) if len(pool.starts)])


def to_tensor(pixels: Pixels) -> Tensor:
    """`(H, W, 3)` uint8 to `(3, H, W)` in [0, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1) / 255


def crop(pixels: Pixels, size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A random crop of `size` (height, width); a side that is too short stays as it is."""
    spare = [max(0, have - want) for have, want in zip(pixels.shape, size, strict=False)]
    top, left = (int(rng.integers(0, s + 1)) for s in spare)
    return pixels[top : top + size[0], left : left + size[1]]


def _photo_plans(decoded: Decoded, train: NDArray[np.int64], config: MaterialConfig) -> list[_Plan]:
    """Whole pictures and crops: neither the shape nor the number of tokens should matter to a score.

    MOS are of whole pictures; a crop's is less sure, so fewer are drawn.
    """
    seed = config.seed
    shuffled = np.random.default_rng(seed).permutation(train)
    quarters = np.array_split(shuffled[: round(len(train) * config.crops)], 4)
    return [
        _photos("whole", decoded, train, None, 0.76 - config.far, seed),
        _photos("wide", decoded, quarters[0], (320, 512), 0.12, seed),
        _photos("tall", decoded, quarters[1], (512, 320), 0.12, seed),
        replace(_photos("far", decoded, np.concatenate(quarters[2:]), None, config.far, seed), far=True),
    ]


def _photos(
    name: str, decoded: Decoded, chosen: NDArray[np.int64], size: tuple[int, int] | None, share: float, seed: int
) -> _Plan:
    def render(i: int) -> Pixels:
        pixels = decoded.pixels[chosen[i]]
        return pixels if size is None else crop(pixels, size, np.random.default_rng((seed, i)))

    return _Plan(name, render, chosen, np.ones(len(chosen), np.float32), 1, share)


def _series_plans(decoded: Decoded, clean: NDArray[np.int64], levels: Levels, config: MaterialConfig) -> list[_Plan]:
    rng = np.random.default_rng((config.seed, 1))
    plans = []
    for far, share in ((False, 1.0), (True, 0.7)):
        suffix = "-far" if far else ""
        count = config.series if not far else config.series // 2  # and half the cost
        plan = _distorted(decoded, rng.permutation(clean), levels, count, config.seed + far)
        plans.append(replace(plan, name="distorted" + suffix, far=far, share=share))
        chosen = rng.permutation(clean)[: config.resampled // 2]
        plan = _resampled(decoded, chosen, _blur_quality(levels), config.seed + far)
        plans.append(replace(plan, name="resampled" + suffix, far=far, share=share / 6))
    chosen = rng.permutation(clean)[: config.composed]
    plans.append(_composed(decoded, chosen, levels, config.seed))
    return [*plans, _nothing(config.nothing, config.seed)]


def _distorted(decoded: Decoded, clean: NDArray[np.int64], levels: Levels, count: int, seed: int) -> _Plan:
    """`count` series of every type: a crop of `FRAME`, clean and at three of the five levels."""
    types = sorted({(level.data_set, level.type) for level in levels})
    quality_of = {(level.data_set, level.type, level.level): level.quality for level in levels}
    series = [(types[k % len(types)], int(clean[k % len(clean)])) for k in range(count * len(types))]
    drawn = [np.sort(np.random.default_rng((seed, k)).permutation(5)[: RUNGS - 1] + 1) for k in range(len(series))]
    quality = [[1.0, *(quality_of[t[0], t[1], int(v)] for v in lv)] for (t, _), lv in zip(series, drawn, strict=True)]

    def render(i: int) -> Pixels:
        k, rung = divmod(i, RUNGS)
        pixels = crop(decoded.pixels[series[k][1]], FRAME, np.random.default_rng((seed, k)))
        return distort(pixels, *series[k][0], int(drawn[k][rung - 1]), seed=k) if rung else pixels

    names = [f"{data_set}/{number}" for (data_set, number), _ in series]
    source = np.repeat([index for _, index in series], RUNGS)
    return _Plan("", render, source, np.array(quality, np.float32).ravel(), RUNGS, 1.0, types=names)


def _blur_quality(levels: Levels) -> Callable[[float], float]:
    """Quality that Gaussian blur of a standard deviation in px leaves, between KADID-10k's levels."""
    sigmas = (0.1, 0.5, 1, 2, 5)
    quality = {x.level: x.quality for x in levels if (x.data_set, x.type) == ("KADID-10k", 1)}
    known = [quality[level] for level in range(1, 6)]
    return lambda sigma: float(np.interp(sigma, sigmas, known))


def _resampled(decoded: Decoded, clean: NDArray[np.int64], blur_quality: Callable[[float], float], seed: int) -> _Plan:
    """Series of pictures that were small once: reduced by up to 8 and enlarged again, by any of four kernels.

    Enlarging by f loses what a blur of about `0.5 sqrt(f^2 - 1)` px does; people's scores of that blur are taken. Ours.
    """
    factors = [
        np.array([1.3, 2.1, 4.0]) * np.random.default_rng((seed, k)).uniform(1, 2, RUNGS - 1) for k in range(len(clean))
    ]
    quality = [[1.0, *(blur_quality(0.5 * np.sqrt(f**2 - 1)) for f in fs)] for fs in factors]

    def render(i: int) -> Pixels:
        k, rung = divmod(i, RUNGS)
        pixels = decoded.pixels[clean[k]]
        if not rung:
            return pixels
        side = max(8, round(len(pixels) / factors[k][rung - 1]))
        small = Image.fromarray(pixels).resize(
            (side, side), Image.Resampling.BOX if k % 2 else Image.Resampling.BICUBIC
        )
        return np.asarray(small.resize(pixels.shape[1::-1], KERNELS[k % len(KERNELS)]))

    return _Plan("", render, np.repeat(clean, RUNGS), np.array(quality, np.float32).ravel(), RUNGS, 1.0)


def _composed(decoded: Decoded, clean: NDArray[np.int64], levels: Levels, seed: int) -> _Plan:
    """Series of two distortions: clean, the first, the second, both. What both keep is taken as the product. Ours."""
    pairs = [
        [levels[i] for i in np.random.default_rng((seed, k)).integers(0, len(levels), 2)] for k in range(len(clean))
    ]
    quality = [[1.0, first.quality, second.quality, first.quality * second.quality] for first, second in pairs]

    def render(i: int) -> Pixels:
        k, rung = divmod(i, RUNGS)
        pixels = crop(decoded.pixels[clean[k]], FRAME, np.random.default_rng((seed, k)))
        steps = [(level.data_set, level.type, level.level) for level in pairs[k]]
        chosen = {0: [], 1: steps[:1], 2: steps[1:], 3: steps}[rung]
        return compose(pixels, chosen, seed=k)

    return _Plan("composed", render, np.repeat(clean, RUNGS), np.array(quality, np.float32).ravel(), RUNGS, 0.15)


def _nothing(count: int, seed: int) -> _Plan:
    """Pictures of nothing: noise, flat colours, checkers. Nobody rated these; they are put at the floor. Ours."""

    def render(i: int) -> Pixels:
        rng = np.random.default_rng((seed, i))
        side, kind = 320, i % 4
        flat = np.broadcast_to(rng.integers(0, 256, 3), (side, side, 3)).astype(np.uint8)
        if kind == 0:
            return rng.integers(0, 256, (side, side, 3 if i % 8 else 1), dtype=np.uint8).repeat(1 if i % 8 else 3, 2)
        if kind == 1:
            return flat
        if kind == 2:
            blocks = rng.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
            return np.asarray(Image.fromarray(blocks).resize((side, side), KERNELS[i // 4 % len(KERNELS)]))
        period = 2 ** int(rng.integers(1, 6))
        mask = (np.add.outer(np.arange(side), np.arange(side) * int(rng.integers(0, 2))) // period) % 2
        return np.where(mask[..., None], flat, 255 - flat)

    return _Plan("nothing", render, np.full(count, -1), np.zeros(count, np.float32), RUNGS, 0.04)
