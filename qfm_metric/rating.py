"""What folders are scored with: a metric looks at pictures one by one and rates some at a time."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from .decoding.errors import ImageError, lacks_memory
from .images import Pixels

NOT_A_PHOTOGRAPH = "not a photograph"

Views: TypeAlias = Any  # what a metric's network looks at; tensors


class Rating(NamedTuple):
    """What a metric says of one picture.

    Attributes:
        score: In [0, 1]; higher is better.
        std: Expected standard deviation of people's mean opinion about it; None if it is not known.
        quality_map: `(1, h, w)` in [0, 1]; None unless it was asked for.
        defects: By name, the share of the quality that a defect takes, in [0, 1]; None if the metric names none.
        note: `not a photograph` of what the network takes for none; None: nothing is to be said.
        descriptor: `(C,)` of unit length, what the picture shows; pictures of like content have a large scalar product.
            None unless it was asked for.
    """

    score: float
    std: float | None = None
    quality_map: Tensor | None = None
    defects: Mapping[str, float] | None = None
    note: str | None = None
    descriptor: Tensor | None = None


def note(photograph: float) -> str | None:
    """The note of a picture with this logit of being a photograph."""
    return None if photograph > 0 else NOT_A_PHOTOGRAPH


def common_note(ratings: Sequence[Rating]) -> str | None:
    """The note of a picture whose parts were rated: theirs, if all have the same. A part may be of sky alone."""
    notes = {rating.note for rating in ratings}
    return notes.pop() if len(notes) == 1 else None


@runtime_checkable
class Metric(Protocol):
    """What folders are scored with: pictures are looked at one by one, in any thread, and rated some at a time.

    Attributes:
        signature: What to state beside published scores.
        weights_sha256: Of the weights; runs with different ones do not share a file of rows.
        device: Where ratings are computed.
        defects: Names of the defects that ratings tell of; none if it tells of none.
        runtime: What computes them: "torch", or another that gives no maps and computes in float32.
    """

    runtime: str

    @property
    def signature(self) -> str: ...
    @property
    def weights_sha256(self) -> str: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def defects(self) -> tuple[str, ...]: ...

    def look(self, pixels: Pixels) -> Views:
        """What the network looks at, of one picture as `images.read_pixels` gives it; little memory beside `pixels`."""
        ...

    def rate(self, views: Sequence[Views], maps: bool = False, descriptors: bool = False) -> list[Rating]:
        """Rate pictures that were looked at, in their order; with `maps` and `descriptors` these, too."""
        ...

    def show(self, views: Views, size: tuple[int, int]) -> Tensor:
        """The whole picture as it was looked at, `(3, h, w)` in [0, 1], in the shape of `size` (height, width)."""
        ...


def check_is_metric(metric: object) -> None:
    """Refuse what folders cannot be scored with.

    Raises:
        TypeError: it lacks what `Metric` has, or is a class.
    """
    if isinstance(metric, type):
        raise TypeError(f"metric: expected a metric, got the class {metric.__name__}; call it: {metric.__name__}()")
    if not isinstance(metric, Metric):
        raise TypeError(
            f"metric: expected a QFMScore or another metric with the methods of qfm_metric.rating.Metric, got "
            f"{type(metric).__name__}; score images from load_image with it"
        )


@contextmanager
def errors_of(metric: Metric) -> Iterator[None]:
    """What fails inside, where a whole picture is looked at, is said to be the metric's fault and not the picture's.

    Raises:
        ImageError: it failed; as it is if it is one already.
    """
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        if lacks_memory(error):
            raise
        raise ImageError(
            f"expected a metric that can look at it, but {type(metric).__name__} stopped with {type(error).__name__}: "
            f"{error}; try it on a tensor"
        ) from error
