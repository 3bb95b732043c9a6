"""One training step's losses: what passes the seam, what is compared with what.

photographs  -> tokens -> scores     against their MOS and the teacher, and against each other within their source
                    \\-> + noise -> scores    against the MOS again, and against the scores without noise
photographs  + attack                -> scores    against MOS and teacher, and against the scores without attack
series       -> tokens -> scores     against what people say that each version keeps
                       -> defects    against what people say that each distortion takes; and which type it is
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import QFMNet, semantic_descriptor
from . import losses
from .matching import Memory, match, perturb, share
from .material import LENGTH, Batch
from .pseudo_labels import Labels

MICRO_BATCH = 4  # views that pass the backbone at a time: more fall out of a CPU's cache and take 1.5 times as long
Noise = Literal["none", "random", "matched", "v1"]


@dataclass(frozen=True)
class Objective:
    """What is compared and how much it counts.

    Attributes:
        noise: Whose tokens are added at the seam; "none" switches the perturbation off (controls of the method).
        strength: Ratio of that noise to the tokens.
        tolerance: Largest gap in quality between matched pictures, in units of the score.
        among: A partner is drawn among this many of the best candidates.
        memory: Capacity of the temporary memory, per shape of picture.
        second_reader: Share of each other reader's losses beside the decoder's; each reader learns on its own.
        attack: Largest change of a pixel by a one-step attack on the views, in [0, 1]; 0: none.
        weights: Per term; 0: it is not computed.
    """

    noise: Noise = "matched"
    strength: float = 0.3
    tolerance: float = 0.05
    among: int = 8
    memory: int = 256
    second_reader: float = 0.5
    attack: float = 0.0
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "regression": 10.0,
            "distillation": 5.0,
            "ranking": 1.0,
            "perturbed": 5.0,
            "consistency": 1.0,
            "severity": 10.0,
            "difference": 3.0,
            "defects": 5.0,
            "types": 0.15,
            "uncertainty": 0.1,
            "attacked": 10.0,
            "adversarial": 0.0,
        }
    )

    def __post_init__(self) -> None:
        if self.noise not in get_args(Noise):
            raise ValueError(f"noise: expected none, random, matched or v1, got {self.noise!r}")


class Outputs(NamedTuple):
    """What one forward pass gives a training step of N pictures, P of them photographs.

    Attributes:
        scores: `(N,)`.
        readers: `(N, R)` scores, of each reader on its own.
        stds: `(N,)` about the scores, or None if the network predicts none.
        defects: `(N, K, 2)` costs and deviations, or None if the network names none.
        types: `(N, T)` logits of the types of distortion; the last is "none".
        tokens, semantics: Of the photographs, `(P, L, D)` and `(P, C)`.
        noisy, attacked: Scores `(P,)` of the photographs with noise at the seam, and of their attacked views, or None.
    """

    scores: Tensor
    readers: Tensor
    stds: Tensor | None
    defects: Tensor | None
    types: Tensor
    tokens: Tensor
    semantics: Tensor
    noisy: Tensor | None
    attacked: Tensor | None


class Learner(nn.Module):
    """The network; layers that it needs for training alone stand beside it."""

    def __init__(self, net: QFMNet, bf16: bool = False) -> None:
        super().__init__()
        self.net = net
        self.bf16 = bf16  # the backbone in bfloat16, where the device has it

    def cells(self, views: Tensor) -> Tensor:
        """`(N, V, 3, h, w)` to cell statistics `(N * V, C, rows, columns)`, a few views at a time."""
        with torch.autocast(views.device.type, torch.bfloat16, enabled=self.bf16):
            parts = torch.split(views.flatten(0, 1).to(memory_format=torch.channels_last), MICRO_BATCH)
            return torch.cat([self.net.cells(self.net.backbone(part)).float() for part in parts])

    @property
    def device(self) -> torch.device:
        return self.net.mean.device


class Student(Learner):
    """The network, and a head for training alone, which says the type of a distortion.

    Naming types is worth .04 over seven data sets to others' networks (mean SRCC, published); here it also shapes what
    the named defects are read from.
    """

    def __init__(self, net: QFMNet, types: int, bf16: bool = False) -> None:
        super().__init__(net, bf16)
        self.types = nn.Linear(net.config.dim, types + 1)

    def forward(self, views: Tensor, photos: int, noise: Any = None, attack: float = 0.0) -> Outputs:
        """Score pictures of one shape.

        Args:
            views: `(N, V, 3, h, w)`, normalised; the first `photos` are photographs.
            noise: Tokens `(P, L, D)` and semantics `(P, C)` of the photographs to noisy tokens, or None.
            attack: See `Objective`.
        """
        found = self.judge(self.cells(views), len(views), photos, noise)
        if not attack:
            return found
        return found._replace(attacked=self.score(one_step_attack(self.net, self.score, views[:photos], attack)))

    def judge(self, cells: Tensor, pictures: int, photos: int, noise: Any = None) -> Outputs:
        """As `forward`, from cells `(N * V, C, rows, columns)` of N `pictures`."""
        net = self.net
        tokens, seen = net.embed(cells, pictures), net.statistics(cells, pictures)
        answers = net.decoder(tokens)
        # What is learned of deviations must not change what is scored.
        stds = net.forward_std(answers.detach()) if net.config.uncertainty else None
        deepest = cells[:: len(cells) // pictures, -net.backbone.feature_info.channels()[-1] :]
        semantics = semantic_descriptor(deepest[:photos].detach())
        noisy = noise(tokens[:photos], semantics) if noise else None
        return Outputs(
            net.calibration(net.forward_logits(answers, tokens, seen)),
            net.calibration(net.forward_readers(answers, tokens, seen)),
            stds,
            net.forward_defects(tokens, seen) if net.config.defects else None,
            self.types(tokens.mean(dim=1)),
            tokens[:photos],
            semantics,
            None if noisy is None else net.calibration(net.forward_head(noisy, seen[:photos])),
            None,
        )

    def score(self, views: Tensor) -> Tensor:
        """`(N, V, 3, h, w)` to scores `(N,)`."""
        return self.net.calibration(self.net.forward_cells(self.cells(views), len(views)))


def one_step_attack(net: QFMNet, score: Callable[[Tensor], Tensor], views: Tensor, size: float) -> Tensor:
    """Views moved by at most `size` a pixel so that each picture's score rises, or for half of them falls.

    From a random point `z` of the ball, `z + 1.25 size * sign(+-grad s(z))`, brought back into the ball and [0, 1]:
    Wong et al., *Fast is better than free*, ICLR 2020, with the score in place of a loss. Without the random start a
    network learns to look safe where the step ends, and is not.

    Args:
        score: Views to scores `(N,)`.
        views: `(N, V, 3, h, w)`, normalised.
    """
    step, low, high = size / net.std, -net.mean / net.std, (1 - net.mean) / net.std
    start = (views + step * (2 * torch.rand_like(views) - 1)).clamp(low, high).requires_grad_()
    scores = score(start)
    ways = torch.randint(0, 2, scores.shape, device=scores.device) * 2.0 - 1
    (gradient,) = torch.autograd.grad((ways * scores).sum(), start)
    moved = start.detach() + 1.25 * step * gradient.sign()
    return moved.clamp(views - step, views + step).clamp(low, high)


def step_losses(
    student: Student, batch: Batch, labels: Labels, config: Objective, memory: Memory, generator: torch.Generator
) -> dict[str, Tensor]:
    """Terms by name, all of them scalars; those without a weight are left out. Pushes the photographs to the memory.

    Args:
        labels: Of the decoded pictures, which `batch.sources` counts.
        generator: Of the choice of partners.
    """
    photos, sources = batch.photos, batch.sources[: batch.photos]
    arrays = (batch.targets, batch.weights, batch.sources, labels.teacher[sources], labels.spread[sources])
    target, weight, ids, teacher, spread = (torch.from_numpy(x).to(student.device) for x in arrays)
    mos, ids = target[:photos], ids[:photos]
    noise = _noise(config, memory, mos, ids, generator)
    if batch.cells is not None:
        out = student.judge(torch.from_numpy(batch.cells).to(student.device).float(), len(target), photos, noise)
    else:
        views = torch.from_numpy(batch.views).to(student.device).permute(0, 1, 4, 2, 3).float() / 255
        out = student((views - student.net.mean) / student.net.std, photos, noise, config.attack)
    if config.noise != "none":
        memory.push(*share(out.tokens, out.semantics, mos, ids))
    terms: dict[str, Tensor] = {}
    for scores, counts in zip(out.readers.unbind(1), (1.0, *2 * [config.second_reader]), strict=False):
        found = _photo_terms(scores[:photos], mos, teacher, weight[:photos], batch.subsets[:photos])
        if photos < len(target):
            found |= _series_terms(scores[photos:], target[photos:])
        terms = {name: terms.get(name, 0) + counts * value for name, value in found.items()}
    if out.noisy is not None:
        terms["perturbed"] = losses.regression(out.noisy, mos)
        terms["consistency"] = losses.consistency(out.noisy, out.scores[:photos])
    if out.attacked is not None:
        terms["attacked"] = losses.regression(out.attacked, (mos + teacher) / 2)
        terms["adversarial"] = losses.consistency(out.attacked, out.scores[:photos])
    if out.stds is not None:
        disagreement = F.pad(spread, (0, len(target) - photos))  # nobody disagrees about a series' targets
        terms["uncertainty"] = losses.uncertainty(out.scores, target, disagreement, out.stds)
    if out.defects is not None:
        costs = torch.from_numpy(batch.defects).to(student.device)
        known = ~torch.isnan(costs[:, 0])
        if known.any():
            terms["defects"] = losses.defects(out.defects[known], costs[known])
    types = torch.from_numpy(batch.types).to(student.device)
    if (types >= 0).any():
        terms["types"] = F.cross_entropy(out.types, types, ignore_index=-1)
    return {name: value for name, value in terms.items() if config.weights.get(name)}


def _photo_terms(scores: Tensor, mos: Tensor, teacher: Tensor, weight: Tensor, subset: Any) -> dict[str, Tensor]:
    sources = torch.from_numpy(np.unique(subset, return_inverse=True)[1]).to(scores.device)
    return {
        "regression": losses.regression(scores, mos, weight=weight),
        "distillation": losses.regression(scores, teacher, weight=weight),
        "ranking": losses.ranking(scores, mos, sources),
    }


def _series_terms(scores: Tensor, target: Tensor) -> dict[str, Tensor]:
    # Squares: absolute errors would leave what is hard to see where the clean pictures are.
    return {
        "severity": losses.regression(scores, target, knee=0.5),
        "difference": losses.difference(scores.view(-1, LENGTH), target.view(-1, LENGTH)),
    }


def _noise(
    config: Objective, memory: Memory, mos: Tensor, ids: Tensor, generator: torch.Generator
) -> Callable[[Tensor, Tensor], Tensor | None] | None:
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
