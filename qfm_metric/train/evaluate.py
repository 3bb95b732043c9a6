"""Score a part of a data set and compare with people: overall, by subset, and without near-duplicates."""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..images import load_image
from ..score import QFMScore
from .agreement import Scores, agreement, bootstrap_interval, logistic_fit, plcc, srcc
from .datasets.table import Row


def figures(scores: Scores, rows: Sequence[Row], seen_groups: Collection[str] = ()) -> dict[str, Any]:
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
    found = {
        "all": agreement(scores, mos),
        "srcc_interval": bootstrap_interval(scores, mos),
        "within_srcc": float(np.mean([part["srcc"] for part in subsets.values()])),
        "subsets": subsets,
    }
    return found if fresh.all() else found | {"no_duplicates": agreement(scores[fresh], mos[fresh])}


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
    axis.set_title(f"{len(scores)} pictures, SRCC {srcc(scores, mos):.3f}, PLCC {plcc(scores, mos):.3f}", fontsize=11)
    axis.set(xlabel="score", ylabel="MOS", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left", fontsize=9)
    figure.savefig(path, dpi=150)
