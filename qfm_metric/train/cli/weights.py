"""Commands on a weights file: fold, evaluate, severity and other checks, gate, golden, export, publish."""

import argparse
import json
from pathlib import Path

import numpy as np

from ...card import model_card
from ...weights import manifest_path, read_manifest
from .. import defects_check, evaluate, reference_check, release, severity_check, travel
from ..left_out import left_out
from . import options
from .options import Command, say


def fold(args: argparse.Namespace) -> None:
    """Fold BatchNorm into the convolutions, the form that is released; prints by how much scores moved at most."""
    print(args.out, f"{release.fold_weights(args.weights, args.out):.1e}", sep="\t")


def evaluate_command(args: argparse.Namespace) -> None:
    """Score one part of a table with a weights file and print all figures as JSON."""
    found = evaluate.evaluate(args.table, args.split, args.weights, args.guarded, say)
    print(json.dumps(found.figures, indent=2))
    if args.scores:
        np.savetxt(args.scores, found.scores, fmt="%.6f")
    if args.plot:
        evaluate.scatter(found.scores, found.rows, args.plot)


def severity(args: argparse.Namespace) -> None:
    """Distort clean held-out photographs as KADID-10k and TID2013 did; does the mean score fall as people's did?"""
    names = ("pictures", "split", "floor_mos", "seed", "workers", "out")
    known = {name: getattr(args, name) for name in names}
    print(json.dumps(severity_check.check(args.table, args.data, args.weights, **known, say=say), indent=2))


def defects(args: argparse.Namespace) -> None:
    """Distort clean held-out photographs; is what was done named, what does it cost, and how sure is that?"""
    names = ("pictures", "only", "seed", "workers")
    known = {name: getattr(args, name) for name in names}
    found = defects_check.check(args.table, args.data, args.weights, **known, say=say)
    print(json.dumps({name: value for name, value in found.items() if name not in ("types", "confusion")}, indent=2))
    print(defects_check.markdown(found), end="")


def reference_check_command(args: argparse.Namespace) -> None:
    """Distort clean held-out photographs and compare with them; do answers fall as people's did? Beside PSNR, SSIM."""
    names = ("pictures", "cells", "backbone", "folds", "steps", "seed", "workers", "esrgan")
    known = {name: getattr(args, name) for name in names}
    print(json.dumps(reference_check.check(args.table, args.data, args.weights, **known, say=say), indent=2))


def travel_command(args: argparse.Namespace) -> None:
    """Does the score travel? One table of sets, distortions, large pictures and invariances; nothing is fitted."""
    if args.recipe:
        table = _left_out(args)
    else:
        names = ("severity", "large", "large_rows", "generated", "sharp", "pictures", "workers")
        given = {name: getattr(args, name) for name in names}
        table = travel.travel(args.weights_file, args.data, **given, say=say)
    if not table.figures:  # under torchrun the first process has them
        return
    print(table.markdown(), end="")
    if args.out:
        travel.write(table, args.out)


def _left_out(args: argparse.Namespace) -> travel.Table:
    for name in ("severity", "ladders", "out"):
        if getattr(args, name) is None:
            raise ValueError(f"--recipe: expected --{name}, too")
    names = ("severity", "ladders", "members", "folds", "pictures", "workers")
    named = {name: getattr(args, name) for name in names}
    return travel.Table(args.recipe, left_out(options.recipe(args), args.data, args.out, **named, say=say))


def gate(args: argparse.Namespace) -> None:
    """Score BIQ2021's official test part and large pictures; fail if weights fall below what they claim."""
    least = {name: getattr(args, name) for name in ("srcc", "plcc", "within")}
    found = evaluate.gate(args.folder, args.weights, least)
    if args.large:
        found["large"] = travel.gate_large(args.large, args.weights, args.large_srcc)
    print(", ".join(f"{name} {value:.4f}" for name, value in found.items()))


def golden(args: argparse.Namespace) -> None:
    """Record what every stage of the network answers to one picture, for the tests to compare with."""
    release.write_golden(args.image, args.weights, args.out)


def export(args: argparse.Namespace) -> None:
    """Make the manifest's entry of a weights file from what `evaluate` printed, and its model card."""
    found = {name: json.loads(Path(path).read_text()) for name, _, path in (x.partition("=") for x in args.figures)}
    entry = release.manifest_entry(args.weights, found, args.like)
    print(json.dumps({args.weights.stem: entry}, indent=2))
    if args.card:
        args.card.write_text(model_card(args.weights.stem, entry), encoding="utf-8")


def publish(args: argparse.Namespace) -> None:
    """Put released weights on the Hub, and the commit that holds them into the manifest."""
    print(release.publish(args.repo_id, args.id, args.manifest, args.file, args.private, args.dry_run))


