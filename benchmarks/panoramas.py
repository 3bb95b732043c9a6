"""What turning and local damage do to the score of a panorama.

    PYTHONPATH=. python benchmarks/panoramas.py

The panoramas are made of scikit-image's photographs (`tests/helpers/panoramas.py`). Turned: 24 angles, multiples of
14.4 degrees, so that they are not those between the viewports. Damaged: noise within 30 degrees of a direction; along
the horizon the mean of four of them.
"""

import argparse
import sys
from pathlib import Path
from statistics import mean

import torch

from qfm_metric import QFMScore, score_360

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.panoramas import SCENES, damaged, make_panorama, turned

ANGLES = [360 / 25 * i for i in range(1, 25)]
PLACES = {"horizon": [(yaw, 0) for yaw in (0, 90, 180, 270)], "zenith": [(0, 90)], "nadir": [(0, -90)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", metavar="ID")
    parser.add_argument("--width", type=int, default=1008)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    metric = QFMScore.from_pretrained(args.weights)
    print(metric.signature)
    for number, scene in enumerate(SCENES, 1):
        panorama = make_panorama(args.width, scene)
        for viewports in ("fixed", "entropy"):
            whole = score_360(panorama, metric, viewports=viewports).score
            drops = {
                name: mean(
                    whole - score_360(damaged(panorama, *place), metric, viewports=viewports).score for place in places
                )
                for name, places in PLACES.items()
            }
            moved = [
                abs(score_360(turned(panorama, angle), metric, viewports=viewports).score - whole) for angle in ANGLES
            ]
            turning = f"turned {mean(moved):.4f}, at most {max(moved):.4f}"
            lost = ", ".join(f"{name} {drop:.3f}" for name, drop in drops.items())
            print(f"{number} {viewports}: {whole:.3f}; {turning}; lost by damage at {lost}", flush=True)


if __name__ == "__main__":
    main()
