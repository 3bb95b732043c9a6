"""Commands that fit a head to what a frozen network sees: photograph, defect-head, spread-reader and others."""

import argparse
import json
from pathlib import Path

from .. import defect_head, pseudo_reference, spread_reader
from ..distorted import store_distorted
from ..falling import store_falling
from ..fit_ratings import fit_ratings
from ..photograph import train_photograph
from ..photograph_check import check_folder
from ..probe import COUNTS, markdown, probe
from ..reference import STEPS, attach_head, train_reference
from . import options
from .options import Command, print_weights, say


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


def defect_head_command(args: argparse.Namespace) -> None:
    """Teach weights to name defects, from cells that `cells` stored; writes a file."""
    known = {name: getattr(args, name) for name in ("drawn", "falling", "backbone", "without", "steps", "seed")}
    defect_head.train_defect_head(args.weights, args.cells, args.out, **known, say=say)
    print_weights(args.out)


def spread_reader_command(args: argparse.Namespace) -> None:
    """Fit the reader of the mean and the spread over each view behind finished weights; writes a file."""
    given = [getattr(args, name) for name in ("weights", "data", "cells", "drawn", "falling", "out")]
    known = {name: getattr(args, name) for name in ("backbone", "members", "steps", "seed", "workers")}
    spread_reader.train_spread_reader(*given, **known, say=say)
    print_weights(args.out)


def distorted_command(args: argparse.Namespace) -> None:
    """Distort training photographs and keep what weights see of them, for `defect-head` and `spread-reader`."""
    drawn = {name: getattr(args, name) for name in ("count", "in_grey", "seed", "workers")}
    store_distorted(args.weights, args.data, args.severity, args.out, **drawn, say=say)


def falling_command(args: argparse.Namespace) -> None:
    """Make training photographs worse step by step and keep what weights see, for `defect-head` and `spread-reader`."""
    drawn = {name: getattr(args, name) for name in ("count", "seed", "workers")}
    store_falling(args.weights, args.data, args.out, **drawn, say=say)


def reference(args: argparse.Namespace) -> None:
    """Teach weights to compare a picture with its reference, from cells that `cells` stored; writes a file."""
    if args.head is not None:
        attach_head(args.weights, args.head, args.out)
    else:
        names = ("backbone", "steps", "seed")
        known = {name: getattr(args, name) for name in names}
        train_reference(args.weights, args.cells, args.out, **known, say=say)
    print_weights(args.out)


def pseudo_reference_command(args: argparse.Namespace) -> None:
    """Guess what clean pictures were, behind weights that compare with a reference, and measure it; writes a file."""
    names = ("backbone", "steps", "seed")
    known = {name: getattr(args, name) for name in names}
    print(json.dumps(pseudo_reference.train_guess(args.weights, args.cells, args.out, **known, say=say), indent=2))


def fit(args: argparse.Namespace) -> None:
    """Fit weights to a few people's ratings, with cross-validated figures; writes a file that loads like any other."""
    known = {name: getattr(args, name) for name in ("weights", "repeats", "seed", "workers")}
    print(fit_ratings(args.table, args.out, scale=tuple(args.scale), **known, say=say))
    print_weights(args.out)


def probe_command(args: argparse.Namespace) -> None:
    """Measure a recipe's frozen backbone by ridges on its features, from few ratings to all; writes nothing."""
    known = {name: getattr(args, name) for name in ("counts", "draws", "seed", "workers")}
    print(markdown(probe(options.recipe(args), args.data, **known)), end="")


