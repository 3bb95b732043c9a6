"""What QFM does as a term of a restoration loss: remove blur and noise with L1, and with QFM's term beside it.

    python examples/restoration_loss.py                              # scikit-image's photographs, minutes on a CPU
    python examples/restoration_loss.py --images photos/ --config examples/restoration_gpu.toml

A small network learns with L1 alone first; from there each loss goes on for the last steps, with the same weights, the
same crops in the same order and the same number of steps. Written below `--out`: a network and a JSON file per run,
`results.json`, a table (`--report`) and a figure (`--picture`). A run that is finished is not repeated, so that more
weights or seeds can be added, and an interrupted command goes on where it was.

The term is 1 - QFM, or `QFMLoss` with jitter and the true pictures' scores as targets, at several weights each. With
`--guarded-weights` it runs with a `GuardedScore`, too; with `--perceptual` a distance of deep features runs beside:
LPIPS, or one without LPIPS's learned weights.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from restoration_judges import draw, gain_over, put_table, write_table
from restoration_training import Experiment, Restorer

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHOWN = 4  # rows of the figure
MOST_LOST = 0.3  # dB of PSNR that a recommended weight may cost


def run_all(experiment: Experiment, args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Label to runs: every weight with the first seed; L1, its peer and the recommended term with all."""
    losses = {"L1": ("", 0.0)}
    if args.perceptual:
        losses["L1 + perceptual"] = ("perceptual", args.perceptual_weight)
    losses |= {score_label(weight): ("QFM", weight) for weight in sorted(args.weights)}
    asked = sorted({*args.loss_weights, args.recommended})
    losses |= {loss_label(weight): ("QFMLoss", weight) for weight in asked}
    losses |= {guarded_label(weight): ("guarded", weight) for weight in sorted(args.guarded_weights)}
    everywhere = {loss_label(args.recommended), guarded_label(args.recommended)}
    groups: dict[str, list[dict[str, Any]]] = {
        label: [{"pictures": experiment.judge_all(pictures)}]
        for label, pictures in (("clean", experiment.clean), ("degraded", experiment.degraded))
    }
    for i, seed in enumerate(args.seeds):
        for label, (kind, weight) in losses.items():
            if i == 0 or kind in ("", "perceptual") or label in everywhere:
                groups.setdefault(label, []).append(experiment.run(kind, weight, seed))
    return groups


def score_label(weight: float) -> str:
    return f"L1 + {weight:g} (1 - QFM)"


def loss_label(weight: float) -> str:
    return f"L1 + {weight:g} QFMLoss"


def guarded_label(weight: float) -> str:
    return f"L1 + {weight:g} QFMLoss, guarded"


def verdict(groups: Mapping[str, Sequence[Mapping[str, Any]]], recommended: float, judges: Sequence[str]) -> str:
    """Whether the recommended weight does what it should: independent metrics better, PSNR nearly the same."""
    runs, base = groups[loss_label(recommended)], groups["L1"]
    lost = -gain_over(runs, base, "PSNR")[0]
    parts = [f"PSNR loses {lost:.2f} dB ({'at most' if lost <= MOST_LOST else 'more than'} {MOST_LOST})"]
    for name in judges:
        gain, low, high = gain_over(runs, base, name)
        word = "unclear for" if low <= 0 <= high else "better for" if gain < 0 else "worse for"
        parts.append(f"{word} {name} ({gain:+.2f})")
    return f"With {recommended:g} QFMLoss, beside L1: {'; '.join(parts)}."


