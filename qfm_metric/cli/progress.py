"""How far a run is: pictures done, of how many, how fast, and the time left, on standard error.

On a terminal a line that is written again and again, from before torch is imported; else a line a minute, for logs.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from .parser import CLEAR

T = TypeVar("T")
TICK = 0.5  # seconds between two lines on a terminal
LOG_TICK = 60.0  # seconds between two lines elsewhere
SPAN = 30.0  # seconds, or two ticks if they are longer, over which the rate is taken


class Progress:
    """`with Progress(paths) as progress: ... progress.counted(rows)`; does nothing if it is `quiet`.

    Args:
        paths: Of all pictures; they are counted in a thread, while the first ones are scored. None: not known.
        quiet: Say nothing.
        what: Is counted.
    """

    def __init__(self, paths: Iterable[object] | None, quiet: bool = False, what: str = "pictures") -> None:
        self._paths, self._quiet, self._what = paths, quiet, what
        self._on_terminal = sys.stderr.isatty()
        self._tick = TICK if self._on_terminal else LOG_TICK
        self._seen: deque[tuple[float, int]] = deque(maxlen=max(2, int(SPAN / self._tick)))
        self._done, self._before, self._listed, self._total = 0, 0, 0, False
        self._above = False  # whether rows were written above the line
        self._lock, self._ended = threading.Lock(), threading.Event()

    def __enter__(self) -> "Progress":
        with suppress(RuntimeError):  # no more threads can be had: the pictures are more important
            if not self._quiet:
                if self._paths is not None:
                    threading.Thread(target=self._count, daemon=True).start()
                threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        with self._lock:
            if not self._quiet and self._on_terminal:
                stays = self._done and not self._above  # rows are their own summary
                sys.stderr.write(f"{CLEAR}{self.line(time.monotonic())}\n" if stays else CLEAR)
                sys.stderr.flush()

    def counted(self, rows: Iterable[T], before: int = 0) -> Iterator[T]:
        """Count rows as they pass; `before` of the pictures had one already."""
        self._before = before
        with self._lock:
            self._seen.clear()  # what came before was no scoring
            self._seen.append((time.monotonic(), 0))
        for row in rows:
            self._done += 1
            yield row

    def write_above(self, text: str) -> None:
        """Write to standard output, at once; on the same terminal the line stays below it."""
        shares = not self._quiet and self._on_terminal and sys.stdout.isatty()
        with self._lock:
            if shares:
                self._above = True
                sys.stderr.write(CLEAR)
                sys.stderr.flush()
            sys.stdout.write(text)
            sys.stdout.flush()
            if shares and not self._ended.is_set():
                self._show(time.monotonic())

    def line(self, now: float) -> str:
        """What is known at `now`, on the clock of `time.monotonic`."""
        done = f"{self._done:,}"
        left = max(0, self._listed - self._before - self._done) if self._total else None
        if self._listed:
            done += f" of {self._listed - self._before:,}{'' if self._total else ' or more'}"
        start, count = self._seen[0] if self._seen else (now, 0)
        if self._done == count or now <= start:
            return f"{done} {self._what}{'' if self._done else ', starting'}"
        rate = (self._done - count) / (now - start)
        rest = "" if left is None else f", {_clock(left / rate)} left"
        return f"{done} {self._what}, {rate:.3g} a second{rest}"

    def _count(self) -> None:
        for _ in self._paths or ():
            self._listed += 1
            if self._ended.is_set():
                return
        self._total = True

    def _run(self) -> None:
        ended = self._ended.wait(0 if self._on_terminal else self._tick)
        while not ended:
            now = time.monotonic()
            with self._lock:
                if not self._ended.is_set():
                    self._show(now)
                self._seen.append((now, self._done))
            ended = self._ended.wait(self._tick)

    def _show(self, now: float) -> None:
        sys.stderr.write(f"{CLEAR}{self.line(now)}" if self._on_terminal else f"qfm-metric: {self.line(now)}\n")
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds: 75 is 1:15."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
