"""GuardedScore: a score that cannot rise far above one that was trained against attacks."""

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .images import Pixels
from .inputs import Images, as_images
from .rating import Rating, Views
from .score import QFMScore

ROBUST = "qfm-robust-v1"
_EPS = 1e-6  # from 0 and 1, whose log-odds are infinite


class GuardedScore(nn.Module):
    """The accurate score, but no more than a margin above a robust one: `min(accurate, robust + margin)`.

    Accurate networks see fine detail, and changes that nobody sees raise what they say to the end of the scale. A
    network that was trained against such changes moves little, and knows less. Under its lid the accurate score keeps
    most of what it knows, and whatever is done to an image, it rises no further than the robust score does, plus what
    was left below the lid. What is bad for the accurate network stays bad. Gradients pass through the accurate score
    below the lid, and through the robust one where it holds. What it buys is measured in docs/attacks.md. Ours.

    Scores mean what those of `QFMScore` mean, and images are taken as it takes them. Both networks are frozen. It costs
    the time of both.

    The robust network looks at no more than 256 x 256 px. Of a larger image the accurate one sees more than it does, so
    the margin grows with the share of the pixels that the robust one does not see, `1 - 256 * 256 / (H * W)`.

    Args:
        accurate: Default: `QFMScore()`.
        robust: Default: `qfm-robust-v1`, which comes with the package.
        margin: In units of the score, below 0 too: for images of 256 x 256 px and less, and for ones so large that the
            robust network sees next to nothing of them; between the two, evenly by that share. Wider margins lose less
            accuracy and hold less. The default was chosen on validation, for the default weights.

    Raises:
        TypeError: a network that is no `QFMScore`.
        ValueError: margins that are not two numbers from -1 to 1.

    Examples:
        >>> guarded = GuardedScore()
        >>> guarded(torch.rand(2, 3, 224, 224)).shape
        torch.Size([2])
    """

    score_range = QFMScore.score_range
    higher_is_better = QFMScore.higher_is_better
    is_differentiable = QFMScore.is_differentiable
    runtime = QFMScore.runtime

    def __init__(
        self,
        accurate: QFMScore | None = None,
        robust: QFMScore | None = None,
        *,
        margin: tuple[float, float] = (0.02, 0.06),
    ) -> None:
        super().__init__()
        for name, metric in (("accurate", accurate), ("robust", robust)):
            if not isinstance(metric, QFMScore | None):
                raise TypeError(f"{name}: expected a QFMScore, got {type(metric).__name__}; see from_pretrained")
        numbers = isinstance(margin, tuple | list) and all(isinstance(x, Real) and -1 <= x <= 1 for x in margin)
        if not numbers or len(margin) != 2:
            raise ValueError(f"margin: expected two numbers from -1 to 1, got {margin!r}")
        self.accurate = QFMScore() if accurate is None else accurate
        self.robust = QFMScore.from_pretrained(ROBUST) if robust is None else robust
        self.margin = (float(margin[0]), float(margin[1]))

    if TYPE_CHECKING:  # what torch's own says of any module: Any

        def __call__(self, images: Images) -> Tensor: ...

    def forward(self, images: Images) -> Tensor:
        """Score images for perceived quality, without a reference.

        Args:
            images: See `QFMScore.forward`.

        Returns:
            `(N,)`, float32 in [0, 1]; higher is better. Differentiable in `images`.

        Raises:
            TypeError, ValueError, ImageError: see `QFMScore.forward`.
        """
        images = as_images(images)
        if isinstance(images, Tensor):
            return self._hold(self.accurate(images), self.robust(images), self._margin(*images.shape[-2:]))
        return torch.cat([self(image) for image in images])

    def score_batch(self, images: Tensor) -> Tensor:
        """As `forward`, without a check of the values: see `QFMScore.score_batch`."""
        margin = self._margin(*images.shape[-2:])
        return self._hold(self.accurate.score_batch(images), self.robust.score_batch(images), margin)

    def _hold(self, accurate: Tensor, robust: Tensor, margin: Tensor | float) -> Tensor:
        return torch.minimum(accurate, (robust + margin).clamp(min=0))

    def _margin(self, height: int, width: int) -> float:
        """By the share of the pixels that the robust network does not see."""
        seen = self.robust.net.config.view_pixels / (height * width)
        narrow, wide = self.margin
        return narrow + (wide - narrow) * max(0.0, 1 - seen)

    def to_net(self, images: Tensor) -> Tensor:
        """To the networks' device, precision and range."""
        return self.accurate.to_net(images)

    @property
    def device(self) -> torch.device:
        """Where images are moved to."""
        return self.accurate.device

    @property
    def defects(self) -> tuple[str, ...]:
        """Names of the defects that the accurate network tells of."""
        return self.accurate.defects

    @property
    def weights_id(self) -> str:
        return f"{self.accurate.weights_id} guarded by {self.robust.weights_id}"

    @property
    def weights_sha256(self) -> str:
        """Of both."""
        return f"{self.accurate.weights_sha256} {self.robust.weights_sha256}"

    @property
    def signature(self) -> str:
        """What to state beside published scores."""
        return f"{self.accurate.signature}; {self.extra_repr()}, above {self.robust.signature}"

    def look(self, pixels: Pixels) -> Views:
        """What both networks look at, and the margin of a picture of this size; see `qfm_metric.rating.Metric`."""
        return self.accurate.look(pixels), self.robust.look(pixels), self._margin(pixels.shape[0], pixels.shape[1])

    def rate(self, views: Sequence[Views], maps: bool = False, descriptors: bool = False) -> list[Rating]:
        """Ratings of pictures that were looked at.

        Deviation and map are those of the network that decides, note and descriptor are the accurate one's.
        """
        accurate = self.accurate.rate([looked for looked, _, _ in views], maps, descriptors)
        robust = self.robust.rate([looked for _, looked, _ in views], maps)
        margins = torch.tensor([margin for _, _, margin in views], dtype=torch.float32)  # as `forward` adds them
        lids = (torch.tensor([rating.score for rating in robust], dtype=torch.float32) + margins).clamp(min=0).tolist()
        return [
            above if above.score <= lid else _moved(below, lid)._replace(note=above.note, descriptor=above.descriptor)
            for above, below, lid in zip(accurate, robust, lids, strict=True)
        ]

    def show(self, views: Views, size: tuple[int, int]) -> Tensor:
        """The whole picture as the accurate network looked at it."""
        return self.accurate.show(views[0], size)

    def extra_repr(self) -> str:
        return f"margin={self.margin}"


def _moved(rating: Rating, score: float) -> Rating:
    """A rating with another score, to which its map moves with it: the mean of the map's log-odds is the score's."""
    if rating.quality_map is None:
        return rating._replace(score=score)
    before, after = torch.logit(torch.tensor([rating.score, score], dtype=torch.float32, device="cpu"), _EPS).tolist()
    return rating._replace(
        score=score, quality_map=torch.sigmoid(torch.logit(rating.quality_map, _EPS) + after - before)
    )
