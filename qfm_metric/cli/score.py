"""`qfm-metric PATH...`: score pictures from the command line. Prints, as its sisters do; no module elsewhere does.

Results go to standard output (or `-o FILE`), a row per picture in the order given; progress and messages go to standard
error. Exit status: 0 all scored, 1 some picture failed or the output cannot be written, 2 wrong usage, 3 a score is
below `--fail-under`, 130 interrupted.
"""

import argparse
import importlib
import importlib.util
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .. import __version__
from ..export import ExportError, need_packages
from ..folder import journal as rows
from ..folder.formats import stored_rows
from ..folder.one_file import Network
from ..folder.pool import DTYPES, SMALLEST_TILE, score_files
from ..html.scores import ReportWriter
from ..images import IMAGE_SUFFIXES
from ..onnx import OnnxNetwork
from ..score import GPU_BATCH, QFMScore
from ..weights import WeightsError
from .output import Tally, ranked, to_screen, with_progress, write_rows
from .paths import find_pictures

TITLE_PATHS = 3
LEAST = {"batch_size": 1, "workers": 1, "threads": 1, "top": 1, "tile": SMALLEST_TILE}


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    # Paths and options in any order. Python 3.11 loses the paths after a `--` then, so that asks for options first.
    args = parser.parse_args(argv) if "--" in argv else parser.parse_intermixed_args(argv)
    check(args, parser.error)
    try:
        metric = QFMScore.from_pretrained(args.weights)
        if args.engine == "local":
            metric = metric.to(args.device)
    except WeightsError as error:
        parser.error(str(error))
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the error above twice that size stays
    if args.threads and args.workers == 1:
        torch.set_num_threads(args.threads)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=rows.UNPRINTABLE)
    try:
        tally = run(args, metric)
    except (ExportError, rows.UsageError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        kept = f" in {rows.journal_of(Path(args.output))}; --resume goes on" if args.format == "parquet" else ""
        page = f", and the page of them, {args.html}" if args.html else ""
        print(f"qfm-metric: interrupted; the rows so far are written{kept}{page}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        if not args.output:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(
            f"qfm-metric: cannot write {error.filename or args.output or 'standard output'}: {error.strerror}",
            file=sys.stderr,
        )
        return 1
    return tally.status(args.fail_under)


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="qfm-metric",
        description="How good does each picture look? A score from 0 (bad) to 1 (excellent), no reference needed.",
        epilog="A folder stands for the pictures in it. Exit status: 0 all scored, 1 some failed, 2 wrong usage, "
        "3 below --fail-under. See also: qfm-metric weights, report, compare or export --help; folders of these names "
        "are ./weights and so on",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="files, folders, globs, or - for a path per line on stdin")
    form = parser.add_mutually_exclusive_group()
    for name, what in (
        ("json", "one JSON document"),
        ("jsonl", "a JSON object per line"),
        ("csv", f"CSV: {','.join(rows.COLUMNS)}"),
        ("parquet", "a Parquet file, with -o (pip install 'qfm-metric[parquet]')"),
    ):
        form.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=what)
    add("-o", "--output", metavar="FILE", help="write results to FILE instead of standard output")
    add("--html", metavar="FILE", help="write a self-contained page of the pictures, worst first, too")
    add("--map", metavar="DIR", help="draw the quality map over each picture, into DIR; the column map says where")
    add("--resume", action="store_true", help="keep the rows that FILE has, score only what is missing")
    add("-r", "--recursive", action="store_true", help="look into the folders of folders, too")
    add("--sort", choices=("best", "worst"), help="rows in order of score at the end, this end first")
    add("--top", type=int, metavar="N", help="only the first N rows of --sort (default: best)")
    add("--fail-under", type=float, metavar="X", help="exit with 3 if a score is below X")
    add("--tile", type=int, metavar="PX", help="score tiles of about PX x PX; the mean, and the lowest")
    add("--workers", type=int, default=1, metavar="N", help="processes (on a GPU: threads that decode; default: 1)")
    add("--threads", type=int, metavar="N", help="CPU threads of the network (default: all; with workers 1 each)")
    add("--device", default="cpu", help="torch device, such as cpu, cuda, mps (default: cpu)")
    add("--dtype", choices=DTYPES, default="float32", help="precision of the network; only float32 gives exact scores")
    add(
        "--onnx",
        action="store_true",
        default=None,  # as in FILE.run.json of a run without it
        help="the network in ONNX Runtime, on a CPU: 0.4 of the time, scores within 1e-4 (measured: 1e-5); takes about "
        "a minute to start (pip install 'qfm-metric[onnx]')",
    )
    add("--batch-size", type=int, default=2 * GPU_BATCH, metavar="N", help="pictures at a time, on a GPU (default: 64)")
    add("--weights", metavar="ID", help="weights id, file, saved folder or org/name[@revision]")
    add("--engine", choices=("local", "ray"), default="local", help="score on a Ray cluster (docs/clusters.md)")
    add("--num-gpus", type=float, metavar="X", help="ray: part of a GPU that each worker takes (default: 1)")
    add("--column", metavar="NAME", help="ray: of tables, the column with paths, URIs or images (default: path)")
    add("--quiet", action="store_true", help="no progress")
    add("--version", action="version", version=f"qfm-metric {__version__}")
    return parser


