"""Rows in files: the formats, files that only ever grow by whole rows, and going on with one that was cut off.

Beside a file of rows lies `FILE.run.json`, which says what the scores were computed with: rows of other weights or
options never get into it. Parquet cannot grow; its rows are collected in `FILE.jsonl` and converted at the end.
"""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

DECIMALS = 4  # the fifth may differ with the batch
COLUMNS = ("path", "score", "error", "width", "height")
TILE_COLUMNS = (*COLUMNS, "lowest")
MAP_COLUMNS = (*COLUMNS, "map")
TEXTS = ("path", "error", "map")
UNPRINTABLE = "backslashreplace"  # a file name need not be text in any encoding; no such name may end the run
RESUMABLE = ("csv", "jsonl", "parquet")
GROUP = 10_000  # rows of a Parquet row group


class UsageError(ValueError):
    """What was asked for cannot be done; says what to do."""


class ResumeError(UsageError):
    """A file cannot be gone on with; says what to do."""


def values(row: Any, columns: Iterable[str]) -> dict[str, Any]:
    """A row as it is written: scores rounded."""
    found = {name: getattr(row, name) for name in columns}
    return {name: round(value, DECIMALS) if isinstance(value, float) else value for name, value in found.items()}


def text_row(row: Any, columns: Iterable[str]) -> str:
    """The score and, with tiles, the lowest; then the path. Or `error`, the path, and what is wrong."""
    if row.score is None:
        return f"error\t{row.path}\t{row.error}\n"
    lowest = f"{row.lowest:.{DECIMALS}f}\t" if "lowest" in columns else ""
    return f"{row.score:.{DECIMALS}f}\t{lowest}{row.path}\n"


def csv_row(row: Any, columns: Iterable[str]) -> str:
    """One CSV record; as many decimals whatever the score."""
    found = values(row, columns)
    shown = [f"{value:.{DECIMALS}f}" if isinstance(value, float) else value for value in found.values()]
    return csv_line(shown)


