"""Row: what is known of one file, from decoding to a table, a page, a cluster and a comparison."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..defects import NAMES

Value: TypeAlias = str | float | int | None

DECIMALS = 4  # the fifth may differ with the batch
COLUMNS: Mapping[str, type] = {
    "path": str,
    "score": float,
    "std": float,
    "width": int,
    "height": int,
    "error": str,
    "note": str,
}
"""Name and type of the columns that every table has, in their order: the fields of `Row`."""
FACT_COLUMNS: Mapping[str, type] = {
    "jpeg_quality": int,
    "jpeg_tables": str,
    "recompressed": int,
    "earlier_quality": int,
    "enlarged": float,
    "shadows": float,
    "highlights": float,
    "bits": int,
}
"""Name and type of the columns that `qfm_metric.facts` add to a table; `recompressed` is 1 or 0."""
DEFECT_COLUMNS: Mapping[str, type] = {"top_defect": str, **dict.fromkeys(NAMES, float)}
"""Name and type of the columns that say what is wrong: what costs most, and what each of `qfm_metric.defects` costs."""
GROUP_COLUMNS: Mapping[str, type] = {"group": int, "group_rank": int}
"""Name and type of the columns that `qfm_metric.folder.groups` adds: a number for each moment, and 1 for its best."""
EXTRA_COLUMNS: Mapping[str, type] = {
    "lowest": float,
    **DEFECT_COLUMNS,
    **FACT_COLUMNS,
    **GROUP_COLUMNS,
    "map": str,
}
"""Columns that a table has where they were asked for: keys of `Row.extra`."""
NUMBERS = frozenset(name for name, kind in {**COLUMNS, **EXTRA_COLUMNS}.items() if kind in (int, float))
"""Columns of which something can be required (`qfm_metric.requirements`)."""


@dataclass(frozen=True)
class Moment:
    """What tells which pictures are of one moment (`qfm_metric.folder.groups`).

    Attributes:
        taken: When, see `qfm_metric.facts.capture`; None if the file does not say.
        descriptor: What the picture shows: a vector of unit length in half precision, little-endian.
    """

    taken: float | None
    descriptor: bytes = b""


@dataclass(frozen=True)
class Row:
    """What is known of one file: a score, or what went wrong.

    Attributes:
        path: As it was given, as text.
        score: In [0, 1], higher is better; with tiles, the mean of theirs. None if there is an error.
        std: Expected standard deviation of people's mean opinion about the score, in its units; None: not known.
        width, height: Of the upright picture in pixels; None if there is an error.
        error: None if there is a score.
        note: What to bear in mind about the score, such as `blank` or `not a photograph`; None: nothing.
        extra: Named columns that were asked for: `lowest`, the lowest score of a tile; those of `DEFECT_COLUMNS`, of
            which `top_defect` is empty where nothing stands out; those of `FACT_COLUMNS`; those of `GROUP_COLUMNS`;
            `map`, the path of the overlay that was written, see `qfm_metric.overlay`.
        moment: In no table; None unless it was asked for.

    Raises:
        TypeError, ValueError: a value that its column cannot hold, such as a score outside [0, 1]. Numbers of numpy and
            torch are taken.
    """

    path: str
    score: float | None = None
    std: float | None = None
    width: int | None = None
    height: int | None = None
    error: str | None = None
    note: str | None = None
    extra: Mapping[str, Value] = field(default_factory=dict)
    moment: Moment | None = None

    def __post_init__(self) -> None:
        """Keep paths as text and numbers of other libraries as Python's: no table, page or database takes others.

        Raises:
            TypeError: something else.
            ValueError: NaN, Inf; a part of a pixel; a score outside [0, 1].
        """
        if not isinstance(self.path, str | bytes | os.PathLike):
            raise TypeError(f"path: expected a path, got {type(self.path).__name__}")
        object.__setattr__(self, "path", os.fsdecode(self.path))
        if not isinstance(self.extra, Mapping):
            raise TypeError(f"extra of {self.path!r}: expected columns by name, got {type(self.extra).__name__}")
        for name in COLUMNS:
            object.__setattr__(self, name, _plain(name, getattr(self, name), self.path))
        if self.score is not None and not 0 <= self.score <= 1:
            raise ValueError(f"{self.path!r}: expected a score in [0, 1], got {self.score}")
        object.__setattr__(self, "extra", {name: _plain(name, value, self.path) for name, value in self.extra.items()})

    def value(self, column: str) -> Value:
        """Of a column as it is written: floats rounded to four decimals, None where nothing is known."""
        found: Value = getattr(self, column) if column in COLUMNS else self.extra.get(column)
        return round(found, DECIMALS) if isinstance(found, float) else found


def checked(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows as they come.

    Raises:
        TypeError: something else.
    """
    if not isinstance(rows, Iterable):
        raise TypeError(f"rows: expected Rows, as score_files yields, got {type(rows).__name__}")
    for row in rows:
        if not isinstance(row, Row):
            raise TypeError(f"rows: expected Rows, as score_files yields, got {type(row).__name__} among them")
        yield row


