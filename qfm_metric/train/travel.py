"""Does a score travel? One table of what a file of weights shows on pictures of many kinds, none of which it learned.

Weights are chosen by this table, never by BIQ2021's validation alone: agreement at home rose with every early release
while agreement on other photographs fell. `CHOSEN_BY` says which columns; their mean decides among files that pass.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import rankdata

from ..images import Pixels, open_image, read_pixels
from ..score import Metric
from .datasets.table import DataError, Decoded, csv_records
from .evaluate import plcc, srcc
from .scoring import Scores, score_all, score_pictures

ROWS = 2160  # at which people saw the large pictures
CHOSEN_BY = (
    "biq2021 validation: srcc",
    "biq2021 validation: within",
    "large: srcc",
    "generated: srcc",
    "KADID-10k: srcc",
    "TID2013: srcc",
)
"""The columns whose mean chooses weights, written down before the runs. A column that was not measured is an error."""


@dataclass
class Table:
    """Figures by column, in the order in which they were measured."""

    weights: str
    figures: dict[str, float] = field(default_factory=dict)

    def add(self, row: str, **figures: float) -> None:
        """Take in the figures of one set."""
        self.figures |= {f"{row}: {name}": float(value) for name, value in figures.items()}

    @property
    def choice(self) -> float:
        """The mean by which weights are chosen.

        Raises:
            DataError: a column is missing.
        """
        if missing := [name for name in CHOSEN_BY if name not in self.figures]:
            raise DataError(f"cannot choose: {', '.join(missing)} was not measured")
        return float(np.mean([self.figures[name] for name in CHOSEN_BY]))

    def markdown(self) -> str:
        """A line per figure."""
        lines = [f"| {self.weights} | |", "|---|--:|"]
        return "\n".join([*lines, *(f"| {name} | {value:.4f} |" for name, value in self.figures.items())]) + "\n"


def measure_home(table: Table, metric: Metric, decoded: Decoded, workers: int) -> None:
    """BIQ2021's validation part: overall, and the mean of the subsets' SRCCs."""
    val = decoded.select("val")
    scores, _ = score_pictures(metric, lambda i: np.array(decoded.pixels[val[i]]), len(val), workers)
    mos, subset = decoded.mos[val], np.array([decoded.rows[i].subset for i in val])
    within = [srcc(scores[subset == name], mos[subset == name]) for name in np.unique(subset)]
    table.add("biq2021 validation", srcc=srcc(scores, mos), within=float(np.mean(within)), plcc=plcc(scores, mos))


def measure_files(table: Table, row: str, metric: Metric, images: Sequence[str], mos: Scores, workers: int) -> Scores:
    """Any labelled files: SRCC and PLCC; returns the scores."""
    scores, _ = score_pictures(metric, lambda i: _read(images[i]), len(images), workers)
    table.add(row, srcc=srcc(scores, mos), plcc=plcc(scores, mos))
    return scores


def measure_large(table: Table, metric: Metric, folder: Path, workers: int, rows: int = ROWS) -> None:
    """Pictures that people rated enlarged to `rows` rows: `scores.csv` (image, mos, source, height) and `images/`.

    Beside the SRCC, its 95 % interval over sources drawn with replacement, and the partial rank correlation at equal
    height: what the score knows beyond how small a picture was.

    Source: S. Goering, R. Rao, A. Raake, Quality Assessment of Higher Resolution Images and Videos with Remote Testing,
    QUEX 2023.
    """
    records = [record for _, record in csv_records(folder / "scores.csv", ("image", "mos", "source", "height"))]

    def make(i: int) -> Pixels:
        image = Image.fromarray(_read(str(folder / "images" / records[i]["image"])))
        return np.asarray(image.resize((round(image.width * rows / image.height), rows), Image.Resampling.BICUBIC))

    scores, _ = score_pictures(metric, make, len(records), workers)
    mos, height = (np.array([float(record[name]) for record in records]) for name in ("mos", "height"))
    source = np.array([record["source"] for record in records])
    low, high = _interval_over(source, scores, mos)
    partial = _partial(scores, mos, height)
    table.add("large", srcc=srcc(scores, mos), low=low, high=high, **{"at equal height": partial})


def write(table: Table, folder: Path) -> None:
    """Write `travel.json`, `travel.md` and `travel.png`."""
    from matplotlib.figure import Figure  # of the extra `train`; slow to import

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "travel.json").write_text(json.dumps({"weights": table.weights, **table.figures}, indent=2) + "\n")
    (folder / "travel.md").write_text(table.markdown())
    shown = {name: value for name, value in table.figures.items() if name.endswith("srcc") or name in CHOSEN_BY}
    figure = Figure(figsize=(7, 0.4 * len(shown) + 1), layout="constrained")
    axis = figure.subplots()
    axis.barh(list(shown)[::-1], list(shown.values())[::-1], color="#3b518b")
    axis.set(xlim=(min(0.0, *shown.values()), 1), xlabel="SRCC", title=f"{table.weights}: does the score travel?")
    axis.grid(axis="x", alpha=0.3)
    figure.savefig(folder / "travel.png", dpi=110)


def large_photographs(folder: Path) -> list[Pixels]:
    """The pictures of a folder, `(H, W, 3)` uint8, in order of name."""
    return [_read(str(path)) for path in sorted(folder.iterdir()) if path.is_file()]


def scorer(metric: Metric, workers: int) -> Callable[[Sequence[Pixels]], Scores]:
    """What `invariances` take."""
    return lambda pictures: score_all(metric, pictures, workers)


def _read(path: str) -> Pixels:
    with open_image(path) as image:
        pixels = read_pixels(image)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]


def _interval_over(source: Any, scores: Scores, mos: Scores, repeats: int = 1000) -> tuple[float, float]:
    rng, names = np.random.default_rng(0), np.unique(source)
    members = {name: np.flatnonzero(source == name) for name in names}
    draws = [np.concatenate([members[name] for name in rng.choice(names, len(names))]) for _ in range(repeats)]
    low, high = np.percentile([srcc(scores[draw], mos[draw]) for draw in draws], [2.5, 97.5])
    return float(low), float(high)


def _partial(scores: Scores, mos: Scores, other: Scores) -> float:
    """Spearman's correlation of scores and MOS with `other` held fixed."""
    s, m, o = (rankdata(values) for values in (scores, mos, other))
    sm, so, mo = (float(np.corrcoef(a, b)[0, 1]) for a, b in ((s, m), (s, o), (m, o)))
    return (sm - so * mo) / float(np.sqrt((1 - so**2) * (1 - mo**2)))
