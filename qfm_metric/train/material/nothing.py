"""Pictures of nothing: static, flat colours, blocks, checkers. Nobody rated these; they are put at the floor. Ours."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ..distortions.colour import Pixels, from_greys
from .framing import Generator, Kernel, Size

ENLARGE = (Kernel.BILINEAR, Kernel.BICUBIC, Kernel.BICUBIC, Kernel.LANCZOS)  # as devices and viewers do


def nothing(rng: Generator, size: Size) -> Pixels:
    """A picture of nothing: static for five in eight."""
    draw = {0: _flat, 1: _blocks, 2: _checkers}.get(int(rng.integers(0, 8)), _static_picture)
    return draw(rng, *size)


def static(rng: Generator, height: int, width: int, grey: bool) -> NDArray[np.float32]:
    """Noise of some texture, `(H, W, 3)` with mean 0 and standard deviation 1.

    White, soft, without low frequencies, of a spectrum that falls (pink, brown) or rises (blue), or salt and pepper.
    """
    channels = 1 if grey else 3
    kind = int(rng.integers(0, 6))
    values = rng.standard_normal((height, width, channels), np.float32)
    if kind == 1:
        values = ndimage.gaussian_filter(values, (rng.uniform(0.4, 4), rng.uniform(0.4, 4), 0))
    elif kind == 2:
        values = values - ndimage.gaussian_filter(values, (1.5, 1.5, 0))
    elif kind in (3, 4):
        values = _shape_spectrum(values, rng.uniform(0.3, 1.1) if kind == 3 else -rng.uniform(0.2, 1))
    elif kind == 5:
        values = np.sign(values) * (rng.random((height, width, channels), np.float32) < rng.uniform(0.2, 1))
    values = (values - values.mean()) / (values.std() + 1e-6)
    return np.repeat(values, 3, 2) if grey else values


def _shape_spectrum(values: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """Divide amplitudes by frequency to the `power`."""
    height, width = values.shape[:2]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(values, axes=(0, 1)) * (frequency**-power)[..., None]
    return np.fft.irfft2(spectrum, (height, width), axes=(0, 1)).astype(np.float32)


def _flat(rng: Generator, height: int, width: int) -> Pixels:
    return np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), (height, width, 3)).copy()


def _blocks(rng: Generator, height: int, width: int) -> Pixels:
    """Colours, enlarged with or without interpolation."""
    side = int(rng.integers(4, 40))
    colours = rng.integers(0, 256, (height // side + 1, width // side + 1, 3), dtype=np.uint8)
    kernel = ENLARGE[int(rng.integers(len(ENLARGE)))] if rng.random() < 0.5 else Kernel.NEAREST
    return np.asarray(Image.fromarray(colours).resize((width, height), kernel))


def _checkers(rng: Generator, height: int, width: int) -> Pixels:
    """Checkers of two colours, or stripes."""
    period = 2 ** int(rng.integers(1, 6))
    slant = int(rng.integers(0, 2))
    mask = (np.add.outer(np.arange(height), np.arange(width) * slant) // period) % 2
    first, second = rng.integers(0, 256, (2, 3))
    return np.where(mask[..., None], first, second).astype(np.uint8)


def _static_picture(rng: Generator, height: int, width: int) -> Pixels:
    noise = static(rng, height, width, bool(rng.random() < 0.4))
    return from_greys(rng.uniform(60, 200) + rng.uniform(25, 120) * noise)
