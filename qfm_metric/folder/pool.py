"""Many files at once, in the order in which they came: processes on the CPU, threads that decode beside a GPU."""

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from PIL import Image

from .one_file import OneFile, Source, Wait, path_of
from .row import Row

T = TypeVar("T")


def on_gpu(names: Iterator[Source], one_file: OneFile, workers: int, batch_size: int, room: int) -> Iterator[Row]:
    """Threads decode, and views are gathered for batches."""
    one_file = replace(one_file, wait=Room(room, threading.Condition(), SimpleNamespace(value=room)))

    def start() -> Executor:
        return ThreadPoolExecutor(workers)

    if one_file.tile:  # the tiles of a large picture fill batches by themselves; those of many would fill the memory
        yield from _in_order(names, start, one_file, workers)
        return
    looked = _in_order(names, start, one_file.look, batch_size + workers)
    while gathered := list(islice(looked, batch_size)):
        yield from one_file.finish(gathered)


def in_processes(names: Iterator[Source], one_file: OneFile, workers: int, threads: int, room: int) -> Iterator[Row]:
    """Each worker is a process of its own.

    Raises:
        RuntimeError: they end before they have begun.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's locks without their threads
    with tempfile.TemporaryDirectory(prefix="qfm-metric-") as folder:
        # In a file, because a process that dies at its start would leave whoever writes into its pipe waiting for ever.
        # As bytes, because torch would move the module's tensors to shared memory.
        settings = os.path.join(folder, "one_file.pickle")
        with open(settings, "wb") as file:
            pickle.dump(one_file, file)

        def start() -> Executor:
            wait = Room(room, context.Condition(), context.RawValue("q", room))
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

        yield from _in_order(names, start, _work, 2 * workers, _died)


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


class Room:
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


_one_file: OneFile  # of a worker process


def _begin(settings: str, threads: int, wait: Wait) -> None:
    """Make this process a worker."""
    global _one_file
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one ends the others
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the error above twice that size stays
    with open(settings, "rb") as file:
        _one_file = replace(pickle.load(file), wait=wait)


def _leave_with_parent() -> None:
    """A parent that is killed ends nobody: its workers would wait for it for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _begun() -> None:
    """What a worker that could not begin does not come to."""


def _work(source: Source) -> Row:
    return _one_file(source)
