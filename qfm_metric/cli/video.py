"""`qfm-metric CLIP...`: score frames of films. A row a frame, and what they come to on standard error.

Exit status: 0 all is well, 1 a film could not be read or has damaged parts, 2 wrong usage, 3 a mean is below
`--fail-under`.
"""

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from ..atomic import check_writable
from ..folder.formats import FORMATS
from ..folder.journal import UsageError
from ..folder.options import check_options
from . import FILMS
from .options import add_format_options, add_metric_options, limit_threads, refusing
from .output import format_of
from .parser import Parser
from .progress import Progress
from .targets import check_page, check_table, check_target, never, output_file


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_any_order(argv)
    check(args, parser.error)
    limit_threads(args.threads or 1)
    with Progress(None, args.quiet, "frames") as progress:
        from .films import score_films  # imports torch, which is slow; whoever asks for help does not wait for it

        try:
            return score_films(args, progress, parser.error)
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
    add_format_options(parser, FORMATS)
    add("-o", "--output", type=output_file, metavar="FILE", help="write rows to FILE")
    add("--fps", type=float, default=1.0, metavar="X", help="frames a second, and the first of each scene (default: 1)")
    add("--best-frame", metavar="FILE", help="write the frame with the highest score as a PNG, too")
    add("--html", metavar="FILE", help="write a self-contained page, too: a strip in time, and the frames")
    add("--fail-under", type=float, metavar="X", help="exit with 3 if the mean of a film is below X")
    add_metric_options(parser)
    add("--quiet", action="store_true", help="no progress")
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
    check_table("-o", args.output, args.format, args.paths, refuse)
    check_page("--html", args.html, [*args.paths, *filter(None, [args.output])], refuse)
    check_target("--best-frame", args.best_frame, never, args.paths, refuse, picture=True)
    check_writable(args.html, args.best_frame)
