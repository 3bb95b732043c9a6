"""The frozen early layers, computed once: what makes fine-tuning affordable on a CPU.

The stem and first blocks of the backbone stay as ImageNet left them. Their output for a view, its map at stride 8 and
the pooled cells of the shallower maps, is stored in half precision; training then starts from there. Only
EfficientNet-like backbones of timm (`conv_stem`, `bn1`, `blocks`) can be cut this way.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..model import QFMNet, pool_cells

CUT_STRIDE = 8


def cut_block(net: QFMNet) -> int:
    """Index of the first block after the cut: the one behind the last map of stride 8."""
    info = net.backbone.feature_info
    stage = next(f["module"] for f in info.get_dicts() if f["reduction"] == CUT_STRIDE)
    return int(stage.split(".")[1]) + 1


def run_prefix(net: QFMNet, views: Tensor) -> tuple[Tensor, Tensor]:
    """`(N, 3, h, w)` normalised views to the map at stride 8 `(N, C, h/8, w/8)` and the shallower maps' cells."""
    stride = net.backbone.feature_info.reduction()[-1]
    grid = (views.shape[-2] // stride, views.shape[-1] // stride)
    x = net.backbone.bn1(net.backbone.conv_stem(views))
    shallow = []
    cut = cut_block(net)
    for i, block in enumerate(net.backbone.blocks[:cut]):
        x = block(x)
        if _is_depth(net, i) and i < cut - 1:
            shallow.append(pool_cells(x, grid))
    return x, torch.cat(shallow, dim=1)


def run_rest(net: QFMNet, cut_map: Tensor, shallow: Tensor) -> Tensor:
    """What `run_prefix` returned to the cells that `QFMNet.cells` would return."""
    maps, cut, x = [cut_map], cut_block(net), cut_map
    for i, block in enumerate(net.backbone.blocks[cut:], start=cut):
        x = block(x)
        if _is_depth(net, i):
            maps.append(x)
    return torch.cat([shallow, net.cells(maps)], dim=1)


def _is_depth(net: QFMNet, block: int) -> bool:
    return f"blocks.{block}" in {f["module"] for f in net.backbone.feature_info.get_dicts()}


@dataclass(frozen=True)
class CachedViews:
    """Prefix outputs of views of one shape: `cut` `(N, C, h/8, w/8)`, `shallow` `(N, C', h/32, w/32)`, float16."""

    cut: NDArray[np.float16]
    shallow: NDArray[np.float16]

    @classmethod
    def open(cls, folder: Path) -> "CachedViews":
        shapes = json.loads((folder / "shapes.json").read_text())
        return cls(*(np.memmap(folder / f"{k}.f16", np.float16, "r", shape=tuple(s)) for k, s in shapes.items()))

    def batch(self, indices: Sequence[int] | NDArray[np.int64], flip: bool = False) -> tuple[Tensor, Tensor]:
        """Float32 batch; `flip` mirrors it left to right (as good as mirroring the view, to within the padding)."""
        tensors = [torch.from_numpy(stored[np.asarray(indices)]).float() for stored in (self.cut, self.shallow)]
        return tuple(t.flip(-1) for t in tensors) if flip else tuple(tensors)  # type: ignore[return-value]


Picture = Callable[[int], Tensor]  # sample number -> (3, H, W) in [0, 1]; one size for all samples


def cache_views(net: QFMNet, picture: Picture, count: int, folder: Path, workers: int = 2) -> CachedViews:
    """Preprocess `count` pictures, run the prefix on them and store it; a folder that is complete is opened instead."""
    if (folder / "shapes.json").is_file():
        return CachedViews.open(folder)
    if not workers:
        raise ValueError(f"{folder}: nothing cached there; run `python -m qfm_metric.train cache` first")
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {k: (count, *t.shape[1:]) for k, t in zip(("cut", "shallow"), _prefix_of(net, [picture(0)]), strict=True)}
    for key, shape in shapes.items():
        np.memmap(folder / f"{key}.f16", np.float16, "w+", shape=shape)
    bounds = np.linspace(0, count, workers * 4 + 1).astype(int)
    global _job  # inherited by forked workers: the picture function may close over memory maps
    _job = (deepcopy(net).to(memory_format=torch.channels_last), picture, folder, shapes)
    fork = get_context("fork")
    with ProcessPoolExecutor(workers, fork, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(_fill, bounds[:-1], bounds[1:]))
    (folder / "shapes.json").write_text(json.dumps(shapes))
    return CachedViews.open(folder)


_job: tuple[QFMNet, Picture, Path, dict[str, tuple[int, ...]]]


def _fill(start: int, stop: int) -> None:
    net, picture, folder, shapes = _job
    cut, shallow = (np.memmap(folder / f"{k}.f16", np.float16, "r+", shape=s) for k, s in shapes.items())
    for i in range(
        start, stop
    ):  # one at a time: larger batches fall out of the processor's cache and take 2-4x as long
        cut[i : i + 1], shallow[i : i + 1] = _prefix_of(net, [picture(i)])


@torch.inference_mode()
def _prefix_of(net: QFMNet, pictures: list[Tensor]) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    cut, shallow = run_prefix(net, net.preprocess(torch.stack(pictures)).flatten(0, 1))
    return cut.half().numpy(), shallow.half().numpy()


def freeze_prefix(net: QFMNet) -> None:
    """Fix the early layers, and every BatchNorm's statistics (its scale and shift go on learning behind the cut)."""
    cut = cut_block(net)
    for module in (net.backbone.conv_stem, net.backbone.bn1, *net.backbone.blocks[:cut]):
        module.requires_grad_(False)


def keep_statistics(net: nn.Module) -> None:
    """Put BatchNorm layers in evaluation mode; call after `net.train()`."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
