"""What a score should not depend on, and what it must fall by: measured on clean photographs. All of this is ours.

Each check renders versions of photographs that nobody rated, and says what people would: a grey copy is as good, a
nearly black one is bad, static is no picture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from ..images import Pixels
from .distortions.colour import LUMINANCE
from .distortions.simple import gaussian_blur

Figures = dict[str, float]
Score = Callable[[Sequence[Pixels]], Any]  # pictures to scores `(N,)`

DARKER = (1.0, 0.5, 0.25, 0.15, 0.05)  # gains of pixel values; beyond the first stop people like each less
BRIGHTER = (1.0, 1.5, 2.0, 2.6, 4.0)
CASTS = ((1.2, 1.0, 0.8), (0.8, 1.0, 1.2), (1.0, 1.2, 1.0), (1.25, 0.9, 1.1), (0.7, 0.9, 1.3))
TEXTURES = ("white", "grey white", "pink", "blue", "band", "salt", "coarse", "grain")
LARGE = (3000, 4000)  # height, width: 12 megapixels


@dataclass(frozen=True)
class Check:
    """One thing that is wanted.

    Attributes:
        figure: Its name in the table.
        bound: What it may be at most, or at least if `least`.
    """

    figure: str
    bound: float
    least: bool = False

    def passed(self, figures: Figures) -> bool:
        return figures[self.figure] >= self.bound if self.least else figures[self.figure] <= self.bound


CHECKS = (
    Check("grey copy: mean change", 0.03),
    Check("darker than a stop: share falling", 0.95, least=True),
    Check("brighter than a stop: share falling", 0.95, least=True),
    Check("x 0.05: highest score", 0.4),
    Check("x 4: highest score", 0.4),
    Check("static: highest score", 0.3),
    Check("colour cast: highest gain", 0.02),
    Check("letterbox: mean change", 0.03),
    Check("flip: mean change", 0.03),
    Check("border crop: mean change", 0.03),
)


def check_invariances(score: Score, photographs: Sequence[Pixels], seed: int = 0) -> Figures:
    """The figures that `CHECKS` name.

    Args:
        score: Takes `(H, W, 3)` uint8 pictures.
        photographs: Clean ones, `(H, W, 3)` uint8, which the weights have not seen.
        seed: Of static.
    """
    clean = np.asarray(score(photographs))
    found: Figures = {}
    for name, change in (("grey copy", grey), ("letterbox", letterbox), ("flip", flip), ("border crop", border_crop)):
        found[f"{name}: mean change"] = float(
            np.abs(np.asarray(score([change(p) for p in photographs])) - clean).mean()
        )
    for name, gains in (("darker", DARKER), ("brighter", BRIGHTER)):
        ladder = np.stack([np.asarray(score([expose(p, gain) for p in photographs])) for gain in gains[1:]])
        found[f"{name} than a stop: share falling"] = float((np.diff(ladder, axis=0) < 0).mean())
        found[f"x {gains[-1]:g}: highest score"] = float(ladder[-1].max())
    casts = [np.asarray(score([cast(p, gains) for p in photographs])) - clean for gains in CASTS]
    found["colour cast: highest gain"] = float(np.max(casts))
    found["static: highest score"] = float(np.max(np.asarray(score(statics(seed)))))
    return found


def check_large(score: Score, photographs: Sequence[Pixels], seed: int = 0) -> Figures:
    """What happens at 12 megapixels: photographs against their copy of 1080 rows, and what shows at full size alone.

    Args:
        score: See `check_invariances`.
        photographs: Sharp ones of 12 megapixels or so.
        seed: Of the noise.
    """
    clean = np.asarray(score(photographs))
    small = np.asarray(score([reduce_to_rows(p, 1080) for p in photographs]))
    found = {"large, sharp: mean change to 1080 rows": float(np.abs(clean - small).mean())}
    for name, change, levels in (
        ("defocus", defocus, (1.5, 3.0, 5.0, 8.0)),
        ("noise", noise, (12.0, 25.0, 40.0, 60.0)),
    ):
        ladder = np.stack([clean, *(np.asarray(score([change(p, v, seed) for p in photographs])) for v in levels)])
        found[f"large, {name}: share falling"] = float((np.diff(ladder, axis=0) < 0).all(axis=0).mean())
        found[f"large, {name}: least cost of the second level"] = float(np.quantile(ladder[0] - ladder[2], 0.05))
    return found


def grey(pixels: Pixels) -> Pixels:
    """Black and white, by luminance."""
    return np.repeat(_pixels(pixels @ LUMINANCE)[..., None], 3, axis=2)


def flip(pixels: Pixels) -> Pixels:
    """Left to right."""
    return pixels[:, ::-1].copy()


def border_crop(pixels: Pixels, share: float = 0.05) -> Pixels:
    """Without `share` of each side."""
    height, width = pixels.shape[:2]
    down, right = round(height * share), round(width * share)
    return pixels[down : height - down, right : width - right].copy()


def letterbox(pixels: Pixels, share: float = 0.12) -> Pixels:
    """With black bars above and below, each `share` of the height."""
    bar = round(len(pixels) * share)
    return np.pad(pixels, ((bar, bar), (0, 0), (0, 0)))


def expose(pixels: Pixels, gain: float) -> Pixels:
    """Pixel values times `gain`, clipped."""
    return _pixels(pixels * np.float32(gain))


def cast(pixels: Pixels, gains: Sequence[float]) -> Pixels:
    """Each channel times its gain, clipped."""
    return _pixels(pixels * np.asarray(gains, np.float32))


def statics(seed: int, side: int = 512) -> list[Pixels]:
    """Pictures of static: two contrasts of each of `TEXTURES`."""
    rng = np.random.default_rng(seed)
    return [_pixels(127 + spread * texture(name, side, rng)) for name in TEXTURES for spread in (35, 80)]


def texture(name: str, side: int, rng: np.random.Generator) -> Any:
    """Random `(side, side, 3)` of mean 0 and standard deviation 1."""
    white = rng.standard_normal((side, side, 3), np.float32)
    if name == "grey white":
        white[:] = white[..., :1]
    elif name in ("pink", "blue"):
        frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
        frequency[0, 0] = 1
        power = -0.7 if name == "pink" else 0.7
        spectrum = np.fft.rfft2(white, axes=(0, 1)) * (frequency**power)[..., None]
        white = np.fft.irfft2(spectrum, (side, side), axes=(0, 1)).astype(np.float32)
    elif name == "band":
        white = ndimage.gaussian_filter(white, (1, 1, 0)) - ndimage.gaussian_filter(white, (2.5, 2.5, 0))
    elif name == "salt":
        white = np.where(rng.random((side, side, 1)) < 0.3, np.sign(white[..., :1]), 0).repeat(3, axis=2)
    elif name == "coarse":
        white = ndimage.gaussian_filter(white, (3, 3, 0))
    elif name == "grain":
        white = ndimage.gaussian_filter(white[..., :1], (0.7, 0.7, 0)).repeat(3, axis=2)
    return (white - white.mean()) / white.std()


def reduce_to_rows(pixels: Pixels, rows: int) -> Pixels:
    """Reduced to so many rows, its shape kept."""
    size = (max(1, round(pixels.shape[1] * rows / pixels.shape[0])), rows)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def defocus(pixels: Pixels, sigma: float, seed: int = 0) -> Pixels:
    """Gaussian blur of `sigma` px."""
    return gaussian_blur(pixels, sigma)


def noise(pixels: Pixels, spread: float, seed: int = 0) -> Pixels:
    """White noise of a standard deviation of `spread` grey levels; the same draw at every level."""
    drawn = np.random.default_rng(seed).standard_normal(pixels.shape, np.float32)
    return _pixels(pixels + np.float32(spread) * drawn)


def _pixels(values: Any) -> Pixels:
    return np.rint(values).clip(0, 255).astype(np.uint8)
