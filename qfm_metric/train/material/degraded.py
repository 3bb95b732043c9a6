"""Series that the two data sets do not hold: a clean picture and three versions of it, made when they are drawn.

Each function takes the clean picture, a generator, and what people said of blur, and returns the three versions. How
much quality each keeps is people's where KADID-10k's or TID2013's table says it of the same loss; the rest is ours, as
are all strengths. Ours were set by looking at the pictures beside those of the table; nobody rated them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

from ..distortions.colour import Pixels, from_greys
from .framing import Generator, Kernel, Size
from .nothing import ENLARGE, static
from .prices import Price

Table = tuple[tuple[float, ...], tuple[float, ...]]  # strengths, and the quality kept at each

REDUCE = (Kernel.BOX, Kernel.BICUBIC, Kernel.LANCZOS)
FACTORS = (1.3, 2.1, 4.0)  # of enlarging; up to 1.9 times as much
NEAREST = 0.15  # share of the enlarged series without interpolation
SHARPENED = 0.95  # what sharpening keeps of an enlarged picture's quality
BRIGHTENED: Table = ((0, 0.4, 1, 1.4, 2), (1, 0.88, 0.5, 0.3, 0.1))  # by stops
DARKENED: Table = ((0, 0.4, 1, 2, 3, 4.3), (1, 0.94, 0.75, 0.42, 0.18, 0.02))  # by stops
CAST: Table = ((0, 0.1, 0.25, 0.5, 0.8), (1, 0.93, 0.75, 0.5, 0.35))  # by the largest change of a channel, as a share
MEDIAN = ((3, 0.8), (5, 0.55), (9, 0.33))  # side in px, and the quality kept
SIGMA_FILTER = ((4, 0.8), (9, 0.6), (18, 0.4))  # grey levels that are still smoothed, and the quality kept
WARPED: Table = ((0, 0.06, 0.15, 0.3, 0.45), (1, 0.85, 0.6, 0.4, 0.3))  # by amplitude over wavelength
WARPED_LOCALLY = 0.35  # kept at least where only a part is warped
GRAIN = ((18, 0.6), (40, 0.3), (90, 0.08))  # standard deviation in grey levels, and the quality kept


class Version(NamedTuple):
    """A picture of a series.

    Attributes:
        pixels: `(H, W, 3)` uint8.
        quality: How much is kept of the clean picture's, in [0, 1].
        costs: Quality that each defect takes, by name, in [0, 1].
    """

    pixels: Pixels
    quality: float
    costs: dict[str, float]


def enlarged(clean: Pixels, rng: Generator, blur: Price) -> list[Version]:
    """Reduced and enlarged again, by up to 7.6, with interpolation or without.

    Enlarging by f loses what a blur of about `0.5 sqrt(f^2 - 1)` px does: people's scores of that blur (KADID-10k 1).
    """
    return _reduced(clean, rng, blur, sharpen=False)


def sharpened(clean: Pixels, rng: Generator, blur: Price) -> list[Version]:
    """Reduced, enlarged and sharpened: as `enlarged`, less a little. Ours; people's of the blur."""
    return _reduced(clean, rng, blur, sharpen=True)


def exposure(clean: Pixels, rng: Generator, blur: Price) -> list[Version]:
    """Up to two stops too bright or four too dark, on values or on light. Ours (`BRIGHTENED`, `DARKENED`)."""
    brighter, on_light = rng.random() < 0.5, rng.random() < 0.5
    versions = []
    for base in (0.25, 0.5, 0.75):
        share = base + rng.uniform(0, 0.25)
        gain = 4.0**share if brighter else 0.05**share
        values = clean.astype(np.float32)
        values = 255 * ((values / 255) ** 2.2 * gain**2.2) ** (1 / 2.2) if on_light else values * gain
        quality = _look_up(BRIGHTENED if brighter else DARKENED, abs(np.log2(gain)))
        versions.append(Version(from_greys(values), quality, {"bright" if brighter else "dark": 1 - quality}))
    return versions


def cast(clean: Pixels, rng: Generator, blur: Price) -> list[Version]:
    """A colour over everything, as from a wrong white balance: channels times a factor, or shifted. Ours (`CAST`)."""
    direction = rng.standard_normal(3)
    direction -= direction.mean()
    direction /= np.abs(direction).max()
    shifted = rng.random() < 0.3
    versions = []
    for base in (0.1, 0.25, 0.45):
        strength = base * rng.uniform(1, 1.7)
        values: NDArray[np.floating] = clean.astype(np.float32)
        values = values + 128 * strength * direction if shifted else values * (1 + strength * direction)
        quality = _look_up(CAST, strength)
        versions.append(Version(from_greys(values), quality, {"colour": 1 - quality}))
    return versions


