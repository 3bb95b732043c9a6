"""`qfm-metric PATH...`: score pictures. A row per picture in the order given, to standard output or `-o FILE`."""

import argparse
import importlib.util
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from .. import __version__
from ..export import ExportError, need_packages
from ..facts import FACT_COLUMNS
from ..folder import DTYPES, check_options, check_runtime, score_files
from ..folder.formats import FORMATS, UNPRINTABLE
from ..folder.journal import Done, Journal, UsageError, skip_done
from ..folder.projections import PROJECTIONS, check_projection
from ..folder.row import COLUMNS, Row, columns_with
from ..html.scores import ReportWriter
from ..onnx import RUNTIME, OnnxScore
from ..score import GPU_BATCH, Metric
from . import COMMANDS, ray, xmp
from .options import add_metric_options, check_device, load_metric, refusing
from .output import counted, format_of, ranked, status_of, to_screen, with_progress, write_rows
from .parser import Parser
from .paths import Scan
from .targets import check_target, is_page, is_table, output_file

TITLE_PATHS = 3
NUMBERS = ("batch_size", "workers", "threads", "tile")


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    # Paths and options in any order. Python 3.11 loses the paths after a `--` then, so that asks for options first.
    args = parser.parse_args(argv) if "--" in argv else parser.parse_intermixed_args(argv)
    check(args, parser.error)
    loaded = load_metric(args, parser.error, "cpu" if args.engine == "ray" else args.device)
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the error above twice that size stays
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=UNPRINTABLE)
    try:
        if args.onnx and sys.stderr.isatty() and not args.quiet:
            print("qfm-metric: preparing the network for ONNX Runtime, about a minute", file=sys.stderr)
        metric = OnnxScore(loaded) if args.onnx else loaded  # before FILE is emptied: it may not be possible
        return status_of(run(args, metric), args.fail_under)
    except (ExportError, UsageError) as error:
        parser.error(str(error))


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(
        prog="qfm-metric",
        description="How good does each picture look? A score from 0 (bad) to 1 (excellent), no reference needed.",
        epilog="A folder stands for the pictures in it. Exit status: 0 all scored, 1 some failed, 2 wrong usage, "
        "3 below --fail-under. See also: qfm-metric weights, report, compare, cull, watch or export --help; folders "
        "of these names are ./weights and so on",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="files, folders, globs, or - for a path per line on stdin")
    form = parser.add_mutually_exclusive_group()
    for name, kind in FORMATS.items():
        form.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=kind.help)
    add("-0", "--null", action="store_true", help="paths on stdin end with NUL, as those of find -print0")
    add("-o", "--output", type=output_file, metavar="FILE", help=f"write results to FILE; columns: {','.join(COLUMNS)}")
    add("--html", metavar="FILE", help="write a self-contained page of the pictures, worst first, too")
    add("--map", metavar="DIR", help="draw the quality map over each picture, into DIR; the column map says where")
    xmp.add_options(parser)
    add("--resume", action="store_true", help="keep the rows that FILE has, score only what is missing")
    add("-r", "--recursive", action="store_true", help="look into the folders of folders, too")
    add("--sort", choices=("best", "worst"), help="rows in order of score at the end, this end first")
    add("--top", type=int, metavar="N", help="only the first N rows of --sort (default: best)")
    add("--fail-under", type=float, metavar="X", help="exit with 3 if a score is below X")
    add("--tile", type=int, metavar="PX", help="score tiles of about PX x PX; the mean, and the lowest")
    add(
        "--projection",
        choices=PROJECTIONS,
        default="auto",
        help="equirect: panoramas of the whole sphere, scored through viewports (docs/panoramas.md); auto (default): "
        "those whose GPano tags say so, unless there are tiles",
    )
    add(
        "--facts",
        action="store_true",
        default=None,  # as in FILE.run.json of a run without it
        help=f"what each file says of itself (docs/facts.md); columns: {','.join(FACT_COLUMNS)}",
    )
    add("--workers", type=int, default=1, metavar="N", help="processes (on a GPU: threads that decode; default: 1)")
    add_metric_options(parser)
    add("--dtype", choices=DTYPES, default="float32", help="precision of the network; only float32 gives exact scores")
    add(
        "--onnx",
        action="store_true",
        default=None,  # as in FILE.run.json of a run without it
        help="the network in ONNX Runtime, on a CPU: 0.4 of the time, scores within 1e-4 (measured: 1e-5); takes about "
        "a minute to start (pip install 'qfm-metric[onnx]')",
    )
    add("--batch-size", type=int, default=2 * GPU_BATCH, metavar="N", help="pictures at a time, on a GPU (default: 64)")
    add("--engine", choices=("local", "ray"), default="local", help="score on a Ray cluster (docs/clusters.md)")
    add("--num-gpus", type=float, metavar="X", help="ray: part of a GPU that each worker takes (default: 1)")
    add("--column", metavar="NAME", help="ray: of tables, the column with paths, URIs or images (default: path)")
    add("--quiet", action="store_true", help="no progress")
    add("--version", action="version", version=f"qfm-metric {__version__}")
    return parser


