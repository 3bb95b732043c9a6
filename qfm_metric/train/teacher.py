"""The teacher: any number of members, their mean the pseudo-label, their disagreement its spread.

A member is either a network that the loop trained (any backbone, view size, seed: another recipe), or a kernel ridge on
frozen features, which is cross-fitted: a picture's pseudo-label comes from a fit that has not seen its group, so it
carries no copy of that picture's own MOS, noise included. All of this is ours.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ..score import QFMScore
from .datasets.table import DataError, Decoded, csv_records
from .evaluate import brief, score_images
from .frozen import Views
from .material import to_tensor
from .recipe import Recipe, assemble
from .step import Labels
from .uncertainty import fit_scale

GAMMA, ALPHA = 0.25, 0.1  # kernel width per standardised feature, and ridge; of four settings the best on validation

Scores = NDArray[np.float32]


def summarize(cached: Views, grid: int = 3) -> Scores:
    """Features `(N, F)` of pictures cached with every block frozen: mean and spread of the cells, and a coarse layout.

    Signed square roots, because statistics of rectified features have long tails.
    """
    found = []
    for i in range(len(cached)):
        cells = cached.batch([i])[1]  # (V, C, rows, columns)
        parts = [cells.mean((2, 3)), cells.std((2, 3)), F.adaptive_avg_pool2d(cells, grid).flatten(1)]
        joined = torch.cat(parts, dim=1).flatten()
        found.append((joined.sign() * joined.abs().sqrt()).numpy())
    return np.stack(found)


def cross_fit(
    features: Scores, mos: Scores, groups: Sequence[str], others: Scores, folds: int = 5
) -> tuple[Scores, Scores]:
    """Kernel ridge (RBF) from features `(N, F)` to MOS `(N,)`.

    Returns:
        Scores `(N,)`, each from a fit without its group's fold, and scores of `others` `(M, F)` from a fit on all.
    """
    from sklearn.kernel_ridge import KernelRidge  # of the extra `train`; slow to import
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    clip = FunctionTransformer(np.clip, kw_args={"a_min": -5, "a_max": 5})  # a few features are constant but for one
    fit = make_pipeline(StandardScaler(), clip, KernelRidge(kernel="rbf", alpha=ALPHA, gamma=GAMMA / features.shape[1]))
    centre = float(mos.mean())
    held_out = cross_val_predict(fit, features, mos - centre, groups=groups, cv=GroupKFold(folds)) + centre
    return held_out.astype(np.float32), (fit.fit(features, mos - centre).predict(others) + centre).astype(np.float32)


def train_teacher(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    folds: int = 5,
    severity: Path | None = None,
    workers: int = 0,
    openvino: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Cross-fit a member on the views of a recipe that freezes every block, and write its pseudo-labels.

    Args:
        recipe, data, severity, workers, openvino: See `assemble`.
        out: CSV file, `image,score`.
        folds: Of the cross-fit.
        say: Gets lines of progress.
    """
    _, decoded, drawn = assemble(recipe, data, severity, workers, openvino)
    whole, val = drawn.photos[0], drawn.validation_indices
    groups = [decoded.rows[i].group for i in whole.source]
    features = summarize(whole.views), summarize(drawn.validation)
    scores = np.full(len(decoded.rows), np.nan, np.float32)
    scores[whole.source], scores[val] = cross_fit(features[0], decoded.mos[whole.source], groups, features[1], folds)
    write_member(decoded, scores, out)
    for name, part in (("train, cross-fitted", whole.source), ("validation", val)):
        say(f"{name}: {brief(scores[part], [decoded.rows[i] for i in part])}")


def label(weights: str | None, data: Path, out: Path) -> None:
    """Score all decoded pictures in `data` with a network (an id or a file), and write its pseudo-labels."""
    decoded = Decoded.open(data / "decoded")
    scores, _ = score_images(QFMScore.from_pretrained(weights), map(to_tensor, decoded.pixels))
    write_member(decoded, scores, out)


def write_member(decoded: Decoded, scores: Scores, path: Path) -> None:
    """Write one member's pseudo-labels: a CSV file `image,score`, by file name; small enough to commit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "score"])
        rows = zip(decoded.rows, scores, strict=True)
        writer.writerows([Path(row.image).name, f"{score:.4f}"] for row, score in rows if np.isfinite(score))


def read_labels(decoded: Decoded, members: Sequence[Path]) -> Labels:
    """MOS with the mean and spread of the members' pseudo-labels; a picture that no member knows keeps its MOS.

    Raises:
        DataError: no such file, or not `image,score`.
    """
    labels = Labels.of(decoded)
    if not members:
        return labels
    known = np.array([_read_member(decoded, path) for path in members])  # (members, N)
    count = np.isfinite(known).sum(axis=0)
    filled = np.where(count, known, labels.mos)
    mean = np.nanmean(filled, axis=0)
    spread = np.nanstd(filled, axis=0)
    return Labels(labels.mos, mean.astype(np.float32), spread.astype(np.float32))


def error_growth(decoded: Decoded, members: Sequence[Path]) -> float:
    """How many times as large the teacher's errors are on training pictures as on validation; at least 1.

    A validation part may be an easy draw, and a student's deviations that are fitted on it alone too narrow elsewhere.
    Its own errors on training pictures do not say so, because it has seen their MOS; a cross-fitted member's do. A
    member that has seen them too errs less there: such members say nothing. Both parts' errors are measured by the
    factor that `uncertainty.fit_scale` finds for them. Ours.

    Args:
        members: As `read_labels`; none: 1.

    Raises:
        DataError: as `read_labels`; or the members know no picture of one of the two parts.
    """
    if not members:
        return 1.0
    known = np.array([_read_member(decoded, path) for path in members])
    factors = []
    for split in ("train", "val"):
        chosen = [i for i in decoded.select(split) if np.isfinite(known[:, i]).any()]
        if not chosen:
            raise DataError(f"{', '.join(map(str, members))}: expected pseudo-labels of pictures of {split}, got none")
        scores = np.nanmean(known[:, chosen], axis=0)
        factors.append(fit_scale(scores, np.ones(len(chosen)), decoded.mos[chosen]))
    return max(1.0, factors[0] / factors[1])


def _read_member(decoded: Decoded, path: Path) -> Scores:
    score_of: dict[str, float] = {}
    layout = "pseudo-labels image,score as `teacher` and `label` write them"
    for where, record in csv_records(path, ("image", "score"), layout):
        try:
            score_of[record["image"].lower()] = float(record["score"])
        except ValueError as error:
            raise DataError(f"{where}: expected a score: {error}") from error
    names = [Path(row.image).name.lower() for row in decoded.rows]
    return np.array([score_of.get(name, np.nan) for name in names], np.float32)
