"""A linear probe: how well a ridge on a frozen backbone's features orders pictures, by the number of ratings it learns.

It says what a backbone knows before any head is trained; backbones are compared at the same views.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .agreement import Scores, srcc
from .datasets.table import DataError, Decoded
from .recipe import Recipe, start
from .teacher import on_standardized, summarize

COUNTS = (50, 200, 1000)
PENALTIES = tuple(np.geomspace(1, 1e5, 11).tolist())  # on features of unit spread; chosen leaving out one picture


class Probed(NamedTuple):
    """Validation SRCCs of the fits to so many `ratings`, one a draw."""

    ratings: int
    srccs: list[float]


def probe(
    recipe: Recipe, data: Path, counts: Sequence[int] = COUNTS, draws: int = 5, seed: int = 0, workers: int = 2
) -> list[Probed]:
    """Fit ridges to some training pictures' MOS, and to all, and measure them on the validation part.

    Args:
        recipe: Of which the network's shape and where its backbone starts count.
        data: What `prepare` wrote.
        counts: How many ratings, before all of them.
        draws: Of each count.
        seed: Of the draws.
        workers: Processes that look at pictures.

    Raises:
        DataError: the training part has fewer pictures than a count asks for, or a count is below 2.
    """
    decoded = Decoded.open(data / "decoded")
    train, val = decoded.select("train"), decoded.select("val")
    if wrong := [count for count in counts if not 2 <= count <= len(train)]:
        raise DataError(f"--counts: expected numbers from 2 to the {len(train)} training pictures, got {wrong}")
    net = start(recipe)
    features, others = (summarize(net, decoded.pictures(part), workers, grid=0) for part in (train, val))
    mos, known = decoded.mos[train], decoded.mos[val]
    found = []
    for count in [*counts, len(train)]:
        rng = np.random.default_rng((seed, count))
        chosen = [rng.permutation(len(train))[:count] for _ in range(draws if count < len(train) else 1)]
        found.append(Probed(count, [srcc(_ridge(features[part], mos[part], others), known) for part in chosen]))
    return found


def markdown(found: Sequence[Probed]) -> str:
    """A table, a row for each count: mean over the draws, and standard deviation if there are several."""
    lines = ["| ratings | draws | validation SRCC |", "|--:|--:|---|"]
    for ratings, srccs in found:
        spread = f" ± {np.std(srccs, ddof=1):.3f}" if len(srccs) > 1 else ""
        lines.append(f"| {ratings} | {len(srccs)} | {np.mean(srccs):.3f}{spread} |")
    return "\n".join(lines) + "\n"


def _ridge(features: Scores, mos: Scores, others: Scores) -> Scores:
    """Scores `(M,)` of `others` `(M, F)`."""
    from sklearn.linear_model import RidgeCV  # of the extra `train`; slow to import

    return on_standardized(RidgeCV(PENALTIES)).fit(features, mos).predict(others)  # type: ignore[no-any-return]
