"""What data sets publish their scores in, beside CSV: workbooks, MATLAB files, and the scales that the scores are on.

Every error is a `DataError` that names the file, and the line where there is one.
"""

import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from .table import DataError, Row


@dataclass(frozen=True)
class Scale:
    """The range that a data set publishes its scores on, and which end of it is good (a DMOS is lower for better)."""

    low: float
    high: float
    higher_is_better: bool = True

    def mos(self, score: object, where: str) -> float:
        """The score as an MOS in [0, 1], higher is better.

        Raises:
            DataError: not a number within the scale; starts with `where`.
        """
        try:
            value = float(score)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            value = math.nan
        if not self.low <= value <= self.high:
            raise DataError(f"{where}: expected a score in [{self.low:g}, {self.high:g}], got {score!r}")
        share = (value - self.low) / (self.high - self.low)
        return share if self.higher_is_better else 1 - share


def need(path: Path, layout: str) -> Path:
    """The path, if it is there.

    Raises:
        DataError: it is not; names it and the layout that it belongs to.
    """
    if not path.exists():
        raise DataError(f"{path}: not there; expected {layout}")
    return path


def first_of(paths: Iterable[Path], layout: str) -> Path:
    """The first path that is there; an error names the first of all."""
    paths = list(paths)
    return need(next((path for path in paths if path.exists()), paths[0]), layout)


def text_lines(path: Path, layout: str) -> Iterator[tuple[str, str]]:
    """Per line of a text file that is not blank: where it stands ("FILE, line N"), and the line, stripped."""
    for number, line in enumerate(need(path, layout).read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            yield f"{path}, line {number}", line.strip()


def sheet_records(
    path: Path, columns: Iterable[str], layout: str, sheet: str | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """As `table.csv_records`, of a workbook's sheet (default: its first), whose header may stand below other lines."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise DataError(f"{path}: reading a workbook needs openpyxl; pip install 'qfm-metric[train]'") from error
    try:
        book = load_workbook(need(path, layout), read_only=True, data_only=True)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .xlsx workbook ({error})") from error
    columns = list(columns)
    with closing(book):
        if sheet is not None and sheet not in book.sheetnames:
            raise DataError(f"{path}: no sheet {sheet!r}; found {book.sheetnames}")
        lines = enumerate(book[sheet or book.sheetnames[0]].iter_rows(values_only=True), start=1)
        header = next((fields for _, fields in lines if set(columns) <= set(fields)), None)
        if header is None:
            raise DataError(f"{path}: no line with the columns {', '.join(columns)}")
        at = {column: header.index(column) for column in columns}
        for number, fields in lines:
            record = {column: fields[at[column]] if at[column] < len(fields) else None for column in columns}
            if any(value is not None for value in record.values()):
                yield f"{path}, line {number}", record


def mat_values(path: Path, variable: str, layout: str) -> list[Any]:
    """One variable of a MATLAB file, flattened; texts come as `str`."""
    try:
        content = loadmat(need(path, layout))
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError, zlib.error) as error:
        raise DataError(f"{path}: not a readable MATLAB file ({error})") from error
    if variable not in content:
        found = sorted(name for name in content if not name.startswith("__"))
        raise DataError(f"{path}: variable {variable} is missing; found {found}")
    values = np.ravel(content[variable])
    # Each text stands in an array of its own.
    return [str(np.ravel(text)[0]) for text in values] if values.dtype == object else list(values)


def same_length(lists: dict[str, list[Any]], expected: int | None = None) -> None:
    """Refuse lists, by the name of their file, that do not go together line by line."""
    lengths = {name: len(values) for name, values in lists.items()}
    if len({*lengths.values(), *([] if expected is None else [expected])}) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise DataError(f"{told}; expected {'as many in each' if expected is None else expected}")


def by_name(folders: Iterable[Path], layout: str) -> dict[str, Path]:
    """The files in folders by lower-case name: several sets write a name in one case and store it in another."""
    return {path.name.lower(): path for folder in folders for path in need(folder, layout).iterdir()}


def complete(rows: list[Row], table: Path) -> list[Row]:
    """The rows, if there are any and all their pictures are there.

    Raises:
        DataError: names the first picture that is missing and says how many are.
    """
    if not rows:
        raise DataError(f"{table}: no pictures are listed")
    missing = [row.image for row in rows if not Path(row.image).is_file()]
    if missing:
        count = f"{len(missing)} of {len(rows)} listed pictures are missing"
        raise DataError(f"{missing[0]}: listed in {table.name} but not there; {count}")
    return rows
