"""`qfm-metric CLIP...`: score frames of films. A row a frame, and what they come to on standard error.

Exit status: 0 all is well, 1 a film could not be read or has damaged parts, 2 wrong usage, 3 a mean is below
`--fail-under`.
"""

import argparse
import importlib.util
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from ..atomic import whole_file
from ..folder import check_options
from ..folder.formats import FORMATS, UNPRINTABLE
from ..folder.journal import Done, Journal, UsageError
from ..folder.row import COLUMNS, DECIMALS, Row
from ..html.document import shown
from ..html.films import FilmPage, Strip
from ..images import Pixels
from ..score import Metric
from ..video import VideoError, VideoScore, score_frames
from ..video.frames import Frames
from . import FILMS
from .options import add_metric_options, check_device, load_metric, refusing
from .output import counted, format_of, to_screen, write_rows
from .parser import Parser, warn
from .targets import check_target, is_page, is_table, never


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_intermixed_args(argv)
    check(args, parser.error)
    metric = load_metric(args, parser.error, args.device)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=UNPRINTABLE)
    try:
        return Films(args, metric).run()
    except UsageError as error:
        parser.error(str(error))


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(
        prog="qfm-metric",
        description="How good do the frames of a film look? A row a frame; what they come to goes to standard error.",
        epilog="Exit status: 0 all is well, 1 a film cannot be read or is damaged, 2 wrong usage, 3 below --fail-under",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="CLIP", help=f"films: {', '.join(FILMS)}")
    form = parser.add_mutually_exclusive_group()
    for name, kind in FORMATS.items():
        form.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=kind.help)
    add("-o", "--output", metavar="FILE", help="write rows to FILE")
    add("--fps", type=float, default=1.0, metavar="X", help="frames a second, and the first of each scene (default: 1)")
    add("--best-frame", metavar="FILE", help="write the frame with the highest score as a PNG, too")
    add("--html", metavar="FILE", help="write a self-contained page, too: a strip in time, and the frames")
    add("--fail-under", type=float, metavar="X", help="exit with 3 if the mean of a film is below X")
    add_metric_options(parser)
    return parser


def check(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse options that are out of range or contradict each other, before anything is loaded or written."""
    if importlib.util.find_spec("av") is None:
        refuse(f"{args.paths[0]}: expected PyAV to be installed; pip install 'qfm-metric[video]'")
    if others := [path for path in args.paths if not path.lower().endswith(FILMS)]:
        refuse(f"expected films alone, got {others[0]}; score pictures in a run of their own")
    if not 0 < args.fps < float("inf"):
        refuse(f"--fps: expected more than 0 frames a second, got {args.fps:g}")
    if args.fail_under is not None and not 0 <= args.fail_under <= 1:
        refuse(f"--fail-under: expected a score from 0 to 1, got {args.fail_under:g}")
    if args.best_frame and len(args.paths) > 1:
        refuse("--best-frame: expected one film")
    if args.best_frame and not args.best_frame.lower().endswith(".png"):
        refuse(f"--best-frame: expected a name that ends with .png, got {args.best_frame}")
    if format_of(args.format).convert and not args.output:
        refuse(f"--{args.format}: expected -o FILE; it cannot be streamed to standard output")
    with refusing(refuse):
        check_options(threads=args.threads)
    check_target("-o", args.output, is_table(args.format), args.paths, refuse)
    check_target("--html", args.html, is_page, args.paths, refuse)
    check_target("--best-frame", args.best_frame, never, args.paths, refuse, picture=True)
    check_device(args, refuse)


class Films:
    """A run over films: rows as they come, then what is made of them."""

    def __init__(self, args: argparse.Namespace, metric: Metric) -> None:
        self.args, self.metric = args, metric
        self.page = FilmPage() if args.html else None
        self.best: tuple[float, Pixels] | None = None
        self.failed = self.below = False

    def run(self) -> int:
        """Score and write; the exit status."""
        args, form, write = self.args, format_of(self.args.format), to_screen
        journal = Journal(Path(args.output), form) if args.output else None
        with ExitStack() as opened:
            if journal:
                write = opened.enter_context(journal.begin({"signature": self.metric.signature}, resume=False)[0]).write
            write_rows(counted(self.rows(), Done()), write, form, tuple(COLUMNS), self.metric.signature)
        if journal:
            journal.finish(tuple(COLUMNS))
        if self.best:
            with whole_file(args.best_frame, "wb") as file:
                Image.fromarray(self.best[1]).save(file, "PNG")
        if self.page:
            title = os.path.basename(args.paths[0]) if len(args.paths) == 1 else f"{len(args.paths)} films"
            self.page.write(args.html, title=title, signature=self.metric.signature)
        return 1 if self.failed else 3 if self.below else 0

    def rows(self) -> Iterator[Row]:
        """Of all films, one after the other; one that cannot be read has a row with its error."""
        for path in self.args.paths:
            frames, rows, times = Frames(path, self.args.fps), list[Row](), list[float]()
            try:
                for row, time, pixels in score_frames(frames, self.metric):
                    rows.append(row)
                    times.append(time)
                    self.see(path, row, pixels)
                    yield row
            except VideoError as error:
                self.failed = True
                yield Row(path, error=str(error))
            if rows:
                self.sum_up(path, VideoScore(rows, times, frames.damaged), frames.seconds)

    def see(self, path: str, row: Row, pixels: Pixels) -> None:
        """Keep of a frame what the page and the best frame need."""
        if self.page:
            self.page.add(path, row, pixels)
        if self.args.best_frame and row.score is not None and (self.best is None or row.score > self.best[0]):
            self.best = row.score, pixels

    def sum_up(self, path: str, found: VideoScore, seconds: float) -> None:
        """Say what a film comes to."""
        facts = [
            ("frames", f"{len(found.rows):,}"),
            ("mean", f"{found.mean:.{DECIMALS}f}"),
            ("lowest tenth", f"{found.lowest_tenth:.{DECIMALS}f}"),
            ("deviation", f"{found.deviation:.{DECIMALS}f}"),
            ("best", f"{found.scores[found.best]:.{DECIMALS}f} at {found.times[found.best]:.3f} s"),
        ]
        if found.damaged:
            self.failed = True
            facts.append(("damaged parts", f"{found.damaged:,}"))
        warn(f"{shown(path)}: " + ", ".join(f"{name} {value}" for name, value in facts))
        self.below |= self.args.fail_under is not None and round(found.mean, DECIMALS) < self.args.fail_under
        if self.page:
            self.page.strips.append(Strip(path, facts, found.rows, found.times, seconds))
