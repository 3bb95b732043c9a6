"""Where a threshold on scores goes when the weights change: to the score of equal rank among validation pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qfm_metric import QFMScore, load_image
from qfm_metric.train.datasets.table import read_table
from qfm_metric.train.evaluate import score_images

THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(1, 10))


def old_to_new(data: Path, old: str, new: str) -> str:
    """A Markdown table of old scores and the new scores below which as many validation pictures lie.

    Args:
        data: What `prepare biq2021` wrote.
        old, new: Ids or files of weights.
    """
    paths = [row.image for row in read_table(data / "all.csv") if row.split == "val"]
    metrics = [QFMScore.from_pretrained(weights) for weights in (old, new)]
    rated = [score_images(metric, map(load_image, paths))[0] for metric in metrics]
    return markdown([metric.weights_id for metric in metrics], len(paths), same_rank(*rated, THRESHOLDS))


def same_rank(
    old: NDArray[np.floating], new: NDArray[np.floating], thresholds: Sequence[float]
) -> list[tuple[float, float, float] | None]:
    """Of each old score: itself, the share of pictures that had less, and the new score of the same share.

    None where no picture had an old score as low, or as high: there is nothing to measure by.
    """
    ordered = np.sort(old)
    found: list[tuple[float, float, float] | None] = []
    for threshold in thresholds:
        if not ordered[0] <= threshold <= ordered[-1]:
            found.append(None)
            continue
        share = float(np.interp(threshold, ordered, np.linspace(0, 1, len(ordered))))
        found.append((threshold, share, float(np.quantile(new, share))))
    return found


def markdown(names: Sequence[str], pictures: int, found: Sequence[tuple[float, float, float] | None]) -> str:
    """A row for each of the two weights, and one for the share of the pictures below."""
    shown = [row for row in found if row]
    cells = [[f"{row[0]:.1f}".lstrip("0") for row in shown], [f"{row[2]:.2f}".lstrip("0") for row in shown]]
    heading = [f"`{names[0]}`", *cells[0]]
    shares = [f"below, of {pictures:,} pictures", *(f"{100 * row[1]:.1f} %" for row in shown)]
    lines = [heading, ["---", *["--:"] * len(shown)], [f"`{names[1]}`", *cells[1]], shares]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
