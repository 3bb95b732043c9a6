"""One loop for teacher and student: AdamW, warm-up and cosine, EMA, gradient clipping, early stop, exact resume.

Start it on its own or under `torchrun` (gloo on a CPU). Every step's batch, noise and dropout follow from (seed, step,
rank) and the checkpoint, so a run that is interrupted and resumed ends where an uninterrupted one would.
"""

import csv
import pickle
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..atomic import whole_file
from ..model import QFMNet
from . import losses, matching
from .datasets.table import DataError, Decoded
from .evaluate import figures_to_choose_by
from .frozen import Views, freeze, keep_statistics, run_rest
from .material import Material
from .step import CachedForward, Labels, Objective, predict_cached, step_losses, to


@dataclass(frozen=True)
class LoopConfig:
    """Settings of a run.

    Attributes:
        steps: Length of the schedule.
        head_rate, backbone_rate: Peak learning rates.
        warmup: Steps of linear warm-up before the cosine.
        clip: Largest norm of the gradient.
        ema: Decay of the average of the weights, which is what is validated and exported.
        seed: Of batches, noise and dropout.
        every: Steps between validations and checkpoints.
        patience: Validations without a better one before the run stops; 0: never.
        bf16: The backbone in bfloat16: for GPUs; on CPUs without the instructions it is ten times slower.
    """

    steps: int = 1400
    head_rate: float = 1e-3
    backbone_rate: float = 2e-4
    weight_decay: float = 0.05
    warmup: int = 100
    clip: float = 1.0
    ema: float = 0.995
    seed: int = 0
    every: int = 200
    patience: int = 0
    bf16: bool = False


@torch.inference_mode()
def measure_statistics(net: QFMNet, frozen: int, cached: Views, count: int = 256) -> None:
    """Set the standardisation of cells and of views to the mean and spread of each channel over `count` pictures."""
    pictures = np.linspace(0, len(cached) - 1, min(count, len(cached))).astype(int)
    parts = np.array_split(pictures, max(1, len(pictures) // 8))
    cells = torch.cat([run_rest(net, frozen, *to(net.mean.device, *cached.batch(part))) for part in parts])
    flat = cells.flatten(2).transpose(1, 2)
    known = [(net.standardize, flat.flatten(0, 1))]
    if net.config.context:
        known.append((net.standardize_context, flat.mean(dim=1)))
    for layer, rows in known:
        layer.mean.copy_(rows.mean(dim=0))
        layer.std.copy_(rows.std(dim=0) + 1e-4)


def train(
    net: QFMNet,
    frozen: int,
    material: Material,
    decoded: Decoded,
    labels: Labels,
    objective: Objective,
    config: LoopConfig,
    folder: Path,
    say: Callable[[str], None],
) -> QFMNet:
    """Train `net` behind its first `frozen` blocks, or go on from the last checkpoint in `folder`.

    Returns:
        The EMA network of the best validation (mean of the overall and the within-subset SRCC).
    """
    if objective.attack and frozen:
        raise DataError(f"attack {objective.attack}: an attack must reach the views; set training.frozen=0")
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    freeze(net.to(memory_format=torch.channels_last), frozen)
    student = CachedForward(net, frozen, config.bf16).to(net.mean.device)
    forward = DistributedDataParallel(student) if world > 1 else student
    optimizer = torch.optim.AdamW(_parameter_groups(student, config))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, config))
    state = _State(student, deepcopy(student), optimizer, schedule, matching.Memory(objective.memory))
    state.resume(folder / "checkpoint.pt")
    metrics = Metrics(folder) if rank == 0 else None
    started, first = time.monotonic(), state.step
    while state.step < config.steps and not 0 < config.patience <= state.stale:
        seed = (config.seed, state.step)
        torch.manual_seed(int(np.random.default_rng([*seed, rank, 1]).integers(2**31)))
        keep_statistics(student.train())
        terms = step_losses(forward, material, labels, objective, state.memory, seed, rank, student.device)
        optimizer.zero_grad()
        losses.total(objective.weights, terms).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), config.clip)
        optimizer.step()
        schedule.step()
        state.advance(config.ema)
        checkpoint = state.step % config.every == 0 or state.step == config.steps
        if checkpoint:  # on every rank, so that all of them know when to stop
            figures = validate(state.average.net, frozen, material, decoded)
            state.judge((figures["srcc"] + figures["within_srcc"]) / 2)
        if metrics:
            metrics.write("losses", state.step, {name: value.item() for name, value in terms.items()})
            if state.step % 20 == 0:
                pace = (time.monotonic() - started) / (state.step - first)
                left = pace * (config.steps - state.step) / 60
                say(f"step {state.step}/{config.steps}, {pace:.2f} s a step, {left:.0f} min left")
            if checkpoint:
                metrics.write("validation", state.step, figures)
                say(f"step {state.step}: validation {figures}")
                state.keep(folder)
        if checkpoint and world > 1:
            dist.barrier()
    if metrics:
        metrics.close()
    best = deepcopy(student)
    best.load_state_dict(load_checkpoint(folder / "best.pt"))
    return best.net.eval()