def smear(clean: Pixels, rng: Generator, blur: Price) -> list[Version]:
    """Texture wiped away, edges kept: a median, or a sigma filter. Ours (`MEDIAN`, `SIGMA_FILTER`)."""
    if rng.random() < 0.5:
        image = Image.fromarray(clean)
        made = [(np.asarray(image.filter(ImageFilter.MedianFilter(side))), quality) for side, quality in MEDIAN]
    else:
        made = [(_sigma_filter(clean, 2.2 * tolerance), quality) for tolerance, quality in SIGMA_FILTER]
    return [Version(pixels, quality, {"smeared": 1 - quality}) for pixels, quality in made]


def warp(clean: Pixels, rng: Generator, blur: Price) -> list[Version]:
    """Bent by a smooth random flow, all over or in one place. Ours (`WARPED`)."""
    height, width = clean.shape[:2]
    wavelength = rng.uniform(8, 40)
    coarse = max(4, round(height / wavelength)), max(4, round(width / wavelength))
    local = rng.random() < 0.5
    flow = [_enlarge_flow(rng.standard_normal(coarse), (height, width)) for _ in range(2)]
    mask = _one_place(rng, (height, width)) if local else 1.0
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    versions = []
    for base in (0.06, 0.14, 0.3):
        amplitude = base * wavelength * rng.uniform(1, 1.4)
        places = rows + amplitude * flow[0] * mask, columns + amplitude * flow[1] * mask
        channels = [
            ndimage.map_coordinates(clean[..., channel].astype(np.float32), places, order=1, mode="nearest")
            for channel in range(3)
        ]
        quality = _look_up(WARPED, amplitude / wavelength)
        quality = WARPED_LOCALLY + (1 - WARPED_LOCALLY) * quality if local else quality
        versions.append(Version(from_greys(np.stack(channels, -1)), quality, {"warped": 1 - quality}))
    return versions


def grain(clean: Pixels, rng: Generator, blur: Price) -> list[Version]:
    """Static of some texture, up to pictures that drown in it. Ours (`GRAIN`): people's scales end far below."""
    height, width = clean.shape[:2]
    noise = static(rng, height, width, grey=bool(rng.random() < 0.4))
    return [
        Version(from_greys(clean + deviation * rng.uniform(0.9, 1.3) * noise), quality, {"noise": 1 - quality})
        for deviation, quality in GRAIN
    ]


KINDS: dict[str, Callable[[Pixels, Generator, Price], list[Version]]] = {
    kind.__name__: kind for kind in (enlarged, sharpened, exposure, cast, smear, warp, grain)
}


def _look_up(table: Table, strength: float) -> float:
    return float(np.interp(strength, *table))


def _reduced(clean: Pixels, rng: Generator, blur: Price, sharpen: bool) -> list[Version]:
    up, down = ENLARGE[int(rng.integers(len(ENLARGE)))], REDUCE[int(rng.integers(len(REDUCE)))]
    if not sharpen and rng.random() < NEAREST:
        up = Kernel.NEAREST
    radius, percent = rng.uniform(1, 3), int(rng.integers(80, 300))  # drawn for both kinds, used by one
    height, width = clean.shape[:2]
    versions = []
    for base in FACTORS:
        factor = base * rng.uniform(1, 1.9)
        small = max(16, round(width / factor)), max(16, round(height / factor))
        image = Image.fromarray(clean).resize(small, down).resize((width, height), up)
        quality = blur(0.5 * np.sqrt(factor * factor - 1))
        if sharpen:
            image = image.filter(ImageFilter.UnsharpMask(radius * max(1, factor / 2), percent, 0))
            quality *= SHARPENED
        costs = {"blocks" if up == Kernel.NEAREST else "upscaled": 1 - quality}
        if sharpen:
            costs["oversharpened"] = 0.4 * (1 - quality)
        versions.append(Version(np.asarray(image), quality, costs))
    return versions


def _sigma_filter(clean: Pixels, tolerance: float) -> Pixels:
    """Three times, move each value towards the mean of its 5 x 5 px, the less the further away that is."""
    values = clean.astype(np.float32)
    for _ in range(3):
        mean = ndimage.uniform_filter(values, (5, 5, 0))
        values = values + np.exp(-np.square((values - mean) / tolerance)) * (mean - values)
    return from_greys(values)


def _enlarge_flow(coarse: NDArray[np.float64], size: Size) -> NDArray[np.float32]:
    image = Image.fromarray(coarse.astype(np.float32))
    return np.asarray(image.resize(size[::-1], Kernel.BICUBIC))


def _one_place(rng: Generator, size: Size) -> NDArray[np.float64]:
    """1 at some place well inside, falling to 0 around it; numbers are for a side of 512 px."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    row, column = rng.uniform(130, 380, 2) * (np.array(size) / 512)
    deviation = rng.uniform(70, 140) * max(size) / 512
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * deviation**2))
