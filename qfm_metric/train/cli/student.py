"""Commands from a data set to a weights file: prepare, cache, teacher, label, student, calibrate."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from ...model import QFMNet
from ...score import QFMScore
from .. import calibrate as export
from .. import datasets as readers
from .. import evaluate, loop, material, recipe, teacher
from .. import start as init
from .. import step as objective
from ..datasets import table as data

Command = Callable[[str, Callable[[argparse.Namespace], None]], argparse.ArgumentParser]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def prepare(args: argparse.Namespace) -> None:
    """Read a data set in its official layout, split it by groups, decode the pictures once."""
    rows = readers.READERS[args.data_set](args.root)
    rows = data.regroup(rows, args.groups) if args.groups else rows
    rows = data.split_by_group(rows, args.val_share, args.seed, args.test_share)
    data.write_table(rows, args.out / "all.csv")
    # What the scores were before they became an MOS in [0, 1].
    scale = {"data_set": args.data_set, **asdict(readers.SCALES[args.data_set])}
    (args.out / "scale.json").write_text(json.dumps(scale, indent=2) + "\n")
    # The test part is not decoded: nothing that trains can look at it.
    for failure in data.decode([row for row in rows if row.split != "test"], args.out / "decoded", args.side):
        say(f"left out: {failure}")


def cache(args: argparse.Namespace) -> None:
    """Draw a recipe's material and run the frozen early layers on it, once for all runs."""
    torch.set_num_threads(args.threads)
    found, decoded = _recipe(args), data.Decoded.open(args.data / "decoded")
    _gather(args, found, _build(found), decoded)


def teacher_command(args: argparse.Namespace) -> None:
    """Cross-fit a kernel teacher on frozen features (a recipe that freezes every block); write its pseudo-labels."""
    torch.set_num_threads(args.threads)
    found, decoded = _recipe(args), data.Decoded.open(args.data / "decoded")
    drawn = _gather(args, found, _build(found), decoded)
    whole, val = drawn.photos[0], drawn.validation_indices
    groups = [decoded.rows[i].group for i in whole.source]
    features = teacher.summarize(whole.views), teacher.summarize(drawn.validation)
    scores = np.full(len(decoded.rows), np.nan, np.float32)
    scores[whole.source], scores[val] = teacher.cross_fit(
        features[0], decoded.mos[whole.source], groups, features[1], args.folds
    )
    teacher.write_member(decoded, scores, args.out)
    for name, part in (("train, cross-fitted", whole.source), ("validation", val)):
        say(f"{name}: {evaluate.brief(scores[part], [decoded.rows[i] for i in part])}")


def label(args: argparse.Namespace) -> None:
    """Score all decoded pictures with a trained network, as a teacher's member; write its pseudo-labels."""
    torch.set_num_threads(args.threads)
    decoded = data.Decoded.open(args.data / "decoded")
    scores, _ = evaluate.score_images(QFMScore.from_pretrained(args.weights), map(material.to_tensor, decoded.pixels))
    teacher.write_member(decoded, scores, args.out)


def student(args: argparse.Namespace) -> None:
    """Train behind the frozen layers (after `cache`), fit the calibration on validation, export the weights."""
    device = torch.device(args.device)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo" if device.type == "cpu" else "nccl")
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
    torch.set_num_threads(args.threads)
    found, decoded = _recipe(args), data.Decoded.open(args.data / "decoded")
    net = _build(found)
    frozen = found.training.frozen
    drawn = _gather(args, found, net, decoded)
    net.to(device)
    labels = teacher.read_labels(decoded, args.members)
    # Before hours of training: members may be refused.
    growth = teacher.error_growth(decoded, args.members) if found.network.uncertainty else 1.0
    if args.weights:
        init.start_from(net, args.weights, frozen)
    else:
        loop.measure_statistics(net, frozen, drawn.photos[0].views)
    args.out.mkdir(parents=True, exist_ok=True)
    net = loop.train(net, frozen, drawn, decoded, labels, found.objective, found.loop, args.out, say)
    predicted = objective.predict_cached(net, frozen, drawn.validation)  # by all ranks together
    if not dist.is_initialized() or dist.get_rank() == 0:
        mos = decoded.mos[drawn.validation_indices]
        scores = export.calibrate(net, predicted[0], mos)
        if found.network.uncertainty:
            export.calibrate_std(net, scores, predicted[1], mos, growth)
        path = args.out / f"{args.id}.safetensors"
        net.cpu()
        print(f"{path}  sha256 {export.export(net, path)}")
    if dist.is_initialized():
        dist.destroy_process_group()


