"""Options that several commands have: which metric, where it runs, on how many threads."""

import argparse
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..folder.formats import Format

WEIGHTS_HELP = "weights id, file, saved folder or org/name[@revision]"


def add_metric_options(parser: argparse.ArgumentParser) -> None:
    """Add `--weights`, `--device` and `--threads`."""
    parser.add_argument("--weights", metavar="ID", help=WEIGHTS_HELP)
    parser.add_argument("--device", default="cpu", help="torch device, such as cpu, cuda, mps (default: cpu)")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads of the network in each process (default: 1)"
    )


def add_format_options(parser: argparse.ArgumentParser, formats: Mapping[str, Format]) -> None:
    """Add a flag for each format, of which one may be given, as `format`."""
    form = parser.add_mutually_exclusive_group()
    for name, kind in formats.items():
        form.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=kind.help)


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


# For commands that want all scores before they say anything.
SCORE_FIRST = "score what takes long with qfm-metric FOLDER --csv -o FILE, which goes on with --resume"


def limit_threads(count: int) -> None:
    """Let the libraries that this process is about to load have so many threads, which sleep while they wait.

    OpenMP's wait by spinning, which takes the cores from other processes. It reads this once, so nothing is done where
    torch is there already: in somebody else's process.
    """
    if "torch" in sys.modules:
        return
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(count))
    os.environ |= {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}


def option_of(args: argparse.Namespace, option: str, columns: Collection[str]) -> str:
    """The option that asked for what `option` gives: `--require` does, too, if it is about one of the columns."""
    required = getattr(getattr(args, "require", None), "columns", ())
    return option if set(columns).isdisjoint(required) else "--require"