def csv_line(cells: Iterable[Any]) -> str:
    """One CSV record."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def json_row(row: Any, columns: Iterable[str]) -> str:
    """One JSON object on a line; ASCII: the same bytes in every locale."""
    return json.dumps(values(row, columns)) + "\n"


@dataclass
class Done:
    """The rows that a file has already.

    Attributes:
        paths: How often each path (see `key`) has a row.
        failed: Rows with an error.
        lowest: The lowest score; 1 if there is none.
        end: Where the last whole row ends.
    """

    paths: "Counter[bytes]" = field(default_factory=Counter)
    failed: int = 0
    lowest: float = 1.0
    end: int = 0


class RowFile:
    """A file to which rows are appended; one that does not fit (a full disk) is taken back whole."""

    def __init__(self, path: str | os.PathLike[str], *, start: int = 0) -> None:
        """Open a file, and cut off what lies behind `start`."""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        if os.path.isfile(path):  # not a pipe or a device
            self._file.truncate(start)
        self._size = start

    def write(self, text: str) -> None:
        """Append; in one piece, or not at all."""
        data = memoryview(text.encode("utf-8", UNPRINTABLE))
        try:
            left = data
            while left:
                left = left[self._file.write(left) or 0 :]
        except BaseException:  # an interrupt may come between two pieces, too
            with suppress(OSError):  # a pipe or a device
                self._file.truncate(self._size)
            raise
        self._size += len(data)

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


def key(path: str) -> bytes:
    """A path as a file of rows tells it apart."""
    return path.encode("utf-8", UNPRINTABLE)


def read_rows(path: Path, form: str) -> Done:
    """What a CSV or JSONL file holds.

    Raises:
        ResumeError: something other than the last row is damaged.
    """
    done = Done()
    with path.open("rb") as file:
        for number, record in enumerate(_records(file, quotes=form == "csv"), start=1):
            heading = form == "csv" and number == 1
            row = _read_row(record, form, heading) if record.endswith(b"\n") else None
            if row is None:
                if file.read(1):
                    raise ResumeError(f"{path}: row {number} is damaged: {record[:80]!r}; write to another file")
                break  # it was being written when the run ended
            done.end += len(record)
            if not heading:
                name, score = row
                done.paths[name] += 1
                done.failed += score is None
                done.lowest = min(done.lowest, 1.0 if score is None else score)
    return done


def _records(file: Iterable[bytes], quotes: bool) -> Iterator[bytes]:
    """Lines; of CSV those together that a quoted line break holds together."""
    record = b""
    for line in file:
        record += line
        if not quotes or record.count(b'"') % 2 == 0:
            yield record
            record = b""
    if record:
        yield record


def _read_row(record: bytes, form: str, heading: bool) -> tuple[bytes, float | None] | None:
    """Path and score; None if it is no whole row."""
    try:
        text = record.decode("utf-8")
        if form == "csv":
            path, score, *rest = next(csv.reader(io.StringIO(text, newline=""), strict=True))
            if len(rest) < len(COLUMNS) - 2:
                return None
            return key(path), None if heading or score == "" else float(score)
        row = json.loads(text)
        return key(row["path"]), None if row["score"] is None else float(row["score"])
    except (ValueError, KeyError, TypeError, csv.Error, StopIteration):
        return None


def begin(path: Path, form: str | None, settings: dict[str, Any], resume: bool) -> tuple[RowFile, Done]:
    """Open the file that rows are appended to, and read those that it has already: none unless `resume`.

    Raises:
        ResumeError: the file was begun with other settings, or is damaged.
        OSError: it cannot be written.
    """
    grows, written = growing(path, form)
    if resume and any(file.is_file() and file.stat().st_size for file in (grows, path)):
        check_settings(path, settings)
        if not grows.exists():
            to_journal(path, grows)
        done = read_rows(grows, written)
        return RowFile(grows, start=done.end), done
    file = RowFile(grows)
    if form in RESUMABLE and grows.is_file():  # a pipe or a device is not gone on with
        write_settings(path, settings)
    return file, Done()


def growing(path: Path, form: str | None) -> tuple[Path, str]:
    """The file that rows for `path` are appended to, and what is in it: csv or jsonl."""
    return journal_of(path) if form == "parquet" else path, "csv" if form == "csv" else "jsonl"


def run_file(path: Path) -> Path:
    """Where the settings of a file of rows are."""
    return path.with_name(path.name + ".run.json")


def write_settings(path: Path, settings: dict[str, Any]) -> None:
    """Say what the rows in `path` are computed with."""
    run_file(path).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Refuse to go on with a file of rows unless it was begun with the same settings.

    Raises:
        ResumeError: they differ, or are not known.
    """
    beside = run_file(path)
    again = "repeat the options of the first run, or write to another file"
    try:
        begun = json.loads(beside.read_text(encoding="utf-8"))
        differ = [name for name in settings | begun if begun.get(name) != settings.get(name)]
    except (OSError, ValueError, TypeError) as error:
        raise ResumeError(
            f"{beside}: cannot be read, so it is not known what {path} was scored with; {again}"
        ) from error
    if differ:
        told = "; ".join(f"{name} was {begun.get(name)!r}, now {settings.get(name)!r}" for name in differ)
        raise ResumeError(f"{path} was begun with other settings: {told}; {again}")


def skip_done(paths: Iterable[str], done: "Counter[bytes]") -> Iterator[str]:
    """The paths that have no row yet; one that is given twice needs two."""
    for path in paths:
        name = key(path)
        if done[name]:
            done[name] -= 1
        else:
            yield path


def journal_of(path: Path) -> Path:
    """Where the rows of a Parquet file are collected."""
    return path.with_name(path.name + ".jsonl")


def to_parquet(journal: Path, path: Path, columns: Iterable[str]) -> None:
    """Convert the journal; it is deleted when the Parquet file is whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"width": pa.int32(), "height": pa.int32()} | dict.fromkeys(TEXTS, pa.string())
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in columns])
    half = path.with_name(path.name + ".part")
    with journal.open(encoding="utf-8") as lines, pq.ParquetWriter(half, schema) as writer:
        group: list[dict[str, Any]] = []
        for line in lines:
            row = json.loads(line)
            group.append(row | {name: key(row[name]).decode() for name in TEXTS if row.get(name)})
            if len(group) == GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema))
                group = []
        writer.write_table(pa.Table.from_pylist(group, schema))
    half.replace(path)
    journal.unlink()


def to_journal(path: Path, journal: Path) -> None:
    """Take a finished Parquet file's rows back into a journal, to go on with it."""
    import pyarrow.parquet as pq

    half = journal.with_name(journal.name + ".part")
    with pq.ParquetFile(path) as file, half.open("w", encoding="utf-8") as lines:
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                lines.write(json.dumps(row) + "\n")
    half.replace(journal)
