"""From a table of a few ratings to weights fitted to them, with figures that say whether it was worth it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..score import QFMScore
from .agreement import Scores, plcc, srcc
from .calibrate import fit_calibration, write_weights
from .datasets.labels import Scale, complete
from .datasets.table import Row, csv_records
from .frozen import Frozen, look, need_mean_tokens, pixels_of
from .own_ratings import RELEASED, Settings, apply, fit, folds, need_enough

__all__ = ["CrossValidation", "cross_validate", "fit_ratings", "read_ratings"]


class CrossValidation(NamedTuple):
    """Scores of N pictures by fits that had not seen them.

    Attributes:
        fitted: `(repeats, N)`, by fits with all settings to choose from.
        rescaled: `(repeats, N)`, the released score, re-scaled on the same folds.
        released: `(N,)`, the released score as it is.
    """

    fitted: Scores
    rescaled: Scores
    released: Scores

    def gain(self, mos: Scores, groups: Sequence[str], draws: int = 1000, seed: int = 0) -> tuple[float, float, float]:
        """How much higher the fitted scores' SRCC is than the released one's: its mean, and its 95 % interval.

        Groups are drawn with replacement, and one of the repeats each time.
        """
        rng = np.random.default_rng(seed)
        members = [np.flatnonzero(np.array(groups) == name) for name in np.unique(groups)]
        found = []
        for draw in range(draws):
            places = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
            fitted, known = self.fitted[draw % len(self.fitted), places], mos[places]
            found.append(srcc(fitted, known) - srcc(self.released[places], known))
        low, high = np.percentile(found, [2.5, 97.5])
        gains = [srcc(scores, mos) - srcc(self.released, mos) for scores in self.fitted]
        return float(np.mean(gains)), float(low), float(high)


def read_ratings(path: Path, low: float = 0.0, high: float = 1.0) -> list[Row]:
    """Rows of a CSV file `image,mos` and perhaps `group`, the MOS from `low` to `high`; a picture is its own group.

    Raises:
        ValueError: the scale has no extent.
        DataError: no such file, a missing column or picture, a rating that is no number of the scale; names the line.
    """
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"--scale: expected the lowest and the highest rating, got {low:g} and {high:g}")
    scale, folder = Scale(low, high), path.parent.resolve()
    rows = [
        Row(str(folder / record["image"]), scale.mos(record["mos"], where), record.get("group") or record["image"])
        for where, record in csv_records(path, ("image", "mos"), optional=("group",))
    ]
    return complete(rows, path)


def cross_validate(
    frozen: Frozen, mos: Scores, groups: Sequence[str], released: Scores, repeats: int = 10, seed: int = 0
) -> CrossValidation:
    """Fit without a fold, settings and all, and score that fold; for all folds, `repeats` times.

    Args:
        frozen, mos, groups: See `own_ratings.fit`.
        released: `(N,)`, the released scores.
    """
    fitted, rescaled = np.empty((repeats, len(mos))), np.empty((repeats, len(mos)))
    for repeat in range(repeats):
        for train, test in folds(groups, seed + repeat):
            found = fit(frozen.select(train), mos[train], [groups[i] for i in train], seed + repeat)
            fitted[repeat, test] = found.scores(frozen.select(test))
            slope, offset = fit_calibration(frozen.logits[train], mos[train], 1e-3)
            rescaled[repeat, test] = 1 / (1 + np.exp(-(slope * frozen.logits[test] + offset)))
    return CrossValidation(fitted, rescaled, released)


def fit_ratings(
    table: Path,
    out: Path,
    *,
    weights: str | None = None,
    scale: tuple[float, float] = (0.0, 1.0),
    repeats: int = 10,
    seed: int = 0,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> str:
    """Fit weights to a table of ratings and write them.

    Args:
        table, scale: See `read_ratings`.
        out: Weights file to write.
        weights: Id or file of a network with mean tokens; None: the shipped weights.
        repeats: Of the cross-validation; 1 or more.
        seed: Of the folds.
        workers: Processes that look at the pictures.
        say: Gets lines of progress, and a warning if the ratings are too few to tell.

    Returns:
        The figures and what was chosen, in lines.

    Raises:
        ValueError: too few pictures or groups, ratings that are all alike, no repeat.
        DataError: see `read_ratings`.
        ImageError: a picture cannot be read.
        WeightsError: the weights cannot be fitted.
    """
    if repeats < 1:
        raise ValueError(f"--repeats: expected 1 or more, got {repeats}")
    rows = read_ratings(table, *scale)
    metric = QFMScore.from_pretrained(weights)
    need_mean_tokens(metric)
    mos, groups = np.array([row.mos for row in rows]), [row.group for row in rows]
    _need_one_fold_less(mos, groups)
    frozen = look(metric, lambda i: pixels_of(Path(rows[i].image)), len(rows), workers)
    say(f"{len(rows)} pictures in {len(set(groups))} groups were looked at")
    line = metric.net.calibration
    released = 1 / (1 + np.exp(-(line.slope.item() * frozen.logits + line.offset.item())))
    found = cross_validate(frozen, mos, groups, released, repeats, seed)
    final = fit(frozen, mos, groups, seed)
    apply(metric.net, final, frozen, mos, found.fitted[0])
    write_weights(metric.net, out)
    mean, low, high = found.gain(mos, groups, seed=seed)
    if low <= 0:
        say(
            f"warning: {len(rows)} ratings are too few to tell whether the fit orders pictures better than the "
            f"released score: the gain of SRCC is {mean:+.3f}, between {low:+.3f} and {high:+.3f}"
        )
    return "\n".join(
        [*_table(found, mos, scale), f"gain of SRCC {mean:+.3f} ({low:+.3f} to {high:+.3f})", _said(final.settings)]
    )


def _need_one_fold_less(mos: Scores, groups: Sequence[str]) -> None:
    """Refuse ratings of which a fold can be left out only if too few remain."""
    need_enough(mos, groups)
    for train, test in folds(groups, 0):
        try:
            need_enough(mos[train], [groups[i] for i in train])
        except ValueError as error:
            raise ValueError(
                f"of {len(mos)} ratings, {len(test)} are left out to measure with; of the rest: {error}"
            ) from error


def _table(found: CrossValidation, mos: Scores, scale: tuple[float, float]) -> list[str]:
    lines = [f"{'held-out pictures':<22}{'SRCC':>16}{'PLCC':>16}{'RMSE':>16}"]
    extent = scale[1] - scale[0]
    for name, scores in (
        ("released", found.released[None]),
        ("released, re-scaled", found.rescaled),
        ("fitted", found.fitted),
    ):
        errors = [float(np.sqrt(np.mean((one - mos) ** 2))) * extent for one in scores]
        figures = ([srcc(one, mos) for one in scores], [plcc(one, mos) for one in scores], errors)
        lines.append(f"{name:<22}" + "".join(f"{f'{np.mean(each):.3f} +- {np.std(each):.3f}':>16}" for each in figures))
    return lines


def _said(settings: Settings) -> str:
    if settings == RELEASED:
        return "chosen: the released score, re-scaled; nothing else was shown to be better"
    return f"chosen: {settings.share:.0%} of the released logit and a ridge of penalty {settings.penalty:.3g}"
