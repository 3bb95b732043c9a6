"""Does a score fall as people's did? Every type and level of KADID-10k and TID2013, rendered and compared.

Scores are means over clean photographs of ours, people's means are over the data sets' own: what can be compared is
the order of the levels, not the numbers. The figures are ours.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..rating import Metric
from ..score import QFMScore
from .agreement import Scores, srcc
from .datasets.table import DataError, Decoded
from .distortions import DATA_SETS, distort
from .distortions.colour import Pixels
from .material import FRAME
from .scoring import score_pictures
from .severity import Levels, read_severity

HEIGHT, WIDTH = FRAME
CLEAN_MOS = 0.75  # a photograph this good is clean
# A tenth of the scale: levels whose human means are nearer than that need not be told apart.
SEEN_APART = {"KADID-10k": 0.4, "TID2013": 0.9}


def check(
    table: Path,
    data: Path,
    weights: str | None = None,
    *,
    pictures: int = 12,
    split: str = "val",
    floor_mos: float = CLEAN_MOS,
    seed: int = 0,
    workers: int = 0,
    out: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Distort clean photographs as a table's levels say, score them, and compare with people.

    Args:
        table: Human means (`read_severity`).
        data: What `prepare` wrote.
        weights: Id or file; None: the shipped weights.
        pictures, split, floor_mos, seed: Which photographs, see `clean_pictures`.
        workers: See `score_levels`.
        out: Folder for what `write` writes; None: nothing is written.
        say: Gets lines of progress.

    Returns:
        `figures`, and which weights they are of.

    Raises:
        DataError: see `read_severity` and `clean_pictures`.
    """
    levels = read_severity(table)
    chosen = clean_pictures(Decoded.open(data / "decoded"), split, floor_mos, pictures, seed)
    metric = QFMScore.from_pretrained(weights)
    total = len(chosen) * len(levels)
    scores = score_levels(
        metric, chosen, levels, workers, lambda done: say(f"{done}/{total}") if done % 200 == 0 else None
    )
    if out:
        write(scores, levels, out)
    about = {"weights": metric.weights_id, "sha256": metric.weights_sha256, "pictures": len(chosen)}
    return about | figures(scores, levels)


def clean_pictures(decoded: Decoded, split: str, floor_mos: float, count: int, seed: int) -> list[Pixels]:
    """Draw `count` pictures of a split with an MOS of at least `floor_mos`; their `(384, 512, 3)` centres.

    Raises:
        DataError: there are fewer than `count`, or the decoded pictures are smaller than that.
    """
    side = decoded.pixels.shape[1]
    if side < WIDTH:
        raise DataError(f"expected decoded pictures of at least {WIDTH} px, got {side} px; prepare with --side {WIDTH}")
    chosen = decoded.select(split)
    chosen = chosen[decoded.mos[chosen] >= floor_mos]
    if not 0 < count <= len(chosen):
        raise DataError(f"{len(chosen)} {split} pictures have an MOS of at least {floor_mos:g}, {count} are wanted")
    top, left = (side - HEIGHT) // 2, (side - WIDTH) // 2
    drawn = np.random.default_rng(seed).permutation(chosen)[:count]
    return [np.array(decoded.pixels[i, top : top + HEIGHT, left : left + WIDTH]) for i in drawn]


