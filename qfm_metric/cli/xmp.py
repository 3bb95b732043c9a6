"""`qfm-metric PATH... --xmp`: sidecars of the pictures that are scored."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..folder.file_names import shown
from ..folder.journal import Done
from ..folder.row import Row
from ..ratings.sidecars import SidecarError, Sidecars
from ..ratings.stars import STARS, parse_stars
from .parser import reason, warn

SHOWN = 20  # sidecars that could not be written


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--xmp` and what belongs to it."""
    add = parser.add_argument
    add("--xmp", action="store_true", help="write stars, a label and the score into a sidecar beside each picture, too")
    add(
        "--xmp-name",
        choices=("file", "stem"),
        help="sidecars are photo.jpg.xmp, as darktable and digiKam have them, or photo.xmp, as Lightroom has for RAW "
        "files (default: file)",
    )
    limits = ",".join(f"{limit:g}" for limit in STARS)
    add("--stars", metavar="A,B,C,D", help=f"scores from which on there are 2, 3, 4, 5 stars (default: {limits})")
    add("--replace-stars", action="store_true", help="of stars and labels that a person gave, too")


def check(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse options that do not fit."""
    if not args.xmp:
        for name in ("xmp_name", "stars", "replace_stars"):
            if getattr(args, name):
                refuse(f"--{name.replace('_', '-')}: expected --xmp")
    elif args.engine != "local":
        refuse("--xmp: expected --engine local; what a cluster scores need not be beside this process")
    if args.stars:
        try:
            parse_stars(args.stars)
        except ValueError as error:
            refuse(f"--stars: {error}")


def with_sidecars(rows: Iterable[Row], args: argparse.Namespace, signature: str, done: Done) -> Iterator[Row]:
    """Write the sidecar of each row as it passes; one that cannot be written is told and counts as a failure.

    A row passes behind its sidecar: what a table has, has one.
    """
    sidecars = Sidecars(
        parse_stars(args.stars) if args.stars else STARS,
        stem=args.xmp_name == "stem",
        replace=args.replace_stars,
        signature=signature,
    )
    told = 0
    for row in rows:
        try:
            sidecars.write(row)
        except (SidecarError, OSError) as error:
            done.failed += 1
            told += 1
            if told <= SHOWN:
                warn(f"no sidecar: {shown(reason(error))}")
        yield row
    if told > SHOWN:
        warn(f"{told:,} sidecars could not be written")
    if sidecars.kept:
        warn(f"{sidecars.kept:,} pictures keep the stars or the label that a person gave; --replace-stars")
    if sidecars.shared:
        warn(f"{sidecars.shared:,} pictures share their stem with others: their sidecars are photo.jpg.xmp")
