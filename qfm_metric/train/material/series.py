"""Series: four versions of a picture that people would rate ever lower, and what is wrong with each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..datasets.table import Decoded
from ..defects import CLEAN, OWN, defect_of, type_of
from ..distortions import seed_of_step
from ..distortions.colour import Pixels
from .config import MaterialConfig
from .degraded import KINDS, Version
from .framing import Frame, Generator, Size
from .ladders import Ladders
from .large import large
from .nothing import nothing
from .prices import Prices

LENGTH = 4  # of a series


@dataclass(frozen=True)
class Series:
    """Four versions of one picture, or four pictures of nothing.

    Attributes:
        pictures: `(H, W, 3)` uint8 each, all of one size.
        qualities: How much of the clean picture's quality each keeps, in [0, 1].
        costs: Per picture, the quality that each defect takes, by name.
        types: Places in `defects.TYPES`, `CLEAN`, or -1: none of them alone.
        source: Index of the decoded picture; -1: made from none.
        frame: Where the views must be taken; None: anywhere.
    """

    pictures: list[Pixels]
    qualities: list[float]
    costs: list[dict[str, float]]
    types: list[int]
    source: int
    frame: Frame | None = None


def from_ladder(rng: Generator, ladders: Ladders, decoded: Decoded) -> Series:
    """One of the rendered ones. Where two distortions meet, each costs what it cost alone."""
    number = ladders.drawn[int(rng.integers(len(ladders.drawn)))]
    ladder = ladders.series[number]
    costs: list[dict[str, float]] = [{}]
    types, alone = [CLEAN], {step: 1 - kept for step, kept in ladder.alone()}
    for steps in ladder.steps:
        types.append(type_of(*steps[0][:2]) if len(steps) == 1 else -1)
        found: dict[str, float] = {}
        for place, step in enumerate(steps):
            name = defect_of(*step, seed_of_step(number, place))
            found[name] = max(found.get(name, 0), alone[step])
        costs.append(found)
    return Series(ladders.pictures(number, decoded), [1.0, *ladder.qualities], costs, types, ladder.source)


@dataclass(frozen=True)
class SeriesSource:
    """What series are made from.

    Attributes:
        decoded: The pictures.
        clean: Indices of those that are worth degrading.
        ladders: The rendered series.
        prices: Of losses between people's levels.
        config: Shares of the kinds.
    """

    decoded: Decoded
    clean: NDArray[np.int64]
    ladders: Ladders
    prices: Prices
    config: MaterialConfig

    def draw(self, rng: Generator, size: Size, joint: bool) -> Series:
        """A series of any kind, for views of `size`; `joint` as in `Material.draw`."""
        if joint and rng.random() < self.config.large:
            return self._large(rng, size)
        if rng.random() < self.config.ladders:
            return from_ladder(rng, self.ladders, self.decoded)
        # A detail of nothing needs a picture that is larger than its view: as large as the others.
        return self._own(rng, self.decoded.pixels.shape[1:3] if joint else size)

    def _own(self, rng: Generator, size: Size) -> Series:
        """One of `OWN`; `size` is that of pictures of nothing, all others have that of the decoded ones."""
        kind = OWN[int(rng.choice(len(OWN), p=[self.config.own.get(kind, 0.0) for kind in OWN]))]
        type = type_of("own", kind)
        if kind == "nothing":
            pictures = [nothing(rng, size) for _ in range(LENGTH)]
            return Series(pictures, [0.0] * LENGTH, [{}] * LENGTH, [type] * LENGTH, -1)
        source = self._draw_clean(rng)
        clean = self.decoded.pixels[source]
        versions = [Version(clean, 1.0, {}), *KINDS[kind](clean, rng, self.prices.blur)]
        return _of(versions, [CLEAN, *[type] * (LENGTH - 1)], source)

    def _large(self, rng: Generator, size: Size) -> Series:
        source = self._draw_clean(rng)
        clean, ratio, stretch = self.decoded.pixels[source], self.config.ratio, self.config.stretch
        versions, frame = large(clean, rng, size, self.prices, ratio, stretch)
        type = type_of("own", "enlarged") if set(versions[0].costs) == {"upscaled"} else -1
        return _of(versions, [type] * LENGTH, source, frame)

    def _draw_clean(self, rng: Generator) -> int:
        return int(self.clean[int(rng.integers(len(self.clean)))])


def _of(versions: list[Version], types: list[int], source: int, frame: Frame | None = None) -> Series:
    pictures, qualities, costs = map(list, zip(*versions, strict=True))
    return Series(pictures, qualities, costs, types, source, frame)
