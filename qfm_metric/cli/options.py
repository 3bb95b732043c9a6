"""Options that several commands have: which metric, where it runs, on how many threads."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..score import QFMScore
from ..weights import WeightsError

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


def check_device(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse a device that torch does not have, before anything is loaded."""
    try:
        torch.zeros((), device=args.device).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # by the kind of device that torch does not have
        refuse(f"--device {args.device}: {str(error).splitlines()[0]}")


def load_metric(args: argparse.Namespace, refuse: Callable[[str], Any], device: str) -> QFMScore:
    """The metric that the options name, on `device`; torch uses as many threads as they say."""
    try:
        metric = QFMScore.from_pretrained(args.weights)
    except WeightsError as error:
        refuse(str(error))
        raise
    if args.threads:
        torch.set_num_threads(args.threads)
    return metric.to(device)
