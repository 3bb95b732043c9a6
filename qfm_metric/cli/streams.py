"""The command's standard streams: closed ones, names that are no text, messages and results that cannot be written."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class _Closed(io.TextIOBase):
    """Standard output that the shell has closed (`>&-`)."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it is closed")


class _Messages:
    """Standard error of which nothing is lost but messages: on a full disk, or on a terminal that has gone.

    Args:
        stream: Where they go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            write_to_nothing(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            write_to_nothing(self._stream)


def reopen_closed_streams() -> None:
    """Give back to the process the streams that it was started without (`2>&-`), or the next file would become one.

    What goes to standard error is lost, standard input is at its end, and writing to standard output fails.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stdout or _Closed()


def take_any_name() -> None:
    """Let standard output take file names that are no text in its encoding: they are escaped, and end no run."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def losing_messages() -> Iterator[None]:
    """Inside, a message that cannot be written ends no run."""
    before = sys.stderr
    sys.stderr = _Messages(before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before


@contextmanager
def whole_output() -> Iterator[None]:
    """What was printed inside is written on leaving, and not only when Python ends, which would tell nobody.

    What cannot be written is dropped.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError:
        try:
            sys.stdout.flush()
        except OSError:
            write_to_nothing(sys.stdout)
        raise


def write_to_nothing(stream: TextIO) -> None:
    """Let a stream that cannot be written take whatever comes, and what it holds: Python writes it out at its end."""
    with suppress(OSError):  # one of no file
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
        stream.flush()
