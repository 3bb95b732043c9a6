"""What a training run looks at: photographs, and series of versions of a picture that people would rate ever lower.

A series is a clean picture and what distortion, resampling or both make of it. How much quality each version keeps
comes from people where they said it, not from a network: the mean human score per type and level of KADID-10k and
TID2013 (`severity`). Everything is drawn from a seed, so a step's number names the same pictures in every run.

framing -> nothing -> degraded, large; ladders -> series -> samples -> Material.draw
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..datasets.table import DataError, Decoded
from ..pseudo_labels import Labels, read_labels
from ..severity import read_severity
from . import framing
from .config import MaterialConfig
from .framing import Size, to_tensor
from .ladders import FRAME, Ladders
from .prices import Prices
from .samples import Pool, photograph, pictures_of
from .series import LENGTH, SeriesSource, fast

__all__ = ["FRAME", "LENGTH", "Batch", "Material", "MaterialConfig", "to_tensor"]


@dataclass(frozen=True)
class Batch:
    """What one process looks at in one step: photographs first, then series, `LENGTH` pictures each.

    Attributes:
        views: `(N, V, h, w, 3)` uint8. Of two views the first is the whole picture and the second a detail of it.
        photos: How many of the N are photographs.
        targets: `(N,)` what people would say, as an MOS in [0, 1].
        weights: `(N,)` how much a picture counts, at most 1; of photographs less, the less of them is seen.
        sources: `(N,)` index of the decoded picture; -1: made from none.
        subsets: `(N,)` of the data set, of each photograph; "" in series.
        defects: `(N, K)` quality that each of `qfm_metric.defects.NAMES` takes, in [0, 1]; NaN: not known.
        types: `(N,)` place in `defects.TYPES`, or `defects.CLEAN`; -1: not known, or several.
        cells: `(N * V, C, rows, columns)`, what a backbone made of the views, in their place; None: nothing is made.
    """

    views: NDArray[np.uint8]
    photos: int
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    sources: NDArray[np.int64]
    subsets: NDArray[np.str_]
    defects: NDArray[np.float32]
    types: NDArray[np.int64]
    cells: NDArray[np.float16] | None = None


@dataclass(frozen=True)
class Material:
    """All that can be drawn.

    Attributes:
        decoded: The pictures.
        labels: What is known of each.
        config: How much of what is drawn.
        pools, shares: Photographs, and how often each pool is drawn from.
        series: What series are made from; None: there are none.
    """

    decoded: Decoded
    labels: Labels
    config: MaterialConfig
    pools: list[Pool]
    shares: list[float]
    series: SeriesSource | None

    @classmethod
    def open(
        cls,
        data: Path,
        severity: Path | None = None,
        ladders: Path | None = None,
        members: Sequence[Path] = (),
        config: MaterialConfig | None = None,
    ) -> "Material":
        """Open what `prepare` and `ladders` wrote.

        Args:
            data: What `prepare` wrote.
            severity: People's means per distortion type and level (`read_severity`); None: no series.
            ladders: Pre-rendered series of the same data and means (`ladders.render`); goes with `severity`.
            members: The teacher's pseudo-labels (`read_labels`); none: the MOS alone.
            config: How much of what is drawn.

        Raises:
            DataError: one of them is not what it should be, they do not go together, or there is nothing to draw from.
        """
        config = config or MaterialConfig()
        decoded = Decoded.open(data / "decoded")
        labels = read_labels(decoded, members)
        train = decoded.select("train")
        if not len(train):
            raise DataError(f"{data}: expected pictures to train on, got none")
        subsets = np.array([decoded.rows[i].subset for i in train])
        named = config.subsets or {name: float(np.mean(subsets == name)) for name in np.unique(subsets).tolist()}
        if missing := set(named) - set(subsets.tolist()):
            raise DataError(f"{data}: the training part has no pictures of subset {', '.join(sorted(missing))}")
        pools = [Pool.of(train[subsets == name], labels.mos) for name in named]
        if (severity is None) != (ladders is None):
            raise DataError("expected human means and the ladders rendered from them, or neither; got one of the two")
        if severity is None or ladders is None:
            return cls(decoded, labels, config, pools, list(named.values()), None)
        train = train[np.isin(subsets, list(named))]
        clean = train[labels.mos[train] >= config.clean_mos]
        if not len(clean):
            raise DataError(f"{data}: expected training pictures with an MOS of {config.clean_mos:g} or more, got none")
        levels = read_severity(severity)
        rendered = Ladders.open(ladders, decoded, levels).of(train, config.without)
        series = SeriesSource(decoded, clean, rendered, Prices.of(levels), fast(levels, config.without), config)
        return cls(decoded, labels, config, pools, list(named.values()), series)

    def draw(self, seed: Sequence[int], rank: int = 0, joint: bool = False) -> Batch:
        """What process `rank` looks at in one step.

        Args:
            seed: Of the run, and the step. Equal arguments give equal batches.
            rank: All ranks' views are of one shape, and they draw as many photographs and series.
            joint: Two views of each picture, of the whole and of a detail at the picture's own size, which is up to
                `config.ratio` times that of the views; else one view, of the whole or a part.
        """
        common, rng = np.random.default_rng([*seed]), np.random.default_rng([*seed, rank + 1])
        size = framing.draw_shape(common, framing.fitting(self._shapes(joint), self.decoded.pixels.shape[1]))
        photos, count = self._counts(size, 2 if joint else 1)
        samples = []
        for _ in range(photos):
            pool = self.pools[int(rng.choice(len(self.pools), p=self.shares))]
            samples.append(photograph(rng, pool, self.decoded, self.labels, size, self.config, joint))
        for _ in range(count):
            assert self.series is not None  # `_counts` gives none without
            series = self.series.draw(rng, size, joint)
            samples += pictures_of(rng, series, self.labels, size, self.config, joint)
        return Batch(
            views=np.stack([np.stack(sample.views) for sample in samples]),
            photos=photos,
            targets=np.array([sample.target for sample in samples], np.float32),
            weights=np.array([sample.weight for sample in samples], np.float32),
            sources=np.array([sample.source for sample in samples], np.int64),
            subsets=np.array([sample.subset for sample in samples]),
            defects=np.stack([sample.defects for sample in samples]),
            types=np.array([sample.type for sample in samples], np.int64),
        )

    def shares_by_subset(self) -> dict[str, float]:
        """How often each subset of the data set is drawn from."""
        names = [self.decoded.rows[pool.indices[0]].subset for pool in self.pools]
        return dict(zip(names, self.shares, strict=True))

    def _shapes(self, joint: bool) -> framing.Shapes:
        if not joint:
            return framing.SHAPES
        small = self.config.small_joint
        return [(small, framing.SMALL_JOINT), (1 - small, framing.LARGE_JOINT)]

    def _counts(self, size: Size, views: int) -> tuple[int, int]:
        """Photographs and series of a step."""
        config = self.config
        pictures = config.pixels / (views * size[0] * size[1])
        count = min(config.most_series, max(1, round(pictures * config.series))) if self.series else 0
        fewest = config.fewest_photos if views == 1 else config.fewest_joint
        return min(config.most_photos, max(fewest, round(pictures) - LENGTH * count)), count
