"""Loss terms: each a function of scores in (0, 1), or of features, that returns a scalar; lower is better."""

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
    return 1 - (scores * mos).sum() / norms.clamp(min=1e-6)


def consistency(perturbed: Tensor, clean: Tensor) -> Tensor:
    """`mean |perturbed - stopgrad(clean)|` of scores `(N,)` with and without semantic noise, or an attack.

    QFM-IQM, Sec. 3.6, asks for this insensitivity to noise; the equation is ours. Of an attack of size e in the
    direction of the gradient's sign it is e times the gradient's l1 norm, to first order, which Liu et al. (CVPR 2024)
    regularise. The clean prediction is the target and gets no gradient, or both could agree by becoming constant.
    """
    return (perturbed - clean.detach()).abs().mean()


def score_distillation(scores: Tensor, teacher: Tensor, spread: Tensor, knee: float = 0.1) -> Tensor:
    """Smooth L1 to the teachers' mean score, less where they disagree (ours).

    `mean_i v_i * l(s_i - t_i)` with `v_i` proportional to `1 / (1 + (spread_i / 0.05)^2)` and of mean 1 over the batch:
    weights compare pictures of a batch, not batches.

    Args:
        scores: `(N,)`.
        teacher: `(N,)`, mean over the teachers.
        spread: `(N,)`, standard deviation over the teachers, in units of the score.
        knee: As in `regression`.
    """
    weights = 1 / (1 + (spread / 0.05).square())
    return (weights / weights.mean() * F.smooth_l1_loss(scores, teacher, beta=knee, reduction="none")).mean()


def rank_distillation(scores: Tensor, teacher: Tensor, scale: float = 0.05) -> Tensor:
    """The teacher's preferences between the pictures of a batch: RankNet with soft targets (ours).

    Over all pairs i < j the mean Kullback-Leibler divergence between two coins: `p = sigmoid((t_i - t_j) / scale)` of
    the teacher, `q = sigmoid((s_i - s_j) / scale)` of the student. It is the binary cross-entropy of q against p less
    the entropy of p, so its minimum is 0; it is blind to a constant offset. 0 for a single picture.

    Args:
        scores, teacher: `(N,)`.
        scale: In units of the score: a gap of this size is a preference of 73 %.
    """
    student, target = _pair_gaps(scores) / scale, _pair_gaps(teacher) / scale
    preferred = torch.sigmoid(target)
    entropies = F.binary_cross_entropy_with_logits(target, preferred, reduction="none")
    crossed = F.binary_cross_entropy_with_logits(student, preferred, reduction="none")
    return (crossed - entropies).sum() / max(1, student.numel())


def uncertainty(scores: Tensor, mos: Tensor, spread: Tensor, std: Tensor) -> Tensor:
    """Gaussian negative log-likelihood of the MOS about the score, which is taken as it is (ours).

    `mean (log(std^2) + ((y - stopgrad(s))^2 + spread^2) / std^2) / 2`: lowest where the squared standard deviation is
    the squared residual to be expected plus the teachers' disagreement. The score learns nothing from it.

    Args:
        scores, mos: `(N,)`.
        spread: `(N,)`, standard deviation over the teachers.
        std: `(N,)`, what the network predicts; above 0.
    """
    expected = (mos - scores.detach()).square() + spread.square()
    return (std.square().log() + expected / std.square()).mean() / 2


def difference(scores: Tensor, targets: Tensor) -> Tensor:
    """Smooth L1, quadratic within 0.05, between the score gaps of a series' pictures and their targets (ours).

    Mean over series and over their pairs i < j of `l((s_i - s_j) - (t_i - t_j))`: how much quality a degradation takes,
    whatever the clean picture scores. 0 for series of one picture.

    Args:
        scores, targets: `(series, rungs)`.
    """
    gaps = _pair_gaps(scores)
    return F.smooth_l1_loss(gaps, _pair_gaps(targets), beta=0.05, reduction="sum") / max(1, gaps.numel())


def _pair_gaps(scores: Tensor) -> Tensor:
    """`(..., n)` scores to the gaps `s_i - s_j` of all pairs i < j, `(..., n * (n - 1) / 2)`."""
    i, j = torch.triu_indices(scores.shape[-1], scores.shape[-1], offset=1, device=scores.device)
    return scores[..., i] - scores[..., j]


def total(weights: dict[str, float], terms: dict[str, Tensor]) -> Tensor:
    """Weighted sum of named terms; a term without a weight counts fully."""
    return torch.stack([weights.get(name, 1.0) * value for name, value in terms.items()]).sum()
