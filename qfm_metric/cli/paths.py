"""Which pictures the command's paths stand for."""

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..decoding.suffixes import IMAGE_SUFFIXES
from .parser import warn

COMPANION_FOLDERS = {"__macosx", "@eadir", ".thumbnails"}  # what macOS, Synology and Linux desktops put beside pictures


class Scan:
    """Files as they are, folders and globs expanded in order of name, `-` as what standard input lists.

    Args:
        paths: What the user gave.
        recursive: Look into the folders of folders.
        skip: A folder that is not looked into.
        null: What standard input lists is parted by NUL instead of by lines, as by `find -print0`.
        quiet: Say nothing of what is passed over.
        skip_unreadable: Folders that cannot be looked into yield nothing, and not themselves.

    Attributes:
        companions: How many files were passed over because a system had put them beside a picture (`._IMG.JPG`).
    """

    def __init__(
        self,
        paths: Iterable[str],
        recursive: bool = False,
        skip: str | None = None,
        null: bool = False,
        quiet: bool = False,
        skip_unreadable: bool = False,
    ) -> None:
        self.paths, self.recursive, self.skip, self.null = paths, recursive, skip, null
        self.skip_unreadable = skip_unreadable
        self._warn: Callable[[str], object] = (lambda message: None) if quiet else warn
        self.companions = 0

    def __iter__(self) -> Iterator[str]:
        for path in self.paths:
            if path == "-":
                yield from _listed(self.null)
            elif not os.path.lexists(path) and glob.has_magic(path):
                found = sorted(glob.glob(path, recursive=True))
                if "**" in path:  # has walked into the folders itself
                    found = [match for match in found if not os.path.isdir(match)]
                for match in found or [path]:  # nothing matches: an error row names the glob
                    yield from self._look_into(match)
            else:
                yield from self._look_into(path)
        if self.companions:
            self._warn(f"{self.companions} files passed over that belong to others (such as ._IMG.JPG)")

    def _look_into(self, path: str) -> Iterator[str]:
        """A folder as the pictures in it, in order of name; anything else as it is."""
        if not os.path.isdir(path):
            yield path
            return
        try:
            if self.skip and os.path.exists(self.skip) and os.path.samefile(path, self.skip):
                return
            with os.scandir(path) as entries:  # folder by folder: the list of millions of files is never whole
                found = sorted((entry.name, _is_folder(entry), entry.is_symlink()) for entry in entries)
        except OSError as error:
            self._warn(f"cannot look into {error.filename}: {error.strerror}")
            if not self.skip_unreadable:
                yield str(Path(path))  # gets an error row: its pictures are missing from the results
            return
        for name, is_folder, is_link in found:
            inside = str(Path(path, name))
            if not is_folder:
                if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                    if name.startswith("._"):
                        self.companions += 1
                    else:
                        yield inside
            elif self.recursive and not is_link and name.lower() not in COMPANION_FOLDERS:  # a link may lead back up
                yield from self._look_into(inside)


def _listed(null: bool) -> Iterator[str]:
    """Paths that standard input lists, as they come."""
    if not null:
        lines = (line.decode(sys.stdin.encoding, "surrogateescape") for line in sys.stdin.buffer)
        yield from (line.rstrip("\r\n") for line in lines if line.strip())
        return
    rest = b""
    source: Any = sys.stdin.buffer
    while block := source.read1(2**16):
        *whole, rest = (rest + block).split(b"\0")
        yield from (os.fsdecode(path) for path in whole if path)
    if rest:
        yield os.fsdecode(rest)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """What cannot be looked at (a link to itself, a stale handle) is no folder: whoever opens it says what is wrong."""
    try:
        return entry.is_dir()
    except OSError:
        return False
