"""`qfm-metric PATH...`: score pictures from the command line. Prints, as `cli_weights` does; no other module does.

Results go to standard output (or `-o FILE`), a row per picture in the order given; progress and messages go to standard
error. Exit status: 0 all scored, 1 some picture failed, 2 wrong usage.
"""

import argparse
import csv
import glob
import io
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import torch

from . import __version__, cli_export, cli_weights
from .images import IMAGE_SUFFIXES, ImageError, load_image
from .score import QFMScore
from .weights import WeightsError

DECIMALS = 4  # the fifth may differ with the batch
UNPRINTABLE = "backslashreplace"  # a file name need not be text in any encoding; no such name may end the run


@dataclass(frozen=True)
class Result:
    """One row: a score, or what went wrong."""

    path: str
    score: float | None
    error: str | None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] == "weights":
        return cli_weights.main(argv[1:])
    if argv and argv[0] == "export":
        return cli_export.main(argv[1:])
    parser = build_parser()
    # Paths and options in any order. Python 3.11 loses the paths after a `--` then, so that asks for options first.
    args = parser.parse_args(argv) if "--" in argv else parser.parse_intermixed_args(argv)
    if args.batch_size < 1:
        parser.error(f"--batch-size: expected at least 1, got {args.batch_size}")
    try:
        torch.zeros((), device=args.device).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # by the kind of device that torch does not have
        parser.error(f"--device {args.device}: {str(error).splitlines()[0]}")
    try:
        metric = QFMScore.from_pretrained(args.weights).to(args.device)
    except WeightsError as error:
        parser.error(str(error))
    results = score_paths(metric, find_pictures(args.paths, args.recursive), args.batch_size)
    rows_on_screen = not args.output and sys.stdout.isatty()  # they show the progress, and would share a line with it
    if sys.stderr.isatty() and not (args.quiet or rows_on_screen):
        results = with_progress(results)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=UNPRINTABLE)
    try:
        with (
            open(args.output, "w", newline="", encoding="utf-8", errors=UNPRINTABLE)
            if args.output
            else nullcontext(sys.stdout)
        ) as file:
            failed, total = write(results, file, args.format, metric.report)
            file.flush()
    except KeyboardInterrupt:
        print("qfm-metric: interrupted; the rows so far are written", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"qfm-metric: cannot write {args.output or 'standard output'}: {error.strerror}", file=sys.stderr)
        return 1
    if total == 0:
        print("qfm-metric: no pictures found", file=sys.stderr)
    elif failed:
        print(f"qfm-metric: {failed} of {total} failed", file=sys.stderr)
    return 1 if failed or not total else 0


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="qfm-metric",
        description="How good does each picture look? A score from 0 (bad) to 1 (excellent), no reference needed.",
        epilog="A folder stands for the pictures in it. Exit status: 0 all scored, 1 some failed, 2 wrong usage. "
        "See also: qfm-metric weights --help, qfm-metric export --help; folders of these names are ./weights, ./export",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="files, folders, globs, or - for a path per line on stdin"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="format", action="store_const", const="json", help="one JSON document")
    form.add_argument("--csv", dest="format", action="store_const", const="csv", help="CSV: path,score,error")
    parser.add_argument("-o", "--output", metavar="FILE", help="write results to FILE instead of standard output")
    parser.add_argument("-r", "--recursive", action="store_true", help="look into the folders of folders, too")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="pictures at a time (default: 8)")
    parser.add_argument("--device", default="cpu", help="torch device, such as cpu, cuda, mps (default: cpu)")
    parser.add_argument("--weights", metavar="ID", help="weights id, file, saved folder or org/name[@revision]")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--version", action="version", version=f"qfm-metric {__version__}")
    return parser


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


def _look_into(path: str, recursive: bool) -> list[str]:
    """A folder as the pictures in it, in order of name; anything else as it is."""
    if not os.path.isdir(path):
        return [path]
    found: list[Path] = []

    def refused(error: OSError) -> None:
        print(f"qfm-metric: cannot look into {error.filename}: {error.strerror}", file=sys.stderr)
        found.append(Path(error.filename))  # gets an error row: its pictures are missing from the results

    for folder, _, names in os.walk(path, onerror=refused):
        found += [file for name in names if (file := Path(folder, name)).suffix.lower() in IMAGE_SUFFIXES]
        if not recursive:
            break
    return [str(file) for file in sorted(found)]


def score_paths(metric: QFMScore, paths: Iterable[str], batch_size: int) -> Iterator[Result]:
    """A result per path, in order; a picture that cannot be read gets its error, the rest are scored."""
    paths = iter(paths)
    while batch := list(itertools.islice(paths, batch_size)):
        loaded: dict[int, torch.Tensor] = {}
        errors: dict[int, str] = {}
        for i, path in enumerate(batch):
            try:
                loaded[i] = load_image(path)
            except ImageError as error:
                errors[i] = str(error)
        with torch.inference_mode():
            scores = dict(zip(loaded, metric(list(loaded.values())).tolist(), strict=True)) if loaded else {}
        for i, path in enumerate(batch):
            yield Result(path, scores.get(i), errors.get(i))


def write(results: Iterable[Result], file: IO[str], form: str | None, report: str) -> tuple[int, int]:
    """Write rows as they come; returns how many failed and how many there were."""
    failed = total = 0
    rows = csv.writer(file, lineterminator="\n") if form == "csv" else None
    if rows:
        rows.writerow(["path", "score", "error"])
    if form == "json":
        file.write(f'{{"report": {json.dumps(report)}, "results": [')
    for result in results:
        score = None if result.score is None else round(result.score, DECIMALS)
        if rows:
            rows.writerow([result.path, "" if score is None else f"{score:.{DECIMALS}f}", result.error or ""])
        elif form == "json":
            row = json.dumps(asdict(result) | {"score": score})  # ASCII: the same document in every locale
            file.write(f"{',' if total else ''}\n  {row}")
        else:
            file.write(
                f"error\t{result.path}\t{result.error}\n" if score is None else f"{score:.{DECIMALS}f}\t{result.path}\n"
            )
        file.flush()  # a row that was computed is not lost
        failed += score is None
        total += 1
    if form == "json":
        file.write("\n]}\n")
    return failed, total


def with_progress(results: Iterable[Result]) -> Iterator[Result]:
    """Count on standard error, on one line."""
    for done, result in enumerate(results, start=1):
        print(f"\r{done} scored", end="", file=sys.stderr, flush=True)
        yield result
    print(file=sys.stderr)