def check(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse options that are out of range or contradict each other, before anything is loaded or written."""
    for name, least in LEAST.items():
        value = getattr(args, name)
        if value is not None and value < least:
            refuse(f"--{name.replace('_', '-')}: expected at least {least}, got {value}")
    if args.fail_under is not None and not 0 <= args.fail_under <= 1:
        refuse(f"--fail-under: expected a score from 0 to 1, got {args.fail_under}")
    if args.format == "parquet":
        if not args.output:
            refuse("--parquet: expected -o FILE; Parquet cannot be streamed to standard output")
        if importlib.util.find_spec("pyarrow") is None:
            refuse("--parquet: expected pyarrow to be installed; pip install 'qfm-metric[parquet]'")
    if args.html and Path(args.html).suffix.lower() in IMAGE_SUFFIXES:
        refuse(f"--html: expected the name of the page to write, got a picture's: {args.html}")
    if args.html and args.output and os.path.abspath(args.html) == os.path.abspath(args.output):
        refuse(f"--html: expected another file than -o {args.output}")
    if args.map and args.tile:
        refuse("--map: expected whole pictures, got --tile; leave one of the two out")
    if args.map and any(
        os.path.isdir(path) and os.path.abspath(path) == os.path.abspath(args.map) for path in args.paths
    ):
        refuse(f"--map: expected another folder than the pictures', got {args.map}; maps would be scored next time")
    if args.resume:
        if not args.output or args.format not in rows.RESUMABLE:
            refuse("--resume: expected -o FILE and --csv, --jsonl or --parquet")
        if args.sort or args.top:
            refuse("--resume: expected rows in the order of the pictures, got --sort or --top; sort FILE afterwards")
    if args.onnx:
        check_onnx(args, refuse)
    importlib.import_module(".ray", __package__).check(args, refuse)
    if args.engine == "ray":  # the device is the workers'
        return
    try:
        torch.zeros((), device=args.device).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # by the kind of device that torch does not have
        refuse(f"--device {args.device}: {str(error).splitlines()[0]}")


def check_onnx(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse what only torch's network does, and a Python without ONNX Runtime."""
    if args.map:
        refuse("--onnx: expected no --map, which needs torch's pass; leave one of the two out")
    if args.dtype != "float32":
        refuse(f"--onnx: expected --dtype float32, got {args.dtype}; leave one of the two out")
    if args.device.split(":")[0] != "cpu":
        refuse(f"--onnx: expected --device cpu, got {args.device}; leave one of the two out")
    try:
        need_packages()
    except ExportError as error:
        refuse(f"--onnx: {error}")


def make_network(args: argparse.Namespace, metric: QFMScore) -> Network | None:
    """What scores instead of torch's network, if anything does."""
    if not args.onnx:
        return None
    if sys.stderr.isatty() and not args.quiet:
        print("qfm-metric: preparing the network for ONNX Runtime, about a minute", file=sys.stderr)
    return OnnxNetwork(metric)


def run(args: argparse.Namespace, metric: QFMScore) -> Tally:
    """Score and write."""
    columns = rows.TILE_COLUMNS if args.tile else rows.MAP_COLUMNS if args.map else rows.COLUMNS
    settings = {
        "report": metric.report,
        "weights_sha256": metric.weights_sha256,
        **{name: getattr(args, name) for name in ("format", "tile", "dtype", "map", "onnx")},
    }
    network = make_network(args, metric)  # before FILE is emptied: it may not be possible
    done, write, report = rows.Done(), to_screen, None
    with ExitStack() as opened:
        if args.html:  # before FILE is emptied: the page may turn out not to be writable
            page = ReportWriter(args.html, title=title(args.paths), report_string=metric.report)
            report = opened.enter_context(page)
        if args.map:
            os.makedirs(args.map, exist_ok=True)
            tempfile.TemporaryFile(dir=args.map).close()  # fails now if nothing can be written there
        if args.output:
            file, done = rows.begin(Path(args.output), args.format, settings, args.resume)
            write = opened.enter_context(file).write
        tally = Tally(done.paths.total(), done.failed, done.lowest)
        paths = rows.skip_done(find_pictures(args.paths, args.recursive, args.map), done.paths)
        if args.engine == "ray":
            results = importlib.import_module(".ray", __package__).score(args, metric, network, done.paths)
        else:
            results = score_files(
                paths,
                metric,
                workers=args.workers,
                threads=args.threads or 1,
                batch_size=args.batch_size,
                dtype=DTYPES[args.dtype],
                tile=args.tile,
                maps=args.map,
                network=network,
            )
        results = tally.count(results)
        if report:
            for row in stored_rows(*rows.growing(Path(args.output), args.format)) if done.end else ():
                report.add(row)
            results = map(report.add, results)  # before they are ranked: the page has its own order, and all
        rows_on_screen = not args.output and sys.stdout.isatty()  # they show the progress, and would share its line
        if sys.stderr.isatty() and not (args.quiet or rows_on_screen):
            results = with_progress(results)
        if args.sort or args.top:
            results = ranked(results, args.sort or "best", args.top)
        write_rows(results, write, args.format, metric.report, columns, done.end == 0)
    if args.format == "parquet":
        rows.to_parquet(rows.journal_of(Path(args.output)), Path(args.output), columns)
    return tally


def title(paths: Sequence[str]) -> str:
    """A page's headline: a shell may have made thousands of paths of a pattern."""
    more = len(paths) - TITLE_PATHS
    return " ".join(paths[:TITLE_PATHS]) + (f" and {more:,} more" if more > 0 else "")
