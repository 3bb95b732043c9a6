"""What `qfm-metric PATH...` does once its options are known to make sense: load, score, write."""

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..compiled import CompiledScore, cache_folder, missing_packages
from ..folder.cores import is_worth_it, workers_for
from ..folder.journal import Done, Journal, UsageError, read_settings, skip_done
from ..folder.options import RUNTIMES
from ..folder.row import DEFECT_COLUMNS, Row, columns_with
from ..folder.stream import score_files
from ..html.scores import ReportWriter
from ..rating import Metric
from ..score import QFMScore
from . import ray, xmp
from .metric import check_device, load_metric
from .options import option_of
from .output import counted, format_of, grouped, ranked, required, write_rows
from .parser import warn
from .paths import Scan
from .progress import Progress

TITLE_PATHS = 3


def run(args: argparse.Namespace, progress: Progress, refuse: Callable[[str], Any]) -> Done:
    """Score and write."""
    if args.engine != "ray":  # the device is the workers'
        check_device(args, refuse)
    loaded = load_metric(args, refuse, "cpu" if args.engine == "ray" else args.device)
    if args.explain and not loaded.defects:
        option = option_of(args, "--explain", DEFECT_COLUMNS)
        refuse(f"{option}: expected weights that name defects, {loaded.weights_id} do not; choose others by --weights")
    if args.max_pixels:
        Image.MAX_IMAGE_PIXELS = (args.max_pixels + 1) // 2  # refused is what has twice as many
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the error above twice that size stays
    try:
        metric = choose_runtime(args, loaded)  # before FILE is emptied: it may have been begun with another
        return write(args, metric, progress)
    except UsageError as error:
        refuse(str(error))
        raise


def choose_runtime(args: argparse.Namespace, metric: QFMScore) -> Metric:
    """The metric in the runtime that was asked for, or in the fastest one; in torch if that cannot be used."""
    for name in _runtimes(args):
        try:
            return CompiledScore(metric, name, cache_folder())
        except Exception as error:  # a broken installation may raise anything, and torch is always there
            warn(f"{RUNTIMES[name]} cannot be used ({str(error).strip().partition(chr(10))[0]})")
    return metric


def _runtimes(args: argparse.Namespace) -> list[str]:
    """What to try before torch."""
    if args.runtime != "auto":
        return [args.runtime] if args.runtime in RUNTIMES else []
    if args.device.split(":")[0] != "cpu" or args.engine == "ray" or args.map or args.dtype != "float32":
        return []
    if args.resume and args.output and (begun := read_settings(Path(args.output)).get("runtime")):
        return [name for name, title in RUNTIMES.items() if title == begun]
    everything = Scan(args.paths, args.recursive, args.map, quiet=True)
    if "-" not in args.paths and not is_worth_it(everything):
        return []
    return [name for name in RUNTIMES if not missing_packages(name)]


def write(args: argparse.Namespace, metric: Metric, progress: Progress) -> Done:
    """Score and write what was asked for."""
    asked = {name: bool(getattr(args, name)) for name in ("explain", "facts", "group")}
    columns = columns_with(tiles=bool(args.tile), maps=bool(args.map), **asked)
    form = format_of(args.format)
    journal = Journal(Path(args.output), form) if args.output else None
    done, put, report = Done(), progress.write_above, None
    with ExitStack() as opened:
        if args.html:  # before FILE is emptied: the page may turn out not to be writable
            report = opened.enter_context(ReportWriter(args.html, title=title(args.paths), signature=metric.signature))
        if args.map:
            os.makedirs(args.map, exist_ok=True)
            tempfile.TemporaryFile(dir=args.map).close()  # fails now if nothing can be written there
        # Before FILE is emptied, too: there may be no cluster.
        images = opened.enter_context(ray.found_images(args)) if args.engine == "ray" else None
        if journal:
            file, done = journal.begin(settings(args, metric), args.resume)
            put = opened.enter_context(file).write
        rows = progress.counted(counted(score(args, metric, done, images), done), done.paths.total())
        if args.group:
            rows = grouped(rows)
        if args.require:
            for _ in required(journal.rows() if journal and done.end else (), args.require, done):
                pass  # rows that the file has already
            rows = required(rows, args.require, done)
        if args.xmp:
            rows = xmp.with_sidecars(rows, args, metric.signature, done)
        if report:
            for row in journal.rows() if journal and done.end else ():
                report.add(row)
            rows = map(report.add, rows)  # before they are ranked: the page has its own order, and all
        if args.sort or args.top:
            rows = ranked(rows, args.sort or "best", args.top)
        try:
            write_rows(rows, put, form, columns, metric.signature, heading=done.end == 0)
            if journal:
                journal.finish(columns)
        except KeyboardInterrupt as interrupt:
            kept = f" in {journal.grows}; --resume goes on" if journal and form.convert else ""
            page = f", and the page of them, {args.html}" if args.html else ""
            raise KeyboardInterrupt(f"; the rows so far are written{kept}{page}") from interrupt
    return done


def settings(args: argparse.Namespace, metric: Metric) -> dict[str, Any]:
    """What decides the rows of a run; one that is gone on with must have the same."""
    asked = ("format", "tile", "dtype", "map", "explain", "facts", "projection", "group")
    scored_by = {"signature": metric.signature, "weights_sha256": metric.weights_sha256, "runtime": metric.runtime}
    return scored_by | {name: getattr(args, name) for name in asked}


def score(args: argparse.Namespace, metric: Metric, done: Done, images: ray.Images | None) -> Iterator[Row]:
    """The rows of all pictures that have none yet, of `images` on a cluster."""
    missing = done.paths.copy()
    if images:
        return ray.score(args, metric, missing, images)
    paths, workers = skip_done(Scan(args.paths, args.recursive, args.map, args.null), missing), args.workers
    if not workers and metric.device.type == "cpu" and "-" not in args.paths:  # who writes a list may wait for rows
        paths, workers = workers_for(paths)
    return score_files(
        paths,
        metric,
        workers=workers or 1,
        threads=args.threads or 1,
        batch_size=args.batch_size,
        dtype=getattr(torch, args.dtype),
        tile=args.tile,
        maps=args.map,
        explain=bool(args.explain),
        facts=bool(args.facts),
        projection=args.projection,
        moments=bool(args.group),
    )


def title(paths: Sequence[str]) -> str:
    """A page's headline: a shell may have made thousands of paths of a pattern."""
    more = len(paths) - TITLE_PATHS
    return " ".join(paths[:TITLE_PATHS]) + (f" and {more:,} more" if more > 0 else "")
