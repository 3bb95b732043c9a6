"""How much of its quality a picture keeps that is blurred or noisy by any amount, between the levels people rated."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..datasets.table import DataError
from ..distortions import DATA_SETS
from ..severity import Levels

Price = Callable[[float], float]


@dataclass(frozen=True)
class Prices:
    """Quality that is kept, in [0, 1], by strength: interpolated between KADID-10k's levels; 1 at 0.

    Attributes:
        blur: By the standard deviation of a Gaussian blur, px.
        defocus: By the radius of a lens's disk, px.
        noise: By the standard deviation of white noise, in grey levels of 255.
    """

    blur: Price
    defocus: Price
    noise: Price

    @classmethod
    def of(cls, levels: Levels) -> "Prices":
        """From people's means.

        Raises:
            DataError: a level of KADID-10k's types 1, 2 or 11 is missing.
        """
        return cls(
            blur=_between(levels, 1, lambda sigma: sigma),
            defocus=_between(levels, 2, lambda radius: radius),
            noise=_between(levels, 11, lambda variance: 255 * math.sqrt(variance)),
        )


def _between(levels: Levels, type: int, strength: Callable[[float], float]) -> Price:
    """Of a type of KADID-10k; `strength` is made of the type's own parameter."""
    quality = {x.level: x.quality for x in levels if (x.data_set, x.type) == ("KADID-10k", type)}
    if len(quality) < 5:
        raise DataError(f"expected five levels of KADID-10k's type {type} among the human means, got {len(quality)}")
    strengths = [0.0, *map(strength, DATA_SETS["KADID-10k"][type].parameters)]
    qualities = [1.0, *(quality[level] for level in range(1, 6))]
    return lambda value: float(np.interp(value, strengths, qualities))
