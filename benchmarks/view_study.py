"""Which view should the network look at? Frozen ImageNet features, a ridge probe, validation pictures only.

    python benchmarks/view_study.py --decoded DIR --init tf_efficientnet_lite0.safetensors

DIR is what `python -m qfm_metric.train prepare` wrote for BIQ2021. For every way of making a view, a ridge regression
from the pooled maps (mean and spread per channel and depth) to the MOS is fitted on training pictures seen whole at
that view size, and its SRCC on validation pictures is printed: over all, and the mean of the SRCCs within the three
subsets.

Sizes: the square picture reduced to different areas. Shapes: a 16:9 strip of each validation picture, squeezed to a
square, cut to a square, or reduced with its shape kept. Small pictures: the central 256 x 256 px, enlarged or left
alone.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from qfm_metric.model import QFMConfig, pool_cells, view_size
from qfm_metric.train.datasets.table import Decoded
from qfm_metric.train.start import build

SIDES = (224, 288, 384, 448)


def resize(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(image, size, mode="bilinear", antialias=True)


def view(image: torch.Tensor, way: str) -> torch.Tensor:
    """`(1, 3, 512, 512)` to the view that `way` names."""
    kind, _, option = way.partition(" ")
    if kind == "whole":
        return resize(image, (int(option), int(option)))
    if kind == "strip":
        strip = image[:, :, 112:400]  # 288 x 512, 16:9
        if option == "squeezed":
            return resize(strip, (384, 384))
        if option == "cut":
            return strip[:, :, :, 112:400]
        return resize(strip, view_size(288, 512, 384 * 384 * 9 // 16))
    centre = image[:, :, 128:384, 128:384]
    return resize(centre, (384, 384)) if option == "enlarged" else centre


def features(job: tuple[str, str, list[int], str]) -> np.ndarray:
    decoded_dir, init, indices, way = job
    torch.set_num_threads(1)
    net = build(QFMConfig(), init).eval()
    decoded = Decoded.open(Path(decoded_dir))
    rows = []
    with torch.inference_mode():
        for index in indices:
            image = torch.from_numpy(decoded.pixels[index].copy()).permute(2, 0, 1)[None] / 255
            views = ((view(image, way) - net.mean) / net.std).unsqueeze(1).contiguous()
            rows.append(torch.cat([pool_cells(m, (1, 1)).flatten() for m in net.pyramid(views)]))
    return torch.stack(rows).numpy()


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decoded", required=True)
    parser.add_argument("--init", required=True)
    parser.add_argument("--train-images", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    decoded = Decoded.open(Path(args.decoded))
    rng = np.random.default_rng(0)
    train = rng.permutation(decoded.select("train"))[: args.train_images]
    val = decoded.select("val")
    subset = np.array([decoded.rows[i].subset for i in val])

    with ProcessPoolExecutor(args.workers) as pool:

        def extract(indices: np.ndarray, way: str) -> np.ndarray:
            jobs = [(args.decoded, args.init, part.tolist(), way) for part in np.array_split(indices, args.workers)]
            return np.concatenate(list(pool.map(features, jobs)))

        for side in SIDES:
            x = extract(train, f"whole {side}")
            mean, std = x.mean(0), x.std(0) + 1e-6
            y = decoded.mos[train]
            ways = [f"whole {side}"]
            if side == 384:
                ways += ["strip squeezed", "strip cut", "strip kept", "small enlarged", "small left"]
            weights = ridge((x - mean) / std, y - y.mean(), penalty=1000.0)
            for way in ways:
                scores = (extract(val, way) - mean) / std @ weights
                within = [spearmanr(scores[subset == s], decoded.mos[val][subset == s])[0] for s in np.unique(subset)]
                overall = spearmanr(scores, decoded.mos[val])[0]
                print(
                    json.dumps(
                        {
                            "trained": f"whole {side}",
                            "scored": way,
                            "srcc": round(overall, 4),
                            "within": round(float(np.mean(within)), 4),
                            "subsets": np.round(within, 3).tolist(),
                        }
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()
