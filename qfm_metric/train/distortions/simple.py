"""Degrade a photograph by a known amount: plain degradations for examples and checks; training uses the data sets'.

Each kind takes an `(H, W, 3)` uint8 picture and a strength in [0, 1] (0: hardly visible, 1: ruined) and returns a new
uint8 picture; equal arguments give equal pictures. The kinds and their ranges are ours.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from . import coding
from .colour import Pixels, from_greys


def degrade(pixels: Pixels, kind: str, strength: float, seed: int = 0) -> Pixels:
    """Degrade `pixels` by `kind` (a key of `KINDS`); `seed` fixes the noise."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of degradation {kind!r}; known: {', '.join(KINDS)}")
    if not 0 <= strength <= 1:
        raise ValueError(f"expected a strength in [0, 1], got {strength}")
    return KINDS[kind](pixels, strength, seed)


def geometric(low: float, high: float, strength: float) -> float:
    """From `low` to `high` in equal ratios, which is about how people see steps of loss."""
    return float(low * (high / low) ** strength)


def gaussian_blur(pixels: Pixels, sigma: float) -> Pixels:
    """Blur of `sigma` px."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def white_noise(pixels: Pixels, sigma: float, seed: int) -> Pixels:
    """Noise of a standard deviation of `sigma` grey levels."""
    return from_greys(pixels + np.random.default_rng(seed).normal(0, sigma, pixels.shape))


def blur(pixels: Pixels, strength: float, seed: int) -> Pixels:
    return gaussian_blur(pixels, geometric(0.6, 6.0, strength))


def noise(pixels: Pixels, strength: float, seed: int) -> Pixels:
    return white_noise(pixels, geometric(4.0, 60.0, strength), seed)


def jpeg(pixels: Pixels, strength: float, seed: int) -> Pixels:
    return coding.jpeg(pixels, round(geometric(60, 3, strength)))


def webp(pixels: Pixels, strength: float, seed: int) -> Pixels:
    return coding.decode(coding.encode(pixels, "WEBP", quality=round(40 * (1 - strength)), method=2))


def overexpose(pixels: Pixels, strength: float, seed: int) -> Pixels:
    return from_greys(pixels * geometric(1.15, 3.0, strength))


def underexpose(pixels: Pixels, strength: float, seed: int) -> Pixels:
    return from_greys(pixels * geometric(0.75, 0.1, strength))


def pixelate(pixels: Pixels, strength: float, seed: int) -> Pixels:
    """Reduce and enlarge again; the seed picks the kernel."""
    image, factor = Image.fromarray(pixels), geometric(1.5, 8.0, strength)
    small = image.resize([max(1, round(side / factor)) for side in image.size], Image.Resampling.BOX)
    kernels = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
    return np.asarray(small.resize(image.size, kernels[seed % 3]))


def fade(pixels: Pixels, strength: float, seed: int) -> Pixels:
    """Less contrast around the picture's mean."""
    mean = pixels.mean()
    return from_greys(mean + (pixels - mean) * geometric(0.8, 0.12, strength))


KINDS: dict[str, Callable[[Pixels, float, int], Pixels]] = {
    kind.__name__: kind for kind in (blur, noise, jpeg, webp, overexpose, underexpose, pixelate, fade)
}
