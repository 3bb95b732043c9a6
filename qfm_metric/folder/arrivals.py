"""Files that arrive: each is scored once its size and time stand still, in whatever pieces it is written."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .file_names import key
from .row import Row

Signature = tuple[int, int, int]  # inode, bytes and time in nanoseconds


@dataclass
class _Waiting:
    """A file that has no row yet."""

    signature: Signature
    since: float
    failed: bool = False  # could not be read: the rest of it may still come


def arrivals(
    scan: Callable[[], Iterable[str]],
    score: Callable[[str], Row],
    done: "Counter[bytes]",
    *,
    every: float = 2.0,
    patience: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Row]:
    """Rows of files as they arrive; without end.

    A file is scored when it has been the same for `every` seconds. One that cannot be read then may be half written: it
    is scored again whenever it has changed, and once more when it has been the same for `patience` seconds: its row is
    then written, with an error or without. Each file gets one row.

    Args:
        scan: Lists the files that are there.
        score: Of one file; never raises.
        done: How often each path (see `key`) has a row already; grows.
        every: Seconds between two looks.
        patience: Seconds that a file that cannot be read is waited for.
        clock, sleep: For tests.

    Yields:
        Rows, in the order of `scan` at each look.
    """
    waiting: dict[str, _Waiting] = {}
    while True:
        there = [path for path in scan() if not done[key(path)]]
        waiting = {path: waiting[path] for path in there if path in waiting}
        for path in there:
            row = _look(path, waiting, score, every, patience, clock)
            if row is not None:
                done[key(path)] += 1
                del waiting[path]
                yield row
        sleep(every)


def _look(
    path: str,
    waiting: dict[str, _Waiting],
    score: Callable[[str], Row],
    every: float,
    patience: float,
    clock: Callable[[], float],
) -> Row | None:
    """The row of a file, if it is time for it."""
    signature = _signature(path)
    if signature is None:
        waiting.pop(path, None)
        return None
    known = waiting.get(path)
    if known is None or known.signature != signature:
        waiting[path] = _Waiting(signature, clock())
        return None
    age = clock() - known.since
    if age < every or (known.failed and age < patience):
        return None
    row = score(path)  # at the end of `patience` again: a drive that was away, a right that was missing, may be there
    after = _signature(path)
    if after is None:
        return None
    if after != signature:  # it changed meanwhile: what was seen may be a mixture
        waiting[path] = _Waiting(after, clock())
        return None
    known.failed = row.score is None
    return None if known.failed and age < patience else row


def _signature(path: str) -> Signature | None:
    """What changes when a file does; None: it is gone, or no regular file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if os.path.isfile(path) else None
