"""Processes that tests start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import qfm_metric

NOT_TEXT = os.fsdecode(b"bad\xff.png")  # a legal file name on Linux, with a lone surrogate in Python


def environment(*folders):
    """This process's, where Python finds this checkout, and `folders` before it; one thread."""
    path = os.pathsep.join(map(str, [*folders, Path(qfm_metric.__file__).parents[1]]))
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def command(*args, env=None, **options):
    """The command with these arguments, as a process of its own: takes seconds, to import torch."""
    words = [sys.executable, "-m", "qfm_metric", *args]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background are begun ignoring it
    try:
        return subprocess.Popen(words, env=environment() | (env or {}), **options)
    finally:
        signal.signal(signal.SIGINT, before)
