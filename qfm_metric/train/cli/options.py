"""What commands share: options that mean the same in each, and progress on stderr."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ..recipe import Recipe, read_recipe

Command = Callable[[str, Callable[[argparse.Namespace], None]], argparse.ArgumentParser]


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def add_data(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--data", type=Path, required=True, help="what `prepare` wrote; `cache` adds views to it")


def add_weights(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--weights", help="id or .safetensors file; default: the shipped weights")


def add_members(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--members", type=Path, nargs="*", default=[], help="the teacher: CSV files of pseudo-labels")


def add_workers(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--workers", type=int, default=2, help="processes")


def add_recipe(sub: argparse.ArgumentParser) -> None:
    """What `cache`, `teacher` and `student` must be told alike; see `recipe`."""
    sub.add_argument("recipe", help="a shipped recipe (head, robust, teacher, quick, paper) or a TOML file")
    sub.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe")
    add_data(sub)
    sub.add_argument("--init", help="of the backbone: a safetensors file, an id, `timm` (its download) or `none`")
    sub.add_argument("--severity", type=Path, help="CSV of human means per type and level; without it, no series")


def recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that `add_recipe`'s options ask for."""
    return read_recipe(args.recipe, args.set, args.init)


def add_caching(sub: argparse.ArgumentParser) -> None:
    add_workers(sub)
    sub.add_argument("--openvino", action="store_true", help="run the frozen layers with OpenVINO, about twice as fast")