def validate(net: QFMNet, frozen: int, material: Material, decoded: Decoded) -> dict[str, float]:
    """SRCC over all validation pictures, and the mean of the subsets' SRCCs; 0 where scores or MOS are constant."""
    scores, _ = predict_cached(net, frozen, material.validation)
    figures = figures_to_choose_by(scores, [decoded.rows[i] for i in material.validation_indices])
    return {name: round(value, 4) for name, value in figures.items()}


@dataclass
class _State:
    """What a checkpoint holds."""

    student: CachedForward
    average: CachedForward
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    memory: matching.Memory
    step: int = 0
    best: float = -1.0
    stale: int = 0  # validations since the best
    improved: bool = field(default=False, init=False)

    PARTS = ("student", "average", "optimizer", "schedule", "memory")

    def advance(self, decay: float) -> None:
        """Count a step and move the average towards the network."""
        self.step += 1
        decay = min(decay, self.step / (self.step + 10))  # early on the average would be the random start
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.student.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)

    def judge(self, value: float) -> None:
        """Compare a validation with the best so far."""
        self.improved = value > self.best
        self.best, self.stale = (value, 0) if self.improved else (self.best, self.stale + 1)

    def keep(self, folder: Path) -> None:
        """Write the checkpoint, and the average if its validation is the best so far; never half a file."""
        if self.improved:
            _save(self.average.state_dict(), folder / "best.pt")
        parts = {name: getattr(self, name).state_dict() for name in self.PARTS}
        _save({**parts, "step": self.step, "best": self.best, "stale": self.stale}, folder / "checkpoint.pt")

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint if there is one."""
        if not path.is_file():
            return
        stored = load_checkpoint(path)
        try:
            for name in ("student", "average", "optimizer", "schedule"):
                getattr(self, name).load_state_dict(stored[name])
            self.memory.load_state_dict(stored["memory"], self.student.device)
            self.step, self.best, self.stale = (stored[name] for name in ("step", "best", "stale"))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"{path}: a checkpoint of another recipe; delete it to start the run anew") from error


def load_checkpoint(path: Path) -> Any:
    """Read what a run wrote.

    Raises:
        DataError: the file is missing, damaged, or none of ours.
    """
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        # torch's own message advises to switch the safe loader off.
        raise DataError(f"{path}: no checkpoint that can be read; delete it to start the run anew") from error


def _parameter_groups(student: CachedForward, config: LoopConfig) -> list[dict[str, Any]]:
    trained = [(n, p) for n, p in student.named_parameters() if p.requires_grad]
    groups = []
    for rate, belongs in ((config.backbone_rate, True), (config.head_rate, False)):
        named = [(n, p) for n, p in trained if n.startswith("net.backbone.") == belongs]
        for decay in (True, False):  # biases, norms and queries are not decayed
            parameters = [p for n, p in named if (p.ndim > 1 and "queries" not in n) == decay]
            weight_decay = config.weight_decay if decay else 0.0
            groups.append({"params": parameters, "lr": rate, "weight_decay": weight_decay})
    return [group for group in groups if group["params"]]


def _rate(config: LoopConfig, step: int) -> float:
    """Share of the peak rate at a step."""
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    return warm * 0.5 * (1 + float(np.cos(np.pi * max(0, step - config.warmup) / max(1, config.steps - config.warmup))))


def _save(content: Any, path: Path) -> None:
    with whole_file(path, "wb") as file:
        torch.save(content, file)


class Metrics:
    """Figures by step: to CSV files, and to TensorBoard where it is installed (`runs/NAME` is its log folder)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            self.board = SummaryWriter(str(folder))  # type: ignore[no-untyped-call]

    def write(self, name: str, step: int, figures: dict[str, float]) -> None:
        """Append a row to `NAME.csv`. What a resumed run repeats is written again: the later row counts."""
        path = self.folder / f"{name}.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "name", "value"])
            writer.writerows([step, key, f"{value:.5f}"] for key, value in figures.items())
        if self.board:
            for key, value in figures.items():
                self.board.add_scalar(f"{name}/{key}", value, step)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Write out what TensorBoard's writer still holds."""
        if self.board:
            self.board.close()  # type: ignore[no-untyped-call]
