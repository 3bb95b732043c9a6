"""Photographs, crops and degradations for `restoration_loss.py`.

What is drawn depends on the arguments alone, so that the networks compared see the same crops in the same order.
"""

from pathlib import Path

import numpy as np
import skimage
import torch
from rank_photos import PHOTOS
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from qfm_metric import ImageError, load_image
from qfm_metric.cli.paths import Scan
from qfm_metric.train.datasets.table import read_table

BLUR = (0.6, 2.0)  # standard deviation of the Gaussian, px
NOISE = (5 / 255, 25 / 255)  # standard deviation
KERNEL = 13  # px: three standard deviations of the widest blur to each side
HELD_OUT_EVERY = 3  # picture of `--images`, where no others are named


def choose_pictures(
    images: Path | None, held_out: Path | None, limits: tuple[int, int], min_mos: float
) -> tuple[list[Path], list[Path]]:
    """Paths of the pictures to train on, and of those held out.

    Args:
        images: A folder, or a table of `qfm_metric.train prepare`: of its train and val parts, the pictures whose MOS
            is at least `min_mos`. None: photographs in scikit-image's wheel.
        held_out: A folder. None: a part of `images`.
        limits: At most so many of each; which, does not depend on the seed of a run.

    Raises:
        ValueError: nothing to train on, or nothing held out.
    """
    if images is not None and images.is_file():
        rows = [row for row in read_table(images) if row.mos >= min_mos]
        train, kept = ([Path(row.image) for row in rows if row.split == split] for split in ("train", "val"))
    else:
        found = _in_folder(images) if images else _in_scikit_image()
        train = [path for i, path in enumerate(found) if held_out or i % HELD_OUT_EVERY]
        kept = found[::HELD_OUT_EVERY]
    if held_out:
        kept = _in_folder(held_out)
    if not train or not kept:
        raise ValueError(
            f"{images}: expected pictures to train on and some to hold out, got {len(train)} and {len(kept)}"
        )
    return _draw(train, limits[0]), _draw(kept, limits[1])


def _in_folder(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of pictures")
    return [Path(path) for path in Scan([str(folder)])]


def _in_scikit_image() -> list[Path]:
    folder = Path(skimage.__path__[0]) / "data"
    return [next(folder.glob(f"{name}.*")) for name in PHOTOS]


def _draw(paths: list[Path], limit: int) -> list[Path]:
    return [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[:limit]]


def load_pictures(paths: list[Path], least: int) -> dict[str, Tensor]:
    """File name to `(3, H, W)` uint8; pictures that cannot be read or have a side below `least` px are named and left.

    Raises:
        ValueError: none is left.
    """
    pictures = {}
    for path in paths:
        try:
            picture = (load_image(path) * 255).round().byte()
        except ImageError as error:
            print(f"left out: {error}")
            continue
        if min(picture.shape[1:]) < least:
            print(f"left out: {path}: {picture.shape[2]} x {picture.shape[1]} px is smaller than {least} px")
            continue
        pictures[path.name] = picture
    if not pictures:
        raise ValueError(f"no picture of at least {least} x {least} px among {len(paths)}")
    return pictures


def draw_batch(pictures: list[Tensor], size: int, crop: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Clean and degraded crops, both `(size, 3, crop, crop)` in [0, 1], of one step of one seed."""
    rng = np.random.default_rng([seed, step])
    crops = []
    for _ in range(size):
        picture = pictures[rng.integers(len(pictures))]
        top, left = (int(rng.integers(side - crop + 1)) for side in picture.shape[1:])
        piece = picture[:, top : top + crop, left : left + crop]
        crops.append(piece.flip(-1) if rng.integers(2) else piece)
    clean = torch.stack(crops) / 255
    return clean, torch.stack([degrade(piece, rng) for piece in clean])


def degrade(image: Tensor, rng: np.random.Generator) -> Tensor:
    """`(3, H, W)` in [0, 1] blurred, made noisy and rounded to 8 bits, as a camera would."""
    blurred = gaussian_blur(image, [KERNEL, KERNEL], [rng.uniform(*BLUR)] * 2)
    noise = torch.from_numpy(rng.normal(0, rng.uniform(*NOISE), image.shape).astype(np.float32))
    return to_bytes(blurred + noise) / 255


def to_bytes(images: Tensor) -> Tensor:
    """What a file would hold of images in [0, 1]: uint8."""
    return (images * 255).round().clamp(0, 255).byte()


def centre(picture: Tensor, side: int) -> Tensor:
    """The middle `side` x `side` px of `(..., H, W)`, or all there is."""
    top, left = (max(0, (have - side) // 2) for have in picture.shape[-2:])
    return picture[..., top : top + side, left : left + side]
