"""Series of large pictures without the detail for their size: whole they may look well, in detail they do not.

A clean picture is reduced and enlarged to a size up to `ratio` times that of its views. What people rated were pictures
of 512 x 384 px at their own size, so nobody's table has a price for this: what the loss would cost at the picture's own
size, and what it would cost at the size of the views, are both right, and their mean is taken. Ours.
"""

import math
from collections.abc import Callable

import numpy as np

from ..distortions import filters
from ..distortions.colour import Pixels, from_greys, to_pixels, to_values
from .degraded import REDUCE, Version
from .framing import Area, Frame, Generator, Size, draw_area, draw_corner, draw_kernel, take
from .nothing import ENLARGE
from .prices import Price, Prices

MOST = 4.0  # times that a picture is enlarged
VERSIONS = 4
EXTRA = 0.5  # share of the series with noise or defocus on top
NOISE = (4.0, 26.0)  # standard deviation in grey levels: KADID-10k's range, and below it
DEFOCUS = (0.7, 4.0)  # radius in px of the large picture


def large(
    clean: Pixels, rng: Generator, size: Size, prices: Prices, ratio: float, stretch: float
) -> tuple[list[Version], Frame]:
    """Four versions, enlarged ever more, and the frame of their whole and detail.

    The first is enlarged as little as the size allows: not at all where the clean picture has enough pixels.

    Args:
        clean: `(H, W, 3)` uint8.
        size: Of the views.
        ratio: Largest ratio of the picture's sides to those of its views; its logarithm is uniform.
        stretch: See `draw_area`.
    """
    times = math.exp(rng.uniform(0, math.log(ratio)))
    virtual = round(size[0] * times), round(size[1] * times)
    area = draw_area(rng, clean.shape[:2], size, 1.0, stretch)
    part = area.of(clean)
    least = max(1.0, virtual[0] / area.height, virtual[1] / area.width)
    factors = _draw_factors(rng, least)
    up, down = ENLARGE[int(rng.integers(len(ENLARGE)))], REDUCE[int(rng.integers(len(REDUCE)))]
    extra = _draw_extra(rng, prices, times) if rng.random() < EXTRA else None
    versions = []
    for factor in factors:
        small = max(1, round(virtual[0] / factor)), max(1, round(virtual[1] / factor))
        pixels = take(part, Area.whole(part), small, down)
        pixels = take(pixels, Area.whole(pixels), virtual, up)
        quality = at_both_sizes(prices.blur, 0.5 * math.sqrt(factor**2 - 1), times)
        costs = {"upscaled": 1 - quality}
        if extra:
            name, kept, degrade = extra
            pixels, quality = degrade(pixels), quality * kept
            costs[name] = 1 - kept
        versions.append(Version(pixels, quality, costs))
    corner = draw_corner(rng, virtual, size)
    return versions, Frame(Area(0, 0, *virtual), size, draw_kernel(rng), virtual, corner)


def at_both_sizes(price: Price, strength: float, ratio: float) -> float:
    """Mean of what a loss leaves at a picture's own size, and where the picture is `ratio` times smaller."""
    return (price(strength) + price(strength / ratio)) / 2


def _draw_factors(rng: Generator, least: float) -> list[float]:
    """Growing, each from its own part of the range from `least` to `MOST`; the logarithm is uniform."""
    low, high = math.log(min(least, MOST)), math.log(MOST)
    steps = (np.arange(VERSIONS) + rng.random(VERSIONS)) / VERSIONS
    return [float(factor) for factor in np.exp(low + (high - low) * steps)]


def _draw_extra(rng: Generator, prices: Prices, ratio: float) -> tuple[str, float, Callable[[Pixels], Pixels]]:
    """Noise or defocus of one strength for all versions: its name, the quality that is kept, and what makes it."""
    if rng.random() < 0.5:
        deviation = _log_uniform(rng, *NOISE)
        seed = int(rng.integers(2**32))

        def add_noise(pixels: Pixels) -> Pixels:
            noise = np.random.default_rng(seed).standard_normal(pixels.shape, np.float32)
            return from_greys(pixels + np.float32(deviation) * noise)

        return "noise", at_both_sizes(prices.noise, deviation, ratio), add_noise
    radius = _log_uniform(rng, *DEFOCUS)
    disk = filters.disk(radius)
    return (
        "blur",
        at_both_sizes(prices.defocus, radius, ratio),
        lambda pixels: to_pixels(filters.convolve(to_values(pixels), disk)),
    )


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
