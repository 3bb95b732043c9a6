"""The command `qfm-metric`: its first word chooses what runs, each in a module of its own."""

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = (
    "compare",
    "export",
    "report",
    "weights",
)  # modules of this package; any other first word is a path to score


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    name, rest = (argv[0], argv[1:]) if argv and argv[0] in COMMANDS else ("score", argv)
    return int(import_module(f".{name}", __name__).main(rest))
