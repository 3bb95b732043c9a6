"""The command's own way to refuse options: one line, and where to look."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from ..folder.file_names import printable

CLEAR = "\r\x1b[K"  # the line of a terminal


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that does not print all options before what is wrong with one."""

    _words: Sequence[str] = ()  # that were given, for what may be wrong with them

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse an option whose value is empty, too."""
        self._words = args or ()
        return self._checked(super().parse_args(args, namespace))

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse an option whose value is empty, too."""
        self._words = args or ()
        return self._checked(super().parse_intermixed_args(args, namespace))

    def parse_any_order(self, args: Sequence[str]) -> Any:
        """Paths and options in any order; options first with `--`, behind which Python 3.11 loses paths otherwise."""
        return self.parse_args(args) if "--" in args else self.parse_intermixed_args(args)

    def _checked(self, found: argparse.Namespace) -> argparse.Namespace:
        for action in self._actions:
            if action.option_strings and getattr(found, action.dest, None) == "":
                self.error(f"{action.option_strings[0]}: expected a value, got an empty text; is a variable not set?")
        return found

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help; argparse's own passes over a disk that is full."""
        (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        """End with exit status 2."""
        if named := [word for word in self._words if word.startswith("-") and os.path.lexists(word)]:
            message += f"; for the file of that name write ./{named[0]}"
        self.exit(2, f"{_clear()}{self.prog}: {printable(message)}\n{self.prog} --help shows the options\n")


def reason(error: Exception) -> str:
    """What is wrong: of a file that the system refuses its name and why, without the number of it."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def warn(message: str) -> None:
    """Say something on standard error, in one line: what it names may hold what a terminal obeys."""
    print(f"{_clear()}qfm-metric: {printable(message)}", file=sys.stderr)


def _clear() -> str:
    """What takes away the line that shows the progress."""
    return CLEAR if sys.stderr.isatty() else ""
