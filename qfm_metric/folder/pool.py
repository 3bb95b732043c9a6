"""Many files at once, in the order in which they came: processes on the CPU, threads that decode beside a GPU."""

import _thread
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from types import FrameType, SimpleNamespace
from typing import Any, Generic, TypeVar

import torch
from PIL import Image

from ..decoding.errors import ImageError
from .cores import WorkersError
from .one_file import EncodedImage, OneFile, Source, Wait, path_of
from .row import Row

T = TypeVar("T")
FARTHEST = (
    1024  # rows that are kept while a large picture before them is scored; a worker does some ten small ones a second
)
GUARD = "call score_files under `if __name__ == '__main__':`"
GRACE = 1.0  # seconds for a worker to leave nothing half-written


@dataclass
class _Work(Generic[T]):
    """Something that was handed to a worker."""

    source: Source
    future: "Future[T]"


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
        WorkersError: they cannot start, or end before they have begun.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's locks without their threads
    with _starting():
        temporary = tempfile.TemporaryDirectory(prefix="qfm-metric-")
    with temporary as folder:
        # In a file, because a process that dies at its start would leave whoever writes into its pipe waiting for ever.
        # As bytes, because torch would move the module's tensors to shared memory.
        settings = os.path.join(folder, "one_file.pickle")
        with _starting(), open(settings, "wb") as file:
            try:
                pickle.dump(one_file, file)
            except (AttributeError, TypeError, pickle.PicklingError) as error:  # of what it holds
                raise WorkersError(
                    f"worker processes cannot be given the metric, which cannot be pickled ({error}); "
                    "score with workers=1"
                ) from error

        def start() -> Executor:
            with _starting():
                with _sheltered():  # multiprocessing begins a process of its own for what is shared
                    shared = Room(room, context.Condition(), context.RawValue("q", room))
                limits = settings, threads, shared, Image.MAX_IMAGE_PIXELS
                pool = ProcessPoolExecutor(workers, context, _begin, limits)
                weakref.finalize(pool, _abandon_at_exit, weakref.ref(pool))
                try:
                    _submit(pool, _begun).result()
                except BaseException:  # Ctrl-C, too
                    _abandon(pool)
                    raise
            return pool

        yield from _in_order(map(_portable, names), start, _work, 2 * workers, _died, FARTHEST)


def _portable(source: Source) -> Source:
    """What can be handed to another process; an image that cannot has a row with its error there."""
    if isinstance(source, EncodedImage) and not isinstance(source.data, bytes):
        try:
            pickle.dumps(source.data)
        except Exception as error:  # by whatever it holds
            return replace(source, data=partial(_refuse, str(error)))
    return source


def _refuse(why: str) -> bytes:
    raise ImageError(
        f"expected bytes, or a function that can be pickled for a worker process ({why}); give bytes, or score with "
        "workers=1"
    )


@contextmanager
def _starting() -> Iterator[None]:
    """What keeps processes from starting inside: a full disk, no shared memory, a script that they import."""
    try:
        yield
    except WorkersError:  # said already
        raise
    except BrokenExecutor as error:
        program = getattr(sys.modules["__main__"], "__file__", None)
        advice = GUARD
        if program and not os.path.exists(program):  # what comes from standard input, which they cannot read again
            advice = "save the program, which they read, in a file"
        raise WorkersError(
            f"worker processes end before they have begun (see above); {advice}, or score with workers=1 (--workers 1)"
        ) from error
    except (OSError, ImportError, RuntimeError, AssertionError) as error:  # by what is missing, and what says so
        why, advice = str(error).strip().partition("\n")[0], "give them what is missing"
        if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing looks for it
            why, advice = "a worker has read the program and begun it again", GUARD
        elif isinstance(error, FileNotFoundError) and not error.filename and not _has_folder():
            why, advice = "the current folder is gone", "change to one that is there"
        raise WorkersError(
            f"worker processes cannot start ({why}); {advice}, or score with workers=1 (--workers 1)"
        ) from error


