"""Commands from a data set to a weights file: prepare, ladders, cells, teacher, label, pretrain, student and others."""

import argparse
import os
from pathlib import Path

from ...score import QFMScore
from .. import datasets
from ..average import average
from ..calibrate import calibrate_weights
from ..material import Material, ladders
from ..material.stored import store
from ..pretrain import pretrain
from ..student import train_student
from ..teacher import label, train_teacher
from . import options
from .options import Command, print_weights, say


def prepare(args: argparse.Namespace) -> None:
    """Read a data set in its official layout, split it by groups, decode the pictures once."""
    shares = {"val_share": args.val_share, "test_share": args.test_share, "seed": args.seed}
    known = {name: getattr(args, name) for name in ("groups", "parts", "side", "workers")}
    for failure in datasets.prepare(args.data_set, args.root, args.out, **known, **shares):
        say(f"left out: {failure}")


def ladders_command(args: argparse.Namespace) -> None:
    """Render series of the distortions of KADID-10k and TID2013, once for all runs; goes on where it was stopped."""
    known = {name: getattr(args, name) for name in ("workers", "count")}
    ladders.render(args.data, args.severity, args.out, args.series, args.seed, **known, say=say)


def cells_command(args: argparse.Namespace) -> None:
    """Draw batches and keep what a backbone makes of them, for a head that learns behind it; can be stopped."""
    material = Material.open(args.data, args.severity, args.ladders, (), options.recipe(args).material)
    net = QFMScore.from_pretrained(args.weights).net
    store(net, material, args.out, args.count, args.seed, args.workers, say)


def teacher(args: argparse.Namespace) -> None:
    """Cross-fit a kernel teacher on what a recipe's backbone sees of whole pictures; write its pseudo-labels."""
    train_teacher(options.recipe(args), args.data, args.out, folds=args.folds, workers=args.workers, say=say)


def label_command(args: argparse.Namespace) -> None:
    """Score all decoded pictures with a trained network, as a teacher's member; write its pseudo-labels."""
    label(args.weights, args.data, args.out)


def pretrain_command(args: argparse.Namespace) -> None:
    """Pretrain a backbone by supervised contrast of the ladders; writes weights that `student` starts from."""
    known = {name: getattr(args, name) for name in ("severity", "ladders", "name", "device")}
    _print_written(pretrain(options.recipe(args), args.data, args.out, **known, say=say))


def student(args: argparse.Namespace) -> None:
    """Train, fit the calibration on validation, export the weights."""
    names = ("severity", "ladders", "cells", "members", "weights", "name", "device")
    known = {name: getattr(args, name) for name in names}
    _print_written(train_student(options.recipe(args), args.data, args.out, **known, say=say))


def _print_written(path: Path) -> None:
    if os.environ.get("RANK", "0") == "0":  # of torchrun's processes the one that wrote the file
        print_weights(path)


def average_command(args: argparse.Namespace) -> None:
    """Write the mean of weights that began as one network; calibrate it afterwards."""
    average(args.sources, args.out, args.shares)
    print_weights(args.out)


def calibrate(args: argparse.Namespace) -> None:
    """Fit a weights file's calibration and deviations to what people said; no order changes. Writes a file."""
    names = ("split", "members", "keep_scores", "severity", "workers")
    calibrate_weights(args.weights, args.data, args.out, **{name: getattr(args, name) for name in names})
    print_weights(args.out)


