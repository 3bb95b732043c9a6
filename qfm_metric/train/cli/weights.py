"""Commands on a weights file: evaluate, severity, gate, golden, export, publish."""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from ...card import model_card
from ...guard import GuardedScore
from ...images import load_image
from ...score import QFMScore
from ...weights import read_manifest
from .. import calibrate as export
from .. import evaluate, severity, severity_check, uncertainty
from .. import release as publish
from ..datasets import authentic as readers_authentic
from ..datasets import table as data
from .student import Command, say


def evaluate_command(args: argparse.Namespace) -> None:
    """Score one part of a table with a weights file and print all figures as JSON."""
    rows = data.read_table(args.table)
    part = [row for row in rows if row.split == args.split]
    if not part:
        raise data.DataError(f"{args.table}: no rows with split {args.split!r}")
    torch.set_num_threads(args.threads)
    metric = QFMScore.from_pretrained(args.weights)
    result: dict[str, Any] = {"weights": metric.weights_id, "sha256": metric.weights_sha256}
    if args.guarded:
        guard = GuardedScore(metric, QFMScore.from_pretrained(args.guarded))
        with torch.inference_mode():
            scores, stds = np.array([guard(load_image(row.image)).item() for row in part]), None
        result |= {"guarded by": guard.robust.weights_id, "margin": guard.margin}
    else:
        scores, stds = evaluate.score_rows(
            metric, part, lambda done: say(f"{done}/{len(part)}") if done % 200 == 0 else None
        )
    # Groups are never split between training and validation; only an official test part may share some with them.
    seen = {row.group for row in rows if row.split in ("train", "val")} if args.split == "test" else set()
    result |= {"split": args.split} | evaluate.figures(scores, part, seen)
    if stds is not None:
        result["uncertainty"] = uncertainty.figures(scores, stds, np.array([row.mos for row in part]))
    print(json.dumps(result, indent=2, default=lambda x: round(float(x), 4)))
    if args.scores:
        np.savetxt(args.scores, scores, fmt="%.6f")
    if args.plot:
        evaluate.scatter(scores, np.array([row.mos for row in part]), [row.subset for row in part], args.plot)


def severity_command(args: argparse.Namespace) -> None:
    """Distort clean held-out photographs as KADID-10k and TID2013 did; does the mean score fall as people's did?"""
    table = severity.read_severity(args.table)
    decoded = data.Decoded.open(args.data / "decoded")
    pictures = severity_check.clean_pictures(decoded, args.split, args.floor_mos, args.pictures, args.seed)
    metric = QFMScore.from_pretrained(args.weights)
    torch.set_num_threads(args.threads)
    score = partial(severity_check.score_image, metric)
    scores = severity_check.score_levels(
        score, pictures, table, args.workers, lambda done: say(f"{done}/{len(pictures)}")
    )
    result = {"weights": metric.weights_id, "sha256": metric.weights_sha256, "pictures": len(pictures)}
    print(json.dumps(result | severity_check.figures(scores, table), indent=2))
    if args.out:
        severity_check.write(scores, table, args.out)


def gate(args: argparse.Namespace) -> None:
    """Score BIQ2021's official test part and fail if the shipped weights fall below what they claim."""
    rows, seen = readers_authentic.read_biq2021_test(args.folder)
    scores, _ = evaluate.score_rows(QFMScore.from_pretrained(args.weights), rows)
    result = evaluate.figures(scores, rows, seen)
    found = {"srcc": result["all"]["srcc"], "plcc": result["all"]["plcc"], "within": result["within_srcc"]}
    print(", ".join(f"{name} {value:.4f}" for name, value in found.items()))
    low = [
        f"{name} {value:.4f} < {getattr(args, name)}" for name, value in found.items() if value < getattr(args, name)
    ]
    if low:
        raise ValueError(f"below the gate: {', '.join(low)}")


