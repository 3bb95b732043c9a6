"""QFMLoss: the quality score as a term of a training loss."""

import math
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .guard import GuardedScore
from .inputs import as_batch, range_fault
from .score import QFMScore
from .torch_defaults import no_autocast, torch_defaults

REDUCTIONS = ("none", "mean", "sum")


class QFMLoss(nn.Module):
    """How much quality images lack: `weight * max(0, target + margin - score)`, lower is better.

    With the defaults that is `1 - score`, between 0 and 1. Add it to a loss that compares with the true picture; on its
    own it can be raised by artefacts. See docs/loss.md.

    The metric is no submodule: a parent's `parameters()`, `state_dict()`, `requires_grad_()`, optimizers and
    DistributedDataParallel do not see it, so nothing trains it and checkpoints do not grow. `to(device)` moves it;
    a parent's `half()` or `to(dtype)` leaves its precision as it is.

    Args:
        reduction: "mean" or "sum" over the images; "none": a loss for each, `(N,)`.
        target: Score in [0, 1] from which on (plus `margin`) an image costs nothing and gets no gradient. None: 1.
        margin: Added to the target, between -1 and 1: above 0 asks for more than the target, below 0 for less.
        warmup_steps: The weight grows evenly from `1 / warmup_steps` at the first forward call in training mode to 1 at
            that call, and stays 1. 0: always 1. The buffer `step` counts the calls and is in the state dict. In
            evaluation mode the weight is 1 and nothing is counted.
        jitter: In training mode each image is seen through a window of its own, somewhere inside it, whose sides are
            shorter by a share drawn from [0, jitter] (below 0.5), resampled to the image's size (bicubic, so shifts are
            of parts of pixels) and mirrored half of the time: patterns that only work at one place and size do not pay.
            Drawn from torch's generator. 0: none.
        checkpoint: Images scored at a time; their activations are computed again in the backward pass rather than kept
            (`torch.utils.checkpoint`), so memory does not grow with the batch. 0: they are kept.
        metric: `GuardedScore()` is held against gaming and takes longer. Default: `QFMScore()`.

    Raises:
        TypeError: a metric of another kind.
        ValueError: an argument outside its range.

    Examples:
        >>> loss = QFMLoss(target=0.8)
        >>> loss(torch.rand(2, 3, 64, 64, requires_grad=True)).shape
        torch.Size([])
    """

    metric: QFMScore | GuardedScore
    step: Tensor

    @torch_defaults()
    def __init__(
        self,
        reduction: str = "mean",
        target: float | None = None,
        margin: float = 0.0,
        *,
        warmup_steps: int = 0,
        jitter: float = 0.0,
        checkpoint: int = 0,
        metric: QFMScore | GuardedScore | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(metric, QFMScore | GuardedScore | None):
            raise TypeError(f"metric: expected a QFMScore or a GuardedScore, got {type(metric).__name__}")
        if reduction not in REDUCTIONS:
            got = repr(reduction) if isinstance(reduction, str) else f"{type(reduction).__name__}; is it `metric=`?"
            raise ValueError(f"reduction: expected one of {', '.join(REDUCTIONS)}, got {got}")
        for name, value in (("warmup_steps", warmup_steps), ("checkpoint", checkpoint)):
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
                raise ValueError(f"{name}: expected an integer of at least 0, got {value!r}")
        self.reduction, self.warmup_steps, self.checkpoint = reduction, int(warmup_steps), int(checkpoint)
        self.target = _within("target", 1.0 if target is None else target, 0, 1)
        self.margin = _within("margin", margin, -1, 1)
        self.jitter = _within("jitter", jitter, 0, math.nextafter(0.5, 0))
        # Past nn.Module's own __setattr__, which would register it.
        object.__setattr__(self, "metric", QFMScore() if metric is None else metric)
        self.register_buffer("step", torch.tensor(0, device=self.metric.device))
        self._calls, self._warned = 0, False

    def forward(self, images: Tensor, target: Tensor | float | None = None) -> Tensor:
        """The loss of images, differentiable in them.

        Args:
            images: `(N, 3, H, W)` or one `(3, H, W)`, RGB, float in [0, 1] or uint8, as `QFMScore` takes them. Values
                outside [0, 1] are clamped, however far outside, and the gradient passes the clamp. One warning tells of
                values further than 0.1 outside, if calls 1, 2, 4, 8 and so on see them: each look waits for a GPU.
            target: In place of the constructor's: a number, or one per image `(N,)`, such as the scores of the true
                pictures. Taken as a constant.

        Returns:
            float32: `(N,)` for reduction "none", else a scalar.

        Raises:
            TypeError: images are no tensor, or integers other than uint8.
            ValueError: wrong rank or channels, no images; a target of another shape, or a number outside [0, 1].
        """
        if not isinstance(images, Tensor):
            hint = "; call the loss once for each size" if isinstance(images, list | tuple) else ""
            raise TypeError(f"images: expected a tensor, got {type(images).__name__}{hint}")
        images = as_batch(images)
        if not (torch.compiler.is_compiling() or self._warned):
            self._look_at_values(images)
        if self.training and self.jitter:
            with no_autocast(self.metric.device):
                images = self.metric.to_net(look_through_windows(self.metric.to_net(images), self.jitter))
        scores = self._score(images)
        bound = self._target(target, scores) + self.margin
        losses = self._weight() * F.relu(bound - scores)
        return losses if self.reduction == "none" else getattr(losses, self.reduction)()

    def _look_at_values(self, images: Tensor) -> None:
        """Warn of images on another scale, once; ever more rarely, because a GPU is waited for."""
        self._calls += 1
        if self._calls & (self._calls - 1) or (images.is_cuda and torch.cuda.is_current_stream_capturing()):
            return
        if fault := range_fault(images):
            self._warned = True
            warnings.warn(f"images: {fault}. QFMLoss clamps values to [0, 1], and warns once", stacklevel=3)

    def _score(self, images: Tensor) -> Tensor:
        if not self.checkpoint or not torch.is_grad_enabled():
            return self.metric.score_batch(images)
        # The metric draws no random numbers: there is no state to keep for the second pass.
        options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
        parts = torch.split(images, self.checkpoint)
        return torch.cat([checkpoint(self.metric.score_batch, part, **options) for part in parts])

    def _target(self, target: Tensor | float | None, scores: Tensor) -> Tensor | float:
        if not isinstance(target, Tensor):
            return self.target if target is None else _within("target", target, 0, 1)
        if target.ndim and target.shape != scores.shape:
            raise ValueError(f"target: expected a number or {tuple(scores.shape)}, got {tuple(target.shape)}")
        return target.detach().to(scores.dtype).to(scores.device)  # in this order: MPS has no double precision

    def _weight(self) -> Tensor | float:
        if not (self.training and self.warmup_steps):
            return 1.0
        with torch.inference_mode(False):  # a step that was counted in it could not be loaded into
            self.step = self.step + 1  # in place, a compiled backward pass would take the weight of the step after
        return (self.step.float() / self.warmup_steps).clamp(max=1)  # of integers, it would be of the default dtype

    def reset_parameters(self) -> None:
        """Begin the warm-up again; FullyShardedDataParallel asks every module for this after `to_empty`."""
        self.step.zero_()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "QFMLoss":
        """Move the metric to where `fn` takes tensors; their precision and their values are never its own.

        So `to_empty` moves and keeps what others lose, and the meta device, which holds no values, is not gone to.
        """
        device, step = fn(torch.empty(0, device=self.metric.device)).device, self.step
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if device.type == "meta":
            device = self.metric.device
        with torch.inference_mode(False):
            self.step = step.to(device)
            self.metric.to(device)
        return self

    def extra_repr(self) -> str:
        shown: dict[str, Any] = {name: getattr(self, name) for name in ("reduction", "target", "margin")}
        shown |= {name: getattr(self, name) for name in ("warmup_steps", "jitter", "checkpoint")}
        return ", ".join(f"{name}={value!r}" for name, value in (shown | {"metric": self.metric.weights_id}).items())


def look_through_windows(images: Tensor, largest: float) -> Tensor:
    """Each of `(N, 3, H, W)` through a random window of sides `1 - largest` to 1, at its former size, perhaps mirrored.

    Differentiable; bicubic, so values may leave [0, 1] a little. In single precision or more: of half precision the
    places would be whole pixels, and torch's gradient on the CPU writes where it must not.
    """
    if images.device.type == "mps":  # where torch samples only bilinearly
        return look_through_windows(images.cpu(), largest).to(images.device)
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    n, _, height, width = images.shape
    shrink, mirror, x, y = torch.rand(4, n, 1, device=images.device, dtype=images.dtype).unbind()
    side = 1 - largest * shrink
    # Of the whole image, [-1, 1]. F.affine_grid would compile for one size only.
    columns = (1 - side) * (2 * x - 1) + torch.where(mirror < 0.5, -side, side) * _pixel_centres(width, images)
    rows = (1 - side) * (2 * y - 1) + side * _pixel_centres(height, images)
    grid = torch.stack([columns[:, None].expand(-1, height, -1), rows[:, :, None].expand(-1, -1, width)], dim=-1)
    # Bilinear would blur by as much as the shift happens to be, and blur is what a metric sees.
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False)


def _pixel_centres(length: int, like: Tensor) -> Tensor:
    return (2 * torch.arange(length, device=like.device, dtype=like.dtype) + 1) / length - 1


def _within(name: str, value: float, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:
        raise ValueError(f"{name}: expected a number from {low} to {high:.3g}, got {value!r}")
    return float(value)
