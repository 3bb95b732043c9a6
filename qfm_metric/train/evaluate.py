"""Score a part of a data set and compare with people: overall, by subset, and without near-duplicates."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..guard import GuardedScore
from ..images import load_image
from ..score import QFMScore
from . import thresholds, uncertainty
from .agreement import Scores, agreement, bootstrap_interval, logistic_fit, ordered_pairs, plcc, srcc
from .datasets.authentic import read_biq2021_test
from .datasets.labels import complete
from .datasets.table import DataError, Row, read_table


class Evaluation(NamedTuple):
    """The figures of a part, and the scores `(N,)` of its rows."""

    figures: dict[str, Any]
    scores: Scores
    rows: list[Row]


def evaluate(
    table: Path,
    split: str = "val",
    weights: str | None = None,
    guarded: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Score one part of a table.

    Args:
        table: As `prepare` writes it (all.csv).
        split: `train`, `val` or `test`.
        weights: Id or file; None: the shipped weights.
        guarded: Robust weights that hold the score, as `GuardedScore` does.
        say: Gets lines of progress.

    Returns:
        With `figures` of the scores, which weights they are of, `thresholds` (`thresholds.figures`), and `uncertainty`
        where the weights predict one.

    Raises:
        DataError: the table is not readable, has no rows of that split, or a picture of it is missing.
        WeightsError: no such weights.
    """
    rows = read_table(table)
    part = [row for row in rows if row.split == split]
    if not part:
        raise DataError(f"{table}: no rows with split {split!r}")
    complete(part, table)
    metric = QFMScore.from_pretrained(weights)
    found: dict[str, Any] = {"weights": metric.weights_id, "sha256": metric.weights_sha256}
    if guarded:
        guard = GuardedScore(metric, QFMScore.from_pretrained(guarded))
        with torch.inference_mode():
            scores, stds = np.array([guard(load_image(row.image)).item() for row in part]), None
        found |= {"guarded by": guard.robust.weights_id, "margin": guard.margin}
    else:
        images = (load_image(row.image) for row in part)
        scores, stds = score_images(metric, images, lambda done: None if done % 200 else say(f"{done}/{len(part)}"))
    # Groups are never split between training and validation; only an official test part may share some with them.
    seen = {row.group for row in rows if row.split in ("train", "val")} if split == "test" else set()
    mos = np.array([row.mos for row in part])
    found |= {"split": split} | figures(scores, part, seen) | {"thresholds": thresholds.figures(scores, mos)}
    if stds is not None:
        found["uncertainty"] = uncertainty.figures(scores, stds, mos)
    return Evaluation(found, scores, part)


def gate(folder: Path, weights: str | None, least: Mapping[str, float]) -> dict[str, float]:
    """Score BIQ2021's test part alone (`read_biq2021_test`); refuse weights that fall below what they claim.

    Args:
        least: What must be reached of `srcc`, `plcc` and `within`, the mean of the subsets' SRCCs.

    Returns:
        These three.

    Raises:
        ValueError: one of them is below its least; says which.
    """
    rows, seen = read_biq2021_test(folder)
    scores, _ = score_images(QFMScore.from_pretrained(weights), (load_image(row.image) for row in rows))
    whole = figures(scores, rows, seen)
    found = {"srcc": whole["all"]["srcc"], "plcc": whole["all"]["plcc"], "within": whole["within_srcc"]}
    if low := [f"{name} {found[name]:.4f} < {bound}" for name, bound in least.items() if found[name] < bound]:
        raise ValueError(f"below the gate: {', '.join(low)}")
    return found


def figures(scores: Scores, rows: Sequence[Row], seen_groups: Collection[str] = ()) -> dict[str, Any]:
    """All figures of one run.

    Args:
        scores: `(N,)`, in the order of `rows`.
        rows: The pictures.
        seen_groups: Groups of the training part; pictures in them are near-duplicates, and left out of one of the
            figures.

    Returns:
        `all`, `no_duplicates` (where there are any), `subsets` (name -> figures), `within_srcc` (mean of the subsets'
        SRCCs), `srcc_interval`, and of pictures in groups `groups` (`ordered_pairs`).
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
    if (within := ordered_pairs(scores, mos, np.array([row.group for row in rows])))["pairs"]:
        found["groups"] = within
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


def scatter(scores: Scores, rows: Sequence[Row], path: Path) -> None:
    """Draw scores `(N,)` against the MOS of `rows`, by subset, with the fitted logistic; the suffix says the format."""
    from matplotlib.figure import Figure  # of the extra `train`; slow to import

    mos, subsets = np.array([row.mos for row in rows]), np.array([row.subset for row in rows])
    figure = Figure(figsize=(6, 6), layout="constrained")
    axis = figure.subplots()
    for name in sorted(set(subsets)):
        axis.scatter(
            scores[subsets == name], mos[subsets == name], s=8, alpha=0.5, linewidths=0, label=name or "all pictures"
        )
    if np.ptp(scores) > 0:
        line = np.linspace(scores.min(), scores.max(), 200)
        axis.plot(line, logistic_fit(scores, mos)(line), color="black", label="logistic fit")
    axis.set_title(f"{len(scores)} pictures, SRCC {srcc(scores, mos):.3f}, PLCC {plcc(scores, mos):.3f}", fontsize=11)
    axis.set(xlabel="score", ylabel="MOS", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left", fontsize=9)
    figure.savefig(path, dpi=150)
