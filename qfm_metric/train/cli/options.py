"""What commands share: options that mean the same in each, and progress on stderr."""

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..recipe import Recipe, read_recipe

Command = Callable[[str, Callable[[argparse.Namespace], None]], argparse.ArgumentParser]

SHARED: dict[str, dict[str, Any]] = {
    "--threads": {"type": int, "default": 1, "help": "CPU threads of this process"},
    "--data": {"type": Path, "required": True, "help": "what `prepare` wrote"},
    "--weights": {"help": "id or .safetensors file; default: the shipped weights"},
    "--backbone": {"help": "the weights that `cells` was given, if these were folded or trained further behind it"},
    "--members": {"type": Path, "nargs": "*", "default": [], "help": "the teacher: CSV files of pseudo-labels"},
    "--workers": {"type": int, "default": 2, "help": "processes"},
    "recipe": {"help": "a shipped recipe (default, head, fine_tune, robust, pretrain, quick, paper) or a TOML file"},
    "--set": {"nargs": "*", "default": [], "metavar": "SECTION.KEY=VALUE", "help": "change the recipe"},
    "--init": {"help": "of the backbone: a safetensors file, an id, `timm` (its download) or `none`"},
    "--severity": {"type": Path, "help": "CSV of human means per type and level; without it, no series"},
    "--ladders": {"type": Path, "help": "what `ladders` wrote"},
}
RECIPE = ("recipe", "--set", "--init", "--data")  # what all that use one are told alike


def add(sub: argparse.ArgumentParser, *names: str) -> None:
    """Add options of `SHARED` by name."""
    for name in names:
        sub.add_argument(name, **SHARED[name])


def recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that `RECIPE`'s options ask for."""
    return read_recipe(args.recipe, args.set, args.init)


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def print_weights(path: Path) -> None:
    """Print where a weights file is, and its SHA-256."""
    print(f"{path}  sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
