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
from ..rating import Metric
from ..score import QFMScore
from .agreement import plcc, srcc
from .datasets.table import DataError, Decoded, csv_records, read_table
from .evaluate import figures_to_choose_by
from .invariances import CHECKS, check_invariances, check_large
from .scoring import Scores, score_pictures
from .severity import read_severity
from .severity_check import CLEAN_MOS, clean_pictures, figures, score_levels

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
        """A line per figure, with what is wanted where there is a check."""
        wanted = {check.figure: check for check in CHECKS if check.figure in self.figures}
        lines = [f"| {self.weights} | | wanted |", "|---|--:|---|"]
        for name, value in self.figures.items():
            check = wanted.get(name)
            sign = "" if check is None else f"{'at least' if check.least else 'at most'} {check.bound:g}"
            failed = "" if check is None or check.passed(self.figures) else " (missed)"
            lines.append(f"| {name} | {value:.4f} | {sign}{failed} |")
        return "\n".join(lines) + "\n"


def travel(
    weights: str | None,
    data: Path,
    *,
    severity: Path | None = None,
    large: Path | None = None,
    large_rows: int = ROWS,
    generated: Path | None = None,
    sharp: Path | None = None,
    pictures: int = 12,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> Table:
    """Measure a file of weights on all that is given; nothing is learned, chosen or fitted.

    Args:
        weights: Id or file; None: the shipped weights.
        data: What `prepare` wrote of BIQ2021; its validation part, and clean pictures of that for what is rendered.
        severity: Human means per distortion type and level (`read_severity`).
        large, large_rows: Folder of large pictures with scores, and the rows at which people saw them, see
            `measure_large`.
        generated: Table of what `prepare agiqa3k` wrote (`all.csv`); its test part is left alone.
        sharp: Folder of sharp photographs of 5 megapixels and more.
        pictures: Clean photographs that are distorted, and checked for invariances.
        workers: Processes.
        say: Gets lines of progress.

    Returns:
        The table; rows of what was not given are missing.

    Raises:
        DataError: a folder or table is not what it should be.
        WeightsError: no such weights.
    """
    metric = QFMScore.from_pretrained(weights)
    table, decoded = Table(metric.weights_id), Decoded.open(data / "decoded")

    def score(images: Sequence[Pixels]) -> Scores:
        return score_pictures(metric, lambda i: images[i], len(images), workers)[0]

    say("BIQ2021 validation")
    measure_home(table, metric, decoded, workers)
    if large:
        say("large pictures")
        measure_large(table, metric, large, workers, large_rows)
    if generated:
        say("generated pictures")
        rows = [row for row in read_table(generated) if row.split != "test"]
        mos = np.array([row.mos for row in rows])
        scores, _ = score_pictures(metric, lambda i: _read(rows[i].image), len(rows), workers)
        table.add("generated", n=len(rows), srcc=srcc(scores, mos), plcc=plcc(scores, mos))
    clean = clean_pictures(decoded, "val", CLEAN_MOS, pictures, seed=0)
    if severity:
        say("distortions")
        levels = read_severity(severity)
        for name, found in figures(score_levels(metric, clean, levels, workers), levels).items():
            table.add(name, srcc=found["srcc"], pairs=found["pairs_right"])
    say("invariances")
    table.figures |= check_invariances(score, clean)
    if sharp:
        say("sharp photographs at full size")
        table.figures |= check_large(score, [_read(str(path)) for path in sorted(sharp.iterdir()) if path.is_file()])
    return table


def measure_home(table: Table, metric: Metric, decoded: Decoded, workers: int) -> None:
    """BIQ2021's validation part: overall, and the mean of the subsets' SRCCs."""
    val = decoded.select("val")
    scores, _ = score_pictures(metric, lambda i: np.array(decoded.pixels[val[i]]), len(val), workers)
    found = figures_to_choose_by(scores, [decoded.rows[i] for i in val])
    table.add("biq2021 validation", srcc=found["srcc"], within=found["within_srcc"], plcc=found["plcc"])


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


def gate_large(folder: Path, weights: str | None, least: float, workers: int = 2) -> float:
    """Measure weights on large pictures alone; refuse those that fall below what they claim.

    Args:
        folder: See `measure_large`.
        least: SRCC that must be reached.

    Returns:
        The SRCC.

    Raises:
        ValueError: it is lower.
    """
    metric = QFMScore.from_pretrained(weights)
    table = Table(metric.weights_id)
    measure_large(table, metric, folder, workers)
    found = table.figures["large: srcc"]
    if found < least:
        raise ValueError(f"below the gate: large {found:.4f} < {least}")
    return found


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
    spread = float(np.sqrt(max(0.0, (1 - so**2) * (1 - mo**2))))
    return (sm - so * mo) / spread if spread > 1e-6 else 0.0  # nothing is left that could vary
