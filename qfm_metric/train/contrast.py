"""Supervised contrast: views of one type and level of distortion shall look alike, whatever they show.

Positives are the ladders' versions of one type and level, each seen at two scales, as in CONTRIQUE (Madhusudana et al.,
IEEE TIP 2022) and, with labels in the place of clusters, SaTQA (Shi et al., AAAI 2024). Each undistorted photograph is
a class of its own, as CONTRIQUE takes pictures of unknown distortion: ours come out of cameras, each with a blur and a
noise of its own, and one class would teach that those do not matter. All versions of a ladder are seen in one place, so
what a picture shows tells no class from another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..model import QFMNet
from . import losses
from .datasets.table import DataError
from .material import FRAME, Material
from .material.framing import Area, Kernel, take
from .material.series import SeriesSource
from .step import Learner

CHECKS = 4  # batches that no step draws, whose loss is written down at checkpoints
SCALE = 2  # the second view shows so many times as much of each side, at the size of the first


@dataclass(frozen=True)
class Contrast:
    """What a step contrasts, per process.

    Attributes:
        types: Types of distortion.
        ladders: Of each type; their levels are drawn, three of five.
        photographs: Beside the ladders' clean ones.
        side: Of a view, px.
        width: Of the embedding.
        temperature: Of the loss.
    """

    types: int = 3
    ladders: int = 3
    photographs: int = 6
    side: int = 128
    width: int = 128
    temperature: float = 0.1

    def __post_init__(self) -> None:
        least = {"types": 1, "ladders": 1, "photographs": 0, "side": 64, "width": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name}: expected {bound} or more, got {getattr(self, name)}")
        if self.side % 32 or self.side * SCALE > min(FRAME):
            raise ValueError(f"side: expected a multiple of 32 of at most {min(FRAME) // SCALE}, got {self.side}")
        if not self.temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, got {self.temperature:g}")


class Contrasted(NamedTuple):
    """Pictures, each at two scales.

    Attributes:
        views: `(N, 2, side, side, 3)` uint8.
        classes: `(N,)` integers.
    """

    views: NDArray[np.uint8]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class ContrastMaterial:
    """What is contrasted.

    Attributes:
        material: Training pictures, and series of them.
        config: How much of what is drawn.
        by_type: Numbers of the ladders of each type; those of two types are left out.
    """

    material: Material
    config: Contrast
    by_type: list[list[int]]

    @classmethod
    def of(cls, material: Material, config: Contrast) -> "ContrastMaterial":
        """Sort the ladders by type.

        Raises:
            DataError: there are no ladders.
        """
        if material.series is None:
            raise DataError("expected human means and the ladders rendered from them (--severity, --ladders), got none")
        ladders = material.series.ladders
        by_type: dict[tuple[str, int], list[int]] = {}
        for number in ladders.drawn:
            types = {step[:2] for steps in ladders.series[number].steps for step in steps}
            if len(types) == 1:
                by_type.setdefault(types.pop(), []).append(number)
        return cls(material, config, list(by_type.values()))

    def draw(self, seed: Sequence[int], rank: int = 0) -> Contrasted:
        """What process `rank` looks at in one step. Equal arguments give equal pictures."""
        rng, config = np.random.default_rng([*seed, rank + 1]), self.config
        source = self.material.series
        assert source is not None  # `of` refuses material without
        views: list[NDArray[np.uint8]] = []
        classes: list[object] = []
        for place in rng.permutation(len(self.by_type))[: config.types]:
            for number in rng.choice(self.by_type[place], config.ladders):
                known, pictures = self._ladder(source, int(number))
                classes += known
                views += self._views(rng, pictures)
        photographs = self.material.decoded.select("train")
        for index in rng.choice(photographs, config.photographs):
            classes.append(int(index))
            views += self._views(rng, [self.material.decoded.pixels[index]])
        numbers = {name: number for number, name in enumerate(dict.fromkeys(classes))}
        return Contrasted(np.stack(views), np.array([numbers[name] for name in classes]))

    @staticmethod
    def _ladder(source: SeriesSource, number: int) -> tuple[list[object], list[NDArray[np.uint8]]]:
        """Classes and pictures of a ladder: the clean picture's index, and what was done to the others."""
        ladder = source.ladders.series[number]
        return [ladder.source, *(steps[0] for steps in ladder.steps)], source.ladders.pictures(number, source.decoded)

    def _views(self, rng: np.random.Generator, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """`(2, side, side, 3)` of each: a part as it is, and a larger one reduced; the same places in all of them."""
        side, (height, width) = self.config.side, pictures[0].shape[:2]
        areas = []
        for extent in (side, SCALE * side):
            top, left = int(rng.integers(height - extent + 1)), int(rng.integers(width - extent + 1))
            areas.append(Area(top, left, extent, extent))
        flipped = slice(None, None, -1 if rng.random() < 0.5 else 1)
        seen = [[take(picture, area, (side, side), Kernel.BOX) for area in areas] for picture in pictures]
        return [np.stack(both)[:, :, flipped] for both in seen]


class ContrastLearner(Learner):
    """The backbone, and a head that embeds views for the loss alone; what lies behind the backbone does not learn."""

    def __init__(self, net: QFMNet, width: int, bf16: bool = False) -> None:
        super().__init__(net, bf16)
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name.startswith("backbone."))
        channels = len(net.standardize.mean)
        self.embedding = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, width))

    def forward(self, views: Tensor) -> Tensor:
        """`(N, V, 3, h, w)`, normalised, to embeddings `(N * V, width)` of unit length."""
        cells = self.cells(views).mean(dim=(-2, -1))
        return F.normalize(self.embedding(self.net.standardize(cells)), dim=1)

    def loss(self, drawn: Contrasted, temperature: float) -> Tensor:
        """Of all views of a step; those of one picture are of one class."""
        views = torch.from_numpy(drawn.views).to(self.device).permute(0, 1, 4, 2, 3).float() / 255
        classes = torch.from_numpy(drawn.classes).to(self.device).repeat_interleave(views.shape[1])
        return losses.supervised_contrast(self((views - self.net.mean) / self.net.std), classes, temperature)
