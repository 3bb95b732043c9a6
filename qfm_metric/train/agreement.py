"""Agreement of scores with people's: SRCC, PLCC, KRCC, RMSE, the logistic that the field fits, an interval."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import kendalltau, pearsonr, rankdata, spearmanr

Scores = NDArray[np.floating[Any]]


def agreement(scores: Scores, mos: Scores) -> dict[str, float]:
    """Correlations and error of scores against MOS, both `(N,)`.

    SRCC and KRCC (tau-b) need no fit. `plcc` and `rmse` are of the scores as they are, `plcc_fit` and `rmse_fit` after
    the 4-parameter logistic that the field fits (VQEG). Constant scores correlate with nothing: 0.

    Raises:
        ValueError: lengths differ, or fewer than 3 pictures.
    """
    scores, mos = np.asarray(scores, dtype=float), np.asarray(mos, dtype=float)
    if scores.shape != mos.shape or scores.ndim != 1 or len(scores) < 3:
        raise ValueError(f"expected two (N,) arrays with N >= 3, got {scores.shape} and {mos.shape}")
    constant = np.ptp(scores) == 0 or np.ptp(mos) == 0
    fitted = np.full_like(mos, mos.mean()) if constant else logistic_fit(scores, mos)(scores)
    return {
        "n": len(scores),
        "srcc": srcc(scores, mos),
        "plcc": plcc(scores, mos),
        "krcc": _correlate(kendalltau, scores, mos),
        "rmse": float(np.sqrt(np.mean((scores - mos) ** 2))),
        "plcc_fit": plcc(fitted, mos),
        "rmse_fit": float(np.sqrt(np.mean((fitted - mos) ** 2))),
    }


def srcc(scores: Scores, mos: Scores) -> float:
    """Spearman's rank correlation; constants correlate with nothing: 0."""
    return _correlate(spearmanr, scores, mos)


def plcc(scores: Scores, mos: Scores) -> float:
    """Pearson's linear correlation; constants correlate with nothing: 0."""
    return _correlate(pearsonr, scores, mos)


def _correlate(measure: Any, scores: Scores, mos: Scores) -> float:
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(mos) == 0:
        return 0.0
    return float(measure(scores, mos)[0])


def logistic_fit(scores: Scores, mos: Scores) -> Callable[[Scores], Scores]:
    """The 4-parameter logistic `b2 + (b1 - b2) / (1 + exp(-(s - b3) / |b4|))` with the least squared error."""

    def logistic(b: Scores, s: Scores) -> Scores:
        return b[1] + (b[0] - b[1]) / (1 + np.exp(np.clip(-(s - b[2]) / (abs(b[3]) + 1e-9), -50, 50)))

    start = np.array([mos.max(), mos.min(), np.mean(scores), np.std(scores) / 2])
    found = least_squares(lambda b: logistic(b, scores) - mos, start, x_scale=np.abs(start) + 1e-3, max_nfev=2000).x
    return lambda s: logistic(found, s)


def bootstrap_interval(scores: Scores, mos: Scores, repeats: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the SRCC over pictures drawn with replacement."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(scores), (repeats, len(scores)))
    values = [srcc(scores[i], mos[i]) for i in draws]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def ordered_pairs(scores: Scores, mos: Scores, groups: NDArray[np.str_]) -> dict[str, float]:
    """Which of two pictures of a group is better, such as of one prompt? What picks the best of several needs.

    Args:
        scores, mos, groups: `(N,)`; "" is no group.

    Returns:
        `pairs`, how many of a group have unequal MOS, and `right`, the share of those that the scores order alike;
        equal scores: half. NaN without pairs.
    """
    right, pairs = 0.0, 0
    for group in np.unique(groups[groups != ""]):
        inside = groups == group
        first, second = np.triu_indices(int(inside.sum()), k=1)
        gaps, wanted = (np.sign(x[inside][first] - x[inside][second]) for x in (scores, mos))
        right += float(np.sum((gaps * wanted + 1)[wanted != 0]) / 2)
        pairs += int(np.sum(wanted != 0))
    return {"pairs": pairs, "right": right / pairs if pairs else float("nan")}


def auc(values: Scores, inside: NDArray[np.bool_]) -> float:
    """Share of the pairs of one inside and one outside of which that inside has the higher value; ties: half.

    Args:
        values: `(N,)`.
        inside: `(N,)`; at least one is, and one is not.
    """
    count = int(inside.sum())
    above = rankdata(values)[inside].sum() - count * (count + 1) / 2
    return float(above / (count * (len(inside) - count)))
