"""Which pictures the command's paths stand for."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..images import IMAGE_SUFFIXES


def find_pictures(paths: Iterable[str], recursive: bool, skip: str | None = None) -> Iterator[str]:
    """Files as they are, folders and globs expanded in order of name, `-` as the lines of standard input.

    The folder `skip` is not looked into.
    """
    for path in paths:
        if path == "-":
            lines = (line.decode(sys.stdin.encoding, "surrogateescape") for line in sys.stdin.buffer)
            yield from (line.rstrip("\r\n") for line in lines if line.strip())
        elif not os.path.exists(path) and glob.has_magic(path):
            found = sorted(glob.glob(path, recursive=True))
            if "**" in path:  # has walked into the folders itself
                found = [match for match in found if not os.path.isdir(match)]
            for match in found or [path]:  # nothing matches: an error row names the glob
                yield from _look_into(match, recursive, skip)
        else:
            yield from _look_into(path, recursive, skip)


def _look_into(path: str, recursive: bool, skip: str | None) -> Iterator[str]:
    """A folder as the pictures in it, in order of name; anything else as it is."""
    if not os.path.isdir(path):
        yield path
        return
    if skip and os.path.samefile(path, skip):
        return
    try:
        with os.scandir(path) as entries:  # folder by folder: the list of millions of files is never whole
            found = sorted((entry.name, entry.is_dir(), entry.is_symlink()) for entry in entries)
    except OSError as error:
        print(f"qfm-metric: cannot look into {error.filename}: {error.strerror}", file=sys.stderr)
        yield str(Path(path))  # gets an error row: its pictures are missing from the results
        return
    for name, is_folder, is_link in found:
        inside = str(Path(path, name))
        if not is_folder:
            if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield inside
        elif recursive and not is_link:  # a link may lead back up
            yield from _look_into(inside, recursive, skip)
