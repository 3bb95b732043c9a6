"""Draw docs/defects.jpg and docs/bands.jpg: what each defect looks like, and what each word for a score means.

    python benchmarks/bad_pictures.py docs/defects.jpg docs/bands.jpg

Four photographs that come with scikit-image and may be used for anything (public domain, CC0) are distorted as
KADID-10k's pictures were. What is written below each is what the default weights say of the whole of it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage
import torch
from PIL import Image, ImageDraw, ImageFont

from qfm_metric import QFMScore, load_image
from qfm_metric.assessment import Assessment
from qfm_metric.defects import NAMES
from qfm_metric.images import Pixels
from qfm_metric.scale import BANDS, band
from qfm_metric.train.distortions import compose, distort

PHOTOS = ("chelsea", "coffee", "astronaut", "rocket")
SHOWN = (208, 156)  # px, width and height of what is shown of a picture
CAPTION = 40  # px
EYE, CUP, FACE = ("chelsea", (0.5, 0.45)), ("coffee", (0.5, 0.45)), ("astronaut", (0.45, 0.25))
# A type of KADID-10k that people call so, its level, and the middle of what is shown of a photograph, in shares of its
# sides. None of its types enlarges: that is ours.
EXAMPLES: dict[str, tuple[int, int, tuple[str, tuple[float, float]]]] = {
    "blur": (1, 4, EYE),
    "motion_blur": (3, 5, EYE),
    "smeared": (15, 5, EYE),
    "noise": (11, 5, CUP),
    "specks": (13, 5, EYE),
    "compression": (10, 5, CUP),
    "blocks": (21, 4, CUP),
    "dark": (17, 5, FACE),
    "bright": (16, 5, FACE),
    "contrast": (25, 5, EYE),
    "colour": (7, 5, FACE),
    "fringes": (5, 5, EYE),
    "oversharpened": (24, 4, EYE),
    "banding": (22, 5, FACE),
    "warped": (19, 5, CUP),
}
ENLARGED = ("upscaled", 4, CUP)  # by this factor
# What the pictures of the bands are: types of KADID-10k, or several one after the other, at each of their levels.
SPOILT = {
    "blur": (1,),
    "noise": (11,),
    "JPEG": (10,),
    "dark": (17,),
    "blur and noise": (1, 11),
    "blur and JPEG": (1, 10),
}
REDUCED = (1, 2, 3)  # photographs as they are, and reduced by these factors
ROWS = 3  # pictures of each band


class Tile(NamedTuple):
    """A part of a picture, `SHOWN`, and the lines below it."""

    pixels: Pixels
    lines: tuple[str, str]


def load_photos() -> dict[str, Pixels]:
    """Name to `(H, W, 3)` uint8, from scikit-image's wheel."""
    folder = Path(skimage.__path__[0]) / "data"
    paths = {name: next(folder.glob(f"{name}.*")) for name in PHOTOS}
    return {name: (load_image(path) * 255).byte().permute(1, 2, 0).numpy() for name, path in paths.items()}


def defect_tiles(metric: QFMScore, photos: dict[str, Pixels]) -> list[Tile]:
    """An example of each defect, in the order of `NAMES`, at its own size."""
    made = {
        name: (distort(photos[photo], "KADID-10k", type, level), middle)
        for name, (type, level, (photo, middle)) in EXAMPLES.items()
    }
    name, factor, (photo, middle) = ENLARGED
    made[name] = enlarge(photos[photo], factor), middle
    tiles = []
    for name in NAMES:
        pixels, middle = made[name]
        found = assess(metric, pixels)
        cost, top = max(zip(found.defects.severity[0].tolist(), metric.defects, strict=True))
        said = f"{top} {cost:.2f}" if found.top_defect[0] else "nothing stands out"
        tiles.append(Tile(part(pixels, middle), (name, f"{said}, score {found.score.item():.2f}")))
    return tiles