def calibrate_command(args: argparse.Namespace) -> None:
    """Fit a weights file's calibration and deviations to MOS of decoded pictures; no order changes. Writes a file."""
    torch.set_num_threads(args.threads)
    decoded = data.Decoded.open(args.data / "decoded")
    metric = QFMScore.from_pretrained(args.weights)
    if args.keep_scores and not metric.net.config.uncertainty:
        raise ValueError(
            "--keep-scores: expected weights that predict a deviation, these do not; nothing is left to fit"
        )
    growth = teacher.error_growth(decoded, args.members) if metric.net.config.uncertainty else 1.0
    chosen = decoded.select(args.split)
    mos = decoded.mos[chosen]
    scores, stds = evaluate.score_images(metric, (material.to_tensor(decoded.pixels[i]) for i in chosen))
    if not args.keep_scores:
        scores = export.calibrate(metric.net, scores, mos)
    if stds is not None:
        export.calibrate_std(metric.net, scores, stds, mos, growth)
    print(f"{args.out}  sha256 {export.export(metric.net, args.out)}")


def _recipe(args: argparse.Namespace) -> recipe.Recipe:
    found = recipe.read_recipe(args.recipe, args.set)
    return replace(found, training=replace(found.training, init=args.init)) if args.init else found


def _build(found: recipe.Recipe) -> QFMNet:
    torch.manual_seed(found.loop.seed)  # `cache` and `student` start from the same network, without ImageNet's too
    return init.build(found.network, found.training.init).eval()


def _gather(args: argparse.Namespace, found: recipe.Recipe, net: QFMNet, decoded: data.Decoded) -> material.Material:
    workers, openvino = getattr(args, "workers", 0), getattr(args, "openvino", False)
    return recipe.gather(found, net, decoded, args.data, args.severity, workers, openvino)


def add_commands(command: Command) -> None:
    """Add them, with their options."""
    sub = command("prepare", prepare)
    sub.add_argument("data_set", choices=sorted(readers.READERS), help="whose layout; `table` is a CSV file image,mos")
    sub.add_argument("root", type=Path, help="folder of the data set as published (`table`: the file)")
    sub.add_argument("--out", type=Path, required=True, help="folder for the table and the decoded pictures (8 GB)")
    sub.add_argument("--groups", type=Path, help="CSV image,dup_group: near-duplicates, which are never split apart")
    sub.add_argument("--val-share", type=float, default=0.15, help="share for validation, if no part is for that yet")
    sub.add_argument("--test-share", type=float, default=0.2, help="share for testing, if the set has no parts at all")
    sub.add_argument("--seed", type=int, default=0, help="of the splits")
    sub.add_argument("--side", type=int, default=512, help="decoded pictures are squares of this side, px")

    sub = command("cache", cache)
    _add_recipe_options(sub)
    _add_caching_options(sub)

    sub = command("teacher", teacher_command)
    _add_recipe_options(sub)
    _add_caching_options(sub)
    sub.add_argument("--out", type=Path, required=True, help="CSV of pseudo-labels, image,score")
    sub.add_argument("--folds", type=int, default=5, help="of the cross-fit")

    sub = command("label", label)
    sub.add_argument("--data", type=Path, required=True, help="what `prepare` wrote")
    sub.add_argument("--weights", help="id or .safetensors file; default: the shipped weights")
    sub.add_argument("--out", type=Path, required=True, help="CSV of pseudo-labels, image,score")

    sub = command("student", student)
    _add_recipe_options(sub)
    _add_members_option(sub)
    sub.add_argument("--out", type=Path, required=True, help="folder for checkpoints, logs and the weights")
    sub.add_argument("--weights", help="go on from released weights (id or file) of the same shape")
    sub.add_argument("--id", default="student", help="name of the weights file")
    sub.add_argument("--device", default="cpu", help="cpu, or cuda (under torchrun one GPU a process)")

    sub = command("calibrate", calibrate_command)
    sub.add_argument("--data", type=Path, required=True, help="what `prepare` wrote")
    sub.add_argument("--split", default="val", help="the part whose MOS are fitted")
    sub.add_argument("--keep-scores", action="store_true", help="fit the predicted deviations alone")
    _add_members_option(sub)
    sub.add_argument("--weights", help="id or .safetensors file; default: the shipped weights")
    sub.add_argument("--out", type=Path, required=True, help=".safetensors file to write")


def _add_recipe_options(sub: argparse.ArgumentParser) -> None:
    """What `cache`, `teacher` and `student` must be told alike."""
    sub.add_argument("recipe", help="a shipped recipe (released, head, robust, teacher, quick, paper) or a TOML file")
    sub.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe")
    sub.add_argument("--data", type=Path, required=True, help="what `prepare` wrote; cached views are added to it")
    sub.add_argument("--init", help="of the backbone: a safetensors file, an id, `timm` (its download) or `none`")
    sub.add_argument("--severity", type=Path, help="CSV of human means per distortion and level; without it, no series")


def _add_members_option(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--members", type=Path, nargs="*", default=[], help="the teacher: CSV files of pseudo-labels")


def _add_caching_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--workers", type=int, default=2, help="processes")
    sub.add_argument("--openvino", action="store_true", help="run the frozen layers with OpenVINO, about twice as fast")
