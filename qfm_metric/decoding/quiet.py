"""Decoders without their warnings, which name no file and say nothing that a picture is refused for."""

import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_quiet: Counter[int] = Counter()  # threads that are decoding, by how deep


@contextmanager
def no_warnings() -> Iterator[None]:
    """Drop what this thread warns of inside; what other threads warn of is shown as ever.

    Filters stay as they are (they belong to the process): those that make errors of warnings still do.
    `warnings.showwarning` is replaced while any thread is inside.
    """
    thread = threading.get_ident()
    with _lock:
        if not _quiet:
            _Muffler(warnings.showwarning).install()
        _quiet[thread] += 1
    try:
        yield
    finally:
        with _lock:
            _quiet[thread] -= 1
            if not _quiet[thread]:
                del _quiet[thread]
            if not _quiet and isinstance(warnings.showwarning, _Muffler):
                warnings.showwarning = warnings.showwarning.show


class _Muffler:
    """What `warnings.showwarning` is meanwhile."""

    def __init__(self, show: Any) -> None:
        self.show: Any = show.show if isinstance(show, _Muffler) else show  # catch_warnings elsewhere may leave one

    def install(self) -> None:
        warnings.showwarning = self

    def __call__(self, *args: Any, **options: Any) -> None:
        if threading.get_ident() not in _quiet:
            self.show(*args, **options)
