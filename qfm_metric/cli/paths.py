"""Which pictures the command's paths stand for."""

import codecs
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..folder.file_names import shown
from ..folder.journal import UsageError
from ..folder.scan import FolderScan
from .parser import warn


class Scan:
    """Files as they are, folders and globs expanded in order of name, `-` as what standard input lists.

    Args:
        paths: What the user gave.
        recursive: Look into the folders of folders.
        skip: A folder that is not looked into.
        null: What standard input lists is parted by NUL instead of by lines, as by `find -print0`.
        quiet: Say nothing of what is passed over.
    """

    def __init__(
        self,
        paths: Iterable[str],
        recursive: bool = False,
        skip: str | None = None,
        null: bool = False,
        quiet: bool = False,
    ) -> None:
        self.paths, self.null = paths, null
        self._warn: Callable[[str], object] = (lambda message: None) if quiet else warn
        self._folder = FolderScan(recursive, skip, say=self._warn)

    def __iter__(self) -> Iterator[str]:
        for path in self.paths:
            if path == "-":
                yield from _listed(self.null)
            elif not os.path.lexists(path) and glob.has_magic(path):
                found = self._matches(path)
                if "**" in path:  # has walked into the folders itself
                    found = [match for match in found if not os.path.isdir(match)]
                for match in found or [path]:  # nothing matches: an error row names the glob
                    yield from self._folder(match)
            else:
                yield from self._folder(path)
        if passed := self._folder.companions:
            self._warn(f"{passed} files passed over that belong to others (such as ._IMG.JPG)")
        if drawn := self._folder.maps:
            self._warn(f"{drawn} maps passed over that --map drew")

    def _matches(self, pattern: str) -> list[str]:
        try:
            return sorted(glob.glob(pattern, recursive=True))
        except RecursionError:
            self._warn(f"{pattern}: the folders in it are too deep for **; give the folder itself, and -r")
            return []


def tell_missing(paths: Iterable[str]) -> None:
    """Say how many pictures of a table are not there: a page shows none of them, and nothing can move them."""
    known = list(paths)
    if missing := [path for path in known if not os.path.exists(path)]:
        warn(
            f"{len(missing):,} of {len(known):,} pictures are not found from here, such as {shown(missing[0])}; the "
            "paths in a table count from the folder in which they were scored"
        )


def _listed(null: bool) -> Iterator[str]:
    """Paths that standard input lists, as they come.

    Raises:
        UsageError: it is no list, but a picture perhaps; or it cannot be read.
    """
    source: Any = sys.stdin.buffer
    encoding, end, rest = sys.stdin.encoding, b"\0" if null else b"\n", b""
    block = _read(source).removeprefix(b"" if null else codecs.BOM_UTF8)
    if not null and b"\0" in block:
        raise UsageError(
            "-: expected a path per line on standard input, got bytes that are in none; a list that `find -print0` "
            "writes needs -0, one in UTF-16 has to be in UTF-8, and a picture is named, not piped"
        )
    while block:
        *whole, rest = (rest + block).split(end)
        yield from (path for entry in whole if (path := _decoded(entry, null, encoding)))
        block = _read(source)
    if path := _decoded(rest, null, encoding):
        yield path


def _read(source: Any) -> bytes:
    try:
        return bytes(source.read1(2**16))
    except OSError as error:
        raise UsageError(f"-: cannot read standard input: {error.strerror}") from error


def _decoded(entry: bytes, null: bool, encoding: str) -> str:
    """A path of a list; nothing of an empty line."""
    if null:
        return os.fsdecode(entry)
    return entry.decode(encoding, "surrogateescape").rstrip("\r") if entry.strip() else ""
