"""One training loop: AdamW, warm-up, a constant rate and a linear decay, EMA, gradient clipping, exact resume.

Start it on its own or under `torchrun` (gloo on a CPU). Every step's batch, noise and dropout follow from (seed, step,
rank) and the checkpoint, so a run that is interrupted and resumed ends where an uninterrupted one would.
"""

import math
import pickle
import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from ..atomic import whole_file
from ..model import QFMNet
from ..weights import save_weights
from . import losses
from .batchnorm import run_folded
from .datasets.table import DataError, Decoded
from .defects import TYPES
from .evaluate import figures_to_choose_by
from .matching import Memory
from .material import Material
from .material.stored import StoredMaterial
from .metrics import Metrics
from .step import Learner, Objective, Student, step_losses


@dataclass(frozen=True)
class LoopConfig:
    """Settings of a run.

    Attributes:
        steps: Length of the schedule.
        decay_from: Step at which the rate begins to fall, linearly to zero; constant before.
        joint_from: Step from which pictures are seen as inference sees them, all views together; single views before.
        head_rate, backbone_rate: Peak learning rates; 0 for a backbone that stays as it is.
        early: Share of the backbone's rate for its first two blocks; the next two have its square root.
        warmup: Steps of linear warm-up; the backbone waits for as many and warms up in twice as many.
        drop_path: Largest share of dropped residual branches, at the last block.
        clip: Largest norm of the gradient.
        ema: Decay of the average of the weights, which is what is validated and exported.
        seed: Of batches, noise and dropout.
        every: Steps between validations and checkpoints.
        validated: Pictures of the validation part that each validation scores; 0: all.
        bf16: The backbone in bfloat16: for GPUs; on CPUs without the instructions it is ten times slower.
    """

    steps: int = 8000
    decay_from: int = 6000
    joint_from: int = 5500
    head_rate: float = 1e-3
    backbone_rate: float = 2e-4
    early: float = 0.25
    weight_decay: float = 0.05
    warmup: int = 200
    drop_path: float = 0.1
    clip: float = 3.0
    ema: float = 0.998
    seed: int = 0
    every: int = 100
    validated: int = 400
    bf16: bool = False

    def __post_init__(self) -> None:
        counts = {"steps": 1, "every": 1, "decay_from": 0, "joint_from": 0, "warmup": 0, "validated": 0, "seed": 0}
        for name, least in counts.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected {least} or more, got {getattr(self, name)}")
        shares, rates = ("early", "drop_path", "ema"), ("head_rate", "backbone_rate", "weight_decay", "clip")
        for name in (*shares, *rates):
            if not 0 <= getattr(self, name) <= (1 if name in shares else math.inf):
                raise ValueError(
                    f"{name}: expected a number from 0{' to 1' * (name in shares)}, got {getattr(self, name)}"
                )


@torch.inference_mode()
def measure_statistics(net: QFMNet, material: Material, seed: int, batches: int = 12) -> None:
    """Set each standardisation of what the backbone makes of pictures to mean and spread over some batches."""
    student, cells, means, seen = Student(net.eval(), 1), [], [], []
    for i in range(batches):
        views = torch.from_numpy(material.draw((seed, 10**6 + i), 0).views).to(net.mean.device)
        maps = student.cells((views.permute(0, 1, 4, 2, 3) / 255 - net.mean) / net.std)
        found = maps.flatten(2).transpose(1, 2)
        seen.append(net.statistics(maps, len(views)))
        cells.append(found.flatten(0, 1)[::4])
        means.append(found.mean(dim=1))
    known = [(net.standardize, torch.cat(cells))]
    if net.config.mean_tokens:
        known.append((net.standardize_means, torch.cat(means)))
    heads = {"spread": net.config.spread_width, "defects": net.config.defect_width}
    known += [(getattr(net, name)[0], torch.cat(seen)) for name, width in heads.items() if width]
    for layer, rows in known:
        layer.mean.copy_(rows.mean(dim=0))
        layer.std.copy_(rows.std(dim=0) + 1e-4)


def train(
    net: QFMNet,
    material: Material | StoredMaterial,
    objective: Objective,
    config: LoopConfig,
    folder: Path,
    say: Callable[[str], None],
    origin: str = "",
) -> QFMNet:
    """Train `net` on MOS and series, or go on from the last checkpoint in `folder`.

    Args:
        origin: As in `run`.

    Returns:
        The average network at the last step. Averages along the way are kept, too, as `step-N.safetensors`.
    """
    student, memory = Student(net, len(TYPES), config.bf16), Memory(objective.memory)

    def compare(step: int, rank: int) -> dict[str, Tensor]:
        batch = material.draw((config.seed, step), rank, joint=step >= config.joint_from)
        drawn = torch.Generator().manual_seed(step)
        return step_losses(student, batch, material.labels, objective, memory, drawn)

    def check(average: Learner) -> dict[str, float]:
        return validate(average.net, material.decoded, config.validated)

    data = material.decoded.digest
    return run(student, compare, check, config, folder, say, objective.weights, memory, data, origin)