def score_levels(
    metric: Metric,
    pictures: Sequence[Pixels],
    levels: Levels,
    workers: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Distort each picture as each level says, and score it.

    Args:
        metric: Scores.
        pictures: `(H, W, 3)` uint8 each; a picture's place in the sequence seeds its noise.
        levels: What to render.
        workers: See `score_pictures`.
        progress: Gets the number of versions done.

    Returns:
        `(levels, pictures)`.
    """

    def make(i: int) -> Pixels:
        number, of = divmod(i, len(levels))
        level = levels[of]
        return distort(pictures[number], level.data_set, level.type, level.level, seed=number)

    scores, _ = score_pictures(metric, make, len(pictures) * len(levels), workers, progress)
    return scores.reshape(len(pictures), len(levels)).T


def level_agreement(means: Scores, levels: Levels, data_set: str) -> dict[str, Any]:
    """How far scores order a data set's types and levels as people do.

    Args:
        means: `(levels,)`, mean score of each; higher is better.
        levels: of any data sets.
        data_set: the one that the figures are of.

    Returns:
        `srcc` over its `n` levels; `pairs`: the pairs of levels of one type whose human means differ by more than a
        tenth of the scale; `right`: how many of them the scores order as people do, a tie being wrong; `pairs_right`:
        their share (None without pairs). `types` has these per type, with `type` and `name`. Constants correlate with
        nothing: 0.

    Raises:
        ValueError: means and levels differ in number, or no level is of that data set.
    """
    means = np.asarray(means, dtype=float)
    if means.shape != (len(levels),):
        raise ValueError(f"expected ({len(levels)},) means, one a level, got {means.shape}")
    chosen = [i for i, level in enumerate(levels) if level.data_set == data_set]
    if not chosen:
        raise ValueError(f"no level is of {data_set!r}")
    types: list[dict[str, Any]] = []
    for type, name in sorted({(levels[i].type, levels[i].name) for i in chosen}):
        of_type = [i for i in chosen if levels[i].type == type]
        human = np.array([levels[i].mean for i in of_type])
        # Means are rounded to 4 digits: 4.4 and 4.0 do not differ by more than 0.4.
        ahead = human[:, None] - human > SEEN_APART[data_set] + 1e-9
        right = ahead & (means[of_type][:, None] > means[of_type])
        figures = {"type": type, "name": name, "n": len(of_type), "srcc": srcc(means[of_type], human)}
        types.append({**figures, **_shares(int(right.sum()), int(ahead.sum()))})
    overall = {"n": len(chosen), "srcc": srcc(means[chosen], np.array([levels[i].mean for i in chosen]))}
    shares = _shares(sum(figures["right"] for figures in types), sum(figures["pairs"] for figures in types))
    return overall | shares | {"types": types}


def figures(scores: Scores, levels: Levels) -> dict[str, Any]:
    """`level_agreement` of the pictures' mean scores, by data set; scores are `(levels, pictures)`."""
    return {name: level_agreement(scores.mean(1), levels, name) for name in _present(levels)}


def markdown(means: Scores, levels: Levels) -> str:
    """A Markdown table, a line per type: human means and mean scores by level, and the pairs ordered right."""
    lines = [
        "| data set | type | name | people, levels 1 to 5 | student, levels 1 to 5 | SRCC | pairs right |",
        "|---|--:|---|---|---|--:|--:|",
    ]
    for data_set in _present(levels):
        people, student = (_grid(values, levels, data_set) for values in ([level.mean for level in levels], means))
        for row, figures in enumerate(level_agreement(means, levels, data_set)["types"]):
            by_level = (" ".join(_number(value) for value in grid[row]) for grid in (people, student))
            lines.append(
                f"| {data_set} | {figures['type']} | {_readable(figures['name'])} | {' | '.join(by_level)} "
                f"| {figures['srcc']:.2f} | {figures['right']}/{figures['pairs']} |"
            )
    return "\n".join(lines) + "\n"


def heat_map(means: Scores, levels: Levels, path: Path) -> None:
    """Draw people beside the student, types by levels, coloured by rank within the data set; written as PNG.

    The numbers are human means on the data set's own scale, and mean scores.
    """
    from matplotlib.figure import Figure  # of the extra `train`; slow to import

    present = _present(levels)
    panels = [[_grid(values, levels, name) for values in ([x.mean for x in levels], means)] for name in present]
    heights = [len(row[0]) + 2 for row in panels]
    figure = Figure(figsize=(9, 1.2 + 0.27 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(present), 2, height_ratios=heights, squeeze=False)
    for name, grids, (left, right) in zip(present, panels, axes, strict=True):
        types = sorted({(level.type, level.name) for level in levels if level.data_set == name})
        for axis, grid, who in ((left, grids[0], "people"), (right, grids[1], "student")):
            ranks = (rankdata(grid, nan_policy="omit") - 1) / max(np.isfinite(grid).sum() - 1, 1)
            image = axis.imshow(ranks.reshape(grid.shape), cmap="viridis", vmin=0, vmax=1, aspect="auto")
            for (row, column), value in np.ndenumerate(grid):
                colour = "black" if ranks.reshape(grid.shape)[row, column] > 0.6 else "white"
                axis.text(column, row, _number(value), ha="center", va="center", fontsize=7, color=colour)
            axis.set_title(f"{name}: {who}", fontsize=10)
            axis.set_xticks(range(5), [f"level {level}" for level in range(1, 6)], fontsize=8)
            axis.set_yticks(range(len(types)), [f"{_readable(n)}  {t}" for t, n in types], fontsize=8)
        right.set_yticks(range(len(types)), [""] * len(types))
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.5, aspect=40, pad=0.01)
    bar.set_label("rank among the data set's types and levels: 0 worst, 1 best", fontsize=8)
    figure.savefig(path, dpi=110, format="png")


def write(scores: Scores, levels: Levels, folder: Path) -> None:
    """Write `levels.csv`, `severity.md` and `severity.png`; scores are `(levels, pictures)`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "levels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*asdict(levels[0]), "score", "std_between_pictures"])
        for level, of_level in zip(levels, scores, strict=True):
            writer.writerow([*asdict(level).values(), f"{of_level.mean():.6f}", f"{of_level.std():.6f}"])
    (folder / "severity.md").write_text(markdown(scores.mean(1), levels), encoding="utf-8")
    heat_map(scores.mean(1), levels, folder / "severity.png")


def _shares(right: int, pairs: int) -> dict[str, Any]:
    return {"pairs": pairs, "right": right, "pairs_right": right / pairs if pairs else None}


def _present(levels: Levels) -> list[str]:
    return [name for name in DATA_SETS if any(level.data_set == name for level in levels)]


def _grid(values: Sequence[float] | Scores, levels: Levels, data_set: str) -> NDArray[np.float64]:
    """`(types, 5)` in the order of the types' numbers; NaN where a level is missing."""
    types = sorted({level.type for level in levels if level.data_set == data_set})
    grid = np.full((len(types), 5), np.nan)
    for value, level in zip(values, levels, strict=True):
        if level.data_set == data_set:
            grid[types.index(level.type), level.level - 1] = value
    return grid


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def _readable(name: str) -> str:
    return name.replace("_", " ")