def check(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse options that are out of range or contradict each other, before anything is loaded or written."""
    for name in {*COMMANDS} & {*args.paths}:
        if not os.path.lexists(name):
            refuse(f"{name}: expected this command before all options, or a file or folder of that name")
    with refusing(refuse, maps="map"):
        check_options(**{name: getattr(args, name) for name in NUMBERS})
        check_projection(args.projection, args.tile)
        check_runtime(RUNTIME if args.onnx else "torch", DTYPES[args.dtype], args.tile, args.map)
    if args.top is not None and args.top < 1:
        refuse(f"--top: expected at least 1, got {args.top}")
    if args.fail_under is not None and not 0 <= args.fail_under <= 1:
        refuse(f"--fail-under: expected a score from 0 to 1, got {args.fail_under}")
    check_output(args, refuse)
    if args.onnx:
        check_onnx(args, refuse)
    ray.check(args, refuse)
    xmp.check(args, refuse)
    if args.engine != "ray":  # the device is the workers'
        check_device(args, refuse)


def check_output(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse files and folders that what was asked for cannot go to."""
    form = format_of(args.format)
    if form.convert and not args.output:
        refuse(f"--{args.format}: expected -o FILE; it cannot be streamed to standard output")
    if form.package and importlib.util.find_spec(form.package) is None:
        refuse(f"--{args.format}: expected {form.package} to be installed; pip install 'qfm-metric[{form.extra}]'")
    check_target("-o", args.output, is_table(args.format), args.paths, refuse)
    if args.output and form.convert:
        check_target("-o", f"{args.output}.jsonl", is_table("jsonl"), args.paths, refuse)
    check_target("--html", args.html, is_page, args.paths, refuse)
    if args.html and args.output and os.path.abspath(args.html) == os.path.abspath(args.output):
        refuse(f"--html: expected another file than -o {args.output}")
    if args.map and any(
        os.path.isdir(path) and os.path.abspath(path) == os.path.abspath(args.map) for path in args.paths
    ):
        refuse(f"--map: expected another folder than the pictures', got {args.map}; maps would be scored next time")
    if args.resume and not (args.output and form.resumable):
        names = ", ".join(f"--{name}" for name, known in FORMATS.items() if known.resumable)
        refuse(f"--resume: expected -o FILE and one of {names}")
    if args.resume and (args.sort or args.top):
        refuse("--resume: expected rows in the order of the pictures, got --sort or --top; sort FILE afterwards")


def check_onnx(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse other devices, and a Python without ONNX Runtime."""
    if args.device.split(":")[0] != "cpu":
        refuse(f"--onnx: expected --device cpu, got {args.device}; leave one of the two out")
    try:
        need_packages()
    except ExportError as error:
        refuse(f"--onnx: {error}")


def run(args: argparse.Namespace, metric: Metric) -> Done:
    """Score and write."""
    columns = columns_with(tiles=bool(args.tile), facts=bool(args.facts), maps=bool(args.map))
    form = format_of(args.format)
    journal = Journal(Path(args.output), form) if args.output else None
    done, write, report = Done(), to_screen, None
    with ExitStack() as opened:
        if args.html:  # before FILE is emptied: the page may turn out not to be writable
            report = opened.enter_context(ReportWriter(args.html, title=title(args.paths), signature=metric.signature))
        if args.map:
            os.makedirs(args.map, exist_ok=True)
            tempfile.TemporaryFile(dir=args.map).close()  # fails now if nothing can be written there
        if journal:
            file, done = journal.begin(settings(args, metric), args.resume)
            write = opened.enter_context(file).write
        rows = counted(score(args, metric, done), done)
        if args.xmp:
            rows = xmp.with_sidecars(rows, args, metric.signature, done)
        if report:
            for row in journal.rows() if journal and done.end else ():
                report.add(row)
            rows = map(report.add, rows)  # before they are ranked: the page has its own order, and all
        rows_on_screen = not args.output and sys.stdout.isatty()  # they show the progress, and would share its line
        if sys.stderr.isatty() and not (args.quiet or rows_on_screen):
            rows = with_progress(rows)
        if args.sort or args.top:
            rows = ranked(rows, args.sort or "best", args.top)
        try:
            write_rows(rows, write, form, columns, metric.signature, heading=done.end == 0)
        except KeyboardInterrupt as interrupt:
            kept = f" in {journal.grows}; --resume goes on" if journal and form.convert else ""
            page = f", and the page of them, {args.html}" if args.html else ""
            raise KeyboardInterrupt(f"; the rows so far are written{kept}{page}") from interrupt
    if journal:
        journal.finish(columns)
    return done


def settings(args: argparse.Namespace, metric: Metric) -> dict[str, Any]:
    """What decides the rows of a run; one that is gone on with must have the same."""
    named = {name: getattr(args, name) for name in ("format", "tile", "dtype", "map", "onnx", "facts", "projection")}
    return {"signature": metric.signature, "weights_sha256": metric.weights_sha256, **named}


def score(args: argparse.Namespace, metric: Metric, done: Done) -> Iterator[Row]:
    """The rows of all pictures that have none yet."""
    missing = done.paths.copy()
    if args.engine == "ray":
        return ray.score(args, metric, missing)
    paths: Iterable[str] = skip_done(Scan(args.paths, args.recursive, args.map, args.null), missing)
    return score_files(
        paths,
        metric,
        workers=args.workers,
        threads=args.threads or 1,
        batch_size=args.batch_size,
        dtype=DTYPES[args.dtype],
        tile=args.tile,
        maps=args.map,
        facts=bool(args.facts),
        projection=args.projection,
    )


def title(paths: Sequence[str]) -> str:
    """A page's headline: a shell may have made thousands of paths of a pattern."""
    more = len(paths) - TITLE_PATHS
    return " ".join(paths[:TITLE_PATHS]) + (f" and {more:,} more" if more > 0 else "")