def write_report(groups: dict[str, list[dict[str, Any]]], experiment: Experiment, args: argparse.Namespace) -> None:
    parameters = sum(value.numel() for value in Restorer(args.width, args.depth).parameters())
    setting = (
        f"Means over {len(experiment.clean)} held-out pictures (their middle {args.view} px). {parameters / 1e6:.2f} M "
        f"parameters, {len(experiment.train_pictures)} pictures, {args.batch} crops of {args.crop} px a step, "
        f"{args.steps} steps, of which {args.warmup} with L1 alone. {experiment.metric.signature}."
    )
    ratio = f"The gradient of 1 - QFM is {experiment.gradient_ratio():.3g} times L1's where the losses part."
    notes = [verdict(groups, args.recommended, list(experiment.judges)), ratio, setting]
    if args.perceptual:
        source = args.perceptual if args.perceptual == "lpips" else "EfficientNet-Lite0 features, ImageNet"
        notes.append(f"Perceptual: {source}, weight {args.perceptual_weight:g}.")
    table = write_table(groups, list(experiment.judges), notes)
    (args.out / "results.json").write_text(json.dumps({"notes": notes, "losses": groups}, indent=1))
    put_table(table, args.report)
    print(table)
    shown = list(experiment.clean)[:SHOWN]
    columns = {"clean": experiment.clean, "degraded": experiment.degraded}
    for label in ("L1", loss_label(args.recommended), score_label(max(args.weights))):
        net = experiment.restorer(Path(groups[label][0]["network"]))
        columns[label] = {name: experiment.restore(net, experiment.degraded[name]) for name in shown}
    draw(
        {label: [pictures[name] for name in shown] for label, pictures in columns.items()},
        {label: [groups[label][0]["pictures"][name]["QFM"] for name in shown] for label in columns},
        args.shown_side,
        args.picture,
    )
    print(f"written: {args.report}, {args.picture}, {args.out / 'results.json'}")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="TOML file with values for the options below (- as _)")
    parser.add_argument(
        "--images", type=Path, help="folder, or table with a train and a val part; default: scikit-image's"
    )
    parser.add_argument(
        "--held-out", type=Path, help="folder; default: every third picture of --images, or the val part"
    )
    parser.add_argument("--min-mos", type=float, default=0.7, help="of pictures of a table (default: 0.7)")
    parser.add_argument("--train-pictures", type=int, default=200, help="at most (default: 200)")
    parser.add_argument("--held-out-pictures", type=int, default=24, help="at most (default: 24)")
    parser.add_argument("--weights-id", help="weights of the metric; default: the package's")
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        default=[0.001, 0.003, 0.01, 0.02, 0.03, 0.1],
        metavar="W",
        help="of 1 - QFM",
    )
    parser.add_argument(
        "--loss-weights", type=float, nargs="*", default=[0.01, 0.02, 0.03, 0.05], metavar="W", help="of QFMLoss"
    )
    parser.add_argument("--guarded-weights", type=float, nargs="*", default=[], metavar="W", help="of QFMLoss, guarded")
    parser.add_argument(
        "--recommended", type=float, default=0.02, help="of QFMLoss, which all seeds run with (default: 0.02)"
    )
    parser.add_argument(
        "--perceptual", metavar="FILE", help="ImageNet weights of tf_efficientnet_lite0, timm, or lpips"
    )
    parser.add_argument("--perceptual-weight", type=float, default=0.03, help="(default: 0.03)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="(default: 0)")
    parser.add_argument("--steps", type=int, default=600, help="of each run (default: 600)")
    parser.add_argument("--warmup", type=int, default=400, help="of these, the first with L1 alone (default: 400)")
    parser.add_argument("--batch", type=int, default=8, help="crops a step (default: 8)")
    parser.add_argument(
        "--crop", type=int, default=128, help="px; smaller ones show the metric too little (default: 128)"
    )
    parser.add_argument("--view", type=int, default=256, help="px of a held-out picture's middle (default: 256)")
    parser.add_argument("--width", type=int, default=24, help="channels of the network (default: 24)")
    parser.add_argument("--depth", type=int, default=4, help="its blocks at a quarter of the size (default: 4)")
    parser.add_argument(
        "--rate", type=float, default=1e-3, help="learning rate, lowered to a hundredth (default: 1e-3)"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--out", type=Path, default=Path("restoration"), help="folder of the runs (default: restoration)"
    )
    parser.add_argument(
        "--report", type=Path, help="page for the table, in the place of its last one (default: table.md in --out)"
    )
    parser.add_argument("--picture", type=Path, help="figure (default: pictures.png in --out)")
    parser.add_argument(
        "--shown-side", type=int, default=128, help="px of a held-out picture in the figure (default: 128)"
    )
    return parser


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.config:
        try:
            values = tomllib.loads(args.config.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            parser.error(f"--config {args.config}: {error}")
        if unknown := set(values) - set(vars(args)):
            parser.error(f"--config {args.config}: unknown {', '.join(sorted(unknown))}")
        parser.set_defaults(**values)
        args = parser.parse_args(argv)  # options beside --config win
    if not 0 <= args.warmup < args.steps:
        parser.error(f"--warmup: expected 0 to {args.steps - 1}, less than --steps, got {args.warmup}")
    args.report = args.report or args.out / "table.md"
    args.picture = args.picture or args.out / "pictures.png"
    return args


def main() -> None:
    args = parse()
    try:
        experiment = Experiment(args)
        groups = run_all(experiment, args)
    except ValueError as error:
        sys.exit(f"restoration_loss.py: {error}")
    write_report(groups, experiment, args)


if __name__ == "__main__":
    main()
