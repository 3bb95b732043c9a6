"""`qfm-metric --engine ray`: the same rows in the same order, scored on a Ray cluster.

Everything that the cluster does not score is the same code as without it: what is written, and going on after a crash.
"""

import argparse
import importlib.util
import logging
import math
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..folder.cores import WorkersError
from ..folder.file_names import key
from ..folder.journal import UsageError
from ..folder.row import Row, read_row
from ..folder.uris import is_uri, list_images
from .paths import Scan

if TYPE_CHECKING:
    from ..rating import Metric

TABLE = ".parquet"
BLOCK = 8  # batches that a worker takes on at a time, and does again if it is lost
ATTEMPTS = "2"  # of Ray to reach a cluster, each of which takes 41 seconds if nobody answers; its default is 20
Place = tuple[str, str | None]  # what an image is called, and where every worker finds it; None: nowhere


def check(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse options that do not fit, and a Python without Ray."""
    if args.engine != "ray":
        for name in ("column", "num_gpus"):
            if getattr(args, name) is not None:
                refuse(f"--{name.replace('_', '-')}: expected --engine ray")
        return
    for name in ("ray", "pyarrow"):
        if importlib.util.find_spec(name) is None:
            refuse(f"--engine ray: expected {name} to be installed; pip install 'qfm-metric[ray]'")
    if args.group:
        refuse("--group: expected --engine local; descriptors do not leave a cluster's workers")
    if args.map:
        refuse("--map: expected --engine local; workers of a cluster may not share a folder")
    if args.num_gpus is not None and (args.num_gpus <= 0 or args.device == "cpu"):
        refuse(f"--num-gpus: expected more than 0, and --device cuda, got {args.num_gpus} and {args.device}")


class Images(NamedTuple):
    """Images that have a place, and tables that hold images themselves."""

    places: list[Place]
    tables: list[str]


@contextmanager
def found_images(args: argparse.Namespace) -> Iterator[Images]:
    """What is to be scored, while there is a cluster to score it on.

    Raises:
        UsageError: a folder, a store or a table cannot be read; a table of images is to be gone on with.
        WorkersError: there is no cluster, and none can be started; or it fails.
    """
    try:
        images = _take_apart(args)
    except (OSError, ValueError) as error:  # pyarrow's, too
        raise UsageError(str(error)) from error
    if images.tables and args.resume:
        raise UsageError(f"--resume: expected files or tables of paths, got images in {images.tables[0]}")
    with _cluster():
        yield images


def score(args: argparse.Namespace, metric: "Metric", done: "Counter[bytes]", images: Images) -> Iterator[Row]:
    """The rows of all images that have none yet, in the order given; tables of encoded images come last."""
    yield from _score_places(args, metric, [place for place in images.places if not _is_done(place[0], done)])
    for table in images.tables:
        import ray.data

        dataset = ray.data.read_parquet(table).select_columns(_columns(table, args.column or "path"))
        # Workers that hold every core from the start would leave none to read the table with.
        blocks = dataset.repartition(target_num_rows_per_block=BLOCK * args.batch_size)
        yield from _rows(args, metric, blocks, args.column or "path", (1, args.workers or 1))


def _score_places(args: argparse.Namespace, metric: "Metric", places: list[Place]) -> Iterator[Row]:
    import pyarrow as pa
    import ray.data

    if not places:
        return
    share = math.ceil(len(places) / (2 * (args.workers or 1)))  # a few images are shared out, too
    size = min(share, BLOCK * args.batch_size)
    parts = (places[start : start + size] for start in range(0, len(places), size))
    columns = pa.schema({"path": pa.string(), "at": pa.string()})
    blocks = [pa.table(list(zip(*part, strict=True)), columns) for part in parts]
    yield from _rows(args, metric, ray.data.from_arrow(blocks), "at", args.workers or 1)


def _rows(
    args: argparse.Namespace,
    metric: "Metric",
    dataset: Any,
    column: str,
    workers: int | tuple[int, int],
) -> Iterator[Row]:
    import torch

    from ..adapters.ray import score_dataset

    scored = score_dataset(
        dataset,
        metric,
        column=column,
        workers=workers,
        threads=args.threads or 1,
        num_gpus=0 if args.device == "cpu" else args.num_gpus or 1,
        batch_size=args.batch_size,
        tile=args.tile,
        dtype=getattr(torch, args.dtype),
        explain=bool(args.explain),
        facts=bool(args.facts),
        projection=args.projection,
    )
    for table in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from map(read_row, table.to_pylist())


def _take_apart(args: argparse.Namespace) -> Images:
    places: list[Place] = []
    tables: list[str] = []
    for given in args.paths:
        for path in (
            list_images(given, args.recursive) if is_uri(given) else Scan([given], args.recursive, null=args.null)
        ):
            if not path.lower().endswith(TABLE):
                places.append(_place(path))
            elif (found := _paths_in(path, args.column or "path")) is None:
                tables.append(path if is_uri(path) else os.path.abspath(path))
            else:
                places += [_place(at) if at else (f"{path}[{i}]", None) for i, at in enumerate(found)]
    return Images(places, tables)


def _place(path: str) -> Place:
    """Names are text; what is none is escaped, as in files of rows."""
    return key(path).decode(), path if is_uri(path) else Path(os.path.abspath(path)).as_uri()


def _paths_in(table: str, column: str) -> list[str | None] | None:
    """A table's paths; None if it holds images."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(table)
    if column not in schema.names:
        raise ValueError(f"{table}: expected a column {column!r}, got {schema.names}; give --column")
    if not (pa.types.is_string(schema.field(column).type) or pa.types.is_large_string(schema.field(column).type)):
        return None
    found: list[str | None] = pq.read_table(table, columns=[column])[column].to_pylist()
    return found


def _columns(table: str, column: str) -> list[str]:
    import pyarrow.parquet as pq

    return [name for name in pq.read_schema(table).names if name in (column, "path")]


def _is_done(name: str, done: "Counter[bytes]") -> bool:
    done[key(name)] -= 1
    return done[key(name)] >= 0


@contextmanager
def _cluster() -> Iterator[None]:
    """The cluster of RAY_ADDRESS, one on this machine, or one that lasts as long as the command; rows in order.

    Raises:
        WorkersError: there is none, and none can be started; or it fails.
    """
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", ATTEMPTS)  # is read as Ray is imported
    import ray
    from ray.data import DataContext

    ours, on_end = not ray.is_initialized(), signal.getsignal(signal.SIGTERM)
    if ours:
        try:
            ray.init(include_dashboard=False, logging_level=logging.WARNING)
        except Exception as error:  # by what is wrong: a connection, an address, a disk that is full
            raise WorkersError(
                f"no Ray cluster can be reached or started ({_last_line(error)}); see RAY_ADDRESS and RAY_TMPDIR, or "
                "score with --engine local"
            ) from error
        if signal.getsignal(signal.SIGTERM) != on_end:
            signal.signal(signal.SIGTERM, on_end)  # Ray's handler would end the process, with all that is not written
    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False  # the command counts by itself
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        yield
    except ray.exceptions.RayError as error:
        raise WorkersError(f"the Ray cluster failed ({_last_line(error)}); see its logs above") from error
    finally:
        if ours:
            ray.shutdown()


def _last_line(error: Exception) -> str:
    """Of what Ray says, which begins with where in a worker it was."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
