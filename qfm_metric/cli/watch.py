"""`qfm-metric watch FOLDER`: score pictures as they arrive, until it is interrupted.

Rows go to standard output or `-o FILE`, with which the next run goes on. Exit status: 2 wrong usage, 130 interrupted.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..folder.arrivals import arrivals
from ..folder.formats import FORMATS
from ..folder.journal import Done, Journal, UsageError
from ..folder.options import check_options
from ..folder.row import COLUMNS, Row
from ..folder.scan import FolderScan
from .options import add_format_options, add_metric_options, limit_threads, refusing
from .output import counted, format_of, write_rows
from .parser import Parser, warn
from .progress import Progress
from .targets import check_table, output_file

if TYPE_CHECKING:
    from ..rating import Metric

LONGEST = 10**9  # seconds: a process can sleep for not much longer
GROWING = {name: form for name, form in FORMATS.items() if form.resumable and not form.convert}


def main(argv: Sequence[str]) -> int:
    """Run the command; it ends by an interrupt."""
    parser = build_parser()
    args = parser.parse_args(argv)
    check(args, parser.error)
    limit_threads(args.threads or 1)
    from .metric import check_device, load_metric  # import torch, which is slow
    from .run import choose_runtime

    check_device(args, parser.error)
    try:
        watch(args, choose_runtime(args, load_metric(args, parser.error, args.device)))
    except UsageError as error:
        parser.error(str(error))
    return 0


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(
        prog="qfm-metric watch",
        description="Score the pictures in a folder, and those that arrive, until Ctrl-C. One that is being written is "
        "waited for.",
        epilog="With -o FILE the next run goes on where this one was. Exit status: 2 wrong usage, 130 interrupted.",
    )
    add = parser.add_argument
    add("paths", metavar="FOLDER", nargs="+", help="a folder; it may be missing, and come and go")
    add_format_options(parser, GROWING)
    add(
        "-o",
        "--output",
        type=output_file,
        metavar="FILE",
        help="write rows to FILE, and go on with those it has (needs --jsonl or --csv)",
    )
    add("-r", "--recursive", action="store_true", help="look into the folders of folders, too")
    add(
        "--every", type=float, default=2.0, metavar="S", help="look every S seconds; what has not changed is scored (2)"
    )
    add(
        "--patience",
        type=float,
        default=60.0,
        metavar="S",
        help="give up a file that cannot be read after S seconds (60)",
    )
    add_metric_options(parser)
    # The same settings as of a run of `qfm-metric` without options: either goes on with the other's file.
    parser.set_defaults(
        engine="local",
        resume=True,
        runtime="auto",
        tile=None,
        dtype="float32",
        map=None,
        null=False,
        explain=None,
        facts=None,
        projection="auto",
        group=None,
    )
    return parser


def check(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse options that are out of range or contradict each other, before anything is loaded or written."""
    for name in ("every", "patience"):
        if not 0 < getattr(args, name) <= LONGEST:
            refuse(f"--{name}: expected more than 0 and at most {LONGEST:,} seconds, got {getattr(args, name):g}")
    with refusing(refuse):
        check_options(threads=args.threads)
    if args.output and args.format is None:
        refuse(f"-o: expected one of {', '.join(f'--{name}' for name in GROWING)}, which can be gone on with")
    for folder in args.paths:
        if os.path.lexists(folder) and not os.path.isdir(folder):
            refuse(f"{folder}: expected a folder, got a file")
    check_table("-o", args.output, args.format, args.paths, refuse)


def watch(args: argparse.Namespace, metric: "Metric") -> None:
    """Score and write."""
    from .run import settings

    form, done, write = format_of(args.format), Done(), Progress(None, quiet=True).write_above
    with ExitStack() as opened:
        if args.output:
            file, done = Journal(Path(args.output), form).begin(settings(args, metric), resume=True)
            write = opened.enter_context(file).write
        rows = arrivals(
            _Folders(args.paths, args.recursive),
            lambda path: _score(path, metric, args.projection),
            done.paths.copy(),
            every=args.every,
            patience=args.patience,
        )
        write_rows(counted(rows, done), write, form, tuple(COLUMNS), metric.signature, heading=done.end == 0)


class _Folders:
    """Folders that come and go: of one that cannot be looked into it is said once, until it can be.

    Args:
        paths: Of the folders.
        recursive: Look into the folders in them.
    """

    def __init__(self, paths: Sequence[str], recursive: bool) -> None:
        self._paths, self._recursive = paths, recursive
        self._said: set[str] = set()

    def __call__(self) -> Iterator[str]:
        """The pictures that are there now."""
        lacking: list[str] = []
        scan = FolderScan(self._recursive, skip_unreadable=True, say=lacking.append)
        for folder in self._paths:
            if os.path.isdir(folder):
                yield from scan(folder)
            else:
                lacking.append(f"{folder}: there is no such folder")
        for message in lacking:
            if message not in self._said:
                warn(f"{message}; waiting for it")
        self._said = {*lacking}


def _score(path: str, metric: "Metric", projection: str) -> Row:
    from ..folder.stream import score_files

    return next(iter(score_files([path], metric, projection=projection)))
