"""Score photographs, clean and degraded, and draw what the scores say.

    python examples/rank_photos.py            # writes rank_photos.png

The photographs come with scikit-image; the network was never trained on them. Each is blurred, made noisy, compressed
and wrongly exposed in five steps. Printed are the ladders of scores, how many of them fall at every step, and the
ranking of the pictures drawn in the figure.
"""

import argparse
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = (
    "1"  # read when torch is imported: more threads wait by spinning, and hurt what else runs
)

import numpy as np
import skimage
import torch

from qfm_metric import QFMScore, load_image
from qfm_metric.cli.progress import Progress
from qfm_metric.cli.targets import check_target
from qfm_metric.own_files import head
from qfm_metric.train.distortions.simple import degrade

PHOTOS = ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket")
LADDERS = ("blur", "noise", "jpeg")  # must fall step by step
EXPOSURE = ("overexpose", "underexpose")  # a brighter photograph can look better, so these are shown and not counted
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def load_photos(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Name to `(H, W, 3)` uint8, from scikit-image's wheel."""
    folder = Path(skimage.__path__[0]) / "data"
    paths = {name: next(folder.glob(f"{name}.*")) for name in names}
    return {name: (load_image(path) * 255).byte().permute(1, 2, 0).numpy() for name, path in paths.items()}


def rungs(pixels: np.ndarray, kind: str) -> list[np.ndarray]:
    """A photograph, and what the five strengths make of it."""
    return [pixels, *(degrade(pixels, kind, strength) for strength in STRENGTHS)]


def score_all(metric: QFMScore, photos: dict[str, np.ndarray]) -> Iterator[float]:
    """Of all rungs of all ladders, as they are scored."""
    for pixels, kind in itertools.product(photos.values(), LADDERS + EXPOSURE):
        for rung in rungs(pixels, kind):
            with torch.inference_mode():
                yield metric(torch.from_numpy(rung.copy()).permute(2, 0, 1)).item()


def falls(scores: list[float]) -> bool:
    return all(after < before for before, after in itertools.pairwise(scores))


def print_ladder(name: str, kind: str, scores: list[float], progress: Progress) -> None:
    mark = ("yes" if falls(scores) else "no") if kind in LADDERS else "-"
    progress.write_above(f"{name:16} {kind:12} " + " ".join(f"{score:6.3f}" for score in scores) + f"  {mark}\n")


def print_summary(ladders: dict[tuple[str, str], list[float]]) -> None:
    counted = [falls(scores) for (_, kind), scores in ladders.items() if kind in LADDERS]
    share = 100 * np.mean(counted)
    print(f"\n{sum(counted)} of {len(counted)} blur, noise and JPEG ladders fall at every step ({share:.0f} %)\n")


def draw(photos: dict[str, np.ndarray], ladders: dict[tuple[str, str], list[float]], path: Path) -> None:
    """The clean photographs with their ladders beside them, and the pictures at middle strength in order of score."""
    import matplotlib  # slow to import, and needed last

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = LADDERS + EXPOSURE
    figure, axes = plt.subplots(
        len(photos), 2 + len(kinds), squeeze=False, figsize=(19, 2.5 * len(photos)), layout="constrained"
    )
    for row, (name, pixels) in zip(axes, photos.items(), strict=True):
        shown = [("clean", ladders[name, kinds[0]][0], pixels)]
        shown += [(kind, ladders[name, kind][3], degrade(pixels, kind, STRENGTHS[2])) for kind in kinds]
        for axis, (kind, score, picture) in zip(row, sorted(shown, key=lambda item: -item[1]), strict=False):
            axis.imshow(picture)
            axis.set_title(f"{kind} {score:.3f}", fontsize=11)
            axis.axis("off")
        for kind in kinds:
            row[-1].plot(range(len(STRENGTHS) + 1), ladders[name, kind], marker=".", label=kind)
        row[-1].set(ylim=(0, 1), title=name, xlabel="clean to ruined")
    axes[0, -1].legend(fontsize=7, loc="lower left")
    figure.savefig(path, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, default=Path("rank_photos.png"))
    parser.add_argument("--photos", nargs="+", choices=PHOTOS, default=PHOTOS, metavar="NAME", help=", ".join(PHOTOS))
    args = parser.parse_args()
    check_target("--figure", str(args.figure), lambda file: b"Matplotlib" in head(file), (), parser.error, picture=True)

    photos = load_photos(args.photos)
    names, steps = list(itertools.product(photos, LADDERS + EXPOSURE)), 1 + len(STRENGTHS)
    ladders: dict[tuple[str, str], list[float]] = {}
    with Progress(range(steps * len(names))) as progress:
        scores = progress.counted(score_all(QFMScore(), photos))
        progress.write_above(
            f"{'photograph':16} {'loss':12} {'clean':>6} " + " ".join(f"{s:>6.2f}" for s in STRENGTHS) + "  falls\n"
        )
        for name, kind in names:
            ladders[name, kind] = list(itertools.islice(scores, steps))
            print_ladder(name, kind, ladders[name, kind], progress)
    print_summary(ladders)
    pictures = {f"{name}, clean": ladders[name, "blur"][0] for name in photos}
    pictures |= {f"{name}, {kind} {STRENGTHS[2]}": scores[3] for (name, kind), scores in ladders.items()}
    print("ranking, best first")
    for label, score in sorted(pictures.items(), key=lambda item: -item[1]):
        print(f"{score:.3f}  {label}")
    draw(photos, ladders, args.figure)
    print(f"\nfigure: {args.figure}")


if __name__ == "__main__":
    main()
