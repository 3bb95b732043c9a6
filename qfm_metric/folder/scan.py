"""Which pictures are in a folder."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..decoding.suffixes import IMAGE_SUFFIXES
from ..own_files import is_map

COMPANION_FOLDERS = {"__macosx", "@eadir", ".thumbnails"}  # what macOS, Synology and Linux desktops put beside pictures


class FolderScan:
    """The files in a folder whose names say that they are pictures, in order of name, as they are found.

    Companions of pictures and our own maps are passed over.

    Args:
        recursive: Look into the folders of folders, but through no link, which may lead back up.
        skip: A folder that is not looked into.
        skip_unreadable: Folders that cannot be looked into yield nothing, and not themselves.
        say: Gets what is passed over.

    Attributes:
        companions: How many files were passed over because a system had put them beside a picture (`._IMG.JPG`).
        maps: How many because an earlier run drew them over a picture.
    """

    def __init__(
        self,
        recursive: bool = False,
        skip: str | None = None,
        skip_unreadable: bool = False,
        say: Callable[[str], object] = lambda message: None,
    ) -> None:
        self.recursive, self.skip, self.skip_unreadable, self._say = recursive, skip, skip_unreadable, say
        self.companions = self.maps = 0

    def __call__(self, path: str) -> Iterator[str]:
        """A folder as the pictures in it; anything else as it is."""
        if not os.path.isdir(path):
            yield path
            return
        opened = [self._inside(path)]  # the folders that lead to where it is; calls would nest as deep as these
        while opened:
            for inside, is_folder in opened[-1]:
                if is_folder:
                    opened.append(self._inside(inside))
                    break
                yield inside
            else:
                opened.pop()

    def _inside(self, path: str) -> Iterator[tuple[str, bool]]:
        """The pictures in a folder, and the folders that are to be looked into: paths, and whether they are folders."""
        try:
            if self.skip and os.path.exists(self.skip) and os.path.samefile(path, self.skip):
                return
            with os.scandir(path) as entries:  # folder by folder: the list of millions of files is never whole
                found = sorted((entry.name, _is_folder(entry), entry.is_symlink()) for entry in entries)
        except OSError as error:
            self._say(f"cannot look into {error.filename}: {error.strerror}")
            if not self.skip_unreadable:
                yield str(Path(path)), False  # gets an error row: its pictures are missing from the results
            return
        for name, is_folder, is_link in found:
            inside = str(Path(path, name))
            if not is_folder:
                if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                    if name.startswith("._"):
                        self.companions += 1
                    elif is_map(inside):
                        self.maps += 1
                    else:
                        yield inside, False
            elif self.recursive and not is_link and name.lower() not in COMPANION_FOLDERS:
                yield inside, True


def count_below(folder: str) -> int:
    """How many pictures there are in a folder and in the folders in it."""
    return sum(1 for _ in FolderScan(recursive=True, skip_unreadable=True)(folder)) if os.path.isdir(folder) else 0


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """What cannot be looked at (a link to itself, a stale handle) is no folder: whoever opens it says what is wrong."""
    try:
        return entry.is_dir()
    except OSError:
        return False
