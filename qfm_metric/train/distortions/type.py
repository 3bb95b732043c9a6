"""What a distortion type is, and how the strength is found that reaches a stated PSNR."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .colour import Pixels

Provenance = Literal["published", "ours"]


@dataclass(frozen=True)
class Distortion:
    """One type of a data set, with its five levels.

    Attributes:
        name: the data set's own, as in its table of scores.
        render: picture, parameter and generator to the distorted picture.
        parameters: what `render` gets at levels 1 to 5.
        provenance: "published" where method and parameters are the authors'; "ours" where one of them is not.
        note: the definition in a line; for "ours", what differs and why.
    """

    name: str
    render: Callable[[Pixels, float, np.random.Generator], Pixels]
    parameters: tuple[float, float, float, float, float]
    provenance: Provenance
    note: str

    def __call__(self, pixels: Pixels, level: int, seed: int = 0) -> Pixels:
        """Distort `(H, W, 3)` uint8 to a new array of that shape; equal arguments give equal pixels."""
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise ValueError(f"expected (H, W, 3) uint8 pixels, got {pixels.shape} {pixels.dtype}")
        if level not in (1, 2, 3, 4, 5):
            raise ValueError(f"expected a level from 1 to 5, got {level}")
        # One seed draws the same noise at every level, so that levels differ in strength only.
        distorted = self.render(pixels, self.parameters[level - 1], np.random.default_rng(seed))
        return np.array(distorted)  # codecs return read-only views, and level parameters may change nothing


def psnr(pixels: Pixels, clean: Pixels) -> float:
    """Peak signal-to-noise ratio in dB over all three channels, at most 100."""
    error = np.mean((pixels.astype(np.float32) - clean) ** 2, dtype=np.float64)
    return float(10 * np.log10(255**2 / max(error, 255**2 * 1e-10)))


def reach(
    clean: Pixels, render: Callable[[float], Pixels], target: float, low: float, high: float, rounds: int = 12
) -> Pixels:
    """The picture `render(strength)` whose PSNR is nearest to `target` dB, by bisection between `low` and `high`.

    PSNR must fall as the strength rises, if not strictly. The search is geometric and guesses along the straight line
    through the ends, because PSNR is about linear in the logarithm of most strengths; it stops within 0.05 dB. Where
    no strength reaches the target (a picture too flat to lose so much), the nearest end is what comes out.
    """
    tried = []

    def measure(strength: float) -> float:
        pixels = render(strength)
        tried.append((psnr(pixels, clean), pixels))
        return tried[-1][0]

    ends, gains = [float(np.log(low)), float(np.log(high))], [measure(low), measure(high)]
    for _ in range(rounds):
        if abs(gains[0] - target) < 0.05 or abs(gains[1] - target) < 0.05 or not gains[0] > target > gains[1]:
            break
        # The margin keeps one side from standing still where the line is far from straight.
        share = np.clip((gains[0] - target) / (gains[0] - gains[1]), 0.15, 0.85)
        middle = ends[0] + float(share) * (ends[1] - ends[0])
        gain = measure(float(np.exp(middle)))
        side = 0 if gain > target else 1
        ends[side], gains[side] = middle, gain
    return min(tried, key=lambda found: abs(found[0] - target))[1]
