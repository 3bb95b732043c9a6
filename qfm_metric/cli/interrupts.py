"""Signals that end the command: each leaves what Ctrl-C leaves, once, and none is lost on the way."""

import _thread
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Seconds in which another signal is the same one, and does not disturb the writing of what is there: `timeout` and
# terminals that close send theirs twice, and who is in a hurry presses Ctrl-C more than once.
SAME = 1.0
LATER = 0.1  # seconds until an interrupt that was swallowed comes again


@contextmanager
def ending_as_interrupt() -> Iterator[None]:
    """Inside, whoever ends the process (Ctrl-C, `kill`, a container's stop, a closed terminal) interrupts it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupts, changed, hook = _Interrupts(sys.unraisablehook), {}, sys.unraisablehook
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):  # Windows has no SIGHUP
        before = signal.getsignal(number)
        if before in (signal.SIG_DFL, signal.default_int_handler):  # `nohup` and shells have some ignored
            signal.signal(number, interrupts)
            changed[number] = before
    sys.unraisablehook = interrupts.take_back
    try:
        yield
    finally:
        interrupts.end()
        sys.unraisablehook = hook
        for number, before in changed.items():
            signal.signal(number, before)


class _Interrupts:
    """A handler of signals that raises KeyboardInterrupt, and again where Python has swallowed it.

    Python drops what is raised in a finalizer or a callback of a weak reference, and a signal may well come there.

    Args:
        hook: What is done of other errors that Python drops.
    """

    def __init__(self, hook: Any) -> None:
        self._hook, self._last, self._number = hook, -math.inf, signal.SIGINT
        self._again: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last >= SAME:
            self._last, self._number = now, signal.Signals(number)
            raise KeyboardInterrupt

    def take_back(self, dropped: Any) -> None:
        """Be told of an error that Python has dropped."""
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            self._hook(dropped)
            return
        self._last = -math.inf
        self._again = threading.Timer(LATER, _thread.interrupt_main, [self._number])  # here it would be dropped again
        self._again.daemon = True
        self._again.start()

    def end(self) -> None:
        """Let none come any more."""
        if self._again:
            self._again.cancel()
