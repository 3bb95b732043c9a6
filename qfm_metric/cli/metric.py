"""The metric that a command's options name; imported once they make sense, because torch is slow to import."""

import argparse
from collections.abc import Callable
from typing import Any

import torch

from ..score import QFMScore
from ..weights import WeightsError


def check_device(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse a device that torch does not have, before anything is loaded."""
    try:
        torch.zeros((), device=args.device).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # by the kind of device that torch does not have
        told = str(error).partition("\n")[0].partition(". ")[0]  # behind it may come all that torch was built with
        refuse(f"--device {args.device}: expected a device that torch can use here: {told}")


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
