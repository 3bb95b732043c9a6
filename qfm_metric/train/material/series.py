"""Series: four versions of a picture that people would rate ever lower, and what is wrong with each."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..datasets.table import Decoded
from ..defects import CLEAN, OWN, defect_of, type_of
from ..distortions import distort, seed_of_step
from ..distortions.colour import Pixels
from ..severity import DistortionLevel, Levels
from .config import MaterialConfig
from .degraded import KINDS, Version
from .framing import Area, Frame, Generator, Size
from .ladders import Ladders
from .large import large
from .nothing import nothing
from .prices import Prices

LENGTH = 4  # of a series
MOST_SHIFTED = 4  # px, up or down and to either side
SLOW = {  # more than .1 s a picture, which is too much while they are drawn: rendered ladders have them
    "KADID-10k": {2, 9, 19},
    "TID2013": {8, 9, 11, 13, 20, 21, 22},
}


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


def fast(levels: Levels, without: Collection[str] = ()) -> list[DistortionLevel]:
    """Those that can be made while series are drawn, of none of the types of `without`."""
    return [
        level
        for level in levels
        if level.type not in SLOW[level.data_set] and f"{level.data_set}/{level.type}" not in without
    ]


def with_another(rng: Generator, series: Series, level: DistortionLevel) -> Series:
    """The same, with one more distortion over the last one, two or three of the pictures.

    Each costs what it costs alone, and what both keep is the product. Ours.
    """
    start, seed = int(rng.integers(1, LENGTH)), int(rng.integers(2**31))
    step = level.data_set, level.type, level.level
    name, cost = defect_of(*step, seed), 1 - level.quality
    pictures, qualities = list(series.pictures), list(series.qualities)
    costs, types = list(series.costs), list(series.types)
    for i in range(start, LENGTH):
        pictures[i] = distort(pictures[i], *step, seed)
        qualities[i] *= level.quality
        costs[i] = costs[i] | {name: max(costs[i].get(name, 0), cost)}
        types[i] = -1
    return replace(series, pictures=pictures, qualities=qualities, costs=costs, types=types)


def shifted(rng: Generator, series: Series, size: Size) -> Series:
    """The same, with all pictures but the first up to `MOST_SHIFTED` px off; what they should score stays.

    In half of them the clean picture, which nothing but the shift distorts, takes the place of the first version. All
    lose a margin of so many px on each side, or fewer: none becomes smaller than a view of `size`.
    """
    if rng.random() < 0.5:
        twice = [0, 0, *range(2, LENGTH)]
        series = replace(
            series,
            pictures=[series.pictures[i] for i in twice],
            qualities=[series.qualities[i] for i in twice],
            costs=[series.costs[i] for i in twice],
            types=[series.types[i] for i in twice],
        )
    height, width = series.pictures[0].shape[:2]
    margins = [min(MOST_SHIFTED, max(0, have - want) // 2) for have, want in zip((height, width), size, strict=True)]
    areas = []
    for i in range(LENGTH):
        top, left = (margin + int(rng.integers(-margin, margin + 1)) * (i > 0) for margin in margins)
        areas.append(Area(top, left, height - 2 * margins[0], width - 2 * margins[1]))
    pictures = [area.of(picture) for area, picture in zip(areas, series.pictures, strict=True)]
    return replace(series, pictures=pictures)


@dataclass(frozen=True)
class SeriesSource:
    """What series are made from.

    Attributes:
        decoded: The pictures.
        clean: Indices of those that are worth degrading.
        ladders: The rendered series.
        prices: Of losses between people's levels.
        seconds: Distortions that are put over a series of another.
        config: Shares of the kinds.
    """

    decoded: Decoded
    clean: NDArray[np.int64]
    ladders: Ladders
    prices: Prices
    seconds: list[DistortionLevel]
    config: MaterialConfig

    def draw(self, rng: Generator, size: Size, joint: bool) -> Series:
        """A series of any kind, for views of `size`; `joint` as in `Material.draw`."""
        if joint and rng.random() < self.config.large:
            return self._large(rng, size)
        if rng.random() < self.config.ladders:
            series = from_ladder(rng, self.ladders, self.decoded)
        else:
            # A detail of nothing needs a picture that is larger than its view: as large as the others.
            series = self._own(rng, self.decoded.pixels.shape[1:3] if joint else size)
        if self.seconds and series.source >= 0 and rng.random() < self.config.composed:
            series = with_another(rng, series, self.seconds[int(rng.integers(len(self.seconds)))])
        if self.config.shifted and series.source >= 0 and rng.random() < self.config.shifted:
            return shifted(rng, series, size)
        return series

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
