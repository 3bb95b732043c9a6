"""Signals that end the command: each leaves what Ctrl-C leaves, once, and none is lost on the way.

Python drops what is raised in a finalizer or a callback of a weak reference, and a signal may well come there. In an
import it may be taken for a package that is missing, leave half of one behind, or abort the process, in torch's C.
"""

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
LATER = 0.1  # seconds until an interrupt that was swallowed, or came in an import, comes again
IMPORT = "<frozen importlib._bootstrap>"  # what Python's frames call the file of the code that imports


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
    """A handler of signals that raises KeyboardInterrupt; later, where it would be lost.

    Args:
        hook: What is done of other errors that Python drops.
    """

    def __init__(self, hook: Any) -> None:
        self._hook, self._last, self._number, self._is_over = hook, -math.inf, signal.SIGINT, False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < SAME:
            return
        self._number = signal.Signals(number)
        if _is_importing(frame):
            self._come_again()
        else:
            self._last = now
            raise KeyboardInterrupt

    def take_back(self, dropped: Any) -> None:
        """Be told of an error that Python has dropped."""
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            self._hook(dropped)
            return
        self._last = -math.inf
        self._come_again()  # here it would be dropped again

    def end(self) -> None:
        """Let none come any more."""
        self._is_over = True

    def _come_again(self) -> None:
        # No Thread: whatever a signal has stopped may hold the lock that one takes as it starts.
        _thread.start_new_thread(self._wait, ())

    def _wait(self) -> None:
        time.sleep(LATER)
        if self._is_over:
            return
        if hasattr(signal, "pthread_kill"):  # wakes the main thread, too, if it waits
            signal.pthread_kill(threading.main_thread().ident or 0, self._number)
        else:
            _thread.interrupt_main(self._number)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported, inside the command."""
    while frame and frame.f_globals.get("__name__") != __package__:
        if frame.f_code.co_filename == IMPORT:
            return True
        frame = frame.f_back
    return False
