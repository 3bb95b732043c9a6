"""Draw every synthetic distortion as a contact sheet: a row per type, the clean picture and its five levels.

    PYTHONPATH=. python benchmarks/contact_sheet.py --out sheets            # sheets/kadid-10k.png, sheets/tid2013.png
    PYTHONPATH=. python benchmarks/contact_sheet.py --out sheets --times    # and a table of milliseconds per type

The photographs come with scikit-image (`qfm-metric[examples]`); each row takes the next of them. A tile shows a detail
at its native size, because much of what is lost is not visible in a thumbnail; types whose loss lies in the whole
picture show the whole of it. The number in a tile's corner is the PSNR in dB.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageDraw

from qfm_metric.train.distortions import DATA_SETS
from qfm_metric.train.distortions.type import Distortion, psnr

PHOTOS = {"astronaut": (130, 40), "chelsea": (140, 60), "coffee": (150, 120)}  # left and top of the detail
SIZE = (512, 384)  # what the data sets' parameters are made for
TILE = (240, 180)
WHOLE = {("KADID-10k", 20), ("KADID-10k", 23), ("TID2013", 12), ("TID2013", 13), ("TID2013", 14), ("TID2013", 15)}


def load(name: str) -> np.ndarray:
    path = next((Path(skimage.__path__[0]) / "data").glob(f"{name}.*"))
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS, reducing_gap=None))


def tile(pixels: np.ndarray, clean: np.ndarray, corner: tuple[int, int], whole: bool) -> Image.Image:
    image = Image.fromarray(pixels)
    left, top = corner
    shown = image.resize(TILE) if whole else image.crop((left, top, left + TILE[0], top + TILE[1]))
    if pixels is not clean:
        label = ImageDraw.Draw(shown)
        label.rectangle((0, 0, 30, 11), fill="black")
        label.text((2, 0), f"{min(psnr(pixels, clean), 99):.1f}", fill="white")
    return shown


def draw(data_set: str, types: dict[int, Distortion], photos: dict[str, np.ndarray]) -> tuple[Image.Image, list[str]]:
    """The sheet, and a line per type with the slowest level's milliseconds."""
    margin, rows = 110, list(types.items())
    sheet = Image.new("RGB", (margin + 6 * (TILE[0] + 4), len(rows) * (TILE[1] + 4)), "white")
    labels, times = ImageDraw.Draw(sheet), []
    for row, (number, distortion) in enumerate(rows):
        name = list(PHOTOS)[row % len(PHOTOS)]
        pictures, seconds = [photos[name]], []
        for level in range(1, 6):
            start = time.perf_counter()
            pictures.append(distortion(photos[name], level, seed=1))
            seconds.append(time.perf_counter() - start)
        for column, pixels in enumerate(pictures):
            shown = tile(pixels, photos[name], PHOTOS[name], (data_set, number) in WHOLE)
            sheet.paste(shown, (margin + column * (TILE[0] + 4), row * (TILE[1] + 4)))
        title = "\n".join([str(number), *distortion.name.replace("_", " ").split(), "", distortion.provenance])
        labels.multiline_text((4, row * (TILE[1] + 4) + 4), title, fill="black")
        times.append(
            f"| {data_set} | {number} | {distortion.name} | {np.mean(seconds) * 1000:.0f} | {distortion.note} |"
        )
    return sheet, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the sheets")
    parser.add_argument("--times", action="store_true", help="print milliseconds per picture and type, as Markdown")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    photos = {name: load(name) for name in PHOTOS}
    for data_set, types in DATA_SETS.items():
        sheet, times = draw(data_set, types, photos)
        path = arguments.out / f"{data_set.lower()}.png"
        sheet.save(path)
        print("\n".join(times) if arguments.times else path)


if __name__ == "__main__":
    main()
