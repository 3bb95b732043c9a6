"""Does semantic noise help? None, random, matched and the paper's v1 rule, with and without a teacher, over seeds.

Heads on cached frozen features, in about 15 seconds a run; or, with a recipe that freezes less, fine-tuning. Every
figure is of validation. Each control is one setting of the same recipe.
"""

import argparse
import csv
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from qfm_metric.train import loop, recipe, teacher
from qfm_metric.train.start import build, start_from
from qfm_metric.train.step import Labels


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--init")
    parser.add_argument(
        "--weights", help="start every run from all of these (id or file); else decoders start at random"
    )
    parser.add_argument("--severity", type=Path)
    parser.add_argument("--members", type=Path, nargs="*", default=[])
    parser.add_argument("--noise", nargs="+", default=["none", "random", "matched", "v1"])
    parser.add_argument("--distilled", type=int, nargs="+", default=[0, 1], help="0: without the teacher, 1: with it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--part", default="0/1", metavar="I/N", help="run every N-th setting only, from the I-th")
    parser.add_argument(
        "--out", type=Path, required=True, help="CSV, a row per run; runs that it holds are not repeated"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)

    found = recipe.read_recipe(args.recipe, args.set, args.init)
    start, decoded, drawn = recipe.assemble(found, args.data, args.severity)
    frozen, kept = found.training.frozen, ("",)
    if args.weights:
        start_from(start, args.weights, frozen)
    else:
        kept = ("backbone.", "standardize.", "standardize_context.")
        loop.measure_statistics(start, frozen, drawn.photos[0].views)
    start_state = {name: tensor.clone() for name, tensor in start.state_dict().items() if name.startswith(kept)}
    teachers = {0: Labels.of(decoded), 1: teacher.read_labels(decoded, args.members)}
    done = {tuple(row[:3]) for row in csv.reader(args.out.open())} if args.out.exists() else set()
    settings = [(n, d, s) for s in args.seeds for d in args.distilled for n in args.noise]
    index, parts = map(int, args.part.split("/"))
    for noise, distilled, seed in settings[index::parts]:
        if (noise, str(distilled), str(seed)) in done:
            continue
        weights = dict(found.objective.weights)
        if not distilled:
            weights |= {"distillation": 0.0, "rank_distillation": 0.0}
        terms = replace(found.objective, noise=noise, weights=weights)
        torch.manual_seed(seed)
        net = build(found.network, "none").eval()  # the decoder starts from the seed, the backbone as before
        net.load_state_dict(start_state, strict=False)
        with tempfile.TemporaryDirectory() as folder:
            run = (terms, replace(found.loop, seed=seed), Path(folder), lambda text: None)
            best = loop.train(net, frozen, drawn, decoded, teachers[distilled], *run)
        figures = loop.validate(best, frozen, drawn, decoded)
        with args.out.open("a", newline="") as file:
            csv.writer(file).writerow([noise, distilled, seed, *(figures[k] for k in ("srcc", "plcc", "within_srcc"))])
        print(noise, distilled, seed, json.dumps(figures), file=sys.stderr, flush=True)
    print(table(args.out))
    return 0


def table(path: Path) -> str:
    """Mean and standard deviation over the seeds, as Markdown."""
    runs: dict[tuple[str, str], list[list[float]]] = {}
    for noise, distilled, _, *figures in csv.reader(path.open()):
        runs.setdefault((noise, distilled), []).append([float(value) for value in figures])
    lines = ["| noise | teacher | seeds | SRCC | PLCC | mean within subsets |", "|---|---|--:|---|---|---|"]
    for (noise, distilled), found in sorted(runs.items(), key=lambda run: run[0][1]):
        means, spreads = np.mean(found, axis=0), np.std(found, axis=0, ddof=1 if len(found) > 1 else 0)
        spread = " | ".join(f"{m:.4f} ± {s:.4f}" for m, s in zip(means, spreads, strict=True))
        lines.append(f"| {noise} | {'yes' if distilled == '1' else 'no'} | {len(found)} | {spread} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
