"""Does the quality map find what is wrong? One quadrant of good photographs is degraded, on purpose.

    python benchmarks/map_study.py DATA/all.csv

Printed per kind of degradation: the AUC of the map's cells inside against outside the quadrant (.5: chance; content
counts too, since a sky is not a face); the same of the map's fall from that of the clean photograph, which content does
not disturb; how often the quadrant of the lowest mean is the degraded one (chance: .25); and by how much the score
rises when the clean pixels are put back into the lowest, and into the highest quadrant. Then, of photographs of every
quality as they are: how the map's mean in a quadrant agrees with the score of that quadrant cut out, a picture of its
own.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr

from qfm_metric import QFMScore, load_image
from qfm_metric.train.agreement import auc
from qfm_metric.train.datasets.table import read_table
from qfm_metric.train.distortions.simple import degrade

KINDS = ("blur", "noise", "jpeg", "underexpose")


def quadrant(place: int, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of quadrant 0 to 3."""
    middle, centre = height // 2, width // 2
    return (
        slice(0, middle) if place < 2 else slice(middle, height),
        slice(0, centre) if place % 2 == 0 else slice(centre, width),
    )


def assess(metric: QFMScore, pixels: np.ndarray) -> tuple[float, np.ndarray]:
    with torch.inference_mode():
        found = metric.assess(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
    return found.score.item(), found.quality_map[0][0].numpy()


def study(metric: QFMScore, pixels: np.ndarray, kind: str, strength: float, place: int) -> list[float]:
    """The figures of one photograph."""
    where = quadrant(place, *pixels.shape[:2])
    broken = pixels.copy()
    broken[where] = degrade(pixels, kind, strength)[where]
    (_, before), (score, after) = assess(metric, pixels), assess(metric, broken)
    inside = np.zeros(after.shape, dtype=bool)
    inside[quadrant(place, *after.shape)] = True
    flat = inside.ravel()
    means = [after[quadrant(i, *after.shape)].mean() for i in range(4)]
    rises = []
    for chosen in (int(np.argmin(means)), int(np.argmax(means))):
        repaired, part = broken.copy(), quadrant(chosen, *pixels.shape[:2])
        repaired[part] = pixels[part]
        rises.append(assess(metric, repaired)[0] - score)
    return [auc(-after.ravel(), flat), auc((before - after).ravel(), flat), float(np.argmin(means) == place), *rises]


def compare_crops(metric: QFMScore, pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Means of the map in the quadrants, and scores of the quadrants cut out."""
    _, cells = assess(metric, pixels)
    means = [float(cells[quadrant(i, *cells.shape)].mean()) for i in range(4)]
    return means, [assess(metric, pixels[quadrant(i, *pixels.shape[:2])])[0] for i in range(4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="CSV image,mos,...,split as `prepare` writes it")
    parser.add_argument("--split", default="val")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--least-mos", type=float, default=0.65, help="a photograph this good is clean")
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--weights")
    args = parser.parse_args()

    torch.set_num_threads(1)
    rows = [row for row in read_table(args.table) if row.split == args.split]
    good = [row.image for row in rows if row.mos >= args.least_mos]
    rng = random.Random(0)
    photos = [(path, rng.randrange(4)) for path in rng.sample(good, args.pictures)]
    metric = QFMScore.from_pretrained(args.weights)
    show_crops([compare_crops(metric, read(row.image)) for row in rng.sample(rows, 2 * args.pictures)])
    print(f"{metric.weights_id}, {len(photos)} photographs, strength {args.strength}")
    print(f"{'':12} {'AUC':>6} {'AUC of fall':>12} {'found':>6} {'rise, lowest':>13} {'rise, highest':>14}")
    everything = []
    for kind in KINDS:
        figures = []
        for path, place in photos:
            figures.append(study(metric, read(path), kind, args.strength, place))
        everything += figures
        show(kind, figures)
    show("all", everything)


def read(path: str) -> np.ndarray:
    return (load_image(path) * 255).round().byte().permute(1, 2, 0).numpy()


def show_crops(pairs: list[tuple[list[float], list[float]]]) -> None:
    means, scores = np.array(pairs).transpose(1, 0, 2)
    chosen = np.arange(len(means))
    best, worst = scores[chosen, means.argmax(1)], scores[chosen, means.argmin(1)]
    print(
        f"quadrants cut out of {len(means)} photographs: PLCC {pearsonr(means.ravel(), scores.ravel())[0]:.3f}, "
        f"mean SRCC within a photograph {np.mean([spearmanr(*pair)[0] for pair in pairs]):.3f}; the map's highest "
        f"scores above its lowest in {100 * np.mean(best > worst):.0f} %, by {np.mean(best - worst):.3f} on average",
        flush=True,
    )


def show(name: str, figures: list[list[float]]) -> None:
    found, fall, hit, lowest, highest = np.mean(figures, axis=0)
    print(f"{name:12} {found:6.3f} {fall:12.3f} {hit:6.2f} {lowest:13.4f} {highest:14.4f}", flush=True)


if __name__ == "__main__":
    main()