def add_commands(command: Command) -> None:
    """Add them, with their options."""
    sub = command("prepare", prepare)
    sub.add_argument("data_set", choices=sorted(datasets.DATA_SETS), help="`table` is a CSV file image,mos")
    sub.add_argument("root", type=Path, help="folder of the data set as published (`table`: the file)")
    sub.add_argument("--out", type=Path, required=True, help="folder for the table and the decoded pictures (8 GB)")
    options.writes_into_folder(sub, table="all.csv", scale="scale.json")
    sub.add_argument("--groups", type=Path, help="CSV image,dup_group: near-duplicates, which are never split apart")
    sub.add_argument("--parts", type=Path, help="CSV image,part: train, val or test of each picture, by file name")
    sub.add_argument("--val-share", type=float, default=0.15, help="share for validation, if no part is for that yet")
    sub.add_argument("--test-share", type=float, default=0.2, help="share for testing, if the set has no parts at all")
    sub.add_argument("--seed", type=int, default=0, help="of the splits")
    sub.add_argument("--side", type=int, default=512, help="decoded pictures are squares of this side, px")
    options.add(sub, "--workers")

    sub = command("ladders", ladders_command)
    sub.add_argument("--data", type=Path, required=True, help="what `prepare` wrote")
    sub.add_argument("--severity", type=Path, required=True, help="CSV of human means per type and level")
    sub.add_argument("--out", type=Path, required=True, help="folder for the pictures, 1.8 MB a series")
    sub.add_argument("--series", type=int, default=4410, help="of one type each; an eighth as many are of two")
    sub.add_argument("--seed", type=int, default=0, help="of every draw")
    sub.add_argument("--count", type=int, help="stop when so many are rendered; default: all")
    options.add(sub, "--workers")

    sub = command("cells", cells_command)
    options.add(sub, *options.RECIPE, "--severity", "--ladders", "--weights", "--workers")
    sub.add_argument("--count", type=int, default=4000, help="batches")
    sub.add_argument("--seed", type=int, default=0, help="of every draw")
    sub.add_argument("--out", type=Path, required=True, help="folder for the cells, about 4 MB a batch")

    sub = command("teacher", teacher)
    options.add(sub, *options.RECIPE, "--workers")
    options.add_output(sub, "--out", "labels", required=True, help="CSV of pseudo-labels, image,score")
    sub.add_argument("--folds", type=int, default=5, help="of the cross-fit")

    sub = command("label", label_command)
    options.add(sub, "--data", "--weights")
    options.add_output(sub, "--out", "labels", required=True, help="CSV of pseudo-labels, image,score")

    sub = command("pretrain", pretrain_command)
    options.add(sub, *options.RECIPE)
    sub.add_argument("--severity", type=Path, required=True, help="CSV of human means per type and level")
    sub.add_argument("--ladders", type=Path, required=True, help="what `ladders` wrote")
    sub.add_argument("--out", type=Path, required=True, help="folder for checkpoints, logs and the weights")
    options.writes_into_folder(sub, weights="{name}.safetensors")
    sub.add_argument("--id", dest="name", default="pretrained", help="name of the weights file")
    sub.add_argument("--device", default="cpu", help="cpu, or cuda (under torchrun one GPU a process)")

    sub = command("student", student)
    options.add(sub, *options.RECIPE, "--severity", "--ladders", "--members")
    sub.add_argument("--out", type=Path, required=True, help="folder for checkpoints, logs and the weights")
    options.writes_into_folder(sub, weights="{name}.safetensors")
    sub.add_argument("--weights", help="go on from released weights (id or file) of the same shape")
    sub.add_argument("--cells", type=Path, help="what `cells` wrote, in the place of pictures, for a head alone")
    sub.add_argument("--id", dest="name", default="student", help="name of the weights file")
    sub.add_argument("--device", default="cpu", help="cpu, or cuda (under torchrun one GPU a process)")

    sub = command("average", average_command)
    sub.add_argument("sources", nargs="+", metavar="WEIGHTS", help="ids or .safetensors files of one shape")
    sub.add_argument("--shares", type=float, nargs="+", help="of each; default: alike")
    options.add_output(sub, "--out", "weights", required=True, help=".safetensors file to write")

    sub = command("calibrate", calibrate)
    options.add(sub, "--data", "--members", "--weights", "--workers")
    sub.add_argument("--severity", type=Path, help="CSV of human means: fit the deviations of the named defects, too")
    sub.add_argument("--split", default="val", help="the part whose MOS are fitted")
    sub.add_argument("--keep-scores", action="store_true", help="fit the predicted deviations alone")
    options.add_output(sub, "--out", "weights", required=True, help=".safetensors file to write")
