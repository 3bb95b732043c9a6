"""How much loss people see: the human mean per distortion type and level of KADID-10k and TID2013, as targets.

The table is a CSV file with the columns `data_set,type,name,level,mean_score,scale`, others are ignored; `scale` holds
the ends of the data set's own scale, as in "MOS 0..9, higher is better". The means come from the two data sets' public
tables of scores; how a mean becomes a quality and a target is ours.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .agreement import Scores
from .datasets.table import DataError, csv_records
from .distortions import DATA_SETS

FLOOR = 0.1  # MOS where nothing is kept: about the worst that BIQ2021's pictures get
COLUMNS = ("data_set", "type", "name", "level", "mean_score", "scale")


@dataclass(frozen=True)
class DistortionLevel:
    """One type of a data set at one level, over all its contents.

    Attributes:
        data_set: "KADID-10k" or "TID2013".
        type: the data set's number of the type, as `distort` takes it.
        name: the data set's own name of the type; TID2013 gives some names to two types.
        level: 1..5.
        mean: human mean on the data set's own scale (KADID-10k 1..5, TID2013 0..9); higher is better.
        quality: in [0, 1], how much of the quality is kept: from 0 at the bottom of the scale to 1 at the least
            harmful level of the data set's types. Ours.
    """

    data_set: str
    type: int
    name: str
    level: int
    mean: float
    quality: float


Levels = Sequence[DistortionLevel]


def read_severity(path: Path) -> list[DistortionLevel]:
    """Read the table of human means; levels come in the order of its lines.

    Raises:
        DataError: no such file, a missing column, a value that is not what its column holds, a level given twice;
            names the line and the column.
    """
    found: dict[tuple[str, int, int], tuple[DistortionLevel, float]] = {}
    for where, record in csv_records(path, COLUMNS):
        level, bottom = _level(record, where)
        key = (level.data_set, level.type, level.level)
        if key in found:
            raise DataError(f"{where}, column level: {level.data_set} type {level.type} level {level.level} was given")
        found[key] = (level, bottom)
    if not found:
        raise DataError(f"{path}: the table has no rows")
    best = {name: max(x.mean for x, _ in found.values() if x.data_set == name) for name, _, _ in found}
    return [replace(x, quality=(x.mean - bottom) / (best[x.data_set] - bottom)) for x, bottom in found.values()]


def target(clean: Scores, quality: Scores) -> Scores:
    """What a distorted picture should score on the MOS scale of BIQ2021: `FLOOR + (clean - FLOOR) * quality`. Ours.

    Args:
        clean: MOS of the picture before it was distorted, in [0, 1].
        quality: of the distortion's level, in [0, 1].

    Returns:
        MOS between `FLOOR` and `clean`, of the shape that the two broadcast to.
    """
    return FLOOR + (clean - FLOOR) * quality


def _level(record: Mapping[str, str | None], where: str) -> tuple[DistortionLevel, float]:
    """One line's level, without its quality, and the bottom of its scale."""

    def wrong(column: str, expected: str) -> DataError:
        return DataError(f"{where}, column {column}: expected {expected}, got {record[column]!r}")

    data_set = record["data_set"] or ""
    if data_set not in DATA_SETS:
        raise wrong("data_set", " or ".join(DATA_SETS))
    types = DATA_SETS[data_set]
    number = {str(known): known for known in types}.get(record["type"] or "")
    if number is None:
        raise wrong("type", f"a type of {data_set}, {min(types)} to {max(types)}")
    level = record["level"] or ""
    if level not in ("1", "2", "3", "4", "5"):
        raise wrong("level", "a level from 1 to 5")
    scale = re.search(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)", record["scale"] or "")
    if not scale or float(scale[1]) >= float(scale[2]):
        raise wrong("scale", "the ends of a scale, as in 'MOS 0..9'")
    bottom, top = float(scale[1]), float(scale[2])
    try:
        mean = float(record["mean_score"] or "")
    except ValueError:
        mean = math.nan
    # No level's mean is at the very bottom, where every observer gave every picture the worst: quality would be 0 / 0.
    if not bottom < mean <= top:
        raise wrong("mean_score", f"a number above {bottom:g}, at most {top:g}")
    return DistortionLevel(data_set, number, record["name"] or "", int(level), mean, math.nan), bottom