def band_tiles(metric: QFMScore, photos: dict[str, Pixels]) -> list[Tile | None]:
    """A column per band: the pictures nearest to its middle, but one of a photograph and a way to spoil it."""
    found = [(assess(metric, pixels).score.item(), photo, kind, pixels) for photo, kind, pixels in spoil(photos)]
    columns: list[list[Tile | None]] = []
    for word, end in BANDS:
        inside = sorted((x for x in found if band(x[0]) == word), key=lambda x: abs(x[0] - end + 0.1))
        chosen: list[tuple[float, str, str, Pixels]] = []
        for x in inside:
            if len(chosen) < ROWS and all(x[1] != y[1] and x[2] != y[2] for y in chosen):
                chosen.append(x)
        tiles = [
            Tile(whole(pixels), (f"{word}: score {score:.2f}", f"{photo}, {kind}"))
            for score, photo, kind, pixels in chosen
        ]
        columns.append([*tiles, *[None] * (ROWS - len(tiles))])
    return [tile for row in zip(*columns, strict=True) for tile in row]


def spoil(photos: dict[str, Pixels]) -> list[tuple[str, str, Pixels]]:
    """Names of photographs, what was done to them, and what it made of them."""
    made = []
    for photo, pixels in photos.items():
        image = Image.fromarray(pixels)
        for factor in REDUCED:
            kind = "as it is" if factor == 1 else f"reduced {factor}x"
            made.append((photo, kind, np.asarray(image.reduce(factor))))
        for kind, types in SPOILT.items():
            for level in range(1, 6):
                made.append((photo, kind, compose(pixels, [("KADID-10k", type, level) for type in types])))
    return made


def assess(metric: QFMScore, pixels: Pixels) -> Assessment:
    with torch.inference_mode():
        return metric.assess(torch.from_numpy(pixels.copy()).permute(2, 0, 1))


def sheet(tiles: Sequence[Tile | None], columns: int) -> Image.Image:
    """Tiles in rows, on white."""
    width, height = SHOWN[0] + 8, SHOWN[1] + CAPTION
    drawn = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), "white")
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=13)
    for number, tile in enumerate(tiles):
        x, y = 4 + number % columns * width, 4 + number // columns * height
        if tile is None:
            continue
        drawn.paste(Image.fromarray(tile.pixels), (x, y))
        for i, line in enumerate(tile.lines):
            pen.text((x, y + SHOWN[1] + 1 + 16 * i), line, fill="black", font=font)
    return drawn


def enlarge(clean: Pixels, factor: int) -> Pixels:
    image = Image.fromarray(clean)
    small = image.resize((image.width // factor, image.height // factor), Image.Resampling.BICUBIC)
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))


def part(pixels: Pixels, middle: tuple[float, float]) -> Pixels:
    """What is shown of a picture, at its own size."""
    left = round(middle[0] * pixels.shape[1] - SHOWN[0] / 2)
    top = round(middle[1] * pixels.shape[0] - SHOWN[1] / 2)
    left, top = (
        max(0, min(start, side - size))
        for start, side, size in zip((left, top), pixels.shape[1::-1], SHOWN, strict=True)
    )
    return pixels[top : top + SHOWN[1], left : left + SHOWN[0]]


def whole(pixels: Pixels) -> Pixels:
    """The whole, as large as fits; what is left is white."""
    image = Image.fromarray(pixels)
    image.thumbnail(SHOWN, Image.Resampling.LANCZOS)
    shown = Image.new("RGB", SHOWN, "white")
    shown.paste(image)
    return np.asarray(shown)


def write_sheets(defects: Path, bands: Path) -> None:
    metric, photos = QFMScore(), load_photos()
    sheet(defect_tiles(metric, photos), 4).save(defects, quality=75)
    sheet(band_tiles(metric, photos), len(BANDS)).save(bands, quality=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("defects", type=Path, help="a sheet of the defects, .jpg")
    parser.add_argument("bands", type=Path, help="a sheet of the bands, .jpg")
    args = parser.parse_args()
    write_sheets(args.defects, args.bands)


if __name__ == "__main__":
    main()
