"""Do predicted standard deviations tell how far scores are from people's? Coverage, risk against coverage, scale.

All take scores, standard deviations and MOS, `(N,)` each, in units of the MOS; an error is the score less the MOS.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..assessment import half_width
from .agreement import Scores, srcc


class RiskCoverage(NamedTuple):
    """The error that is left when only the pictures with the smallest predicted standard deviation are kept.

    Attributes:
        retained: `(N,)`, share of the pictures kept, from 1 / N to 1.
        rmse: `(N,)`, root mean squared error of those. Pictures of equal standard deviation share their mean squared
            error, so that no order among them counts.
        area: Mean of `rmse` over all shares; lower is better. Where the prediction says nothing it is about the RMSE.
    """

    retained: Scores
    rmse: Scores
    area: float


def coverage(scores: Scores, std: Scores, mos: Scores, level: float) -> float:
    """Share of the pictures whose MOS lies in the interval of probability `level` (`Assessment.interval`), in (0, 1).

    Right is `level` itself: more means that the predicted deviations are too wide, less that they are too narrow.

    Raises:
        ValueError: `level` outside (0, 1); arrays that do not fit together; deviations that are not above 0.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a probability between 0 and 1, got {level}")
    return float(np.mean(np.abs(_deviations(scores, std, mos)) <= half_width(level)))


def fit_scale(scores: Scores, std: Scores, mos: Scores) -> float:
    """The factor on `std` that makes the intervals of 68 % and 95 % hold what they say, as nearly as one number can.

    What the one holds too much the other holds too little. Fit it on validation. It changes no order, and so neither
    `risk_coverage`'s curve nor a correlation.

    Raises:
        ValueError: see `coverage`; or no error at all, which fits no distribution.
    """
    levels = (0.68, 0.95)
    # An error is inside once the factor reaches error / (std * width): both coverages add up to a count of these.
    reached = np.outer(np.abs(_deviations(scores, std, mos)), [1 / half_width(level) for level in levels])
    scale = float(np.quantile(reached, np.mean(levels)))
    if scale == 0:
        raise ValueError("expected scores that differ from the MOS, got none: no deviation is the most likely")
    return scale


def risk_coverage(scores: Scores, std: Scores, mos: Scores) -> RiskCoverage:
    """Keep pictures in order of their predicted standard deviation, smallest first.

    Raises:
        ValueError: see `coverage`.
    """
    squares = (_deviations(scores, std, mos) * std) ** 2
    _, place, ties = np.unique(std, return_inverse=True, return_counts=True)
    shared = (np.bincount(place, squares) / ties)[place]
    kept = np.arange(1, len(squares) + 1)
    rmse = np.sqrt(np.cumsum(shared[np.argsort(std)]) / kept)
    return RiskCoverage(kept / len(squares), rmse, float(rmse.mean()))


def figures(scores: Scores, std: Scores, mos: Scores) -> dict[str, float]:
    """Figures of one part.

    Returns:
        `n`; `coverage_68` and `coverage_95` (see `coverage`); `scale` (what `fit_scale` would still change; 1 is
        right); `mean_std`; `error_srcc` (Spearman's correlation of the absolute error and the standard deviation);
        `rmse` of all and `rmse_half` of the half with the smallest standard deviations; `risk_area` (`RiskCoverage`).

    Raises:
        ValueError: see `fit_scale`; or fewer than 2 pictures.
    """
    if np.size(scores) < 2:
        raise ValueError(f"expected at least 2 pictures, got {np.size(scores)}")
    curve = risk_coverage(scores, std, mos)
    return {
        "n": len(scores),
        "coverage_68": coverage(scores, std, mos, 0.68),
        "coverage_95": coverage(scores, std, mos, 0.95),
        "scale": fit_scale(scores, std, mos),
        "mean_std": float(np.mean(std)),
        "error_srcc": srcc(np.abs(np.subtract(scores, mos)), std),
        "rmse": float(curve.rmse[-1]),
        "rmse_half": float(curve.rmse[len(scores) // 2 - 1]),
        "risk_area": curve.area,
    }


def draw_risk_coverage(scores: Scores, std: Scores, mos: Scores, path: Path) -> None:
    """Draw `risk_coverage`, between the best possible order and none; the suffix of `path` says the format."""
    from matplotlib.figure import Figure  # of the extra `train`; slow to import

    curve = risk_coverage(scores, std, mos)
    error = np.abs(np.subtract(scores, mos))
    # Pictures without any error come first in the best order, at any positive deviation.
    best = risk_coverage(scores, np.maximum(error, np.finfo(float).tiny), mos)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot(curve.retained, curve.rmse, label=f"by predicted deviation (area {curve.area:.4f})")
    axis.plot(best.retained, best.rmse, "--", label=f"by the error itself, the best order (area {best.area:.4f})")
    axis.axhline(curve.rmse[-1], color="grey", linewidth=1, label=f"all pictures (RMSE {curve.rmse[-1]:.4f})")
    axis.set(xlabel="share of the pictures kept, smallest predicted deviation first", ylabel="RMSE", xlim=(0, 1))
    axis.set_ylim(bottom=0)
    axis.set_title(f"{len(curve.rmse)} pictures", fontsize=11)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9, loc="lower right")
    figure.savefig(path, dpi=150)


def _deviations(scores: Scores, std: Scores, mos: Scores) -> Scores:
    """Errors in standard deviations, `(N,)`."""
    shapes = [np.shape(values) for values in (scores, std, mos)]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1 or not shapes[0][0]:
        raise ValueError(f"expected three (N,) arrays with N >= 1, got {', '.join(map(str, shapes))}")
    if not (np.isfinite(std).all() and np.min(std) > 0):
        raise ValueError("std: expected finite standard deviations above 0; do the weights predict them?")
    return np.subtract(scores, mos, dtype=float) / std
