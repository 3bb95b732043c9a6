"""QFMScore and QFMReference as torchmetrics `Metric`s."""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from ..reference import QFMReference
from ..score import QFMScore
from ..torch_defaults import torch_defaults
from . import needs

with needs("torchmetrics"):
    from torchmetrics import Metric
    from torchmetrics.utilities import dim_zero_cat


Model = TypeVar("Model", bound=nn.Module)


class _Answers(Metric):  # type: ignore[misc]  # torchmetrics may be absent where types are checked
    """The mean, or each, of what a model says from 0 to 1."""

    is_differentiable = True
    higher_is_better = True
    full_state_update = False
    plot_lower_bound, plot_upper_bound = QFMScore.score_range
    feature_network = "model"

    model: nn.Module
    sum_scores: Tensor
    num_scores: Tensor
    scores: list[Tensor]

    @torch_defaults()
    def __init__(self, reduction: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if reduction not in ("mean", "none"):
            raise ValueError(f'reduction: expected "mean" or "none", got {reduction!r}')
        self.reduction = reduction
        self._answers: Tensor | None = None  # to what `forward` was asked
        if reduction == "none":
            self.add_state("scores", [], dist_reduce_fx="cat")
        else:
            self.add_state("sum_scores", torch.tensor(0.0, dtype=torch.float32), dist_reduce_fx="sum")
            self.add_state("num_scores", torch.tensor(0), dist_reduce_fx="sum")

    def forward(self, *images: Any, **named: Any) -> Any:
        """What `compute` says of these images alone, which are added to the state; unless they cannot be scored.

        Torchmetrics puts the state aside before `update`, and loses it if that raises.
        """
        self._answers = self.model(*images, **named)
        try:
            return super().forward(*images, **named)
        finally:
            self._answers = None

    def compute(self) -> Tensor:
        """The mean, or every score if `reduction` is "none"; the mean of no image is NaN."""
        return dim_zero_cat(self.scores) if self.reduction == "none" else self.sum_scores / self.num_scores

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Plot `val` (default: what `compute` gives) with torchmetrics' plotting; returns figure and axis."""
        return self._plot(val, ax)

    def _add(self, *images: Any) -> None:
        scores = self.model(*images) if self._answers is None else self._answers
        if self.reduction == "none":
            self.scores.append(scores)
        else:
            self.sum_scores += scores.sum()
            self.num_scores += len(scores)


def _checked(model: Model) -> Model:
    """What is no model would fail in the first update, and say nothing of it."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a metric such as QFMScore(), got {model!r}")
    return model


class QFMMetric(_Answers):
    """No-reference quality of all images seen since the last reset, higher is better.

    `update` takes what `QFMScore` takes: `(N, 3, H, W)`, one `(3, H, W)`, or a list of `(3, H, W)` of any sizes; float
    in [0, 1] or uint8. `compute` gives a scalar in [0, 1], or `(N,)` if `reduction` is "none". Processes are synced:
    the mean is over all their images; single scores come in order of rank. `forward` is differentiable in the images.

    As with torchmetrics' own FID, LPIPS and ARNIQA the network is a submodule, and so part of `state_dict`.

    Args:
        model: The metric to use. Default: the weights that come with the package.
        reduction: "mean" over all images, or "none" to keep the score of each.
        kwargs: What every torchmetrics `Metric` takes, for example `sync_on_compute` or `compute_on_cpu`.

    Raises:
        ValueError: an unknown `reduction`; in `update`, images that cannot be scored.
        TypeError: a model that is none; in `update`, something else than images.

    Examples:
        >>> metric = QFMMetric()
        >>> metric.update(torch.rand(2, 3, 64, 64))
        >>> metric.compute().shape
        torch.Size([])
    """

    def __init__(
        self, model: QFMScore | None = None, reduction: Literal["mean", "none"] = "mean", **kwargs: Any
    ) -> None:
        super().__init__(reduction, **kwargs)
        self.model = QFMScore() if model is None else _checked(model)

    def update(self, images: Tensor | Sequence[Tensor]) -> None:
        """Score images and add them to the state."""
        self._add(images)


class QFMReferenceMetric(_Answers):
    """How much of their references' quality images keep, over all pairs seen since the last reset; higher is better.

    `update(images, references)` takes what `QFMReference` takes. What it computes, and how, is as in `QFMMetric`.

    Args:
        model: The metric to use. Default: the weights that come with the package.
        reduction: "mean" over all pairs, or "none" to keep the answer to each.
        kwargs: What every torchmetrics `Metric` takes.

    Raises:
        WeightsError: the default weights do not compare with a reference.
        ValueError: an unknown `reduction`; in `update`, images that cannot be compared.
        TypeError: a model that is none; in `update`, something else than images.
    """

    def __init__(
        self, model: QFMReference | None = None, reduction: Literal["mean", "none"] = "mean", **kwargs: Any
    ) -> None:
        super().__init__(reduction, **kwargs)
        self.model = QFMReference() if model is None else _checked(model)

    def update(self, images: Tensor | Sequence[Tensor], references: Tensor | Sequence[Tensor]) -> None:
        """Compare images with their references, and add what is found to the state."""
        self._add(images, references)
