"""`qfm-metric PATH...`: score pictures from the command line. Prints, as `cli_weights` does; no other module does.

Results go to standard output (or `-o FILE`), a row per picture in the order given; progress and messages go to standard
error. Exit status: 0 all scored, 1 some picture failed or the output cannot be written, 2 wrong usage, 3 a score is
below `--fail-under`, 130 interrupted.
"""

import argparse
import glob
import heapq
import importlib
import importlib.util
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from . import __version__, rows
from .files import DTYPES, SMALLEST_TILE, Row, score_files
from .images import IMAGE_SUFFIXES
from .score import GPU_BATCH, QFMScore
from .weights import WeightsError

COMMANDS = {
    "compare": "cli_compare",
    "export": "cli_export",
    "report": "cli_report",
    "weights": "cli_weights",
}  # first word -> the module whose `main` takes the rest
LEAST = {"batch_size": 1, "workers": 1, "threads": 1, "top": 1, "tile": SMALLEST_TILE}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] in COMMANDS:
        command = importlib.import_module(f".{COMMANDS[argv[0]]}", __package__)
        return int(command.main(argv[1:]))
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
    except rows.UsageError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        kept = f" in {rows.journal_of(Path(args.output))}; --resume goes on" if args.format == "parquet" else ""
        print(f"qfm-metric: interrupted; the rows so far are written{kept}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        if not args.output:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"qfm-metric: cannot write {args.output or 'standard output'}: {error.strerror}", file=sys.stderr)
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
    if args.resume:
        if not args.output or args.format not in rows.RESUMABLE:
            refuse("--resume: expected -o FILE and --csv, --jsonl or --parquet")
        if args.sort or args.top:
            refuse("--resume: expected rows in the order of the pictures, got --sort or --top; sort FILE afterwards")
    importlib.import_module(".cli_ray", __package__).check(args, refuse)
    if args.engine == "ray":  # the device is the workers'
        return
    try:
        torch.zeros((), device=args.device).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # by the kind of device that torch does not have
        refuse(f"--device {args.device}: {str(error).splitlines()[0]}")


@dataclass
class Tally:
    """What was written, in numbers."""

    total: int = 0
    failed: int = 0
    lowest: float = 1.0

    def count(self, results: Iterable[Row]) -> Iterator[Row]:
        """Count rows as they pass."""
        for row in results:
            self.total += 1
            self.failed += row.score is None
            self.lowest = min(self.lowest, 1.0 if row.score is None else round(row.score, rows.DECIMALS))
            yield row

    def status(self, fail_under: float | None) -> int:
        """Say what went wrong; the exit status."""
        if self.total == 0:
            print("qfm-metric: no pictures found", file=sys.stderr)
        elif self.failed:
            print(f"qfm-metric: {self.failed} of {self.total} failed", file=sys.stderr)
        if self.failed or not self.total:
            return 1
        if fail_under is not None and self.lowest < fail_under:
            print(f"qfm-metric: the lowest score is {self.lowest:.{rows.DECIMALS}f}", file=sys.stderr)
            return 3
        return 0


def run(args: argparse.Namespace, metric: QFMScore) -> Tally:
    """Score and write."""
    columns = rows.TILE_COLUMNS if args.tile else rows.COLUMNS
    settings = {
        "report": metric.report,
        "weights_sha256": metric.weights_sha256,
        **{name: getattr(args, name) for name in ("format", "tile", "dtype")},
    }
    done, write = rows.Done(), _to_screen
    with ExitStack() as opened:
        if args.output:
            file, done = rows.begin(Path(args.output), args.format, settings, args.resume)
            write = opened.enter_context(file).write
        tally = Tally(done.paths.total(), done.failed, done.lowest)
        paths = rows.skip_done(find_pictures(args.paths, args.recursive), done.paths)
        if args.engine == "ray":
            results = importlib.import_module(".cli_ray", __package__).score(args, metric, done.paths)
        else:
            results = score_files(
                paths,
                metric,
                workers=args.workers,
                threads=args.threads or 1,
                batch_size=args.batch_size,
                dtype=DTYPES[args.dtype],
                tile=args.tile,
            )
        results = tally.count(results)
        rows_on_screen = not args.output and sys.stdout.isatty()  # they show the progress, and would share its line
        if sys.stderr.isatty() and not (args.quiet or rows_on_screen):
            results = with_progress(results)
        if args.sort or args.top:
            results = ranked(results, args.sort or "best", args.top)
        write_rows(results, write, args.format, metric.report, columns, done.end == 0)
    if args.format == "parquet":
        rows.to_parquet(rows.journal_of(Path(args.output)), Path(args.output), columns)
    return tally


def write_rows(
    results: Iterable[Row],
    write: Callable[[str], object],
    form: str | None,
    report: str = "",
    columns: Sequence[str] = rows.COLUMNS,
    heading: bool = True,
) -> None:
    """Write rows as they come, each whole: one that was computed is not lost."""
    if form == "csv" and heading:
        write(rows.csv_line(columns))
    if form == "json":
        write(f'{{"report": {json.dumps(report)}, "results": [')
        between = "\n  "
        for row in results:
            write(between + rows.json_row(row, columns).rstrip("\n"))
            between = ",\n  "
        write("\n]}\n")
        return
    render = {"csv": rows.csv_row, None: rows.text_row}.get(form, rows.json_row)
    for row in results:
        write(render(row, columns))


def _to_screen(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def ranked(results: Iterable[Row], first: str, top: int | None) -> Iterator[Row]:
    """Rows in order of score, errors last; of `top` only so many, without errors, and no more are held in memory."""
    sign = 1 if first == "best" else -1
    kept: list[tuple[float, int, Row]] = []  # the one that goes next comes first
    failed: list[Row] = []
    stopped: KeyboardInterrupt | None = None
    try:
        for number, row in enumerate(results):
            if row.score is None:
                failed += [] if top else [row]
            elif top and len(kept) == top:
                heapq.heappushpop(kept, (sign * row.score, -number, row))
            else:
                heapq.heappush(kept, (sign * row.score, -number, row))
    except KeyboardInterrupt as interrupt:  # what is there is written all the same
        stopped = interrupt
    yield from (row for _, _, row in sorted(kept, key=lambda item: item[:2], reverse=True))
    yield from failed
    if stopped:
        raise stopped


def with_progress(results: Iterable[Row]) -> Iterator[Row]:
    """Count on standard error, on one line."""
    for done, result in enumerate(results, start=1):
        print(f"\r{done} scored", end="", file=sys.stderr, flush=True)
        yield result
    print(file=sys.stderr)


def find_pictures(paths: Iterable[str], recursive: bool) -> Iterator[str]:
    """Files as they are, folders and globs expanded in order of name, `-` as the lines of standard input."""
    for path in paths:
        if path == "-":
            lines = (line.decode(sys.stdin.encoding, "surrogateescape") for line in sys.stdin.buffer)
            yield from (line.rstrip("\r\n") for line in lines if line.strip())
        elif not os.path.exists(path) and glob.has_magic(path):
            found = sorted(glob.glob(path, recursive=True))
            if "**" in path:  # has walked into the folders itself
                found = [match for match in found if not os.path.isdir(match)]
            for match in found or [path]:  # nothing matches: an error row names the glob
                yield from _look_into(match, recursive)
        else:
            yield from _look_into(path, recursive)


def _look_into(path: str, recursive: bool) -> Iterator[str]:
    """A folder as the pictures in it, in order of name; anything else as it is."""
    if not os.path.isdir(path):
        yield path
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
            yield from _look_into(inside, recursive)