def add_commands(command: Command) -> None:
    """Add them, with their options."""
    shipped = read_manifest()["default"]
    sub = command("fold", fold)
    options.add(sub, "--weights")
    options.add_output(sub, "--out", "weights", required=True, help=".safetensors file to write")

    sub = command("evaluate", evaluate_command)
    sub.add_argument("table", type=Path, help="CSV image,mos,... as `prepare` writes it (all.csv)")
    sub.add_argument("--split", default="val", help="train, val or test")
    options.add(sub, "--weights")
    sub.add_argument("--guarded", metavar="ROBUST", help="of a GuardedScore with these robust weights")
    options.add_output(sub, "--scores", "scores", help="also write the scores, one a line")
    options.add_output(sub, "--plot", "plot", help="also draw scores against MOS (.png, .svg, .pdf)")

    sub = command("severity", severity)
    sub.add_argument("table", type=Path, help="CSV data_set,type,name,level,mean_score,scale: human means")
    options.add(sub, "--data", "--weights", "--workers")
    sub.add_argument("--pictures", type=int, default=12, help="clean photographs to distort")
    sub.add_argument("--split", default="val", help="the part they are from")
    sub.add_argument(
        "--floor-mos", type=float, default=severity_check.CLEAN_MOS, help="a photograph this good is clean"
    )
    sub.add_argument("--seed", type=int, default=0, help="of the choice of photographs")
    sub.add_argument("--out", type=Path, help="folder for levels.csv, severity.md and severity.png")
    options.writes_into_folder(sub, levels="levels.csv", severity="severity.md", drawn="severity.png")

    sub = command("defects", defects)
    sub.add_argument("table", type=Path, help="CSV of human means per type and level")
    options.add(sub, "--data", "--weights", "--workers")
    sub.add_argument("--pictures", type=int, default=12, help="clean photographs to distort")
    sub.add_argument("--only", nargs="+", default=(), metavar="TYPE", help="such as KADID-10k/10; default: all types")
    sub.add_argument("--seed", type=int, default=0, help="of the choice of photographs and pairs")

    sub = command("reference-check", reference_check_command)
    sub.add_argument("table", type=Path, help="CSV of human means per type and level")
    options.add(sub, "--data", "--weights", "--workers")
    sub.add_argument("--pictures", type=int, default=6, help="clean photographs to distort")
    sub.add_argument("--cells", type=Path, help="what `cells` wrote: also fit heads without each fold of the types")
    options.add(sub, "--backbone")
    sub.add_argument("--folds", type=int, default=7, help="of the types")
    sub.add_argument("--steps", type=int, default=500, help="of each of those fits")
    sub.add_argument("--seed", type=int, default=0, help="of the choice of photographs, and of the fits")
    sub.add_argument("--esrgan", action="store_true", help="also compare with what Real-ESRGAN makes up; needs ncnn")

    sub = command("travel", travel_command)
    sub.add_argument("weights_file", metavar="WEIGHTS", nargs="?", help="id or .safetensors file; default: the shipped")
    options.add(sub, "--data", "--severity", "--workers")
    sub.add_argument("--large", type=Path, help="folder with scores.csv (image,mos,source,height) and images/")
    sub.add_argument("--large-rows", type=int, default=travel.ROWS, help="to which people saw them enlarged")
    sub.add_argument("--generated", type=Path, help="all.csv of `prepare agiqa3k`; its test part is left alone")
    sub.add_argument("--sharp", type=Path, help="folder of sharp photographs of 5 megapixels and more")
    sub.add_argument("--pictures", type=int, default=12, help="clean photographs that are distorted")
    sub.add_argument("--out", type=Path, help="folder for travel.json, travel.md and travel.png, or for the runs")
    options.writes_into_folder(sub, figures="travel.json", travel="travel.md", drawn="travel.png")
    sub.add_argument("--recipe", help="instead of a file: train this recipe without each source and each fold of types")
    options.add(sub, "--set", "--init", "--ladders", "--members")
    sub.add_argument("--folds", type=int, default=7, help="of the types; 0: leave out sources alone")

    sub = command("gate", gate)
    sub.add_argument("folder", type=Path, help="with scores.csv (image,mos,subset,duplicate_in_train) and images/")
    options.add(sub, "--weights")
    for name in ("srcc", "plcc", "within"):
        sub.add_argument(f"--{name}", type=float, default=0.0, help="the least that passes")
    sub.add_argument("--large", type=Path, help="folder of large pictures with scores, to measure, too")
    sub.add_argument("--large-srcc", type=float, default=0.0, help="the least that passes")

    sub = command("golden", golden)
    sub.add_argument("image", type=Path)
    options.add(sub, "--weights")
    options.add_output(sub, "--out", "weights", required=True, help=".safetensors file to write")

    sub = command("export", export)
    sub.add_argument("weights", type=Path, help=".safetensors file that `student` wrote; its name is the id")
    sub.add_argument("--figures", nargs="+", default=[], metavar="NAME=FILE", help="JSON of `evaluate`, by part")
    sub.add_argument("--like", default=shipped, help="id whose licence and training data are the same")
    options.add_output(sub, "--card", "card", help="also write the model card")

    sub = command("publish", publish)
    sub.add_argument("--repo-id", required=True, help="org/name; made if it does not exist")
    sub.add_argument("--id", default=shipped, help="of the manifest")
    sub.add_argument("--manifest", type=Path, default=manifest_path(), help="file to read and to change")
    sub.add_argument("--file", type=Path, help="weights file, if the package does not hold it")
    sub.add_argument("--private", action="store_true", help="make the repository private")
    sub.add_argument("--dry-run", action="store_true", help="show what would be published; needs no network")
