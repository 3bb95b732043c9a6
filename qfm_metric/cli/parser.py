"""The command's own way to refuse options: one line, and where to look."""

import argparse
import sys
from typing import NoReturn

CLEAR = "\r\x1b[K"  # the line of a terminal


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that does not print all options before what is wrong with one."""

    def error(self, message: str) -> NoReturn:
        """End with exit status 2."""
        self.exit(2, f"{_clear()}{self.prog}: {message}\n{self.prog} --help shows the options\n")


def warn(message: str) -> None:
    """Say something on standard error."""
    print(f"{_clear()}qfm-metric: {message}", file=sys.stderr)


def _clear() -> str:
    """What takes away the line that shows the progress."""
    return CLEAR if sys.stderr.isatty() else ""
