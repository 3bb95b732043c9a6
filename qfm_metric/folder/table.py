"""Pictures that a table lists: a column of paths, of encoded pictures, or of Hugging Face's struct of both."""

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ..images import ImageError
from ..rating import Metric
from .file_names import printable
from .journal import check_is_file
from .one_file import EncodedImage
from .row import Row
from .stream import score_files

BATCH = 64  # rows of encoded pictures that are in memory at a time
FIELD = 2**31 - 1  # bytes of a field in a CSV file: what a C long holds everywhere


def score_table(
    path: str | os.PathLike[str],
    metric: Metric | None = None,
    *,
    column: str = "path",
    base: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Iterator[Row]:
    """Score the pictures of a table as they come: a row of ours per row of the table, in its order.

    The table is read some rows at a time, and so are the pictures in it.

    Args:
        path: A Parquet file (needs pyarrow: `pip install "qfm-metric[parquet]"`), or a CSV file with a heading.
        metric: See `score_files`.
        column: The pictures: paths (text), encoded files (bytes; in Parquet alone), or a struct of `bytes` and `path`
            as Hugging Face's `datasets` write. Where it is empty, the row has an error.
        base: Folder that relative paths count from. Default: the current one.
        options: Of `score_files`.

    Yields:
        Rows. An encoded picture is called by the path of its struct, or `FILE[NUMBER]`, counted from 0.

    Raises:
        ValueError: the file has another suffix, no such column, or one that holds something else.
        ImportError: pyarrow is missing.
        OSError: the file cannot be read.

    Examples:
        >>> scores = [row.score for row in score_table("pictures.parquet", column="image")]  # doctest: +SKIP
    """
    file = Path(path)
    readers = {".parquet": _parquet, ".csv": _csv}
    read = readers.get(file.suffix.lower())
    if read is None:
        raise ValueError(f"{path}: expected a table ({', '.join(readers)}), got {file.suffix or 'no suffix'}")
    check_is_file(file)
    values = read(file, column)
    folder = None if base is None else os.fsdecode(base)
    pictures = (_picture(value, f"{file}[{number}]", folder) for number, value in enumerate(values))
    return score_files(pictures, metric, **options)


def _parquet(file: Path, column: str) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    with file.open("rb") as opened:  # by us: pyarrow takes no names that are not text
        try:
            schema = ParquetFile(opened).schema_arrow
        except pa.ArrowInvalid as error:
            raise ValueError(f"{file}: expected a Parquet file: {error}") from error
    _check_column(file, column, schema.names)
    kind = schema.field(column).type
    if pa.types.is_dictionary(kind):  # pandas' and polars' categories
        kind = kind.value_type
    is_picture = any(known(kind) for known in (*_strings(pa), pa.types.is_binary, pa.types.is_large_binary))
    is_struct = pa.types.is_struct(kind) and {field.name for field in kind} >= {"bytes", "path"}
    if not is_picture and not is_struct:
        raise ValueError(f"{file}: expected paths, bytes, or a struct of both in the column {column!r}, got {kind}")

    def values() -> Iterator[Any]:
        try:
            with file.open("rb") as opened:
                for batch in ParquetFile(opened).iter_batches(BATCH, columns=[column]):
                    yield from batch.column(0).to_pylist()
        except (OSError, pa.ArrowInvalid) as error:
            raise OSError(None, f"expected a whole Parquet file: {error}", str(file)) from error

    return values()


def _strings(pa: Any) -> tuple[Any, Any]:
    return pa.types.is_string, pa.types.is_large_string


def _csv(file: Path, column: str) -> Iterator[Any]:
    csv.field_size_limit(FIELD)
    names = next(_csv_records(file), [])
    _check_column(file, column, names)
    at = names.index(column)
    return (fields[at] if at < len(fields) else None for fields in islice(_csv_records(file), 1, None))


def _csv_records(file: Path) -> Iterator[list[str]]:
    """Lines that are not empty, the heading first."""
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        try:
            yield from filter(None, csv.reader(lines))
        except csv.Error as error:
            raise ValueError(f"{file}: expected a CSV file: {error}") from error


def _check_column(file: Path, column: str, names: Sequence[str]) -> None:
    if names.count(column) == 1:
        return
    if column in names:
        raise ValueError(f"{file}: expected one column {column!r}, got {names.count(column)}; rename the others")
    got = ", ".join(names)[:200] or "an empty file"
    if re.search("[\0\udc80-\udcff]", got):
        raise ValueError(f"{file}: expected text in UTF-8, got other bytes; save it as CSV UTF-8")
    hint = "; part its columns by commas" if len(names) == 1 and re.search(r"[;\t|]", got) else ""
    raise ValueError(f"{file}: expected a column {column!r}, got {printable(got)}{hint}")


def _picture(value: Any, name: str, base: str | None) -> str | EncodedImage:
    """What `score_files` takes for one value of the column."""
    if isinstance(value, Mapping):
        data, path = value["bytes"], value["path"]
        if data is not None:
            return EncodedImage(str(path or name), data)
        value = path
    if isinstance(value, bytes) and value:
        return EncodedImage(name, value)
    if isinstance(value, str) and value:
        return os.path.join(base, value) if base else value
    return EncodedImage(name, _nothing)


def _nothing() -> bytes:
    raise ImageError("expected a path or the bytes of a picture, got nothing")
