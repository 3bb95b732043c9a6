"""The frozen early layers, computed once: what makes training affordable on a CPU.

The stem and the first blocks of the backbone stay as they are. Their output for a view, the map behind the
last frozen block and the pooled cells of the shallower maps, is stored in half precision; training then starts from
there. With every block frozen only cells are stored, and heads train in minutes; with none frozen there is nothing to
store, views are made as they are drawn, and the backbone may be any. Only ours and EfficientNet-like
ones of timm (`conv_stem`, `bn1`, `blocks`) can be cut between.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..model import QFMNet, pool_cells

SAMPLE_NEEDS_CELLS = "objective.cells: expected 0; only a recipe that freezes every block can draw single cells"


class FrozenLayers(nn.Module):
    """The stem and the first `frozen` blocks of a network, and the cells of the maps on the way.

    The map behind the cut is left to `run_rest`: its cells cost little, and stored they would be there twice.
    """

    def __init__(self, net: QFMNet, frozen: int) -> None:
        super().__init__()
        self.net, self.frozen = net, frozen

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, 3, h, w)` normalised views to the map behind the cut `(N, C, h', w')` and cells `(N, C', h/32, w/32)`.

        With every block frozen there is nothing left to run: the map has no channels, the cells are all there are.
        """
        if not self.frozen:
            return views, views.new_zeros(len(views), 0, 1, 1)
        backbone, depths = self.net.backbone, _depths(self.net)
        x = backbone.bn1(backbone.conv_stem(views))
        stride = backbone.feature_info.reduction()[-1]
        grid = (views.shape[-2] // stride, views.shape[-1] // stride)
        whole = self.frozen == len(backbone.blocks)
        cells = [views.new_zeros(len(views), 0, *grid)]
        for i, block in enumerate(backbone.blocks[: self.frozen]):
            x = block(x)
            if i in depths and (whole or i < self.frozen - 1):
                cells.append(pool_cells(x, grid))
        return x[:, :0] if whole else x, torch.cat(cells, dim=1)


def run_rest(net: QFMNet, frozen: int, cut_map: Tensor, cells: Tensor) -> Tensor:
    """What `FrozenLayers` returned to the cells that `QFMNet.cells` would return."""
    if not frozen:
        return net.cells(net.backbone(cut_map))
    if frozen == len(net.backbone.blocks):
        return cells
    depths, x = _depths(net), cut_map
    maps = [x] if frozen - 1 in depths else []
    for i, block in enumerate(net.backbone.blocks[frozen:], start=frozen):
        x = block(x)
        if i in depths:
            maps.append(x)
    return torch.cat([cells, net.cells(maps)], dim=1)


def _depths(net: QFMNet) -> set[int]:
    return {int(info["module"].split(".")[1]) for info in net.backbone.feature_info.get_dicts()}


Picture = Callable[[int], Tensor]  # sample number -> (3, H, W) in [0, 1]; one size for all samples


@dataclass(frozen=True)
class DrawnViews:
    """Views that are made when they are drawn, for networks without frozen layers."""

    net: QFMNet
    picture: Picture
    count: int
    views: int

    def __len__(self) -> int:
        return self.count

    def batch(self, pictures: Sequence[int] | NDArray[np.int64], flip: bool = False) -> tuple[Tensor, Tensor]:
        """See `CachedViews.batch`."""
        with torch.no_grad():
            found = torch.cat([self.net.preprocess(self.picture(int(i))[None])[0] for i in pictures])
        return found.flip(-1) if flip else found, found.new_zeros(len(found), 0, 1, 1)

    def sample(
        self, pictures: Sequence[int] | NDArray[np.int64], count: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Refuse: single cells come from maps that these have not got."""
        raise ValueError(SAMPLE_NEEDS_CELLS)


@dataclass(frozen=True)
class CachedViews:
    """What the frozen layers give for pictures of one shape, `views` rows a picture, float16.

    `cut` is `(N * views, C, h', w')`, `cells` `(N * views, C', h/32, w/32)`.
    """

    cut: NDArray[np.float16]
    cells: NDArray[np.float16]
    views: int

    @classmethod
    def open(cls, folder: Path) -> "CachedViews":
        shapes = json.loads((folder / "shapes.json").read_text())
        cut, cells = (_memory_map(folder, key, shapes[key], "r") for key in ("cut", "cells"))
        return cls(cut, cells, shapes["views"])

    def __len__(self) -> int:
        return len(self.cells) // self.views

    def batch(self, pictures: Sequence[int] | NDArray[np.int64], flip: bool = False) -> tuple[Tensor, Tensor]:
        """Float32 rows of what `FrozenLayers` gives for these pictures; `flip` mirrors them left to right."""
        # Mirroring a map is as good as mirroring its view, to within the padding.
        rows = (np.asarray(pictures)[:, None] * self.views + np.arange(self.views)).ravel()
        tensors = [torch.from_numpy(stored[rows]).float() for stored in (self.cut, self.cells)]
        return tuple(t.flip(-1) for t in tensors) if flip else tuple(tensors)  # type: ignore[return-value]

    def sample(
        self, pictures: Sequence[int] | NDArray[np.int64], count: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """As `batch`, of `count` cells of each view at most: the same places in all, as a grid of one column.

        Raises:
            ValueError: blocks are left that need a view's whole map.
        """
        if self.cut.size:
            raise ValueError(SAMPLE_NEEDS_CELLS)
        rows = (np.asarray(pictures)[:, None] * self.views + np.arange(self.views)).ravel()
        places = np.sort(rng.permutation(self.cells[0, 0].size)[:count])
        drawn = np.stack([self.cells[row].reshape(self.cells.shape[1], -1)[:, places] for row in rows])
        return torch.zeros(len(rows), 0, len(places), 1), torch.from_numpy(drawn).float()[..., None]


Views = DrawnViews | CachedViews  # pictures of one shape as training draws them, `views` rows a picture


def cache_views(
    net: QFMNet, frozen: int, picture: Picture, count: int, folder: Path, workers: int = 2, openvino: bool = False
) -> Views:
    """Preprocess `count` pictures, run the frozen layers and store what they give; a complete folder is opened instead.

    With nothing frozen nothing is stored.

    Args:
        openvino: Run it with OpenVINO, about twice as fast on a CPU; stored values differ within half precision.
    """
    if not frozen:
        return DrawnViews(deepcopy(net), picture, count, net.config.native_views + 1)
    if (folder / "shapes.json").is_file():
        return CachedViews.open(folder)
    if not workers:
        raise ValueError(f"{folder}: nothing cached there; run `python -m qfm_metric.train cache` first")
    folder.mkdir(parents=True, exist_ok=True)
    layers = FrozenLayers(deepcopy(net), frozen).to(memory_format=torch.channels_last).eval()
    with torch.inference_mode():
        views = net.preprocess(picture(0)[None])[0]
        cut, cells = layers(views[:1])
    number = count * len(views)
    shapes = {"cut": (number, *cut.shape[1:]), "cells": (number, *cells.shape[1:])}
    for key, shape in shapes.items():
        _memory_map(folder, key, shape, "w+")
    bounds = np.linspace(0, count, workers * 4 + 1).astype(int)
    global _job  # inherited by forked workers: the picture function may close over memory maps
    _job = (layers, picture, folder, shapes, openvino)
    fork = get_context("fork")
    with ProcessPoolExecutor(workers, fork, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(_fill, bounds[:-1], bounds[1:]))
    (folder / "shapes.json").write_text(json.dumps({**shapes, "views": len(views)}))
    return CachedViews.open(folder)


_job: tuple[FrozenLayers, Picture, Path, dict[str, tuple[int, ...]], bool]


@torch.inference_mode()
def _fill(start: int, stop: int) -> None:
    layers, picture, folder, shapes, openvino = _job
    cut, cells = (_memory_map(folder, key, shape, "r+") for key, shape in shapes.items())
    run: Callable[[Tensor], Any] = layers
    for i in range(start, stop):
        views = layers.net.preprocess(picture(i)[None])[0]
        if openvino and run is layers:
            run = _with_openvino(layers, views[:1])
        # One at a time: larger batches fall out of the processor's cache and take 2-4x as long.
        for row, view in enumerate(torch.split(views, 1), start=i * len(views)):
            found = run(view)
            cut[row], cells[row] = (np.asarray(part[0]) for part in found)


def _with_openvino(layers: FrozenLayers, view: Tensor) -> Callable[[Tensor], Any]:
    import openvino  # an extra, and slow to import

    model = openvino.convert_model(torch.export.export(layers, (view,)))
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    return lambda view: tuple(compiled(view.contiguous().numpy()).values())


def _memory_map(folder: Path, key: str, shape: Sequence[int], mode: Any) -> NDArray[np.float16]:
    if 0 in shape:  # nothing is stored, and an empty file cannot be mapped
        return np.zeros(tuple(shape), np.float16)
    return np.memmap(folder / f"{key}.f16", np.float16, mode, shape=tuple(shape))


def freeze(net: QFMNet, frozen: int) -> None:
    """Fix the first `frozen` blocks, and every BatchNorm's statistics (its scale and shift go on learning behind)."""
    if frozen:
        for module in (net.backbone.conv_stem, net.backbone.bn1, *net.backbone.blocks[:frozen]):
            module.requires_grad_(False)


def keep_statistics(net: nn.Module) -> None:
    """Put BatchNorm layers in evaluation mode; call after `net.train()`."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