def golden(args: argparse.Namespace) -> None:
    """Record what every stage of the network answers to one picture, for the tests to compare with."""
    metric = QFMScore.from_pretrained(args.weights)
    save_file(export.golden_stages(metric.net, load_image(args.image)), args.out)
    args.out.chmod(0o644)


def export_command(args: argparse.Namespace) -> None:
    """Make the manifest's entry of a weights file from what `evaluate` printed, and its model card."""
    known = read_manifest()["weights"]
    if args.like not in known:
        raise ValueError(f"{args.like}: expected an id of the manifest, one of {', '.join(known)}")
    found = {name: json.loads(Path(path).read_text()) for name, _, path in (x.partition("=") for x in args.figures)}
    commands = "python -m qfm_metric.train evaluate DATA/all.csv --split test --weights " + args.weights.stem
    entry = export.manifest_entry(args.weights, found, commands, known[args.like])
    print(json.dumps({args.weights.stem: entry}, indent=2))
    if args.card:
        args.card.write_text(model_card(args.weights.stem, entry), encoding="utf-8")


def publish_command(args: argparse.Namespace) -> None:
    """Put released weights on the Hub, and the commit that holds them into the manifest."""
    print(publish.publish(args.repo_id, args.id, args.manifest, args.file, args.private, args.dry_run))


def add_commands(command: Command) -> None:
    """Add them, with their options."""
    sub = command("evaluate", evaluate_command)
    sub.add_argument("table", type=Path, help="CSV image,mos,... as `prepare` writes it (all.csv)")
    sub.add_argument("--split", default="val", help="train, val or test")
    sub.add_argument("--weights", help="id or .safetensors file; default: the shipped weights")
    sub.add_argument("--guarded", metavar="ROBUST", help="of a GuardedScore with these robust weights")
    sub.add_argument("--scores", type=Path, help="also write the scores, one a line")
    sub.add_argument("--plot", type=Path, help="also draw scores against MOS (.png, .svg, .pdf)")

    sub = command("severity", severity_command)
    sub.add_argument(
        "table", type=Path, help="CSV data_set,type,name,level,mean_score,scale: human means per type and level"
    )
    sub.add_argument("--data", type=Path, required=True, help="what `prepare` wrote")
    sub.add_argument("--weights", help="id or .safetensors file; default: the shipped weights")
    sub.add_argument("--pictures", type=int, default=12, help="clean photographs to distort")
    sub.add_argument("--split", default="val", help="the part they are from")
    sub.add_argument("--floor-mos", type=float, default=0.75, help="a photograph this good is clean")
    sub.add_argument("--seed", type=int, default=0, help="of the choice of photographs")
    sub.add_argument("--workers", type=int, default=2, help="processes")
    sub.add_argument("--out", type=Path, help="folder for levels.csv, severity.md and severity.png")

    sub = command("gate", gate)
    sub.add_argument(
        "folder", type=Path, help="folder with scores.csv (image,mos,subset,duplicate_in_train) and images/"
    )
    sub.add_argument("--weights", help="id or .safetensors file; default: the shipped weights")
    for name in ("srcc", "plcc", "within"):
        sub.add_argument(f"--{name}", type=float, default=0.0, help="the least that passes")

    sub = command("golden", golden)
    sub.add_argument("image", type=Path)
    sub.add_argument("--weights", help="id or .safetensors file; default: the shipped weights")
    sub.add_argument("--out", type=Path, required=True)

    sub = command("export", export_command)
    sub.add_argument("weights", type=Path, help=".safetensors file that `student` wrote; its name is the id")
    sub.add_argument("--figures", nargs="+", default=[], metavar="NAME=FILE", help="JSON of `evaluate`, by part")
    sub.add_argument(
        "--like", default=read_manifest()["default"], help="id whose licence and training data are the same"
    )
    sub.add_argument("--card", type=Path, help="also write the model card")

    publish.add_options(command("publish", publish_command))
