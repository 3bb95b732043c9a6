"""Commands that fit a head to what a frozen network sees: photograph."""

import argparse
import json
from pathlib import Path

from ..photograph import train_photograph
from ..photograph_check import check_folder
from . import options
from .options import Command, say


def photograph(args: argparse.Namespace) -> None:
    """Teach weights to tell photographs from other pictures, or measure how well they do; writes a file."""
    if args.out is None and args.test is None:
        raise ValueError("expected --out FILE to train a head, --test FOLDER to measure one, or both; got neither")
    weights, found = args.weights_file, {}
    shared = {"count": args.count, "workers": args.workers, "say": say}
    if args.out is not None:
        found["drawn"] = train_photograph(weights, args.data, args.out, seed=args.seed, **shared)._asdict()
        say(f"wrote {args.out}")
        weights = str(args.out)

    if args.test is not None:
        found["test"] = check_folder(weights, args.data, args.test, **shared)._asdict()
    print(json.dumps(found, indent=2))


def add_commands(command: Command) -> None:
    """Add them, with their options."""
    sub = command("photograph", photograph)
    sub.add_argument("weights_file", metavar="WEIGHTS", nargs="?", help="id or .safetensors file; default: the shipped")
    options.add(sub, "--data", "--workers")
    sub.add_argument("--out", type=Path, help=".safetensors file to write; without it nothing is trained")
    sub.add_argument("--test", type=Path, help="folder of pictures that are no photographs, to measure on")
    sub.add_argument("--count", type=int, default=3000, help="photographs to learn from, and to measure on, at most")
    sub.add_argument("--seed", type=int, default=0, help="of all that is drawn")
