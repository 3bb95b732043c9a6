"""The teacher: any number of members, their mean the pseudo-label, their disagreement its spread.

A member is either a network that the loop trained (any backbone, view size, seed: another recipe), or a kernel ridge on
frozen features, which is cross-fitted: a picture's pseudo-label comes from a fit that has not seen its group, so it
carries no copy of that picture's own MOS, noise included. All of this is ours.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ..images import Pixels
from ..model import QFMNet
from ..score import QFMScore
from .datasets.table import DataError, Decoded
from .evaluate import brief, score_images
from .material import to_tensor
from .pseudo_labels import read_member, write_member
from .recipe import Recipe, start
from .uncertainty import fit_scale

GAMMA, ALPHA = 0.25, 0.1  # kernel width per standardised feature, and ridge; of four settings the best on validation

Scores = NDArray[np.float32]


def summarize(net: QFMNet, pictures: Sequence[Pixels], workers: int = 2, grid: int = 3) -> Scores:
    """Features `(N, F)` of pictures from their whole views: mean and spread of the cells, and a coarse layout.

    Signed square roots, because statistics of rectified features have long tails.

    Args:
        net: Of which the backbone is used.
        pictures: `(H, W, 3)` uint8 each.
        workers: Processes of one thread each.
        grid: Side of the layout; 0: none.
    """
    global _job
    _job = net.eval(), pictures, grid
    with ProcessPoolExecutor(workers, get_context("fork"), torch.set_num_threads, (1,)) as pool:
        return np.stack(list(pool.map(_summary, range(len(pictures)), chunksize=16)))


_job: tuple[QFMNet, Sequence[Pixels], int]  # inherited by forked workers: pictures may be parts of a memory map


@torch.inference_mode()
def _summary(i: int) -> Scores:
    net, pictures, grid = _job
    whole = net.distinct_views(to_tensor(pictures[i])[None])[:, :1]
    cells = net.cells(net.pyramid(whole))
    parts = [cells.mean((2, 3)), cells.std((2, 3))]
    layout = [F.adaptive_avg_pool2d(cells, grid).flatten(1)] if grid else []
    joined = torch.cat(parts + layout, dim=1).flatten()
    return (joined.sign() * joined.abs().sqrt()).numpy()  # type: ignore[no-any-return]


def on_standardized(estimator: Any) -> Any:
    """An estimator of scikit-learn's on features that are standardised, and held within five deviations."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    clip = FunctionTransformer(np.clip, kw_args={"a_min": -5, "a_max": 5})  # a few features are constant but for one
    return make_pipeline(StandardScaler(), clip, estimator)


def cross_fit(
    features: Scores, mos: Scores, groups: Sequence[str], others: Scores, folds: int = 5
) -> tuple[Scores, Scores]:
    """Kernel ridge (RBF) from features `(N, F)` to MOS `(N,)`.

    Returns:
        Scores `(N,)`, each from a fit without its group's fold, and scores of `others` `(M, F)` from a fit on all.
    """
    from sklearn.kernel_ridge import KernelRidge  # of the extra `train`; slow to import
    from sklearn.model_selection import GroupKFold, cross_val_predict

    fit = on_standardized(KernelRidge(kernel="rbf", alpha=ALPHA, gamma=GAMMA / features.shape[1]))
    centre = float(mos.mean())
    held_out = cross_val_predict(fit, features, mos - centre, groups=groups, cv=GroupKFold(folds)) + centre
    return held_out.astype(np.float32), (fit.fit(features, mos - centre).predict(others) + centre).astype(np.float32)


def train_teacher(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    folds: int = 5,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Cross-fit a member on what the recipe's backbone sees of whole pictures, and write its pseudo-labels.

    Args:
        recipe: Of which the network's shape and where its backbone starts count.
        data: What `prepare` wrote.
        out: CSV file, `image,score`.
        folds: Of the cross-fit.
        workers: Processes.
        say: Gets lines of progress.
    """
    decoded = Decoded.open(data / "decoded")
    net = start(recipe)
    train, val = decoded.select("train"), decoded.select("val")
    features = [summarize(net, decoded.pictures(part), workers) for part in (train, val)]
    groups = [decoded.rows[i].group for i in train]
    scores = np.full(len(decoded.rows), np.nan, np.float32)
    scores[train], scores[val] = cross_fit(features[0], decoded.mos[train], groups, features[1], folds)
    write_member(decoded, scores, out)
    for name, part in (("train, cross-fitted", train), ("validation", val)):
        say(f"{name}: {brief(scores[part], [decoded.rows[i] for i in part])}")


def label(weights: str | None, data: Path, out: Path) -> None:
    """Score all decoded pictures in `data` with a network (an id or a file), and write its pseudo-labels."""
    decoded = Decoded.open(data / "decoded")
    scores, _ = score_images(QFMScore.from_pretrained(weights), map(to_tensor, decoded.pixels))
    write_member(decoded, scores, out)


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
    known = np.array([read_member(decoded, path) for path in members])
    factors = []
    for split in ("train", "val"):
        chosen = [i for i in decoded.select(split) if np.isfinite(known[:, i]).any()]
        if not chosen:
            raise DataError(f"{', '.join(map(str, members))}: expected pseudo-labels of pictures of {split}, got none")
        scores = np.nanmean(known[:, chosen], axis=0)
        factors.append(fit_scale(scores, np.ones(len(chosen)), decoded.mos[chosen]))
    return max(1.0, factors[0] / factors[1])
