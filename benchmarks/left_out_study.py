"""How far does learning from people's scores of distortions carry over to a type that was never learned from?

    python benchmarks/left_out_study.py --data DATA --init qfm-lite0-v4 --severity SEVERITY.csv --folds 7 --out OUT

The student's head on frozen features, trained once with all 49 types and once without each of them (or a fold of
them); the left-out types' levels, rendered on held-out photographs, are scored by the run that never saw them. Far
views, because they are cheap: pictures of 512 x 384 px are seen as ones of 850 px would be. After `cache`.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from qfm_metric.model import QFMNet
from qfm_metric.train import loop, material, recipe, severity, severity_check
from qfm_metric.train.distortions import distort
from qfm_metric.train.frozen import CachedViews, FrozenLayers, run_rest
from qfm_metric.train.step import Labels, predict_cached


def frozen_through(net: QFMNet, frozen: int, pool: material.Pool) -> material.Pool:
    """The pool with every block frozen: only cells are left."""
    rows = np.array_split(np.arange(len(pool.views)), max(1, len(pool.views) // 4))
    with torch.inference_mode():
        found = torch.cat([run_rest(net, frozen, *pool.views.batch(part)).half() for part in rows]).numpy()
    return replace(pool, views=CachedViews(np.zeros((len(found), 0, 1, 1), np.float16), found, pool.views.views))


def rendered(net: QFMNet, pictures: list[np.ndarray], table: list[severity.DistortionLevel]) -> CachedViews:
    """Every type and level on every picture, as frozen features; levels vary fastest."""
    layers = FrozenLayers(net, len(net.backbone.blocks)).to(memory_format=torch.channels_last)
    found = []
    with torch.inference_mode():
        for number, pixels in enumerate(pictures):
            for level in table:
                image = material.to_tensor(distort(pixels, level.data_set, level.type, level.level, seed=number))
                found += [layers(view)[1].half() for view in net.preprocess(image[None])[0].split(1)]
    values = torch.cat(found).numpy()
    return CachedViews(np.zeros((len(values), 0, 1, 1), np.float16), values, 1 + net.config.native_views)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--init", required=True)
    parser.add_argument("--severity", type=Path, required=True)
    parser.add_argument("--recipe", default="head")
    parser.add_argument("--folds", type=int, default=49, help="leave out a N-th of the types at a time; 49: each alone")
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, required=True, help="folder for levels.csv, severity.md and severity.png")
    args = parser.parse_args()
    torch.set_num_threads(1)

    found = recipe.read_recipe(args.recipe, init=args.init)
    net, decoded, drawn = recipe.assemble(found, args.data, args.severity)
    table = severity.read_severity(args.severity)
    net.config = material.from_afar(net.config)
    blocks, frozen = len(net.backbone.blocks), found.training.frozen
    smallest = min(pool.views.cells.shape[-1] for pool in drawn.photos)
    photos = [frozen_through(net, frozen, p) for p in drawn.photos if p.views.cells.shape[-1] == smallest]
    typed = [p for p in drawn.series if (p.types != "").any()]
    series = [frozen_through(net, frozen, min(typed, key=lambda pool: pool.views.cells[0].size))]
    pictures = severity_check.clean_pictures(decoded, "val", 0.75, args.pictures, seed=0)
    asked = rendered(net, pictures, table)
    # The far photographs stand in for a validation part: nothing is chosen, the last weights are taken.
    few = CachedViews(photos[0].views.cut[:32], photos[0].views.cells[:32], photos[0].views.views)
    ours = material.Material(photos, series, few, photos[0].source[:16])
    loop.measure_statistics(net, blocks, photos[0].views)
    start = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    settings = replace(found.loop, steps=args.steps, every=args.steps)

    def means(left_out: list[str]) -> np.ndarray:
        net.load_state_dict(start)
        part = material.leave_out(ours, left_out)
        with tempfile.TemporaryDirectory() as folder:
            labels = Labels.of(decoded)
            path = Path(folder)
            best = loop.train(net, blocks, part, decoded, labels, found.objective, settings, path, lambda text: None)
        return predict_cached(best, blocks, asked)[0].reshape(len(pictures), len(table)).T

    learned, unseen = means([]), np.zeros((len(table), len(pictures)))
    names = np.random.default_rng(0).permutation(sorted({f"{level.data_set}/{level.type}" for level in table}))
    for fold in np.array_split(names, min(args.folds, len(names))):
        rows = [i for i, level in enumerate(table) if f"{level.data_set}/{level.type}" in fold]
        unseen[rows] = means(fold.tolist())[rows]
        print(*fold, np.round(unseen[rows].mean(1), 2), file=sys.stderr, flush=True)
    results = {"learned": severity_check.figures(learned, table), "left out": severity_check.figures(unseen, table)}
    print(json.dumps(results, indent=2))
    severity_check.write(unseen, table, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
