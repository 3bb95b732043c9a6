"""Files that only ever grow by whole rows, and going on with one that was cut off.

Beside a file of rows lies `FILE.run.json`, which says what the scores were computed with: rows of other weights or
options never get into it.
"""

import errno
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ..atomic import check_replaceable, naming, whole_file
from .file_names import UNPRINTABLE, key
from .formats import FORMATS, CutOffError, Format
from .row import DECIMALS, Row, read_row


class UsageError(ValueError):
    """What was asked for cannot be done; says what to do."""


class ResumeError(UsageError):
    """A file cannot be gone on with; says what to do."""


@dataclass
class Done:
    """The rows that a file has already.

    Attributes:
        paths: How often each path (see `key`) has a row.
        failed: Rows with an error.
        lowest: The lowest score; 1 if there is none.
        lacking: Rows that are not as required.
        end: Where the last whole row ends.
    """

    paths: "Counter[bytes]" = field(default_factory=Counter)
    failed: int = 0
    lowest: float = 1.0
    lacking: int = 0
    end: int = 0

    def count(self, row: Row) -> None:
        """Take a row into the figures."""
        self.paths[key(row.path)] += 1
        self.failed += row.score is None
        self.lowest = min(self.lowest, 1.0 if row.score is None else round(row.score, DECIMALS))


class RowFile:
    """A file to which rows are appended; one that does not fit (a full disk) is taken back whole.

    Attributes:
        size: Its bytes; 0 of a pipe or a device.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a file, which no other run can write then; what it has stays.

        Raises:
            UsageError: another run is writing it.
            OSError: it cannot be written.
        """
        self._path = path
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        found = os.fstat(self._file.fileno())
        self._regular, self.size = stat.S_ISREG(found.st_mode), 0
        if self._regular:
            if not lock_file(self._file) or self._is_deleted():  # by the run that had it, before it let it go
                self._file.close()
                raise UsageError(
                    f"{path}: another run is writing it; wait for its end (`qfm-metric watch` has none before Ctrl-C), "
                    "or write to another file"
                )
            self.size = self._file.seek(0, os.SEEK_END)

    def _is_deleted(self) -> bool:
        """Whether no name leads to the file any more: what is written to it would be lost."""
        return self._regular and os.fstat(self._file.fileno()).st_nlink == 0

    def cut(self, size: int) -> None:
        """Cut off what lies behind so many bytes."""
        if self._regular:
            with naming(self._path):
                self._file.truncate(size)
            self.size = size

    def delete(self) -> None:
        """Delete the file before any other run can have it."""
        if sys.platform == "win32":  # where an open file cannot be deleted
            self._file.close()
        os.unlink(self._path)
        self._file.close()

    def write(self, text: str) -> None:
        """Append; in one piece, or not at all.

        Raises:
            OSError: it cannot be written, or was deleted or replaced meanwhile. Names the file.
        """
        if self._is_deleted():
            raise OSError(errno.ENOENT, "it was deleted or replaced while rows came", os.fspath(self._path))
        data = memoryview(text.encode("utf-8", UNPRINTABLE))
        try:
            left = data
            with naming(self._path):
                while left:
                    left = left[self._file.write(left) or 0 :]
        except BaseException:  # an interrupt may come between two pieces, too
            with suppress(OSError):
                self.cut(self.size)
            raise
        self.size += len(data)

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


