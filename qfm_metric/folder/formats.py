"""Formats of rows: how each is written, row by row, and read back.

Text, CSV and JSON lines grow by whole rows. A JSON document is written at once. Parquet and Arrow files cannot grow,
and a database would grow slowly: their rows are collected in `FILE.jsonl` and converted at the end.
"""

import codecs
import csv
import io
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from ..atomic import whole_file
from ..defects import NAMES
from .file_names import key, printable, unescaped
from .row import COLUMNS, DECIMALS, EXTRA_COLUMNS, Row, Value, arrow_schema

FORMULA = re.compile(r"'*[=+\-@\t\r]")
RETURN = re.compile(rb"(?<=\r)(?!\n|$)")  # in front of a line behind one that ends as on an old Mac, and Excel's there
GROUP = 10_000  # rows that are converted at a time
SQL_TYPES = {str: "TEXT", float: "REAL", int: "INTEGER"}

Columns = Sequence[str]
Record = tuple[bytes, dict[str, Any] | None]  # what stands in a file, and its values; None: a heading


class CutOffError(ValueError):
    """The last row of a file is not whole: it was being written when a run ended."""


@dataclass(frozen=True)
class Format:
    """One form of a table.

    Attributes:
        help: What it is, for the command.
        row: One row as text.
        begin: What stands before the first row.
        between: What stands before each further row.
        end: What stands behind the last.
        records: Reads what was written, whole records with their values; raises ValueError at what is none,
            CutOffError at its end.
        resumable: A run that was cut off can be gone on with.
        convert: For a format that cannot grow: writes the file from the lines of its journal.
        restore: The other way: the values of the rows of such a file.
        package, extra: What has to be installed, and the extra that brings it.
    """

    help: str
    row: Callable[[Row, Columns], str]
    begin: Callable[[Columns, str], str] = lambda columns, signature: ""
    between: str = ""
    end: str = ""
    records: Callable[[BinaryIO], Iterator[Record]] | None = None
    resumable: bool = False
    convert: "Callable[[Path, Path, Columns], None] | None" = None
    restore: Callable[[Path], Iterator[dict[str, Any]]] | None = None
    package: str | None = None
    extra: str | None = None


def text_row(row: Row, columns: Columns) -> str:
    """The score, what else was asked for, and the path. Or `error`, the path, and what is wrong. A line.

    Maps and the cost of each defect are for tables: sixteen numbers without a heading say nothing.
    """
    path = printable(row.path)
    if row.score is None:
        return f"error\t{path}\t{printable(row.error or '')}\n"
    extra = [_decimal(row.value(name)) for name in columns if name in EXTRA_COLUMNS and name not in ("map", *NAMES)]
    return "\t".join([_decimal(row.score), *extra, path]) + "\n"


def csv_row(row: Row, columns: Columns) -> str:
    """One CSV record; as many decimals whatever the score.

    Spreadsheets compute what begins with one of `=+-@`, and a file's name may: such text gets an apostrophe in front,
    which `read_csv` takes off again.
    """
    found = [row.value(name) for name in columns]
    return csv_line([_field(value) for value in found])


def _field(value: Value) -> str:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else _decimal(value)


def _decimal(value: Value) -> str:
    """A value in as many decimals whatever it is; nothing for None."""
    return f"{value:.{DECIMALS}f}" if isinstance(value, float) else "" if value is None else str(value)


