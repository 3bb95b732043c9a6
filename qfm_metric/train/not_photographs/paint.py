"""What all drawn pictures are made with: sizes, colours, words, fonts, and a canvas to draw them on."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Generator: TypeAlias = np.random.Generator
Colour: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]

SIDES = (64, 512)  # px, shortest and longest
# Matplotlib brings them, so the same fonts are there on every machine.
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic"),
    *("cmr10", "cmss10", "cmtt10", "cmti10", "cmb10"),
)
_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwz", "aeiou"


def draw_size(rng: Generator) -> tuple[int, int]:
    """Height and width of a picture: large ones more often, of the shapes that pictures have."""
    longest = SIDES[1] if rng.random() < 0.5 else int(rng.integers(SIDES[0] + 32, SIDES[1] + 1))
    shortest = max(SIDES[0], round(longest * rng.choice([1, 0.9, 0.8, 3 / 4, 2 / 3, 9 / 16])))
    return (shortest, longest) if rng.random() < 0.6 else (longest, shortest)


def colour(rng: Generator, low: int = 0, high: int = 255) -> Colour:
    """A colour with each channel from `low` to `high`."""
    red, green, blue = (int(value) for value in rng.integers(low, high + 1, 3))
    return red, green, blue


def paper(rng: Generator) -> Colour:
    """White most often, else something pale, or dark."""
    chance = rng.random()
    return (255, 255, 255) if chance < 0.5 else colour(rng, 215) if chance < 0.85 else colour(rng, 0, 60)


def ink(rng: Generator, ground: Colour) -> Colour:
    """A colour that is seen on `ground`."""
    dark = sum(ground) > 380
    if rng.random() < 0.5:
        return (0, 0, 0) if dark else (255, 255, 255)
    return colour(rng, 0, 110) if dark else colour(rng, 150)


def vivid(rng: Generator) -> Colour:
    """A saturated colour, as logos, charts and clip art have."""
    channels = [int(rng.integers(180, 256)), int(rng.integers(0, 256)), int(rng.integers(0, 90))]
    red, green, blue = (channels[i] for i in rng.permutation(3))
    return red, green, blue


def word(rng: Generator) -> str:
    """Something to be pronounced, a number now and then."""
    if rng.random() < 0.08:
        return str(rng.integers(0, 3000))
    syllables = range(int(rng.integers(1, 5)))
    return "".join(_CONSONANTS[rng.integers(18)] + _VOWELS[rng.integers(5)] for _ in syllables)


def words(rng: Generator, count: int) -> str:
    """A sentence."""
    return " ".join(word(rng) for _ in range(count)).capitalize()


def font(rng: Generator, size: float) -> ImageFont.FreeTypeFont:
    """One of `FONTS`, `size` px high."""
    return _font(FONTS[rng.integers(len(FONTS))], max(6, round(size)))


@lru_cache(maxsize=256)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # of the extra `train`

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")), size)


def canvas(height: int, width: int, ground: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A picture of one colour, and what draws on it."""
    image = Image.new("RGB", (width, height), ground)
    return image, ImageDraw.Draw(image)


def gradient(height: int, width: int, first: Colour, last: Colour, sideways: bool = False) -> Image.Image:
    """From one colour to another, down or to the right."""
    share = np.linspace(0, 1, width if sideways else height)[:, None]
    line = np.array(first) * (1 - share) + np.array(last) * share
    lines = line[None] if sideways else line[:, None]
    return Image.fromarray(np.broadcast_to(lines.round().astype(np.uint8), (height, width, 3)).copy())


def paragraph(
    rng: Generator, pen: ImageDraw.ImageDraw, box: Sequence[float], size: float, fill: Colour, leading: float = 1.3
) -> float:
    """Lines of words from the top of `box` (left, top, right, bottom) to its bottom; returns where they end."""
    left, top, right, bottom = box
    face = font(rng, size)
    while top + size <= bottom:
        line = words(rng, 2 + int((right - left) / size / 2))
        while face.getlength(line) > right - left and " " in line:
            line = line.rsplit(" ", 1)[0]
        if face.getlength(line) > right - left:
            break
        pen.text((left, top), line, fill, face)
        top += leading * size
    return top


def outline(rng: Generator, centre: Point, radius: float, corners: int, rough: float = 0.4) -> list[Point]:
    """Corners of a closed shape about `centre`."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if rough else np.linspace(0, 2 * np.pi, corners + 1)[:-1]
    reach = radius * (1 + rough * rng.uniform(-1, 1, corners))
    return [
        (float(centre[0] + r * np.cos(a)), float(centre[1] + r * np.sin(a))) for a, r in zip(angles, reach, strict=True)
    ]


def smooth_line(rng: Generator, points: int, length: int, roughness: float = 1.0) -> np.ndarray:
    """`(length,)` values of a curve through `points` random ones, in about [-1, 1]."""
    knots = rng.uniform(-1, 1, points) * roughness
    share = np.linspace(0, points - 1, length)
    place = np.minimum(share.astype(int), points - 2)
    part = (1 - np.cos(np.pi * (share - place))) / 2
    return knots[place] * (1 - part) + knots[place + 1] * part