def columns_with(
    *, tiles: bool = False, explain: bool = False, facts: bool = False, group: bool = False, maps: bool = False
) -> tuple[str, ...]:
    """Names of the columns of a table, of which these are asked for."""
    told, found = dict.fromkeys(DEFECT_COLUMNS, explain), dict.fromkeys(FACT_COLUMNS, facts)
    wanted = {"lowest": tiles, **told, **found, **dict.fromkeys(GROUP_COLUMNS, group), "map": maps}
    return (*COLUMNS, *(name for name in EXTRA_COLUMNS if wanted[name]))


def as_table(rows: Iterable[Row]) -> dict[str, list[Value]]:
    """Rows as columns by name, which `pandas.DataFrame` and `polars.DataFrame` take as they are.

    Args:
        rows: As `score_files` yields them; they are all held in memory.

    Returns:
        Lists of one length: the columns of `COLUMNS`, and those of `EXTRA_COLUMNS` that some row knows. None where
        nothing is known; scores are not rounded.

    Raises:
        TypeError: something else than rows.

    Examples:
        >>> as_table([Row("a.jpg", 0.5)])["score"]
        [0.5]
    """
    rows = list(checked(rows))
    known = set().union(*(row.extra for row in rows))
    found: dict[str, list[Value]] = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    return found | {name: [row.extra.get(name) for row in rows] for name in EXTRA_COLUMNS if name in known}


def read_row(values: Mapping[str, Any]) -> Row:
    """A row from what a table holds; columns that are not ours are passed over.

    Args:
        values: By column. Only `path` and `score` must be there; text is turned into numbers (`300.0` is a width, as
            pandas writes it), and what is empty, NaN or R's NA is not known.

    Raises:
        KeyError: no path or no score.
        TypeError, ValueError: a value that its column cannot hold, a score outside [0, 1].
    """
    path = values["path"]
    if "score" not in values:
        raise KeyError("score")
    if not isinstance(path, str):
        raise TypeError(f"expected a path, got {path!r}")
    found = {name: _read(name, values.get(name)) for name in (*COLUMNS, *EXTRA_COLUMNS)}
    extra = {name: found.pop(name) for name in EXTRA_COLUMNS}
    return Row(**(found | {"path": path}), extra={name: value for name, value in extra.items() if value is not None})  # type: ignore[arg-type]


def arrow_schema(columns: Sequence[str]) -> Any:
    """The `pyarrow.Schema` of these columns."""
    import pyarrow as pa

    types = {str: pa.string(), float: pa.float64(), int: pa.int32()}
    return pa.schema([(name, types[(COLUMNS | EXTRA_COLUMNS)[name]]) for name in columns])  # type: ignore[operator]


def _plain(column: str, value: Any, path: str) -> Value:
    """A value as its column's type."""
    kind = COLUMNS.get(column) or EXTRA_COLUMNS.get(column)
    if value is None or kind is None or (kind is str and isinstance(value, str)):
        return value  # type: ignore[no-any-return]
    try:
        if kind is str or isinstance(value, str | bytes):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # by what has several values, or none
        what = "text" if kind is str else "a number"
        raise TypeError(f"{column} of {path!r}: expected {what}, got {type(value).__name__}") from error
    if not math.isfinite(number):
        raise ValueError(f"{column} of {path!r}: expected a finite number, got {number}; None is what is not known")
    if kind is int and not number.is_integer():
        raise ValueError(f"{column} of {path!r}: expected a whole number, got {number}")
    return int(number) if kind is int else number


def _read(column: str, value: Any) -> Value:
    kind = COLUMNS.get(column) or EXTRA_COLUMNS[column]
    if value is None or value in ("", "NA") or (isinstance(value, float) and math.isnan(value)):
        return None
    if kind is str:
        return str(value)
    if isinstance(value, bool):
        raise ValueError(f"expected a number for {column}, got {value!r}")
    number = float(value)
    if math.isnan(number):  # as text
        return None
    if kind is int and not number.is_integer():
        raise ValueError(f"expected a whole number for {column}, got {value!r}")
    return int(number) if kind is int else number