def run(
    learner: Learner,
    compare: Callable[[int, int], dict[str, Tensor]],
    check: Callable[[Any], dict[str, float]],
    config: LoopConfig,
    folder: Path,
    say: Callable[[str], None],
    weights: Mapping[str, float] | None = None,
    memory: Memory | None = None,
    data: str = "",
    origin: str = "",
) -> QFMNet:
    """Take the steps of a run, or those that are left after the last checkpoint in `folder`.

    Args:
        learner: Trained in place.
        compare: A step's number and this process's rank to the terms of its loss, of `learner` as it is then.
        check: A copy of the learner with the average weights to figures, at every checkpoint, on all ranks.
        weights: Of the terms.
        memory: That `compare` keeps between steps; part of the checkpoint.
        data: What is learned from (`Decoded.digest`); a run on something else is not gone on with.
        origin: What `learner` is as the run starts (`recipe.origin_of`); one from something else is not gone on with.

    Returns:
        As `train`.
    """
    rank, world = _rank()
    net = learner.net.to(memory_format=torch.channels_last)
    _drop_paths(net, config.drop_path)
    net.backbone.requires_grad_(config.backbone_rate > 0)
    learner.to(net.mean.device)
    state = _State(learner, deepcopy(learner), _optimizer(learner, config), memory, data, origin)
    for network in (net, state.average.net):
        run_folded(network.backbone)
    state.resume(folder / "checkpoint.pt")
    metrics = Metrics(folder) if rank == 0 else None
    if metrics and state.step:
        say(f"{folder / 'checkpoint.pt'}: goes on from step {state.step} of {config.steps}")
    started, first = time.monotonic(), state.step
    while state.step < config.steps:
        step = state.step
        _set_rates(state.optimizer, config, step)
        torch.manual_seed(int(np.random.default_rng((config.seed, step, rank, 1)).integers(2**31)))
        keep_statistics(learner.train())
        terms = compare(step, rank)
        state.optimizer.zero_grad()
        losses.total(weights or {}, terms).backward()  # type: ignore[no-untyped-call]
        _average_gradients(learner.parameters())
        norm = nn.utils.clip_grad_norm_(learner.parameters(), config.clip)
        if torch.isfinite(norm):
            state.optimizer.step()
        state.advance(config.ema)
        checkpoint = state.step % config.every == 0 or state.step == config.steps
        if checkpoint:
            figures = check(state.average)
        if metrics:
            metrics.write("losses", state.step, {"norm": norm.item()} | {k: v.item() for k, v in terms.items()})
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
    net.load_state_dict(state.average.net.state_dict())
    return net.eval()


def validate(net: QFMNet, decoded: Decoded, count: int = 0) -> dict[str, float]:
    """SRCC over validation pictures, and the mean of the subsets' SRCCs; 0 where scores or MOS are constant.

    Args:
        count: Pictures, evenly over the part; 0: all. Under `torch.distributed` each rank scores a share.
    """
    rows = decoded.select("val")
    if 0 < count < len(rows):
        rows = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
    scores, _ = predict(net, decoded, rows)
    figures = figures_to_choose_by(scores, [decoded.rows[i] for i in rows])
    return {name: round(value, 4) for name, value in figures.items()}


