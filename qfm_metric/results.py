"""Files of scores that earlier runs wrote: CSV, JSON and JSON lines, as `qfm-metric` writes them."""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

RESULT_SUFFIXES = (".csv", ".json", ".jsonl")


@dataclass(frozen=True)
class ScoredFile:
    """One row: `score` in [0, 1], or None and what went wrong; `width` and `height` in pixels where they are known."""

    path: str
    score: float | None
    error: str | None = None
    width: int | None = None
    height: int | None = None


def read_results(path: str | os.PathLike[str]) -> tuple[list[ScoredFile], str]:
    """Read a file of scores.

    Args:
        path: `.csv` with the columns path and score, `.json` with a list `results`, or `.jsonl` with an object a line;
            `error`, `width` and `height` are optional, other columns are passed over.

    Returns:
        The rows in the order of the file, and the report string that says what scored them ("" if it is not told).

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not such a file; the row is named.
    """
    name, suffix = os.fspath(path), os.path.splitext(path)[1].lower()
    if suffix not in RESULT_SUFFIXES:
        raise ValueError(
            f"{name}: expected a file of scores ({', '.join(RESULT_SUFFIXES)}), got {suffix or 'no suffix'}"
        )
    report = ""
    rows: list[ScoredFile] = []
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        for number, values in enumerate(_read_json(file, name) if suffix == ".json" else _lines(file, name, suffix), 1):
            if "path" not in values and "report" in values:  # stands in front of the rows
                report = str(values["report"])
                continue
            try:
                rows.append(_row(values))
            except (KeyError, TypeError, ValueError) as error:
                what = f"no {error}" if isinstance(error, KeyError) else str(error)
                raise ValueError(
                    f"{name}: row {number}: expected a path and a score in [0, 1] or none: {what}"
                ) from error
    return rows, report


def _read_json(file: IO[str], name: str) -> Iterator[dict[str, Any]]:
    try:
        document = json.load(file)
        yield {"report": document.get("report", "")}
        yield from document["results"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name}: expected a JSON object with a list `results`: {error!r}; was it cut off?") from error


def _lines(file: IO[str], name: str, suffix: str) -> Iterator[dict[str, Any]]:
    if suffix == ".csv":
        yield from csv.DictReader(file)
        return
    for number, line in enumerate(file, 1):
        try:
            values = json.loads(line)
            if not isinstance(values, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise ValueError(f"{name}: line {number}: expected a JSON object, got {line[:40]!r}: {error}") from error
        yield values


def _row(values: dict[str, Any]) -> ScoredFile:
    score = values["score"]
    score = None if score in ("", None) else float(score)
    if score is not None and not 0 <= score <= 1:
        raise ValueError(f"got {score}")
    if not isinstance(values["path"], str):
        raise TypeError(f"got the path {values['path']!r}")
    size = [int(values[key]) if values.get(key) else None for key in ("width", "height")]
    return ScoredFile(values["path"], score, values.get("error") or None, *size)
