"""Do native-resolution views pay? Frozen features of the whole picture, of its centre at full size, and of both.

    python benchmarks/native_study.py photographs --data DATA --init tf_efficientnet_lite0.safetensors
    python benchmarks/native_study.py series --data DATA --init ... --severity SEVERITY.csv

`photographs`: kernel ridge (the teacher's) to the MOS of photographs, fitted on training pictures, SRCC on validation
pictures, over all and the mean within subsets. `series`: what people say that distorted versions keep, near (512 x 384
px pictures) and far (reduced as much as a picture of 850 px would be), cross-fitted by source picture; after `cache`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.model_selection import GroupKFold

from qfm_metric.model import QFMConfig
from qfm_metric.train import recipe, teacher
from qfm_metric.train.datasets.table import Decoded
from qfm_metric.train.evaluate import brief
from qfm_metric.train.frozen import CachedViews, FrozenLayers, run_rest
from qfm_metric.train.material import to_tensor
from qfm_metric.train.start import build

SIDES = (256, 320, 384)


def cells_of(decoded: Decoded, chosen: np.ndarray, side: int, start: str) -> CachedViews:
    """Cells of both views of pictures, every block frozen."""
    net = build(QFMConfig(view_pixels=side**2, native_views=1), start).eval()
    layers = FrozenLayers(net, len(net.backbone.blocks)).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        views = (net.preprocess(to_tensor(decoded.pixels[i])[None])[0] for i in chosen)
        cells = torch.cat([layers(view)[1].half() for pair in views for view in pair.split(1)]).numpy()
    return CachedViews(np.zeros((len(cells), 0, 1, 1), np.float16), cells, views=2)


def sides(cached: CachedViews) -> dict[str, np.ndarray]:
    """Features of each view and of both."""
    both = teacher.summarize(cached)
    whole, native = np.split(both, 2, axis=1)
    return {"whole": whole, "native": native, "both": both}


def photographs(args: argparse.Namespace) -> None:
    decoded, rng = Decoded.open(args.data / "decoded"), np.random.default_rng(0)
    train = rng.permutation(decoded.select("train"))[: args.images]
    val = rng.permutation(decoded.select("val"))[: args.images // 3]
    for side in SIDES:
        fitted, asked = (sides(cells_of(decoded, part, side, args.init)) for part in (train, val))
        for name in fitted:
            groups = [decoded.rows[i].group for i in train]
            scores = teacher.cross_fit(fitted[name], decoded.mos[train], groups, asked[name], folds=2)[1]
            print(
                json.dumps({"side": side, "views": name, "validation": brief(scores, [decoded.rows[i] for i in val])})
            )


def series(args: argparse.Namespace) -> None:
    found = recipe.read_recipe(args.recipe, init=args.init)
    net, _, drawn = recipe.assemble(found, args.data, args.severity)
    frozen = found.training.frozen
    for pool in drawn.series:
        chosen = np.arange(min(len(pool.source), args.images) // pool.rungs * pool.rungs)
        if len(np.unique(pool.source[chosen])) < 50:
            continue
        with torch.inference_mode():
            cells = torch.cat([run_rest(net, frozen, *pool.views.batch([i])).half() for i in chosen]).numpy()
        cached = CachedViews(np.zeros((len(cells), 0, 1, 1), np.float16), cells, views=2)
        for name, features in sides(cached).items():
            scores = np.zeros(len(chosen), np.float32)
            for fit, ask in GroupKFold(4).split(features, groups=pool.source[chosen]):
                groups = [str(i) for i in pool.source[chosen][fit]]
                scores[ask] = teacher.cross_fit(features[fit], pool.quality[chosen][fit], groups, features[ask], 2)[1]
            srcc = spearmanr(scores, pool.quality[chosen])[0]
            shape = "x".join(map(str, cells.shape[-2:]))
            print(json.dumps({"cells": shape, "pictures": len(chosen), "views": name, "srcc": round(float(srcc), 4)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["photographs", "series"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--init", required=True)
    parser.add_argument("--recipe", default="head")
    parser.add_argument("--severity", type=Path)
    parser.add_argument("--images", type=int, default=2400)
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"photographs": photographs, "series": series}[args.study](args)


if __name__ == "__main__":
    main()
