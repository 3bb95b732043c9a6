"""Files of scores that earlier runs wrote: CSV, JSON, JSON lines and Parquet, as `qfm-metric` writes them."""

import csv
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from .journal import run_file

RESULT_SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")


@dataclass(frozen=True)
class ScoredFile:
    """One row: `score` in [0, 1], or None and what went wrong; `width` and `height` in pixels where they are known.

    `map` is the path of the overlay that was written with the score.
    """

    path: str
    score: float | None
    error: str | None = None
    width: int | None = None
    height: int | None = None
    map: str | None = None


def read_results(path: str | os.PathLike[str]) -> tuple[list[ScoredFile], str]:
    """Read a file of scores.

    Args:
        path: `.csv` or `.parquet` with the columns path and score, `.json` with a list `results`, or `.jsonl` with an
            object a line; `error`, `width`, `height` and `map` are optional, other columns are passed over.

    Returns:
        The rows in the order of the file, and the report string that says what scored them: that of the document,
        of a line in front of the rows, or of `FILE.run.json` beside it; "" if it is not told.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not such a file (the row is named), or pyarrow is missing for Parquet.
    """
    name, suffix = os.fspath(path), os.path.splitext(path)[1].lower()
    if suffix not in RESULT_SUFFIXES:
        raise ValueError(
            f"{name}: expected a file of scores ({', '.join(RESULT_SUFFIXES)}), got {suffix or 'no suffix'}"
        )
    if suffix == ".json":
        report, records = _document(name)
        return list(_rows(records, name)), report
    lines = READERS[suffix[1:]](name)
    head = list(islice(lines, 1))
    if head and "path" not in head[0] and "report" in head[0]:  # stands in front of the rows
        return list(_rows(lines, name)), str(head[0]["report"])
    return list(_rows(chain(head, lines), name)), _report_beside(Path(name))


def stored_rows(path: str | os.PathLike[str], form: str) -> Iterator[ScoredFile]:
    """As `read_results`, a row at a time, of a file that is csv, jsonl or parquet whatever its name."""
    return _rows(READERS[form](os.fspath(path)), os.fspath(path))


def _rows(records: Iterable[dict[str, Any]], name: str) -> Iterator[ScoredFile]:
    for number, values in enumerate(records, 1):
        try:
            row = _row(values)
        except (KeyError, TypeError, ValueError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{name}: row {number}: expected a path and a score in [0, 1] or none: {what}") from error
        yield row


def _open(name: str) -> IO[str]:
    return open(name, encoding="utf-8", errors="surrogateescape", newline="")


def _csv_records(name: str) -> Iterator[dict[str, Any]]:
    with _open(name) as file:
        yield from csv.DictReader(file)


def _json_lines(name: str) -> Iterator[dict[str, Any]]:
    with _open(name) as file:
        for number, line in enumerate(file, 1):
            try:
                values = json.loads(line)
                if not isinstance(values, dict):
                    raise ValueError("not an object")
            except ValueError as error:
                raise ValueError(
                    f"{name}: line {number}: expected a JSON object, got {line[:40]!r}: {error}"
                ) from error
            yield values


def _parquet_records(name: str) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ValueError(
            f"{name}: expected pyarrow to be installed for Parquet; pip install 'qfm-metric[parquet]'"
        ) from error
    try:
        with open(name, "rb") as source, pq.ParquetFile(source) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{name}: expected a whole Parquet file: {error}") from error


READERS = {"csv": _csv_records, "jsonl": _json_lines, "parquet": _parquet_records}


def _document(name: str) -> tuple[str, list[dict[str, Any]]]:
    """The report and the rows of a JSON document."""
    try:
        with _open(name) as file:
            document = json.load(file)
        return str(document.get("report", "")), list(document["results"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name}: expected a JSON object with a list `results`: {error!r}; was it cut off?") from error


def _report_beside(path: Path) -> str:
    """What the scoring command said of its run; a run file that is missing or damaged spoils no score."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        return str(json.loads(run_file(path).read_text(encoding="utf-8"))["report"])
    return ""


def _row(values: dict[str, Any]) -> ScoredFile:
    score = values["score"]
    score = None if score in ("", None) else float(score)
    if score is not None and not 0 <= score <= 1:
        raise ValueError(f"got {score}")
    if not isinstance(values["path"], str):
        raise TypeError(f"got the path {values['path']!r}")
    width, height = (int(values[key]) if values.get(key) else None for key in ("width", "height"))
    return ScoredFile(values["path"], score, values.get("error") or None, width, height, values.get("map") or None)
