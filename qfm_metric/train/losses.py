"""Loss terms: each a function of scores `(N,)` in (0, 1) that returns a scalar, lower is better."""

import torch
import torch.nn.functional as F
from torch import Tensor


def regression(scores: Tensor, mos: Tensor, knee: float = 0.1) -> Tensor:
    """Smooth L1 against the MOS, quadratic within `knee` (DEIQT's loss; the knee is ours)."""
    return F.smooth_l1_loss(scores, mos, beta=knee)


def correlation(scores: Tensor, mos: Tensor) -> Tensor:
    """`1 - PLCC` over the batch, in [0, 2]; 1 where either side is constant."""
    scores, mos = scores - scores.mean(), mos - mos.mean()
    # The floor stands for spreads far below a step of the scale; it keeps the gradient of a constant batch finite.
    norms = torch.linalg.vector_norm(scores) * torch.linalg.vector_norm(mos)
    plcc: Tensor = (scores * mos).sum() / norms.clamp(min=1e-6)
    return 1 - plcc


def ladder_ranking(scores: Tensor, margin: float) -> Tensor:
    """Hinge on ladders: each rung must score at least `margin` below the one before it.

    Args:
        scores: `(ladders, rungs)`, the clean picture first, then ever stronger degradation.
        margin: In units of the score.
    """
    return F.relu(margin - (scores[:, :-1] - scores[:, 1:])).mean()


def clean_anchor(scores: Tensor, mos: Tensor) -> Tensor:
    """Smooth L1 on the clean rungs of ladders, so that ranking lowers the degraded and does not raise the clean."""
    return regression(scores[:, 0], mos)


def total(weights: dict[str, float], terms: dict[str, Tensor]) -> Tensor:
    """Weighted sum of named terms; a term without a weight counts fully."""
    return torch.stack([weights.get(name, 1.0) * value for name, value in terms.items()]).sum()
