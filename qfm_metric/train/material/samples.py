"""One picture of a batch: its views, and what is known of it; photographs, and the pictures of a series."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...defects import NAMES
from ..datasets.table import Decoded
from ..distortions import coding
from ..distortions.colour import Pixels
from ..pseudo_labels import Labels
from ..severity import FLOOR, target
from . import framing
from .config import MaterialConfig
from .framing import Area, Bars, Frame, Generator, Kernel, Size
from .series import Series

OF_COLOUR = {"colour", "fringes"}  # defects that a grey picture cannot show


@dataclass(frozen=True)
class Sample:
    """One of a `Batch`: its attributes are the batch's."""

    views: list[Pixels]
    target: float
    weight: float
    source: int
    subset: str
    defects: NDArray[np.float32]
    type: int


@dataclass(frozen=True)
class Pool:
    """Photographs: indices of decoded pictures, and how often each is drawn."""

    indices: NDArray[np.int64]
    chances: NDArray[np.float64]

    @classmethod
    def of(cls, indices: NDArray[np.int64], mos: NDArray[np.float32]) -> "Pool":
        """Rare MOS are drawn more often: by the square root of how rare they are among all `mos[indices]`."""
        bins = 15
        counts, edges = np.histogram(mos[indices], bins)
        places = np.clip(np.digitize(mos[indices], edges) - 1, 0, bins - 1)
        chances = 1 / np.sqrt(counts[places])
        return cls(indices, chances / chances.sum())


def photograph(
    rng: Generator, pool: Pool, decoded: Decoded, labels: Labels, size: Size, config: MaterialConfig, joint: bool
) -> Sample:
    """A photograph of the pool with its MOS; `joint` as in `Material.draw`."""
    index = int(rng.choice(pool.indices, p=pool.chances))
    pixels, kernel = decoded.pixels[index], framing.draw_kernel(rng)
    if rng.random() < config.letterbox:
        picture, area, frame = _letterboxed(rng, pixels, size, kernel, config, joint)
    else:
        area = framing.draw_area(rng, pixels.shape[:2], size, config.whole_photos, config.stretch)
        picture, frame = pixels, framing.draw_frame(rng, area, size, kernel, config.ratio if joint else None)
    if rng.random() < config.recompressed:
        picture, frame = frame.render(picture)
        picture = coding.jpeg(picture, int(rng.integers(88, 99)))
    views = frame.views(picture)
    if rng.random() < config.grey:
        views = [framing.grey(view) for view in views]
    if rng.random() < 0.5:
        views = [view[:, ::-1] for view in views]
    seen = np.sqrt(area.height * area.width) / pixels.shape[1]
    return Sample(
        views=views,
        target=float(labels.mos[index]),
        weight=config.small_weight + (1 - config.small_weight) * seen,
        source=index,
        subset=decoded.rows[index].subset,
        defects=np.full(len(NAMES), np.nan, np.float32),
        type=-1,
    )


def pictures_of(
    rng: Generator, series: Series, labels: Labels, size: Size, config: MaterialConfig, joint: bool
) -> list[Sample]:
    """The pictures of a series, seen alike: the same part, size, kernel and flip, all grey or none."""
    frame = series.frame
    if frame is None:
        area = framing.draw_area(rng, series.pictures[0].shape[:2], size, config.whole_series, config.stretch)
        frame = framing.draw_frame(rng, area, size, framing.draw_kernel(rng), config.ratio if joint else None)
    flip = rng.random() < 0.5
    named = {name for cost in series.costs for name in cost}
    grey = not named & OF_COLOUR and rng.random() < config.grey
    clean = float(labels.clean[series.source]) if series.source >= 0 else FLOOR
    targets = target(np.array(clean), np.array(series.qualities))
    samples = []
    for picture, score, cost, type in zip(series.pictures, targets, series.costs, series.types, strict=True):
        views = frame.views(picture)
        views = [framing.grey(view) for view in views] if grey else views
        views = [view[:, ::-1] for view in views] if flip else views
        known = np.zeros(len(NAMES), np.float32) if series.source >= 0 else np.full(len(NAMES), np.nan, np.float32)
        for name, taken in cost.items():
            known[NAMES.index(name)] = taken
        samples.append(Sample(views, float(score), 1.0, series.source, "", known, type))
    return samples


def _letterboxed(
    rng: Generator, pixels: Pixels, size: Size, kernel: Kernel, config: MaterialConfig, joint: bool
) -> tuple[Pixels, Area, Frame]:
    """A photograph between bars, the part of it that is seen, and the frame that takes the views of both."""
    bars = Bars.draw(rng, size)
    inner = bars.inside(size)
    area = framing.draw_area(rng, pixels.shape[:2], inner, config.whole_letterboxed, config.stretch)
    level = 0 if rng.random() < config.black else int(rng.integers(256))
    if joint:  # bars of the picture itself, since its detail is cut out at another size than the views'
        part = area.of(pixels)
        height, width = (round(have * want / kept) for have, want, kept in zip(part.shape, size, inner, strict=False))
    else:
        part, (height, width) = framing.take(pixels, area, inner, kernel), size
    picture = framing.letterbox(part, (height, width), level)
    frame = framing.draw_frame(rng, Area.whole(picture), size, kernel, config.ratio if joint else None)
    return picture, area, frame
