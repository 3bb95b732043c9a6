"""Files that belong to a picture and go where it goes: its RAW file, sidecars of either, the film of a Live Photo."""

import os
from collections.abc import Iterable
from pathlib import PurePath

from ..decoding.suffixes import IMAGE_SUFFIXES

_RAW = "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f"
RAW_SUFFIXES = frozenset(f".{suffix}" for suffix in _RAW.split())
SIDECAR_SUFFIXES = frozenset({".xmp", ".aae", ".dop", ".pp3", ".thm"})
"""Of edits and ratings: Adobe, darktable and digiKam; Apple; DxO; RawTherapee; thumbnails of cameras."""
FILM_SUFFIXES = frozenset({".mov"})


def companions(pictures: Iterable[str], names: Iterable[str]) -> dict[str, list[str]]:
    """Which files of a folder belong to which of its pictures.

    `IMG_1.CR3`, `IMG_1.xmp`, `IMG_1.CR3.xmp` and `IMG_1.jpg.xmp` belong to `IMG_1.jpg`. The case of a suffix does not
    matter, that of a stem does.

    Args:
        pictures: Names of pictures in the folder.
        names: Names of all files in it.

    Returns:
        Companion to the pictures that share it: several if they have the same stem and it has nothing but that stem.
    """
    by_stem: dict[str, list[str]] = {}
    for picture in sorted(set(pictures)):
        by_stem.setdefault(PurePath(picture).stem, []).append(picture)
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        file = PurePath(name)
        suffix = file.suffix.lower()
        if suffix in RAW_SUFFIXES | FILM_SUFFIXES | SIDECAR_SUFFIXES and file.stem in by_stem:
            found[name] = by_stem[file.stem]
        elif suffix in SIDECAR_SUFFIXES:  # of a picture, by its whole name; or of a RAW file
            whole = PurePath(file.stem)
            if file.stem in by_stem.get(whole.stem, []):
                found[name] = [file.stem]
            elif whole.suffix.lower() in RAW_SUFFIXES and whole.stem in by_stem:
                found[name] = by_stem[whole.stem]
    return found


def pictures_among(names: Iterable[str]) -> list[str]:
    """The names that a scan of a folder takes as pictures."""
    return [name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]
