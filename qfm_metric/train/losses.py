"""Loss terms: each a function of scores in (0, 1), or of features, that returns a scalar; lower is better."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def regression(scores: Tensor, mos: Tensor, knee: float = 0.1, weight: Tensor | None = None) -> Tensor:
    """Smooth L1 against the MOS, quadratic within `knee` (DEIQT's loss; the knee is ours).

    Args:
        weight: `(N,)`, how sure each target is; their mean over the batch does not matter. None: alike.
    """
    found = F.smooth_l1_loss(scores, mos, beta=knee, reduction="none")
    return found.mean() if weight is None else (weight / weight.mean() * found).mean()


def ranking(scores: Tensor, mos: Tensor, sources: Tensor, scale: float = 0.05) -> Tensor:
    """People's preferences between pictures of one source: RankNet with soft targets (ours).

    Over all pairs i < j of one source the mean Kullback-Leibler divergence between two coins: `sigmoid((y_i - y_j) /
    scale)` of the MOS, `sigmoid((s_i - s_j) / scale)` of the scores. It is the binary cross-entropy less its least
    value, so its minimum is 0; it is blind to what tells sources apart. 0 without pairs.

    Args:
        scores, mos: `(N,)`.
        sources: `(N,)`, integers.
        scale: In units of the score: a gap of this size is a preference of 73 %.
    """
    i, j = torch.triu_indices(len(scores), len(scores), offset=1, device=scores.device)
    alike = sources[i] == sources[j]
    found, target = (_pair_gaps(values)[alike] / scale for values in (scores, mos))
    preferred = torch.sigmoid(target)
    entropies = F.binary_cross_entropy_with_logits(target, preferred, reduction="none")
    crossed = F.binary_cross_entropy_with_logits(found, preferred, reduction="none")
    return (crossed - entropies).sum() / max(1, found.numel())


def consistency(perturbed: Tensor, clean: Tensor) -> Tensor:
    """`mean |perturbed - stopgrad(clean)|` of scores `(N,)` with and without semantic noise, or an attack.

    QFM-IQM, Sec. 3.6, asks for this insensitivity to noise; the equation is ours. Of an attack of size e in the
    direction of the gradient's sign it is e times the gradient's l1 norm, to first order, which Liu et al. (CVPR 2024)
    regularise. The clean prediction is the target and gets no gradient, or both could agree by becoming constant.
    """
    return (perturbed - clean.detach()).abs().mean()


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


def defects(found: Tensor, costs: Tensor) -> Tensor:
    """Squared error of what each defect costs, and of its deviation from the size of that error (ours).

    The sum over the defects, the mean over the pictures. The deviation is fitted to the error as it is, with a small
    share: it must not buy what it says with a worse cost. Nor may it shape the features: a likelihood's gradient, which
    grows with the error over the variance, was up to forty times that of all other terms together. A mean absolute
    error is .8 standard deviations of a Gaussian; `calibrate` fits what is left.

    Args:
        found: `(N, K, 2)`, costs and their standard deviations, in (0, 1).
        costs: `(N, K)` in [0, 1].
    """
    error = found[..., 0] - costs
    return error.square().sum(dim=1).mean() + _deviations(error, found[..., 1])


def named_defects(logits: Tensor, costs: Tensor, most: float = 0.5) -> Tensor:
    """What each defect costs, which of them cost most, and the deviation of the costs (ours).

    The cross-entropy of the costs, as if each were a chance: its least is at the costs themselves, and it teaches rare
    ones sooner than squares do. Beside it, of pictures with a defect, that of a softmax of the logits against the
    shares of the odds of the costs. Its least is there too, and it raises no cost of a picture whose other costs can
    fall. The deviation is as in `defects`.

    Args:
        logits: `(N, K, 2)`, of costs and of their standard deviations.
        costs: `(N, K)` in [0, 1].
        most: Weight of the cross-entropy of names, in which a picture counts as much as its worst name costs.
    """
    each = F.binary_cross_entropy_with_logits(logits[..., 0], costs, reduction="none").sum(dim=1).mean()
    odds = costs / (1 - costs).clamp(min=0.01)
    shares = odds / odds.sum(dim=1, keepdim=True).clamp(min=1e-6)
    highest = costs.amax(dim=1)
    named = (highest * F.cross_entropy(logits[..., 0], shares, reduction="none")).sum() / highest.sum().clamp(min=1e-6)
    found = torch.sigmoid(logits)
    return each + most * named + _deviations(found[..., 0] - costs, found[..., 1])


def _deviations(errors: Tensor, stds: Tensor) -> Tensor:
    """A small share of the squares of what `(N, K)` deviations differ by from the sizes of the errors."""
    return 0.1 * (stds - errors.detach().abs()).square().sum(dim=1).mean()


def difference(scores: Tensor, targets: Tensor) -> Tensor:
    """Smooth L1, quadratic within 0.05, between the score gaps of a series' pictures and their targets (ours).

    Mean over series and over their pairs i < j of `l((s_i - s_j) - (t_i - t_j))`: how much quality a degradation takes,
    whatever the clean picture scores. 0 for series of one picture.

    Args:
        scores, targets: `(series, rungs)`.
    """
    gaps = _pair_gaps(scores)
    return F.smooth_l1_loss(gaps, _pair_gaps(targets), beta=0.05, reduction="sum") / max(1, gaps.numel())


def falling(scores: Tensor, margin: float = 0.01) -> Tensor:
    """How far each picture of a series is from scoring `margin` less than the one before, where it does not (ours).

    The mean over the steps; 0 where all fall so far.

    Args:
        scores: `(series, rungs)`, from the best picture to the worst.
    """
    return F.relu(scores.diff(dim=1) + margin).mean()


def _pair_gaps(scores: Tensor) -> Tensor:
    """`(..., n)` scores to the gaps `s_i - s_j` of all pairs i < j, `(..., n * (n - 1) / 2)`."""
    i, j = torch.triu_indices(scores.shape[-1], scores.shape[-1], offset=1, device=scores.device)
    return scores[..., i] - scores[..., j]


def supervised_contrast(embeddings: Tensor, classes: Tensor, temperature: float = 0.1) -> Tensor:
    """Rows of one class are to lie nearer to each other than to all others (Khosla et al., NeurIPS 2020, `L_out`).

    Mean of `-mean_p log(exp(z_i . z_p / t) / sum_a exp(z_i . z_a / t))` over the rows i that have others of their
    class: p are those others, a all rows but i. 0 where no class has two rows.

    Args:
        embeddings: `(N, D)`, unit length.
        classes: `(N,)`, integers.
        temperature: t; CONTRIQUE's is .1.
    """
    itself = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    alike = (classes[:, None] == classes) & ~itself
    logits = (embeddings @ embeddings.T / temperature).masked_fill(itself, -torch.inf)
    chances = logits.log_softmax(dim=1).masked_fill(~alike, 0.0).sum(dim=1)
    others = alike.sum(dim=1)
    return -(chances / others.clamp(min=1)).sum() / (others > 0).sum().clamp(min=1)


def total(weights: Mapping[str, float], terms: dict[str, Tensor]) -> Tensor:
    """Weighted sum of named terms; a term without a weight counts fully."""
    return torch.stack([weights.get(name, 1.0) * value for name, value in terms.items()]).sum()
