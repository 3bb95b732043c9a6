"""Where a command may write: never over a picture, over what it reads, or over somebody else's file.

An existing file is replaced only if it is empty, or is of the kind that would be written. No option lifts this.
"""

import codecs
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..atomic import check_replaceable
from ..decoding.suffixes import is_named_as_picture
from ..folder.formats import FORMATS, has_scores_alone
from ..folder.journal import run_file
from ..folder.row import COLUMNS, EXTRA_COLUMNS, read_row
from ..own_files import head, is_page

STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
OURS = {*COLUMNS, *EXTRA_COLUMNS}
KEPT = "it is there, and pictures are never replaced; name another, or delete it first"
TEXT = re.compile(rb"(?:[01]\.\d{4}\t|error\t)")
ELSEWHERE = frozenset(
    {"7z", "bz2", "gz", "htm", "html", "ods", "onnx", "pdf", "pt2", "xls", "xlsx", "xz", "zip", "zst"}
)
"""Suffixes by which programs open a file, and fail at one that holds something else."""


def output_file(name: str) -> str | None:
    """The file that an option names; None for standard output, which is what is written to without the option."""
    return None if name in STANDARD_OUTPUT else name


def check_target(
    option: str,
    path: str | None,
    is_ours: Callable[[Path], bool],
    inputs: Iterable[str],
    refuse: Callable[[str], Any],
    *,
    picture: bool = False,
    suffixes: Sequence[str] = (),
) -> None:
    """Refuse a file that must not be written, before anything is opened; a pipe or a device may be.

    Args:
        option: That names the file, for the message.
        path: The file; None: nothing is written.
        is_ours: Whether an existing file is of the kind that would be written; `never` of pictures.
        inputs: What the command reads, and what it writes by other options.
        refuse: Gets the message.
        picture: A picture is written: its suffix is one.
        suffixes: Those of what is written, the usual one first: no other kind's is taken. Empty: any is.
    """
    if path is None:
        return
    if path == "-":
        refuse(f"{option}: expected the name of a file, got -; this cannot go to standard output")
    file = Path(path)
    if not picture and is_named_as_picture(path):
        refuse(
            f"{option}: expected the name of the file to write, got a picture's: {path}; name it before the pictures"
        )
    is_there, place = file.exists(), os.path.realpath(path)
    for read in inputs:  # a shell may have made thousands of a pattern
        if _same(read, path) if is_there else not os.path.exists(read) and os.path.realpath(read) == place:
            refuse(f"{option}: expected another file than what is read or written otherwise, got {path}")
    suffix = file.suffix.lower()[1:]
    if suffixes and suffix not in suffixes and suffix in ELSEWHERE.union(FORMATS):
        refuse(f"{option}: expected a name that ends with .{suffixes[0]}, got {path}, which could not be read back")
    try:
        if file.is_file():
            check_replaceable(path, is_ours)
    except FileExistsError as error:
        refuse(f"{option}: {path}: {KEPT if picture else error.strerror}")


def check_page(option: str, path: str | None, inputs: Iterable[str], refuse: Callable[[str], Any]) -> None:
    """As `check_target`, of a page of pictures, films, a comparison or a plan."""
    check_target(option, path, is_page, inputs, refuse, suffixes=("html", "htm"))


def check_table(
    option: str, path: str | None, name: str | None, inputs: Iterable[str], refuse: Callable[[str], Any]
) -> None:
    """As `check_target`, of a file of rows in a format (None: text), which is read back by its suffix."""
    suffix = "" if path is None else Path(path).suffix.lower()[1:]
    if name is None and suffix in FORMATS:
        refuse(f"{option}: expected --{suffix}, too, got {path}, which could not be read back")
    check_target(option, path, is_table(name), inputs, refuse, suffixes=(name or "txt",))


def is_table(name: str | None) -> Callable[[Path], bool]:
    """Whether a file holds rows of a format (None: text), or is the half-written one of a run that ended."""

    def check(path: Path) -> bool:
        if name == "sqlite" and not has_scores_alone(path):  # is replaced as a whole
            return False
        if run_file(path).is_file():  # a run of ours has begun it, and may have been cut off anywhere
            return True
        if name is None:
            return bool(TEXT.match(head(path)))
        form = FORMATS[name]
        if name == "csv":
            heading = [*head(path).removeprefix(codecs.BOM_UTF8).splitlines(), b""][0].decode("utf-8", "replace")
            return heading.startswith("path,score") and set(heading.split(",")) <= OURS
        try:
            if form.restore:
                return read_first(form.restore(path))
            assert form.records is not None
            with path.open("rb") as file:
                return read_first(values for _, values in form.records(file) if values is not None)
        except Exception:  # whatever a reader makes of somebody else's file
            return name == "json" and head(path).startswith(b'{"signature": ')  # a run that was cut off

    return check


def read_first(records: Iterable[Any]) -> bool:
    """Whether the first record is a row of ours and no more, or says what scored those behind it, or there is none."""
    for values in records:
        if "path" not in values and "signature" in values:
            continue
        read_row(values)
        return set(values) <= OURS
    return True


def never(path: Path) -> bool:
    """Pictures replace nothing."""
    return False


def _same(a: str, b: str) -> bool:
    try:
        return os.path.samefile(a, b)
    except OSError:
        return False