class Journal:
    """Where the rows of a run go, whatever their format: the file itself, or one beside it that is converted.

    Args:
        path: What the user asked for.
        form: Its format.
    """

    def __init__(self, path: Path, form: Format) -> None:
        self.path, self.form = path, form
        self.grows = Path(f"{path}.jsonl") if form.convert else path
        """The file that rows are appended to."""
        self.run_file = run_file(path)
        self._file: RowFile | None = None

    def begin(self, settings: dict[str, Any], resume: bool) -> tuple[RowFile, Done]:
        """Open the file, and read the rows that it has already: none unless `resume`.

        Raises:
            ResumeError: the file was begun with other settings, or is damaged.
            OSError: it cannot be written.
        """
        if resume and self._is_begun():
            self.check_settings(settings)  # before anything is made
        elif self.form.convert:
            check_replaceable(self.path)
        self._file, done = RowFile(self.grows), Done()
        try:
            if resume and self._is_begun():  # looked at again: a run may have ended since
                self.check_settings(settings)
                if not self._file.size:
                    self._restore(self._file)
                for row in self._whole_rows(done):
                    done.count(row)
            elif self.form.resumable and self.grows.is_file():  # a pipe or a device is not gone on with
                with whole_file(self.run_file) as beside:
                    beside.write(json.dumps(settings, indent=2) + "\n")
            self._file.cut(done.end)
        except BaseException:
            self._file.__exit__(None, None, None)
            raise
        return self._file, done

    def _is_begun(self) -> bool:
        return any(file.is_file() and file.stat().st_size for file in (self.grows, self.path))

    def rows(self) -> Iterator[Row]:
        """The whole rows that are there already."""
        return self._whole_rows(Done())

    def finish(self, columns: Sequence[str]) -> None:
        """Convert a journal into the file, while no other run can write it; it is deleted when that is whole."""
        if self.form.convert and self._file:
            self.form.convert(self.grows, self.path, columns)
            self._file.delete()

    def check_settings(self, settings: dict[str, Any]) -> None:
        """Refuse to go on with a file of rows unless it was begun with the same settings.

        Raises:
            ResumeError: they differ, or are not known.
        """
        begun, other = read_settings(self.path), "write to another file"
        if not begun:
            found = "cannot be read" if self.run_file.exists() else "is missing"
            raise ResumeError(f"{self.run_file}: {found}, so it is not known what {self.path} was scored with; {other}")
        differ = [name for name in settings | begun if begun.get(name) != settings.get(name)]
        if differ:
            told = "; ".join(f"{name} was {begun.get(name)!r}, now {settings.get(name)!r}" for name in differ)
            raise ResumeError(
                f"{self.path} was begun with other settings: {told}; repeat the options of the first run, or {other}"
            )

    def _whole_rows(self, done: Done) -> Iterator[Row]:
        """Rows, and in `done.end` where the last one ends; the last may be cut off.

        Raises:
            ResumeError: something other than the last row is damaged.
        """
        assert self.form.records is not None
        number = 0
        with self.grows.open("rb") as file:
            try:
                for record, values in self.form.records(file):
                    if not record.endswith(b"\n"):
                        return
                    row = None if values is None else read_row(values)
                    done.end += len(record)
                    if row is not None:
                        number += 1
                        yield row
            except CutOffError:
                return
            except (KeyError, TypeError, ValueError) as error:
                file.seek(done.end)
                raise ResumeError(
                    f"{self.grows}: row {number + 1} is damaged: {file.readline()[:80]!r}; write to another file"
                ) from error

    def _restore(self, journal: RowFile) -> None:
        """Take a finished file's rows back into a journal, to go on with it."""
        assert self.form.restore is not None
        try:
            for values in self.form.restore(self.path):
                journal.write(json.dumps(values) + "\n")
        except BaseException:
            journal.cut(0)  # a part would be gone on with
            raise


def lock_file(file: IO[bytes]) -> bool:
    """Keep other runs from a file until it is closed; False if one has it already."""
    try:
        import fcntl
    except ImportError:  # Windows, where a file that one process writes can be locked by its bytes
        import msvcrt

        file.seek(2**40)  # far behind all rows: what is locked cannot be read by others
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system that knows no locks
        return True
    return True


def run_file(path: Path) -> Path:
    """Where the settings of a file of rows are."""
    return Path(f"{path}.run.json")


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that a file of rows was begun with; none if they are not known."""
    file = run_file(path)
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}  # a pipe may never end
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def skip_done(paths: Iterable[str], done: "Counter[bytes]") -> Iterator[str]:
    """The paths that have no row yet; one that is given twice needs two."""
    for path in paths:
        name = key(path)
        if done[name]:
            done[name] -= 1
        else:
            yield path


def read_table(path: str | os.PathLike[str]) -> tuple[list[Row], str]:
    """Read a file of scores that an earlier run wrote, or that has its columns.

    Args:
        path: A file whose suffix is one of `FORMATS`: CSV, JSON lines or Parquet with the columns path and score, or a
            JSON document with a list `results`. Other columns of ours are optional, foreign ones are passed over.

    Returns:
        The rows in the order of the file, and the signature that says what scored them: that of the document, of a line
        in front of the rows, or of `FILE.run.json` beside it; "" if it is not told.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not such a file (the row is named), or pyarrow is missing for Parquet.
    """
    name, suffix = os.fspath(path), os.path.splitext(path)[1].lower()
    form = FORMATS.get(suffix[1:])
    if form is None:
        raise ValueError(f"{name}: expected a file of scores ({suffixes()}), got {suffix or 'no suffix'}")
    check_is_file(path)
    rows: list[Row] = []
    signature = None
    try:
        for values in _values(Path(name), form):
            if "path" not in values and not rows and signature is None and "signature" in values:
                signature = str(values["signature"])  # stands in front of the rows
            else:
                rows.append(read_row(values))
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error} among {', '.join(map(repr, values))}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{name}: row {len(rows) + 1}: expected a path and a score in [0, 1] or none: {what}"
        ) from error
    except ImportError as error:
        raise ValueError(
            f"{name}: expected {form.package} to be installed; pip install 'qfm-metric[{form.extra}]'"
        ) from error
    return rows, str(read_settings(Path(name)).get("signature", "")) if signature is None else signature


def check_is_file(path: str | os.PathLike[str]) -> None:
    """Refuse a pipe or a device before it is opened, which may take for ever; what is missing, its reader tells.

    Raises:
        OSError: names it.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(None, "expected a file, got a folder, a pipe or a device", os.fspath(path))


def suffixes() -> str:
    """Of files of scores, to show."""
    return ", ".join(f".{name}" for name in FORMATS)


def _values(path: Path, form: Format) -> Iterator[dict[str, Any]]:
    if form.restore:
        yield from form.restore(path)
        return
    assert form.records is not None
    with path.open("rb") as file:
        yield from (values for _, values in form.records(file) if values is not None)
