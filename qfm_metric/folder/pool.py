"""Score any number of files: a row per file, in their order, in bounded memory.

    path -> open_image          the header; then wait until there is room for the pixels
         -> preprocess_pixels   (1, V, 3, h, w), for the picture or for each of its tiles
         -> score_views         one by one on the CPU, in batches on a GPU; with maps assess_views
         -> Row

On the CPU a worker is a process that does all of this with a thread of its own: that uses the cores better than one
network with many threads, and a decoder that crashes takes one row with it. On a GPU workers are threads that decode.
"""

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from PIL import Image

from ..score import GPU_BATCH, QFMScore
from .one_file import EncodedImage, Job, Network, Row, Source, Wait, path_of

ROOM = 2**27  # pixels that are decoded at the same time, over all workers
SMALLEST_TILE = 64
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

T = TypeVar("T")


def score_files(
    paths: Iterable[str | os.PathLike[str] | EncodedImage],
    metric: QFMScore | None = None,
    *,
    workers: int = 1,
    threads: int = 1,
    batch_size: int = 2 * GPU_BATCH,
    dtype: torch.dtype = torch.float32,
    tile: int | None = None,
    maps: str | os.PathLike[str] | None = None,
    room: int = ROOM,
    network: Network | None = None,
) -> Iterator[Row]:
    """Score files as they come: a row per path, in the order of the paths, whatever is wrong with a file.

    The scores are those of `metric(load_image(path))`: on the CPU to the last bit if torch uses as many threads in
    both. Paths are taken as they are needed, and little is held at a time: for the pixels of pictures that are being
    decoded at most about 10 bytes times `room`, and their views, a few MB each.

    Args:
        paths: Files, or `EncodedImage` for those in memory; may be an iterator without end. A folder is not looked
            into.
        metric: Scores, on the device where it is. Default: `QFMScore()`.
        workers: 1: everything happens in this process. More, on the CPU: so many processes, each of which takes some
            seconds to start and some 550 MB; the calling script needs `if __name__ == "__main__":`. More, on a GPU:
            so many threads that decode.
        threads: CPU threads of the network in each worker process, if there are several.
        batch_size: Pictures that are gathered for batches, on a GPU; a row waits for its batch.
        dtype: Precision in which the network computes most. Anything but float32 changes scores.
        tile: Side of tiles in pixels. A picture is scored as a grid of tiles of about that side instead of as a whole:
            `score` is the mean, `lowest` the worst. A picture smaller than 1.5 tiles is one tile.
        maps: Folder for an overlay of each picture and its quality map, drawn from the pass that gives the score. The
            folders of the picture's path stand in it again: `a/b/cat.jpg` gives `maps/a/b/cat-map.png`. No file is
            overwritten: the next one is `cat-map-2.png`; the row says which.
        room: Pixels that may be decoded at the same time; a picture that is larger is decoded alone.
        network: What gives views `(1, V, 3, h, w)` their score `(1,)` instead of torch, on the CPU:
            `qfm_metric.onnx.OnnxNetwork(metric)`, of the same metric, takes 0.4 of the time, with scores within
            1e-4. With several workers it has to be picklable.

    Yields:
        Rows. Closing the iterator ends the workers.

    Raises:
        ValueError: an option is out of range; maps of tiles; a network with maps, another precision or a GPU.
        OSError: an overlay cannot be written.
        RuntimeError: worker processes cannot start.

    Examples:
        >>> [row.error for row in score_files([])]
        []
    """
    given = {"workers": workers, "threads": threads, "batch_size": batch_size, "room": room}
    least = dict.fromkeys(given, 1) | {"tile": SMALLEST_TILE}
    for name, value in (given | {"tile": tile}).items():
        if value is not None and value < least[name]:
            raise ValueError(f"{name}: expected at least {least[name]}, got {value}")
    if maps is not None and tile is not None:
        raise ValueError("maps: expected whole pictures, got tiles; leave one of the two out")
    metric, maps = QFMScore() if metric is None else metric, None if maps is None else os.fsdecode(maps)
    if not hasattr(metric, "net"):  # a GuardedScore has two networks, and files are made into views for one
        raise TypeError(
            f"metric: expected a QFMScore, got {type(metric).__name__}; score images from load_image with it"
        )
    job = Job(metric, tile, dtype, maps, network=network)
    if network is not None:
        check_network(dtype, metric.device.type, maps)
    names = (path if isinstance(path, EncodedImage) else os.fsdecode(path) for path in paths)
    if job.metric.device.type != "cpu":
        return _on_gpu(names, job, workers, batch_size, room)
    return map(job, names) if workers == 1 else _in_processes(names, job, workers, threads, room)


