"""Processes that tests start."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import qfm_metric

NOT_TEXT = os.fsdecode(b"bad\xff.png")  # a legal file name on Linux, with a lone surrogate in Python


def environment(*folders):
    """This process's, where Python finds this checkout, and `folders` before it; one thread."""
    path = os.pathsep.join(map(str, [*folders, Path(qfm_metric.__file__).parents[1]]))
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@contextmanager
def handling(number, handler):
    """Inside, a signal has this handler."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def command(*args, env=None, **options):
    """The command with these arguments, as a process of its own: takes seconds, to import torch."""
    words = [sys.executable, "-m", "qfm_metric", *args]
    # Tests in the background are begun ignoring the one, tests under nohup the other, and what they begin inherits it.
    with handling(signal.SIGINT, signal.default_int_handler), handling(signal.SIGHUP, signal.SIG_DFL):
        return subprocess.Popen(words, env=environment() | (env or {}), **options)
