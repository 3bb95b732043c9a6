"""What commands share: options that mean the same in each, and progress on stderr."""

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ...atomic import check_writable
from ...cli.targets import check_target
from ...folder.file_names import printable
from ...own_files import WEIGHTS
from ..recipe import Recipe, read_recipe

Command = Callable[[str, Callable[[argparse.Namespace], None]], argparse.ArgumentParser]

SHARED: dict[str, dict[str, Any]] = {
    "--threads": {"type": int, "default": 1, "help": "CPU threads of this process"},
    "--data": {"type": Path, "required": True, "help": "what `prepare` wrote"},
    "--weights": {"help": "id or .safetensors file; default: the shipped weights"},
    "--backbone": {"help": "the weights that `cells` was given, if these were folded or trained further behind it"},
    "--members": {"type": Path, "nargs": "*", "default": [], "help": "the teacher: CSV files of pseudo-labels"},
    "--workers": {"type": int, "default": 2, "help": "processes"},
    "recipe": {
        "help": "a shipped recipe (default, head, finish, fine_tune, robust, pretrain, quick, paper) or a TOML file"
    },
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


# What an existing file begins with that a command may write over, by its kind; a plot that is named replaces nothing.
KINDS = {
    "weights": WEIGHTS.pattern,
    "table": rb"image,mos,group,subset,split\s",
    "levels": rb"data_set,type,",
    "severity": rb"\| data set \| type \|",
    "figures": rb'\{\s*"weights": ',
    "travel": rb"\|[^\n|]*\| \| wanted \|",
    "scale": rb'\{\s*"data_set": ',
    "labels": rb"image,score\s",
    "scores": rb"[01]\.\d{6}\n",
    "card": rb"---\n",
    "plot": rb"(?!)",
    "drawn": rb".{41}Software\x00Matplotlib",  # no photograph, though a picture
}
PICTURES = {"plot", "drawn"}
SUFFIXES = {"weights": ("safetensors",), "labels": ("csv",)}


def add_output(sub: argparse.ArgumentParser, name: str, kind: str, *more: str, **known: Any) -> None:
    """Add an option that names a file to write, which `check_outputs` knows of."""
    option = sub.add_argument(name, *more, type=Path, **known)
    sub.set_defaults(outputs=[*(sub.get_default("outputs") or []), (option.dest, name, kind)])


def writes_into_folder(sub: argparse.ArgumentParser, **kinds: str) -> None:
    """Let `check_outputs` know which files a command writes into the folder `--out`, by kind; `{...}`: an option."""
    sub.set_defaults(writes=kinds)


def check_outputs(args: argparse.Namespace) -> None:
    """Refuse now what must not or cannot be written in the end.

    Raises:
        ValueError: it is a file that the command reads, a picture, or a file of another kind.
        OSError: it cannot be written there.
    """
    given = vars(args)
    for kind, name in given.get("writes", {}).items() if given.get("out") else ():
        path = str(given["out"] / name.format(**given))
        is_ours = partial(_begins_as, kind=kind)
        check_target("--out", path, is_ours, _files(given), _refuse, picture=kind in PICTURES)
    for dest, name, kind in given.get("outputs", ()):
        path = given[dest]
        if path is None:
            continue
        others = {key: value for key, value in given.items() if key != dest}
        is_ours = partial(_begins_as, kind=kind)
        suffixes = SUFFIXES.get(kind, ())
        check_target(name, str(path), is_ours, _files(others), _refuse, picture=kind in PICTURES, suffixes=suffixes)
        if path.parent.is_dir() or kind != "labels":  # whose folder is made
            check_writable(path)


def _files(given: Mapping[str, Any]) -> list[str]:
    """The files that options name."""
    texts = (text for key, value in given.items() if key != "command" for text in _texts(value))
    return [text for text in texts if os.path.isfile(text)]


def _texts(value: Any) -> Iterator[str]:
    """The strings and paths in the value of an option; of `NAME=FILE` the file, too."""
    if isinstance(value, str | Path):
        yield str(value)
        yield str(value).partition("=")[2]
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _begins_as(path: Path, kind: str) -> bool:
    with path.open("rb") as file:
        return bool(re.match(KINDS[kind], file.read(64), re.DOTALL))


def _refuse(message: str) -> None:
    raise ValueError(message)


def recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that `RECIPE`'s options ask for."""
    return read_recipe(args.recipe, args.set, args.init)


def say(text: str) -> None:
    """Print a line of progress, or of what is wrong."""
    print(printable(text), file=sys.stderr, flush=True)


def print_weights(path: Path) -> None:
    """Print where a weights file is, and its SHA-256."""
    print(f"{path}  sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