def check_network(dtype: torch.dtype, device: str, maps: str | None = None) -> None:
    """Refuse what only torch's network does.

    Raises:
        ValueError: says what was expected.
    """
    if maps is not None:
        raise ValueError("network: expected no maps, which need torch's pass; leave one of the two out")
    if dtype != torch.float32:
        raise ValueError(f"network: expected dtype torch.float32, got {dtype}; leave one of the two out")
    if device != "cpu":
        raise ValueError(f"network: expected a metric on the CPU, got {device}; leave the network out on a GPU")


def _on_gpu(names: Iterator[Source], job: Job, workers: int, batch_size: int, room: int) -> Iterator[Row]:
    job = replace(job, wait=_Room(room, threading.Condition(), SimpleNamespace(value=room)))

    def start() -> Executor:
        return ThreadPoolExecutor(workers)

    if job.tile:  # the tiles of a large picture fill batches by themselves; those of many would fill the memory
        yield from _in_order(names, start, job, workers)
        return
    looked = _in_order(names, start, job.look, batch_size + workers)
    while gathered := list(islice(looked, batch_size)):
        yield from job.finish(gathered)


def _in_processes(names: Iterator[Source], job: Job, workers: int, threads: int, room: int) -> Iterator[Row]:
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's locks without their threads
    settings = pickle.dumps(job)  # as bytes, because torch would move the module's tensors to shared memory

    def start() -> Executor:
        wait = _Room(room, context.Condition(), context.RawValue("q", room))
        pool = ProcessPoolExecutor(workers, context, _begin, (settings, threads, wait))
        try:
            _submit(pool, _begun).result()
        except BrokenExecutor as error:
            raise RuntimeError(
                "worker processes end before they have begun (see above); call score_files under "
                "`if __name__ == '__main__':`, or with workers=1"
            ) from error
        except BaseException:  # Ctrl-C: a process that is still starting must find the lock that it was given
            pool.shutdown(cancel_futures=True)
            raise
        return pool

    return _in_order(names, start, _work, 2 * workers, _died)


def _died(source: Source) -> Row:
    path = path_of(source)
    return Row(
        path, error=f"{path!r}: expected a picture, but its decoder crashed or ran out of memory; export it again"
    )


def _in_order(
    names: Iterator[Source],
    start: Callable[[], Executor],
    work: Callable[[Any], T],
    ahead: int,
    died: Callable[[Source], T] | None = None,
) -> Iterator[T]:
    """`work(name)` of each name, in order, at most `ahead` of them under way."""
    pool, waiting = start(), deque[tuple[Source, Future[T]]]()
    try:
        while True:
            for name in islice(names, ahead - len(waiting)):
                waiting.append((name, _submit(pool, work, name)))
            if not waiting:
                return
            if died is None or not _broken(waiting[0][1]):
                yield waiting.popleft()[1].result()
                continue
            pool.shutdown()  # a worker process died, and the executor ended the others
            pool = start()
            for name, future in waiting:
                again = _submit(pool, work, name) if _broken(future) else future
                if _broken(again):  # with nothing beside it: so it was this one
                    pool.shutdown()
                    pool = start()
                yield died(name) if _broken(again) else again.result()
            waiting.clear()
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: Executor, work: Callable[..., T], *arguments: Source) -> "Future[T]":
    """Hand work over; a process started for it inherits what is blocked here, so no Ctrl-C ends it as it begins."""
    mask = getattr(signal, "pthread_sigmask", None)  # not on Windows
    before = mask(signal.SIG_BLOCK, [signal.SIGINT]) if mask else ()
    try:
        return pool.submit(work, *arguments)
    except BrokenExecutor as error:
        future: Future[T] = Future()
        future.set_exception(error)
        return future
    finally:
        if mask:
            mask(signal.SIG_SETMASK, before)


def _broken(future: "Future[Any]") -> bool:
    return isinstance(future.exception(), BrokenExecutor)


class _Room:
    """Pixels that may be decoded at the same time, over all workers; more than there are at all go alone."""

    def __init__(self, pixels: int, changed: Any, free: Any) -> None:
        self.pixels, self.changed, self.free = pixels, changed, free

    @contextmanager
    def __call__(self, pixels: int) -> Iterator[None]:
        share = min(pixels, self.pixels)
        with self.changed:
            self.changed.wait_for(lambda: self.free.value >= share)
            self.free.value -= share
        try:
            yield
        finally:
            with self.changed:
                self.free.value += share
                self.changed.notify_all()


_job: Job  # of a worker process


def _begin(settings: bytes, threads: int, wait: Wait) -> None:
    """Make this process a worker."""
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one ends the others
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the error above twice that size stays
    _job = replace(pickle.loads(settings), wait=wait)


def _leave_with_parent() -> None:
    """A parent that is killed ends nobody: its workers would wait for it for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _begun() -> None:
    """What a worker that could not begin does not come to."""


def _work(source: Source) -> Row:
    return _job(source)