def _has_folder() -> bool:
    """Whether there is a current folder, in which processes start."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


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
    farthest: int = 0,
) -> Iterator[T]:
    """`work(name)` of each name, in order.

    Args:
        ahead: At most so many are under way.
        died: What is said of a name that ends its worker.
        farthest: At most so many are taken and not yielded, or `ahead`: what waits for a slow one before it is kept.
    """
    pool, waiting, busy = start(), deque[_Work[T]](), dict[Future[T], _Work[T]]()
    try:
        while True:
            for name in islice(names, min(ahead - len(busy), max(ahead, farthest) - len(waiting))):
                waiting.append(_Work(name, _submit(pool, work, name)))
                busy[waiting[-1].future] = waiting[-1]
            if not waiting:
                break
            first = waiting[0]
            if not first.future.done():
                wait(busy, return_when=FIRST_COMPLETED)
            for future in [future for future in busy if future.done()]:
                other = busy.pop(future)
                if not _broken(future):
                    other.source = path_of(other.source)  # without the bytes that an encoded image holds
            if not first.future.done():
                continue
            if died is None or not _broken(first.future):
                yield waiting.popleft().future.result()
                continue
            pool.shutdown()  # a worker process died, and the executor ended the others
            pool = start()
            for one in waiting:
                again = _submit(pool, work, one.source) if _broken(one.future) else one.future
                if _broken(again):  # with nothing beside it: so it was this one
                    pool.shutdown()
                    pool = start()
                yield died(one.source) if _broken(again) else again.result()
            waiting.clear()
            busy.clear()
    except BaseException:  # Ctrl-C, too; or nobody wants the rest
        _abandon(pool)
        raise
    pool.shutdown()


def _submit(pool: Executor, work: Callable[..., T], *arguments: Source) -> "Future[T]":
    """Hand work over, for which a process may be started; each of them may be the one that there is no room for.

    Raises:
        WorkersError: it cannot start.
    """
    with _starting():
        try:
            with _sheltered():
                return pool.submit(work, *arguments)
        except BrokenExecutor as error:
            future: Future[T] = Future()
            future.set_exception(error)
            return future


def _abandon_at_exit(known: "weakref.ref[Executor]") -> None:
    """End the workers of rows that a program has left unfinished at its end, while what that takes is still there."""
    if pool := known():
        _abandon(pool)


def _abandon(pool: Executor) -> None:
    """End workers at once: a process that is still starting takes seconds, and the next Ctrl-C comes sooner."""
    for process in list((getattr(pool, "_processes", None) or {}).values()):  # of threads there are none
        process.terminate()
    pool.shutdown(cancel_futures=True)


@contextmanager
def _sheltered() -> Iterator[None]:
    """Processes that are started inside inherit what is blocked: no Ctrl-C and no closed terminal ends them, we do."""
    mask = getattr(signal, "pthread_sigmask", None)  # not on Windows
    before = mask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP]) if mask else ()
    try:
        yield
    finally:
        if mask:
            mask(signal.SIG_SETMASK, before)


def _broken(future: "Future[Any]") -> bool:
    return isinstance(future.exception(), BrokenExecutor)


class Room:
    """Pixels that may be decoded at the same time, over all workers.

    A picture takes three quarters of them at most, so that small ones go on beside a large one.
    """

    def __init__(self, pixels: int, changed: Any, free: Any) -> None:
        self.pixels, self.changed, self.free = pixels, changed, free

    @contextmanager
    def __call__(self, pixels: int) -> Iterator[None]:
        share = min(pixels, self.pixels - self.pixels // 4)
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
_is_working = False


def _begin(settings: str, threads: int, room: Wait, most_pixels: int | None) -> None:
    """Make this process a worker."""
    global _one_file
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one ends the others
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    Image.MAX_IMAGE_PIXELS = most_pixels  # as in the process that asks
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the error above twice that size stays
    with open(settings, "rb") as file:
        _one_file = replace(pickle.load(file), wait=room)


def _leave_with_parent() -> None:
    """A parent that is killed ends nobody: its workers would wait for it for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _begun() -> None:
    """What a worker that could not begin does not come to."""


class _Ended(BaseException):
    """This process is to end: half of a map that it writes goes on the way."""


def _end(number: int, frame: FrameType | None) -> None:
    if not _is_working:
        os._exit(1)
    _thread.start_new_thread(_leave_soon, ())  # whatever stops it on the way, such as the lock of one that was killed
    raise _Ended


def _leave_soon() -> None:
    time.sleep(GRACE)
    os._exit(1)


def _work(source: Source) -> Row:
    global _is_working
    _is_working = True
    try:
        return _one_file(source)
    except _Ended:
        os._exit(1)
    finally:
        _is_working = False