def csv_line(fields: Iterable[Any]) -> str:
    """One CSV record; a line break of either kind is quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(fields)  # what stands in it decides what is quoted
    return line.getvalue().removesuffix("\r\n") + "\n"


def json_row(row: Row, columns: Columns) -> str:
    """One JSON object; ASCII: the same bytes in every locale."""
    return json.dumps({name: row.value(name) for name in columns})


def json_line(row: Row, columns: Columns) -> str:
    """One JSON object on a line."""
    return json_row(row, columns) + "\n"


def decoded(record: bytes) -> str:
    """The text of a record; the first of a file may have a byte order mark before it.

    Raises:
        ValueError: the mark is that of UTF-16.
    """
    if record.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("expected text in UTF-8, got UTF-16, as > of PowerShell writes; save it in UTF-8, or use -o")
    return record.decode("utf-8-sig", "surrogateescape")


def read_csv(file: BinaryIO) -> Iterator[Record]:
    """Records of a CSV file with a heading; its line ends may be of any system."""
    names: list[str] | None = None
    lines: list[bytes] = []
    is_open = False  # a quote, whose line breaks hold lines together
    for line in (part for whole in file for part in RETURN.split(whole)):
        lines.append(line)
        is_open ^= line.count(b'"') % 2 == 1
        if is_open:
            continue
        record = b"".join(lines)
        with _whole(record):
            text = decoded(record) if names is None else record.decode("utf-8", "surrogateescape")
            fields = next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
            if names is None and fields and "path" not in fields:
                raise ValueError(f"expected a heading with the column path, parted by commas, got {text[:80]!r}")
            if names and fields and len(fields) != len(names):
                raise ValueError(f"expected {len(names)} fields, got {len(fields)}")
            known = [name for name in fields if names is None and (name in COLUMNS or name in EXTRA_COLUMNS)]
            if len(set(known)) < len(known):
                raise ValueError(f"expected one column of each name, got {', '.join(fields)}; rename the others")
        plain = [field[1:] if field.startswith("'") and FORMULA.match(field) else field for field in fields]
        # Of a row that was emptied, spreadsheets leave its commas.
        yield record, dict(zip(names, plain, strict=True)) if names and any(fields) else None
        names = names or fields
        lines = []
    if lines:
        raise CutOffError("a quoted field has no end")


def read_json_lines(file: BinaryIO) -> Iterator[Record]:
    """Records of a file with a JSON object a line; the first may say what scored the rows."""
    for line in file:
        with _whole(line):
            values = json.loads(decoded(line)) if line.strip() else None
            if values is not None and not isinstance(values, dict):
                raise ValueError(f"expected a JSON object, got {line[:40]!r}")
        yield line, values


@contextmanager
def _whole(record: bytes) -> Iterator[None]:
    """What cannot be read inside is damaged, or cut off if no line break ends it."""
    try:
        yield
    except (ValueError, csv.Error, RecursionError) as error:
        raise (ValueError if record.endswith(b"\n") else CutOffError)(str(error)) from error


def read_json(file: BinaryIO) -> Iterator[Record]:
    """Records of one JSON document: what scored the rows, then the rows of its list `results`."""
    try:
        document = json.loads(decoded(file.read()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON object with a list `results`: {error}; was it cut off?") from error
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise ValueError(
            "expected a JSON object with a list `results`, got other JSON; rows alone are .jsonl, a row a line"
        )
    signature = document.get("signature", "")
    yield b"", {"signature": signature}
    for values in results:
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object, got {json.dumps(values)[:40]}")
        yield b"", values


def to_parquet(journal: Path, path: Path, columns: Columns) -> None:
    """Write a Parquet file from JSON lines."""
    from pyarrow.parquet import ParquetWriter

    _write_groups(journal, path, columns, ParquetWriter)


def to_arrow(journal: Path, path: Path, columns: Columns) -> None:
    """Write an Arrow IPC file from JSON lines."""
    from pyarrow.ipc import new_file

    _write_groups(journal, path, columns, new_file)


def from_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file."""
    from pyarrow.parquet import ParquetFile

    with _whole_binary(path, "Parquet") as source, ParquetFile(source) as file:
        for batch in file.iter_batches():
            yield from map(unescaped, batch.to_pylist())


