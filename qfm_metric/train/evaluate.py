"""Agreement with people: SRCC, PLCC, KRCC and RMSE, overall, by subset, and without near-duplicates."""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import kendalltau, pearsonr, spearmanr
from torch import Tensor

from ..images import load_image
from ..score import QFMScore
from .datasets.table import Row

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


def report(scores: Scores, rows: Sequence[Row], seen_groups: Collection[str] = ()) -> dict[str, Any]:
    """All figures of one run.

    Args:
        scores: `(N,)`, in the order of `rows`.
        rows: The pictures.
        seen_groups: Groups of the training part; pictures in them are near-duplicates, and left out of one of the
        figures.

    Returns:
        `all`, `no_duplicates` (where there are any), `subsets` (name -> figures), `within_srcc` (mean of the subsets'
        SRCCs), `srcc_interval`.
    """
    mos = np.array([row.mos for row in rows])
    subset = np.array([row.subset for row in rows])
    fresh = np.array([row.group not in seen_groups for row in rows])
    subsets = {str(name): agreement(scores[subset == name], mos[subset == name]) for name in np.unique(subset)}
    figures = {
        "all": agreement(scores, mos),
        "srcc_interval": bootstrap_interval(scores, mos),
        "within_srcc": float(np.mean([part["srcc"] for part in subsets.values()])),
        "subsets": subsets,
    }
    return figures if fresh.all() else figures | {"no_duplicates": agreement(scores[fresh], mos[fresh])}


def figures_to_choose_by(scores: Scores, rows: Sequence[Row]) -> dict[str, float]:
    """`srcc` and `plcc` over all, `within_srcc` (mean of the subsets' SRCCs), and each subset's SRCC by its name."""
    mos, subset = np.array([row.mos for row in rows]), np.array([row.subset for row in rows])
    within = {str(name): srcc(scores[subset == name], mos[subset == name]) for name in np.unique(subset)}
    overall = {"srcc": srcc(scores, mos), "plcc": plcc(scores, mos), "within_srcc": float(np.mean([*within.values()]))}
    return overall | within


def brief(scores: Scores, rows: Sequence[Row]) -> str:
    """SRCC, PLCC and the mean of the subsets' SRCCs in a line, to choose by."""
    found = figures_to_choose_by(scores, rows)
    parts = " ".join(f"{value:.3f}" for name, value in found.items() if name not in ("srcc", "plcc", "within_srcc"))
    return f"SRCC {found['srcc']:.4f}, PLCC {found['plcc']:.4f}, within {found['within_srcc']:.4f} ({parts})"


def score_rows(
    metric: QFMScore, rows: Sequence[Row], progress: Callable[[int], None] = lambda done: None
) -> tuple[Scores, Scores | None]:
    """`score_images` of the pictures' files."""
    return score_images(metric, (load_image(row.image) for row in rows), progress)


def score_images(
    metric: QFMScore, images: Iterable[Tensor], progress: Callable[[int], None] = lambda done: None
) -> tuple[Scores, Scores | None]:
    """Score pictures one at a time, as a user's call would: `(N,)`, and the deviations `(N,)` if known."""
    scores, stds = [], []
    with torch.inference_mode():
        for done, image in enumerate(images, start=1):
            found = metric.assess(image)
            scores.append(found.score.item())
            if found.std is not None:
                stds.append(found.std.item())
            progress(done)
    return np.array(scores), np.array(stds) if stds else None


def scatter(scores: Scores, mos: Scores, subsets: Sequence[str], path: Path) -> None:
    """Draw scores against MOS, both `(N,)`, by subset, with the fitted logistic; the suffix says the format."""
    from matplotlib.figure import Figure  # of the extra `train`; slow to import

    figure = Figure(figsize=(6, 6), layout="constrained")
    axis = figure.subplots()
    for name in sorted(set(subsets)):
        chosen = np.array([subset == name for subset in subsets])
        axis.scatter(scores[chosen], mos[chosen], s=8, alpha=0.5, linewidths=0, label=name or "all pictures")
    if np.ptp(scores) > 0:
        line = np.linspace(scores.min(), scores.max(), 200)
        axis.plot(line, logistic_fit(scores, mos)(line), color="black", label="logistic fit")
    figures = agreement(scores, mos)
    axis.set_title(f"{len(scores)} pictures, SRCC {figures['srcc']:.3f}, PLCC {figures['plcc']:.3f}", fontsize=11)
    axis.set(xlabel="score", ylabel="MOS", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left", fontsize=9)
    figure.savefig(path, dpi=150)
