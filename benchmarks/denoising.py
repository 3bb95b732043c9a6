"""What should happen to tokens between features and decoder? Nothing, noise, matched noise, or a denoiser, over seeds.

    PYTHONPATH=. python benchmarks/denoising.py --data DATA --cells cells --weights qfm-lite0-v10 \\
        --members qfm_metric/train/recipes/lite0-384.csv

Heads behind stored cells, by the recipe `head` with fewer steps, all from random weights but for the backbone and what
standardises its cells. `loop.steps` are the denoiser's; the others get as many more as cost the same processor time,
measured first. Every figure is of validation, of the average network at the last step.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qfm_metric.model import QFMNet
from qfm_metric.score import QFMScore
from qfm_metric.train import loop
from qfm_metric.train.datasets.table import Decoded, Row
from qfm_metric.train.defects import TYPES
from qfm_metric.train.denoising import DenoisedNet
from qfm_metric.train.evaluate import figures_to_choose_by
from qfm_metric.train.matching import Memory
from qfm_metric.train.material import to_tensor
from qfm_metric.train.material.stored import StoredMaterial
from qfm_metric.train.pseudo_labels import read_labels
from qfm_metric.train.recipe import Recipe, read_recipe
from qfm_metric.train.step import Student, step_losses

VARIANTS = ("none", "random", "matched", "denoised")
FIGURES = ("srcc", "plcc", "within_srcc")
SETTINGS = ("loop.steps=300", "loop.decay_from=150", "loop.warmup=30", "loop.ema=0.99", "loop.every=10000")
TIMED = 40  # steps that the cost of one is measured over
Check = Callable[[QFMNet], dict[str, float]]


@torch.inference_mode()
def validation(net: QFMNet, decoded: Decoded) -> tuple[Tensor, list[Row]]:
    """Cells `(N, V, C, rows, columns)` of the validation pictures, in half precision, and their rows."""
    chosen = decoded.select("val")
    cells = [net.cells(net.pyramid(net.distinct_views(to_tensor(decoded.pixels[i])[None]))).half() for i in chosen]
    return torch.stack(cells), [decoded.rows[i] for i in chosen]


def checked(cells: Tensor, rows: Sequence[Row]) -> Check:
    """The figures of a network behind these cells."""

    @torch.inference_mode()
    def check(net: QFMNet) -> dict[str, float]:
        logits = (net.forward_cells(part.flatten(0, 1).float(), len(part)) for part in cells.split(64))
        scores = net.calibration(torch.cat([*logits]))
        return figures_to_choose_by(scores.numpy(), rows)

    return check


def start(variant: str, seed: int, source: QFMNet) -> QFMNet:
    """A network with the backbone of `source` and what standardises its cells; the rest is drawn from the seed."""
    torch.manual_seed(seed)
    net = (DenoisedNet if variant == "denoised" else QFMNet)(source.config).eval()
    known = {name: x for name, x in source.state_dict().items() if name.startswith(("backbone.", "standardize"))}
    net.load_state_dict(known, strict=False)
    return net


def train(variant: str, seed: int, recipe: Recipe, stored: StoredMaterial, source: QFMNet) -> QFMNet:
    """One head; the average network at its end."""
    net = start(variant, seed, source)
    objective = replace(recipe.objective, noise="none" if variant == "denoised" else variant)  # type: ignore[arg-type]
    student, memory = Student(net, len(TYPES)), Memory(objective.memory)

    def compare(step: int, rank: int) -> dict[str, Tensor]:
        batch = stored.draw((seed, step), rank)
        terms = step_losses(student, batch, stored.labels, objective, memory, torch.Generator().manual_seed(step))
        if isinstance(net, DenoisedNet):
            terms["denoising"] = net.denoising_loss(torch.from_numpy(batch.cells).float(), len(batch.targets))
        return terms

    config = replace(recipe.loop, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        return loop.run(
            student, compare, lambda average: {}, config, Path(folder), lambda text: None, objective.weights, memory
        )


def of_equal_cost(recipe: Recipe, stored: StoredMaterial, source: QFMNet, timed: int) -> dict[str, Recipe]:
    """For each variant the recipe with as many steps as cost what the denoiser's cost; the rate falls alike."""
    brief = replace(recipe, loop=replace(recipe.loop, steps=timed, decay_from=timed, warmup=1))
    costs = {}
    for variant in VARIANTS:
        started = time.process_time()
        train(variant, 0, brief, stored, source)
        costs[variant] = time.process_time() - started
    found = {}
    for variant, cost in costs.items():
        steps = max(1, round(recipe.loop.steps * costs["denoised"] / cost))
        decay_from = round(steps * recipe.loop.decay_from / recipe.loop.steps)
        found[variant] = replace(recipe, loop=replace(recipe.loop, steps=steps, decay_from=decay_from))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="what `prepare` wrote")
    parser.add_argument("--cells", type=Path, required=True, help="what `cells` wrote with these weights")
    parser.add_argument("--weights", help="whose backbone it is; default: the shipped weights")
    parser.add_argument("--members", type=Path, nargs="*", default=[], help="the teacher's pseudo-labels")
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--joined", type=int, default=2, help="stored batches a step")
    parser.add_argument("--timed", type=int, default=TIMED, help="steps to measure the cost of one over")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    recipe = read_recipe("head", [*SETTINGS, *args.set])
    source, decoded = QFMScore.from_pretrained(args.weights).net, Decoded.open(args.data / "decoded")
    stored = StoredMaterial.open(args.cells, source, decoded, read_labels(decoded, args.members), joined=args.joined)
    check = checked(*validation(source, decoded))
    recipes = of_equal_cost(recipe, stored, source, args.timed)
    found: dict[str, list[list[float]]] = {variant: [] for variant in VARIANTS}
    seconds = dict.fromkeys(VARIANTS, 0.0)
    for seed in args.seeds:
        for variant in VARIANTS:
            started = time.process_time()
            net = train(variant, seed, recipes[variant], stored, source)
            seconds[variant] += time.process_time() - started
            figures = check(net)
            found[variant].append([figures[name] for name in FIGURES])
            print(seed, variant, *(f"{figures[name]:.4f}" for name in FIGURES), file=sys.stderr, flush=True)
    print("| at the seam | SRCC | PLCC | mean within subsets | steps | CPU s a run |\n|---|---|---|---|--:|--:|")
    for variant, runs in found.items():
        means, spreads = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=min(1, len(runs) - 1))
        columns = " | ".join(f"{mean:.4f} ± {spread:.4f}" for mean, spread in zip(means, spreads, strict=True))
        cost = seconds[variant] / len(args.seeds)
        print(f"| {variant} | {columns} | {recipes[variant].loop.steps} | {cost:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