def add_commands(command: Command) -> None:
    """Add them, with their options."""
    sub = command("photograph", photograph)
    sub.add_argument("weights_file", metavar="WEIGHTS", nargs="?", help="id or .safetensors file; default: the shipped")
    options.add(sub, "--data", "--workers")
    options.add_output(sub, "--out", "weights", help=".safetensors file to write; without it nothing is trained")
    sub.add_argument("--test", type=Path, help="folder of pictures that are no photographs, to measure on")
    sub.add_argument("--count", type=int, default=3000, help="photographs to learn from, and to measure on, at most")
    sub.add_argument("--seed", type=int, default=0, help="of all that is drawn")

    sub = command("distorted", distorted_command)
    options.add(sub, "--weights", "--data", "--workers")
    sub.add_argument("--severity", type=Path, required=True, help="CSV of human means per type and level")
    sub.add_argument("--out", type=Path, required=True, help="folder to write")
    sub.add_argument("--count", type=int, default=20000, help="pictures")
    sub.add_argument("--in-grey", action="store_true", help="make each black and white when it is distorted")
    sub.add_argument("--seed", type=int, default=0, help="of the draws")

    sub = command("falling", falling_command)
    options.add(sub, "--weights", "--data", "--workers")
    sub.add_argument("--out", type=Path, required=True, help="folder to write")
    sub.add_argument("--count", type=int, default=1000, help="series")
    sub.add_argument("--seed", type=int, default=0, help="of the draws")

    sub = command("defect-head", defect_head_command)
    options.add(sub, "--weights", "--backbone")
    sub.add_argument("--cells", type=Path, required=True, help="what `cells` wrote of these weights' backbone")
    sub.add_argument("--drawn", type=Path, nargs="+", default=(), help="what `distorted` wrote with these weights")
    sub.add_argument("--falling", type=Path, help="what `falling` wrote with these weights")
    options.add_output(sub, "--out", "weights", required=True, help=".safetensors file to write")
    sub.add_argument("--without", nargs="+", default=(), metavar="TYPE", help="such as KADID-10k/10, to leave out")
    sub.add_argument("--steps", type=int, default=defect_head.STEPS, help="of the fit")
    sub.add_argument("--seed", type=int, default=0, help="of the draws")

    sub = command("spread-reader", spread_reader_command)
    options.add(sub, "--weights", "--backbone", "--data", "--members", "--workers")
    sub.add_argument("--cells", type=Path, required=True, help="what `cells` wrote of these weights' backbone")
    sub.add_argument("--drawn", type=Path, nargs="+", required=True, help="what `distorted` wrote with these weights")
    sub.add_argument("--falling", type=Path, required=True, help="what `falling` wrote with these weights")
    options.add_output(sub, "--out", "weights", required=True, help=".safetensors file to write")
    sub.add_argument("--steps", type=int, default=spread_reader.STEPS, help="of the fit")
    sub.add_argument("--seed", type=int, default=0, help="of the draws")

    sub = command("reference", reference)
    options.add(sub, "--weights", "--backbone")
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--cells", type=Path, help="what `cells` wrote of these weights' backbone")
    source.add_argument("--head", help="id or file of weights on the same backbone, to take the head of")
    options.add_output(sub, "--out", "weights", required=True, help=".safetensors file to write")
    sub.add_argument("--steps", type=int, default=STEPS, help="of the fit")
    sub.add_argument("--seed", type=int, default=0, help="of the draws")

    sub = command("pseudo-reference", pseudo_reference_command)
    options.add(sub, "--weights", "--backbone")
    sub.add_argument("--cells", type=Path, required=True, help="what `cells` wrote of these weights' backbone")
    options.add_output(sub, "--out", "weights", required=True, help=".safetensors file to write")
    sub.add_argument("--steps", type=int, default=pseudo_reference.STEPS, help="of the fit")
    sub.add_argument("--seed", type=int, default=0, help="of the draws")

    sub = command("fit", fit)
    sub.add_argument("table", type=Path, help="CSV image,mos and, if there is one, group; 50 pictures or more")
    options.add_output(sub, "-o", "weights", "--out", required=True, help=".safetensors file to write")
    options.add(sub, "--weights", "--workers")
    sub.add_argument("--scale", type=float, nargs=2, default=[0, 1], metavar=("LOW", "HIGH"), help="of the ratings")
    sub.add_argument("--repeats", type=int, default=10, help="of the cross-validation, with other folds each time")
    sub.add_argument("--seed", type=int, default=0, help="of the folds")

    sub = command("probe", probe_command)
    options.add(sub, *options.RECIPE, "--workers")
    sub.add_argument("--counts", type=int, nargs="*", default=list(COUNTS), help="of training ratings, before all")
    sub.add_argument("--draws", type=int, default=5, help="of so many ratings")
    sub.add_argument("--seed", type=int, default=0, help="of the draws")
