"""One training loop: AdamW, warm-up and cosine, EMA, gradient clipping, checkpoints, exact resume; one or many
processes.

Start it on its own or under `torchrun` (gloo). Every step's batch and dropout follow from (seed, step, rank) alone, so
a run that is interrupted and resumed ends where an uninterrupted one would.
"""

import csv
import os
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..model import QFMNet
from . import losses
from .data import Decoded
from .material import RUNGS, Material
from .prefix import CachedViews, freeze_prefix, keep_statistics, run_rest


@dataclass(frozen=True)
class LoopConfig:
    """Settings of a run; batches are per process."""

    steps: int = 1400
    batch: int = 16
    ladder_batch: int = 3
    head_rate: float = 1e-3
    backbone_rate: float = 2e-4
    weight_decay: float = 0.05
    warmup: int = 100
    clip: float = 1.0
    ema: float = 0.995
    margin: float = 0.05
    weights: dict[str, float] = field(
        default_factory=lambda: {"regression": 10.0, "correlation": 0.5, "ranking": 2.0, "anchor": 2.0}
    )
    seed: int = 0
    every: int = 200  # steps between checkpoints with validation


class CachedForward(nn.Module):
    """From cached prefix outputs to scores; what DistributedDataParallel wraps."""

    def __init__(self, net: QFMNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batches: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Scores `(N,)` per batch of `(cut map, shallow cells)`; the batches may be of different view shapes."""
        net = self.net
        cells = [run_rest(net, cut, shallow) for cut, shallow in batches]
        return [net.calibration(net.forward_head(net.embed(c, len(c)))) for c in cells]


@torch.inference_mode()
def measure_statistics(net: QFMNet, views: CachedViews, count: int = 512) -> None:
    """Set the tokens' standardisation to the mean and spread of each channel over `count` views."""
    indices = np.linspace(0, len(views.cut) - 1, min(count, len(views.cut))).astype(int)
    cells = torch.cat(
        [run_rest(net, *views.batch(part)) for part in np.array_split(indices, max(1, len(indices) // 16))]
    )
    net.standardize.mean.copy_(cells.mean(dim=(0, 2, 3)))
    net.standardize.std.copy_(cells.std(dim=(0, 2, 3)) + 1e-4)


@torch.inference_mode()
def score_cached(net: QFMNet, views: CachedViews, batch: int = 16) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Scores `(N,)` of cached views."""
    forward = CachedForward(net.eval())
    parts = np.array_split(np.arange(len(views.cut)), -(-len(views.cut) // batch))
    return np.concatenate([forward([views.batch(part)])[0].numpy() for part in parts])


def step_losses(
    forward: nn.Module, material: Material, config: LoopConfig, rng: np.random.Generator
) -> dict[str, Tensor]:
    """One batch of labelled views and one of ladders, drawn with `rng`, to named loss terms."""
    shares = np.array([labelled.share for labelled in material.labelled])
    labelled = material.labelled[rng.choice(len(shares), p=shares / shares.sum())]
    chosen = rng.integers(0, len(labelled.mos), config.batch)
    ladder = rng.integers(0, len(material.ladder_mos), config.ladder_batch)
    rungs = (ladder[:, None] * RUNGS + np.arange(RUNGS)).ravel()
    scores, ladder_scores = forward(
        [
            labelled.views.batch(chosen, flip=rng.random() < 0.5),
            material.ladders.batch(rungs, flip=rng.random() < 0.5),
        ]
    )
    mos = torch.from_numpy(labelled.mos[chosen])
    ladder_scores = ladder_scores.view(-1, RUNGS)
    return {
        "regression": losses.regression(scores, mos),
        "correlation": losses.correlation(scores, mos),
        "ranking": losses.ladder_ranking(ladder_scores, config.margin),
        "anchor": losses.clean_anchor(ladder_scores, torch.from_numpy(material.ladder_mos[ladder])),
    }


def train(
    net: QFMNet,
    material: Material,
    decoded: Decoded,
    config: LoopConfig,
    folder: Path,
    say: Callable[[str], None],
) -> QFMNet:
    """Train `net` from the cut on, or go on from the last checkpoint in `folder`; returns the EMA network of the best
    validation (mean of the overall and the within-subset SRCC).
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    freeze_prefix(net.to(memory_format=torch.channels_last))
    forward: nn.Module = CachedForward(net)
    if world > 1:
        forward = DistributedDataParallel(forward)
    optimizer = torch.optim.AdamW(_parameter_groups(net, config))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, config))
    state = _State(net, deepcopy(net), optimizer, schedule)
    state.resume(folder / "checkpoint.pt")
    started, first = time.monotonic(), state.step
    while state.step < config.steps:
        rng = np.random.default_rng((config.seed, state.step, rank))
        torch.manual_seed(int(rng.integers(2**31)))
        keep_statistics(net.train())
        terms = step_losses(forward, material, config, rng)
        optimizer.zero_grad()
        losses.total(config.weights, terms).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), config.clip)
        optimizer.step()
        schedule.step()
        state.advance(config.ema)
        if rank == 0:
            _log(
                folder / "losses.csv",
                {"step": state.step, **{k: f"{v.item():.5f}" for k, v in terms.items()}},
            )
            if state.step % 20 == 0:
                pace = (time.monotonic() - started) / (state.step - first)
                left = pace * (config.steps - state.step) / 60
                say(f"step {state.step}/{config.steps}, {pace:.2f} s a step, {left:.0f} min left")
            if state.step % config.every == 0 or state.step == config.steps:
                figures = validate(state.average, material, decoded)
                _log(folder / "validation.csv", {"step": state.step, **figures})
                say(f"step {state.step}: validation {figures}")
                state.keep(folder, (figures["srcc"] + figures["within_srcc"]) / 2)
        if world > 1 and (state.step % config.every == 0 or state.step == config.steps):
            dist.barrier()
    best = deepcopy(net)
    best.load_state_dict(torch.load(folder / "best.pt", weights_only=True))
    return best.eval()