@torch.inference_mode()
def predict(net: QFMNet, decoded: Decoded, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores `(N,)` of decoded pictures and their deviations `(N,)`, NaN if the network predicts none; on all ranks."""
    rank, world = _rank()
    net.eval()
    found = []
    for i in rows[rank::world]:
        image = torch.from_numpy(np.array(decoded.pixels[i])).to(net.mean.device).permute(2, 0, 1)[None] / 255
        judged = net.judge_views(net.distinct_views(image))
        found.append((judged.scores.item(), float("nan") if judged.stds is None else judged.stds.item()))
    both = np.empty((len(rows), 2), np.float32)
    shares: list[Any] = [found]
    if world > 1:
        shares = [None] * world
        dist.all_gather_object(shares, found)
    for first, share in enumerate(shares):
        both[first::world] = np.array(share, np.float32).reshape(-1, 2)
    return both[:, 0], both[:, 1]


@dataclass
class _State:
    """What a checkpoint holds."""

    student: Learner
    average: Learner
    optimizer: torch.optim.Optimizer
    memory: Memory | None
    data: str
    origin: str
    step: int = 0

    PARTS = ("student", "average", "optimizer")

    def advance(self, decay: float) -> None:
        """Count a step and move the average towards the network."""
        self.step += 1
        decay = min(decay, self.step / (self.step + 10))  # early on the average would be the random start
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.student.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)

    def keep(self, folder: Path) -> None:
        """Write the checkpoint and the average network; never half a file."""
        net = self.average.net
        save_weights(folder / f"step-{self.step}.safetensors", asdict(net.config), net.state_dict(), torch.float16)
        parts = {name: getattr(self, name).state_dict() for name in self.PARTS}
        parts["memory"] = self.memory.state_dict() if self.memory is not None else None
        with whole_file(folder / "checkpoint.pt", "wb") as file:
            torch.save({**parts, "step": self.step, "data": self.data, "origin": self.origin}, file)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint if there is one."""
        if not path.is_file():
            return
        stored = load_checkpoint(path)
        try:
            for name in self.PARTS:
                getattr(self, name).load_state_dict(stored[name])
            if self.memory is not None:
                self.memory.load_state_dict(stored["memory"], self.student.device)
            self.step = stored["step"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"{path}: a checkpoint of another recipe; delete it to start the run anew") from error
        for name, what in (("data", "on other pictures, ratings or parts"), ("origin", "from other weights")):
            if stored.get(name, getattr(self, name)) != getattr(self, name):  # older checkpoints do not say
                raise DataError(f"{path}: a checkpoint of a run {what}; name another --out, or delete it")


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


def _rank() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _optimizer(learner: Learner, config: LoopConfig) -> torch.optim.Optimizer:
    """AdamW with groups by peak rate (`base`), first step of the warm-up (`wait`) and decay."""
    groups: dict[tuple[float, int, float], list[Tensor]] = {}
    for name, parameter in learner.named_parameters():
        if not parameter.requires_grad:
            continue
        rate, wait = config.head_rate, 0
        if name.startswith("net.backbone."):
            # A head that knows nothing yet would only spoil the backbone, which therefore starts late.
            rate, wait = config.backbone_rate * _early(name, config.early), config.warmup
        # Biases, norms and queries are not decayed.
        decay = config.weight_decay if parameter.ndim > 1 and "queries" not in name else 0.0
        groups.setdefault((rate, wait, decay), []).append(parameter)
    listed = [
        {"params": found, "lr": rate, "base": rate, "wait": wait, "weight_decay": decay}
        for (rate, wait, decay), found in groups.items()
    ]
    return torch.optim.AdamW(listed, betas=(0.9, 0.99))


def _early(name: str, share: float) -> float:
    """Share of the backbone's rate: of the stem and the first two groups of blocks, the next two, the others."""
    _, _, block = name.partition(".blocks.")
    number = int(block.split(".")[0]) if block else 0
    return share if number < 2 else share**0.5 if number < 4 else 1.0


def _set_rates(optimizer: torch.optim.Optimizer, config: LoopConfig, step: int) -> None:
    falling = min(1.0, (config.steps - step) / max(1, config.steps - config.decay_from))
    for group in optimizer.param_groups:
        length = max(1, config.warmup * (2 if group["wait"] else 1))
        group["lr"] = group["base"] * falling * min(1.0, max(0.0, (step + 1 - group["wait"]) / length))


def _average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """The mean over the processes, of every parameter; one that took no part in a process's step counts as 0 there."""
    _, world = _rank()
    if world == 1:
        return
    trained = [p for p in parameters if p.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained])
    dist.all_reduce(flat)
    for parameter, part in zip(trained, torch.split(flat / world, [p.numel() for p in trained]), strict=True):
        parameter.grad = part.view_as(parameter).clone(memory_format=torch.preserve_format)


def _drop_paths(net: QFMNet, largest: float) -> None:
    """Drop residual branches at random in training, the later the more often (stochastic depth)."""
    from timm.layers import DropPath  # type: ignore[attr-defined]

    if not hasattr(net.backbone, "blocks"):
        return
    blocks = [block for stage in net.backbone.blocks for block in stage]
    for i, block in enumerate(blocks):
        if getattr(block, "has_skip", False):
            block.drop_path = DropPath(largest * i / len(blocks))


def keep_statistics(net: nn.Module) -> None:
    """Put BatchNorm layers in evaluation mode; call after `net.train()`."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
