"""What `QFMScore.assess` says about images: score, uncertainty, local quality, and words for them."""

import math
from dataclasses import dataclass

from torch import Tensor

from .defects import Defects
from .scale import band, percentile


def half_width(coverage: float) -> float:
    """Half the central interval of probability `coverage` of Student's t with 3 degrees of freedom and variance 1.

    In standard deviations: .686 for .68, 1.837 for .95. Its inverse has no closed form, so it is bisected.
    """
    low, high = 0.0, 1.0
    while _inside(high) < coverage:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle) < coverage else (low, middle)
    return high


def _inside(deviations: float) -> float:
    return 2 / math.pi * (deviations / (1 + deviations**2) + math.atan(deviations))


@dataclass(frozen=True, eq=False)
class Assessment:
    """All that one forward pass says about N images.

    The map has a value per cell of a grid laid over the whole picture, about 10 x 10 cells for the default weights and
    fewer for small pictures. A cell's value is the score of a picture that would be everywhere like the 3 x 3 cells
    around it, with one shift of the log-odds that fits the map to the score: **the mean of the map's log-odds is the
    score's log-odds**, `logit(quality_map).mean((1, 2, 3)) == logit(score)`, where `logit(q) = log(q / (1 - q))`. So
    the map says how quality is spread over the picture, and the score how much of it there is.

    Attributes:
        score: `(N,)`, float32 in [0, 1]; higher is better.
        std: `(N,)`, the expected standard deviation of the MOS about the score, on the same scale; None if the weights
            predict none.
        quality_map: `(N, 1, h, w)`, float32 in (0, 1), higher is better; for a list of images a list of `(1, h, w)`.
        defects: What each named defect costs; None if the weights name none.
        photograph: `(N,)`, bool: False for drawings, text, screenshots and the like, whose score says little; None if
            the weights do not tell them.
    """

    score: Tensor
    std: Tensor | None
    quality_map: Tensor | list[Tensor]
    defects: Defects | None = None
    photograph: Tensor | None = None

    def interval(self, coverage: float = 0.68) -> tuple[Tensor, Tensor]:
        """Where the MOS lies with probability `coverage`: ends `(N,)`, in [0, 1].

        The MOS is taken to follow Student's t distribution with three degrees of freedom about the score: errors on
        validation have longer tails than a normal distribution (ours).

        Raises:
            ValueError: `coverage` outside (0, 1), or the weights predict no standard deviation.
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage: expected a probability between 0 and 1, got {coverage}")
        if self.std is None:
            raise ValueError("expected weights that predict an uncertainty, these do not; load others for intervals")
        half = half_width(coverage) * self.std
        return (self.score - half).clamp(0, 1), (self.score + half).clamp(0, 1)

    @property
    def band(self) -> list[str]:
        """A word per image: bad, poor, fair, good or excellent, see `qfm_metric.scale`."""
        return [band(score) for score in self.score.tolist()]

    @property
    def top_defect(self) -> list[str]:
        """The name of what costs each image most, see `qfm_metric.defects`; empty where nothing stands out.

        Raises:
            ValueError: the weights name no defects.
        """
        return self._known_defects().top()

    @property
    def sentence(self) -> list[str]:
        """Each image in words: `poor: mostly noisy (0.31 +- 0.08), somewhat dark`.

        Raises:
            ValueError: the weights name no defects.
        """
        return [f"{word}: {text}" for word, text in zip(self.band, self._known_defects().sentences(), strict=True)]

    def _known_defects(self) -> Defects:
        if self.defects is None:
            raise ValueError("expected weights that name defects, these do not; load others")
        return self.defects

    @property
    def percentile(self) -> list[float]:
        """Per image, the percentage of BIQ2021's training photographs that people rated below its score."""
        return [percentile(score) for score in self.score.tolist()]