def from_arrow(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow IPC file."""
    from pyarrow.ipc import open_file

    with _whole_binary(path, "Arrow") as source, open_file(source) as file:
        for number in range(file.num_record_batches):
            yield from map(unescaped, file.get_batch(number).to_pylist())


def _write_groups(journal: Path, path: Path, columns: Columns, open_writer: Callable[[IO[Any], Any], Any]) -> None:
    import pyarrow as pa

    schema = arrow_schema(columns)
    with whole_file(path, "wb") as file, open_writer(file, schema) as writer:
        for group in groups(journal):
            writer.write_table(pa.Table.from_pylist(group, schema))


@contextmanager
def _whole_binary(path: Path, kind: str) -> Iterator[BinaryIO]:
    """A file that pyarrow reads; what it cannot read is damaged."""
    import pyarrow as pa

    try:
        with path.open("rb") as source:
            yield source
    except pa.ArrowInvalid as error:
        raise ValueError(f"expected a whole {kind} file: {error}") from error


def to_sqlite(journal: Path, path: Path, columns: Columns) -> None:
    """Write an SQLite database with the table `scores`, a transaction for some thousand rows.

    Raises:
        OSError: it cannot be written, because the disk is full perhaps.
    """
    types = {**COLUMNS, **EXTRA_COLUMNS}
    names = ", ".join(f'"{name}" {SQL_TYPES[types[name]]}' for name in columns)  # `group` is a word of SQL
    places = ", ".join(f":{name}" for name in columns)
    with whole_file(path, "wb") as file, _sqlite_naming(path), closing(sqlite3.connect(file.name)) as base:
        base.execute("PRAGMA journal_mode = MEMORY")  # the file has its name when it is whole: no second file beside it
        base.execute(f"CREATE TABLE scores ({names})")
        for group in groups(journal):
            with base:
                base.executemany(f"INSERT INTO scores VALUES ({places})", group)
        with base:
            base.execute("CREATE INDEX scores_by_path ON scores (path)")
            base.execute("CREATE INDEX scores_by_score ON scores (score)")


@contextmanager
def _sqlite_naming(path: Path) -> Iterator[None]:
    """What SQLite cannot write is an error like that of any other file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(None, str(error), str(path)) from error


def from_sqlite(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of the table `scores` of an SQLite database."""
    with path.open("rb"):  # whatever is wrong with the file itself is told as of any other
        pass
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            base.row_factory = sqlite3.Row
            yield from (unescaped(dict(row)) for row in base.execute("SELECT * FROM scores ORDER BY rowid"))
    except sqlite3.DatabaseError as error:
        raise ValueError(f"expected an SQLite database with a table `scores`: {error}") from error


def has_scores_alone(path: Path) -> bool:
    """Whether an SQLite database holds the table `scores` and nothing of anybody else's."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            names = {name for (name,) in base.execute("SELECT name FROM sqlite_master")}
            return names == {"scores", "scores_by_path", "scores_by_score"}
    except sqlite3.DatabaseError:
        return False


def groups(journal: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows of a journal, some thousand at a time, at least once; names that are no text are escaped."""
    group: list[dict[str, Any]] = []
    with journal.open(encoding="utf-8") as lines:
        for line in lines:
            values = json.loads(line).items()
            group.append({name: key(value).decode() if isinstance(value, str) else value for name, value in values})
            if len(group) == GROUP:
                yield group
                group = []
    yield group


def _json_head(columns: Columns, signature: str) -> str:
    return f'{{"signature": {json.dumps(signature)}, "results": [\n  '


FORMATS = {
    "json": Format("one JSON document", json_row, _json_head, ",\n  ", "\n]}\n", read_json),
    "jsonl": Format("a JSON object per line", json_line, records=read_json_lines, resumable=True),
    "csv": Format(
        "CSV with a heading",
        csv_row,
        begin=lambda columns, signature: csv_line(columns),
        records=lambda file: ((record, values and unescaped(values)) for record, values in read_csv(file)),
        resumable=True,
    ),
    "parquet": Format(
        "a Parquet file, with -o (pip install 'qfm-metric[parquet]')",
        json_line,
        records=read_json_lines,  # of its journal
        resumable=True,
        convert=to_parquet,
        restore=from_parquet,
        package="pyarrow",
        extra="parquet",
    ),
    "arrow": Format(
        "an Arrow IPC file (Feather), with -o (pip install 'qfm-metric[parquet]')",
        json_line,
        records=read_json_lines,  # of its journal
        resumable=True,
        convert=to_arrow,
        restore=from_arrow,
        package="pyarrow",
        extra="parquet",
    ),
    "sqlite": Format(
        "an SQLite database with the table scores, with -o",
        json_line,
        records=read_json_lines,  # of its journal
        resumable=True,
        convert=to_sqlite,
        restore=from_sqlite,
    ),
}
"""By the name of the command's option, and the suffix of a file of rows."""
TEXT = Format("a line per picture", text_row)
