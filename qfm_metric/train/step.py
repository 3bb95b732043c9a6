"""One training step's losses: what is drawn from the material, what passes the seam, what is compared with what.

photographs  -> tokens -> scores     against their MOS, and against the teacher
                    \\-> + noise -> scores    against the MOS again, and against the scores without noise
photographs  + attack                -> scores    against MOS and teacher, and against the scores without attack
series       -> tokens -> scores     against what people say that each version keeps
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..model import QFMNet
from . import losses, severity
from .datasets.table import Decoded
from .frozen import Views, run_rest
from .matching import Memory, match, perturb, share
from .material import Material, Pool

CPU = torch.device("cpu")
MICRO_BATCH = 4  # pictures that pass the backbone at a time: more fall out of a CPU's cache and take 1.5 times as long
Noise = Literal["none", "random", "matched", "v1"]


@dataclass(frozen=True)
class Objective:
    """What is compared and how much it counts.

    Attributes:
        batch: Photographs a step, per process.
        series: Series a step, per process.
        cells: Of each view, drawn at random in each step; 0: all. A head learns several times faster from a quarter of
            them, and fits less to what is particular in one picture. Needs a recipe that freezes every block.
        noise: Whose tokens are added at the seam; "none" switches the perturbation off (controls of the method).
        strength: Of the noise, as a ratio of root mean squares.
        tolerance: Largest difference in quality of a matched partner, in units of the score.
        among: A partner is drawn among this many of the best matches.
        memory: Capacity of the temporary memory, per shape of picture.
        attack: Largest change of a pixel by a one-step attack on the views, in [0, 1]; 0: none. Needs a recipe that
            freezes nothing, because the attack must reach the views.
        weights: Per term; 0: it is not computed.
    """

    batch: int = 14
    series: int = 3
    cells: int = 0
    noise: Noise = "matched"
    strength: float = 0.3
    tolerance: float = 0.05
    among: int = 8
    memory: int = 256
    attack: float = 0.0
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "regression": 10.0,
            "correlation": 0.5,
            "perturbed": 5.0,
            "consistency": 1.0,
            "distillation": 5.0,
            "rank_distillation": 0.2,
            "severity": 5.0,
            "difference": 10.0,
            "attacked": 10.0,
            "adversarial": 0.0,
            "uncertainty": 0.1,
        }
    )

    def __post_init__(self) -> None:
        if self.noise not in get_args(Noise):
            raise ValueError(f"noise: expected none, random, matched or v1, got {self.noise!r}")


@dataclass(frozen=True)
class Labels:
    """What is known of each decoded picture: `(N,)` each. Without a teacher, `teacher` is the MOS and `spread` is 0.

    Attributes:
        mos: Human mean, in [0, 1].
        teacher, spread: Mean and standard deviation over the teacher's members, in units of the score.
    """

    mos: NDArray[np.float32]
    teacher: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def of(cls, decoded: Decoded) -> "Labels":
        mos = decoded.mos
        return cls(mos, mos, np.zeros_like(mos))

    @property
    def clean(self) -> NDArray[np.float32]:
        """What a picture is taken to score before it is degraded: MOS and teacher say it together."""
        return ((self.mos + self.teacher) / 2).astype(np.float32, copy=False)


class Outputs(NamedTuple):
    """What one forward pass gives a training step.

    Attributes:
        scores: `(N,)` per batch.
        stds: `(N,)` per batch, or nothing if the network predicts none.
        tokens, semantics: Of the first batch, `(N, L, D)` and `(N, C)`.
        noisy, attacked: Scores `(N,)` of the first batch with noise at the seam, and of its attacked views, or None.
    """

    scores: list[Tensor]
    stds: list[Tensor]
    tokens: Tensor
    semantics: Tensor
    noisy: Tensor | None
    attacked: Tensor | None


class CachedForward(nn.Module):
    """From what the frozen layers gave to scores; what DistributedDataParallel wraps."""

    def __init__(self, net: QFMNet, frozen: int, bf16: bool = False) -> None:
        super().__init__()
        self.net, self.frozen = net, frozen
        self.bf16 = bf16  # the backbone in bfloat16, where the device has it

    def forward(
        self, batches: Sequence[tuple[Tensor, Tensor]], views: int, noise: Any = None, attack: float = 0.0
    ) -> Outputs:
        """Score batches of cached views, which may be of different view shapes.

        Args:
            batches: Rows of `(cut map, cells)`, `views` rows a picture.
            noise: Tokens `(N, L, D)` and semantics `(N, C)` of the first batch to noisy tokens, or None.
            attack: See `Objective`; above 0 the first batch's cut map must be its views.
        """
        net, first = self.net, batches[0]
        cells = [self.cells(*batch, views) for batch in batches]
        tokens = [self.embed(c, views) for c in cells]
        answers = [net.decoder(t) for t in tokens]
        scores = [net.calibration(net.forward_logits(a)) for a in answers]
        stds = [net.forward_std(a.detach()) for a in answers] if net.config.uncertainty else []
        semantics = describe(net, cells[0], views)
        noisy = noise(tokens[0], semantics) if noise else None
        attacked = None
        if attack:

            def score(moved: Tensor) -> Tensor:
                return self.score(self.embed(self.cells(moved, first[1], views), views))

            attacked = score(one_step_attack(net, score, first[0], attack))
        return Outputs(scores, stds, tokens[0], semantics, None if noisy is None else self.score(noisy), attacked)

    def embed(self, cells: Tensor, views: int) -> Tensor:
        return self.net.embed(cells, len(cells) // views)

    def cells(self, cut: Tensor, cells: Tensor, views: int) -> Tensor:
        size = MICRO_BATCH * views
        with torch.autocast(cut.device.type, torch.bfloat16, enabled=self.bf16):
            parts = zip(torch.split(cut, size), torch.split(cells, size), strict=True)
            return torch.cat([run_rest(self.net, self.frozen, *part).float() for part in parts])

    @property
    def device(self) -> torch.device:
        return self.net.mean.device

    def score(self, tokens: Tensor) -> Tensor:
        return self.net.calibration(self.net.forward_head(tokens))


def one_step_attack(net: QFMNet, score: Callable[[Tensor], Tensor], views: Tensor, size: float) -> Tensor:
    """Views moved by at most `size` a pixel so that each picture's score rises, or for half of them falls.

    From a random point `z` of the ball, `z + 1.25 size * sign(+-grad s(z))`, brought back into the ball and [0, 1]:
    Wong et al., *Fast is better than free*, ICLR 2020, with the score in place of a loss. Without the random start a
    network learns to look safe where the step ends, and is not.

    Args:
        score: Views to scores `(N,)`.
        views: `(N * V, 3, h, w)`, normalised.
    """
    step, low, high = size / net.std, -net.mean / net.std, (1 - net.mean) / net.std
    start = (views + step * (2 * torch.rand_like(views) - 1)).clamp(low, high).requires_grad_()
    scores = score(start)
    ways = torch.randint(0, 2, scores.shape, device=scores.device) * 2.0 - 1
    (gradient,) = torch.autograd.grad((ways * scores).sum(), start)
    moved = start.detach() + 1.25 * step * gradient.sign()
    return moved.clamp(views - step, views + step).clamp(low, high)


def describe(net: QFMNet, cells: Tensor, views: int) -> Tensor:
    """Unit-length content descriptors `(N, C)`: the deepest map, which has no spread in its cells, over all views."""
    deepest = cells[:, -net.backbone.feature_info.channels()[-1] :].detach()
    means = deepest.mean(dim=(-2, -1)).reshape(len(cells) // views, views, -1).mean(dim=1)
    return F.normalize(means, dim=1)


def predict_cached(net: QFMNet, frozen: int, cached: Views) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores `(N,)` of cached pictures and their standard deviations `(N,)`, NaN if the network predicts none.

    Under `torch.distributed` each rank scores a share, and all get the whole.
    """
    forward = CachedForward(net.eval(), frozen)
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    share = np.array_split(np.arange(len(cached)), world)[rank]
    parts = np.array_split(share, max(1, len(share) // MICRO_BATCH))
    with torch.inference_mode():
        batches = ([to(forward.device, *cached.batch(part))] for part in parts)
        found = [forward(batch, cached.views) for batch in batches]
        unknown = torch.full_like(found[0].scores[0], torch.nan)
        pairs = [torch.stack([out.scores[0], *(out.stds or [unknown[: len(out.scores[0])]])]).cpu() for out in found]
        both = torch.cat(pairs, dim=1)
    if world > 1:
        shares: list[Any] = [None] * world
        dist.all_gather_object(shares, both)
        both = torch.cat(shares, dim=1)
    return both[0].numpy(), both[1].numpy()


def to(device: torch.device, *tensors: Tensor) -> Any:
    return tuple(tensor.to(device) for tensor in tensors)


def step_losses(
    forward: nn.Module,
    material: Material,
    labels: Labels,
    config: Objective,
    memory: Memory,
    seed: Sequence[int],
    rank: int = 0,
    device: torch.device = CPU,
) -> dict[str, Tensor]:
    """One batch of photographs and one of series to named loss terms.

    Args:
        seed: Of this step; with `rank` it fixes the draw. Every rank draws from the same pools, so shapes agree.
        device: Of `forward`.
    """
    # A trailing 0 would not change a seed: rank 0 would repeat the common draw.
    common, own = np.random.default_rng([*seed]), np.random.default_rng([*seed, rank + 1])
    pool = _choose(material.photos, common)
    rows = pool.starts[own.integers(0, len(pool.starts), config.batch)]
    batches = [to(device, *_draw(pool.views, rows, config.cells, own))]
    series_pool = _choose(material.series, common) if material.series and config.series else None
    if series_pool is not None:
        first = series_pool.starts[own.integers(0, len(series_pool.starts), config.series)]
        series_rows = (first[:, None] + np.arange(series_pool.rungs)).ravel()
        batches.append(to(device, *_draw(series_pool.views, series_rows, config.cells, own)))
    source = pool.source[rows]
    mos, ids = to(device, torch.from_numpy(labels.mos[source]), torch.from_numpy(source))
    noise = _noise(config, memory, mos, ids, torch.Generator().manual_seed(int(own.integers(2**31))))
    out: Outputs = forward(batches, pool.views.views, noise, config.attack)
    if config.noise != "none":
        memory.push(*share(out.tokens, out.semantics, mos, ids))
    terms = _photo_terms(config, out, mos, labels, source)
    targets = [mos]
    if series_pool is not None:
        targets.append(_series_targets(series_pool, series_rows, labels).to(device))
        by_series = (values.view(-1, series_pool.rungs) for values in (out.scores[1], targets[1]))
        # Squares: absolute errors would leave what is hard to see where the clean pictures are.
        terms["severity"] = losses.regression(out.scores[1], targets[1], knee=0.5)
        terms["difference"] = losses.difference(*by_series)
    if out.stds:
        spread = torch.zeros(sum(map(len, targets)), device=device)  # nobody disagrees about a series' targets
        spread[: len(mos)] = torch.from_numpy(labels.spread[source])
        scores, wanted, stds = (torch.cat(parts) for parts in (out.scores, targets, out.stds))
        terms["uncertainty"] = losses.uncertainty(scores, wanted, spread, stds)
    return {name: value for name, value in terms.items() if config.weights.get(name)}


def _choose(pools: Sequence[Pool], rng: np.random.Generator) -> Pool:
    shares = np.array([pool.share for pool in pools])
    return pools[int(rng.choice(len(pools), p=shares / shares.sum()))]


def _draw(views: Views, rows: NDArray[np.int64], cells: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    return views.sample(rows, cells, rng) if cells else views.batch(rows, flip=rng.random() < 0.5)


def _noise(config: Objective, memory: Memory, mos: Tensor, ids: Tensor, generator: torch.Generator) -> Any:
    """The function that adds matched tokens at the seam, or None for the control without noise."""
    rule = config.noise
    if rule == "none":
        return None

    def noise(tokens: Tensor, semantics: Tensor) -> Tensor | None:
        held = memory.fifos.get(tokens.shape[1])
        if held is None:
            return None
        found = match(
            semantics, mos, ids, held.semantics, held.scores, held.ids, rule, config.tolerance, generator, config.among
        )
        return perturb(tokens, held.tokens[found.clamp(min=0)], config.strength, found >= 0)

    return noise


def _photo_terms(
    config: Objective, out: Outputs, mos: Tensor, labels: Labels, source: NDArray[np.int64]
) -> dict[str, Tensor]:
    known = (labels.teacher, labels.spread, labels.clean)
    teacher, spread, clean = to(mos.device, *(torch.from_numpy(values[source]) for values in known))
    scores = out.scores[0]
    terms = {"regression": losses.regression(scores, mos), "correlation": losses.correlation(scores, mos)}
    if out.noisy is not None:
        terms["perturbed"] = losses.regression(out.noisy, mos)
        terms["consistency"] = losses.consistency(out.noisy, scores)
    if out.attacked is not None:
        terms["attacked"] = losses.regression(out.attacked, clean)
        terms["adversarial"] = losses.consistency(out.attacked, scores)
    if config.weights.get("distillation"):
        terms["distillation"] = losses.score_distillation(scores, teacher, spread)
    if config.weights.get("rank_distillation"):
        terms["rank_distillation"] = losses.rank_distillation(scores, teacher)
    return terms


def _series_targets(pool: Pool, rows: NDArray[np.int64], labels: Labels) -> Tensor:
    """`(N,)`: the clean picture's score times the share of it that people say is kept."""
    clean = np.where(pool.source[rows] < 0, severity.FLOOR, labels.clean[pool.source[rows]])
    return torch.from_numpy(severity.target(clean, pool.quality[rows]).astype(np.float32))
