"""QFMReference: what a picture keeps of the quality of the one that it was made from."""

import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .hub import released_with
from .inputs import Images, as_images
from .score import QFMScore
from .torch_defaults import no_autocast, torch_defaults
from .weights import WeightsError


class QFMReference(nn.Module):
    """Full-reference image quality: how much of a reference's quality a picture keeps, from 0 to 1 (alike).

    A head of the network that scores without a reference compares what the network sees of both, at several depths and
    places. It learned what people say that distortions of KADID-10k and TID2013 take. What differs can only cost: a
    picture that is better than its reference is not rewarded, and both may be exchanged. See docs/reference.md. Ours.

    The network is frozen, stays in evaluation mode, and autocast does not change its precision, as in `QFMScore`.

    Args:
        weights: An id or a path, or a `QFMScore` to share the network of; they must have the head. Default: the shipped
            ones. Nothing is downloaded here; for that, pass `QFMScore.from_pretrained(...)`.
        device: Where to compute, such as "cuda"; `to` moves it later.

    Raises:
        TypeError: `weights` is none of these.
        WeightsError: unknown or damaged weights, or ones without this head; says which have it.

    Examples:
        >>> compare = QFMReference()
        >>> compare(torch.rand(2, 3, 224, 224), torch.rand(2, 3, 224, 224)).shape
        torch.Size([2])
    """

    score_range = (0.0, 1.0)
    higher_is_better = True
    is_differentiable = True

    @torch_defaults()
    def __init__(
        self, weights: str | os.PathLike[str] | QFMScore | None = None, *, device: str | torch.device | None = None
    ) -> None:
        super().__init__()
        self.metric = weights if isinstance(weights, QFMScore) else QFMScore(weights)
        if not self.metric.net.config.reference:
            able = " or ".join(released_with("reference"))
            raise WeightsError(
                f"weights {self.metric.weights_id!r}: expected weights that compare with a reference, these do not; "
                f"choose {able or 'ones that `python -m qfm_metric.train reference` wrote'}"
            )
        self.train(False)
        if device is not None:
            self.to(device)

    def forward(self, images: Images, references: Images) -> Tensor:
        """Compare images with their references.

        Args:
            images: As `QFMScore.forward` takes them.
            references: As many, each of its image's size.

        Returns:
            `(N,)`, float32 in [0, 1]; higher is better, and exactly 1 for identical pictures on the CPU. Differentiable
            in both, and the same for both exchanged.

        Raises:
            TypeError, ValueError, ImageError: see `QFMScore.forward`.
            ValueError: another number of references, or another size.
        """
        pairs = _pairs(as_images(images), as_images(references, "references"))
        return torch.cat([self._compare(*pair) for pair in pairs])

    def train(self, mode: bool = True) -> "QFMReference":
        """Stay in evaluation mode, as `QFMScore` does."""
        return super().train(False)

    @property
    def weights_id(self) -> str:
        """Of the weights."""
        return self.metric.weights_id

    @property
    def device(self) -> torch.device:
        """Where images are moved to."""
        return self.metric.device

    @property
    def signature(self) -> str:
        """What to state beside published figures."""
        return f"with a reference: {self.metric.signature}"

    def _compare(self, images: Tensor, references: Tensor) -> Tensor:
        """Of `(N, 3, H, W)` each, as many as pass at once."""
        metric = self.metric
        found = []
        with no_autocast(self.device):
            for start in range(0, len(images), metric.batch):
                parts = [both[start : start + metric.batch] for both in (images, references)]
                views = [metric.net.distinct_views(metric.to_net(part)) for part in parts]
                found.append(metric.net.compare_views(*views).float())
        return torch.cat(found)


def _pairs(images: Tensor | Sequence[Tensor], references: Tensor | Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches `(n, 3, H, W)` of images and of their references, of one size each."""
    if len(images) != len(references):
        raise ValueError(
            f"references: expected one for each of {len(images)} images, got {len(references)}; repeat one that "
            "several images share: reference.expand(len(images), -1, -1, -1)"
        )
    if isinstance(images, Tensor) and isinstance(references, Tensor):
        _check_sizes(images, references, "references")
        yield images, references
        return
    for i in range(len(images)):
        image, reference = images[i], references[i]
        _check_sizes(image, reference, f"references[{i}]")
        yield image[None], reference[None]


def _check_sizes(image: Tensor, reference: Tensor, name: str) -> None:
    if image.shape[-2:] == reference.shape[-2:]:
        return
    (height, width), (h, w) = reference.shape[-2:], image.shape[-2:]
    raise ValueError(
        f"{name}: expected the image's size, {h} x {w} px (height x width), got {height} x {width} px; cut both to the "
        "same part, or resize the image to the reference as it will be shown"
    )
