"""What is known of each decoded picture: its MOS, and what the teacher's members make of it (`image,score`)."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .datasets.table import DataError, Decoded, csv_records

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Labels:
    """What is known of each decoded picture: `(N,)` each. Without a teacher, `teacher` is the MOS and `spread` is 0.

    Attributes:
        mos: Human mean, in [0, 1].
        teacher, spread: Mean and standard deviation over the teacher's members, in units of the score.
    """

    mos: NDArray[np.float32]
    teacher: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def of(cls, decoded: Decoded) -> "Labels":
        mos = decoded.mos
        return cls(mos, mos, np.zeros_like(mos))

    @property
    def clean(self) -> NDArray[np.float32]:
        """What a picture is taken to score before it is degraded: MOS and teacher say it together."""
        return ((self.mos + self.teacher) / 2).astype(np.float32, copy=False)


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
    known = np.array([read_member(decoded, path) for path in members])  # (members, N)
    count = np.isfinite(known).sum(axis=0)
    filled = np.where(count, known, labels.mos)
    mean = np.nanmean(filled, axis=0)
    spread = np.nanstd(filled, axis=0)
    return Labels(labels.mos, mean.astype(np.float32), spread.astype(np.float32))


def read_member(decoded: Decoded, path: Path) -> Scores:
    """One member's pseudo-labels, `(N,)`; NaN where it knows a picture not.

    Raises:
        DataError: no such file, or not `image,score`; a name that several pictures have.
    """
    score_of: dict[str, float] = {}
    layout = "pseudo-labels image,score as `teacher` and `label` write them"
    for where, record in csv_records(path, ("image", "score"), layout):
        try:
            score_of[record["image"].lower()] = float(record["score"])
        except ValueError as error:
            raise DataError(f"{where}: expected a score: {error}") from error
    names = [Path(row.image).name.lower() for row in decoded.rows]
    if twice := [name for name, count in Counter(names).items() if count > 1 and name in score_of]:
        raise DataError(f"{path}: {len(twice)} names stand for several pictures each, {twice[0]!r} among them; rename")
    return np.array([score_of.get(name, np.nan) for name in names], np.float32)