def validate(net: QFMNet, material: Material, decoded: Decoded) -> dict[str, float]:
    """SRCC over all validation pictures, and the mean of the subsets' SRCCs."""
    scores, mos = score_cached(net, material.validation), decoded.mos[material.validation_indices]
    subset = np.array([decoded.rows[i].subset for i in material.validation_indices])
    within = {str(s): float(spearmanr(scores[subset == s], mos[subset == s])[0]) for s in np.unique(subset)}
    figures = {
        "srcc": float(spearmanr(scores, mos)[0]),
        "within_srcc": float(np.mean(list(within.values()))),
        **within,
    }
    return {name: round(value, 4) for name, value in figures.items()}


@dataclass
class _State:
    """What a checkpoint holds."""

    net: QFMNet
    average: QFMNet
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    step: int = 0
    best: float = -1.0

    def advance(self, decay: float) -> None:
        """Count a step and move the average towards the network."""
        self.step += 1
        decay = min(decay, self.step / (self.step + 10))  # early on the average would be the random start
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.net.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)

    def keep(self, folder: Path, value: float) -> None:
        """Write the checkpoint, and the average if its validation is the best so far; never half a file."""
        if value > self.best:
            self.best = value
            _save(self.average.state_dict(), folder / "best.pt")
        parts = {name: getattr(self, name).state_dict() for name in ("net", "average", "optimizer", "schedule")}
        _save({**parts, "step": self.step, "best": self.best}, folder / "checkpoint.pt")

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint if there is one."""
        if not path.is_file():
            return
        stored = torch.load(path, weights_only=True)
        for name in ("net", "average", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(stored[name])
        self.step, self.best = stored["step"], stored["best"]


def _parameter_groups(net: QFMNet, config: LoopConfig) -> list[dict[str, Any]]:
    groups = []
    for rate, belongs in ((config.backbone_rate, True), (config.head_rate, False)):
        named = [(n, p) for n, p in net.named_parameters() if p.requires_grad and n.startswith("backbone.") == belongs]
        for decay in (True, False):  # biases, norms and queries are not decayed
            parameters = [p for n, p in named if (p.ndim > 1 and "queries" not in n) == decay]
            groups.append({"params": parameters, "lr": rate, "weight_decay": config.weight_decay if decay else 0.0})
    return groups


def _rate(step: int, config: LoopConfig) -> float:
    if step < config.warmup:
        return (step + 1) / config.warmup
    return 0.5 * (1 + float(np.cos(np.pi * (step - config.warmup) / max(1, config.steps - config.warmup))))


def _save(content: Any, path: Path) -> None:
    part = path.with_suffix(".part")
    torch.save(content, part)
    os.replace(part, path)


def _log(path: Path, record: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(record))
        if new:
            writer.writeheader()
        writer.writerow(record)
