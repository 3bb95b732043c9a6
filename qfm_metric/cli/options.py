"""Options that several commands have: which metric, where it runs, on how many threads."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WEIGHTS_HELP = "weights id, file, saved folder or org/name[@revision]"


def add_metric_options(parser: argparse.ArgumentParser) -> None:
    """Add `--weights`, `--device` and `--threads`."""
    parser.add_argument("--weights", metavar="ID", help=WEIGHTS_HELP)
    parser.add_argument("--device", default="cpu", help="torch device, such as cpu, cuda, mps (default: cpu)")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads of the network (default: all; of several workers 1 each)"
    )


@contextmanager
def refusing(refuse: Callable[[str], Any], **options: str) -> Iterator[None]:
    """What is said of an argument inside, a ValueError, is said of the option that it comes from.

    Args:
        options: Those of other names than their arguments.
    """
    try:
        yield
    except ValueError as error:
        name, _, what = str(error).partition(":")
        refuse(f"--{options.get(name, name.replace('_', '-'))}:{what}")
