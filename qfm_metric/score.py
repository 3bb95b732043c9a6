"""QFMScore: checks images, holds a frozen network, returns one score per image."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .assessment import Assessment
from .config import QFMConfig
from .defects import Defects
from .geometry import resize
from .hub import load_weights
from .images import Pixels
from .inputs import Images, as_images
from .model import QFMNet
from .pretrained import build_net, save_net
from .rating import Rating, note
from .torch_defaults import keeping_values, no_autocast, torch_defaults
from .views import preprocess_pixels, together
from .weights import WeightsError

_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")
GPU_BATCH = 32  # views a forward pass; bounds the memory that many images take


class QFMScore(nn.Module):
    """No-reference image quality: how good an image looks, from 0 (bad) to 1 (excellent).

    The score estimates the mean opinion score (MOS) that a panel of viewers would give on the scale of BIQ2021. The
    network is frozen: no gradient reaches its parameters, `train()` leaves it in evaluation mode, autocast does not
    change its precision (a parent's `requires_grad_()` and `half()` would; `QFMLoss` is out of their reach). The same
    image gets the same score whatever the batch: on the CPU to the last bit, because images pass one by one (which is
    also faster there); on a GPU within 1e-4, because its kernels differ by batch size.

    Args:
        weights: An id or a path, see `from_pretrained`; or a network to hold. Default: the student whose weights come
            with the package. Nothing is ever downloaded here.
        device: Where to compute, such as "cuda"; `to` moves a metric later.

    Raises:
        TypeError: `weights` is none of these.
        WeightsError: unknown, missing, damaged or foreign weights, or ones that have to be downloaded.

    Examples:
        >>> score = QFMScore()
        >>> score(torch.rand(2, 3, 224, 224)).shape
        torch.Size([2])
    """

    score_range = (0.0, 1.0)
    higher_is_better = True
    is_differentiable = True
    runtime = "torch"

    weights_id: str
    weights_sha256: str

    @torch_defaults()
    def __init__(
        self, weights: str | os.PathLike[str] | QFMNet | None = None, *, device: str | torch.device | None = None
    ) -> None:
        super().__init__()
        if not isinstance(weights, str | os.PathLike | QFMNet | None) or _DEVICE.fullmatch(str(weights)):
            raise TypeError(
                f"weights: expected an id, a path or a QFMNet, got {weights!r}; for a device QFMScore(device='cuda')"
            )
        self.weights_id, self.weights_sha256 = "custom", ""
        if isinstance(weights, QFMNet):
            net = weights
        else:
            found = load_weights(weights, local_files_only=True)
            net = build_net(found)
            self.weights_id, self.weights_sha256 = found.id, found.sha256
        # Depthwise convolutions on the CPU are faster so; scores move by less than 1e-6.
        self.net = net.to(memory_format=torch.channels_last).requires_grad_(False)
        self.train(False)
        if device is not None:
            self.to(device)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] | None = None,
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool = False,
    ) -> "QFMScore":
        """Load weights by id, by path or from the Hub; size and SHA-256 are compared before a tensor is built.

        Args:
            source: An id of the weights manifest; the path of a `.safetensors` file or of a folder that
                `save_pretrained` wrote; `org/name` or `org/name@revision` on the Hub. Default: the manifest's default.
            revision: Branch, tag or commit of `org/name`; default `main`.
            cache_dir: Where downloads are kept; default: huggingface_hub's cache.
            local_files_only: Never use the network.
            token: Sent to the Hub only if given; True: the one that `hf auth login` saved.

        Raises:
            WeightsError: unknown, missing, damaged or foreign weights; Hub out of reach; no permission; disk full.
        """
        weights = load_weights(
            source, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
        )
        metric = cls(build_net(weights))
        metric.weights_id, metric.weights_sha256 = weights.id, weights.sha256
        return metric

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `model.safetensors`, `config.json` and, unless there is one, a model card `README.md`.

        Files of those names are replaced only if they are a metric's, or empty.

        Args:
            folder: Made if needed. `from_pretrained(folder)` gives the same scores to the last bit. Values are stored
                in half precision if that keeps each of them, as it does for the shipped weights.

        Raises:
            WeightsError: the folder cannot be written, or holds another model.
        """
        save_net(self.net, Path(folder))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Refuse other values under a released id; a checkpoint from before an upgrade would bring them."""
        own = self.net.state_dict().items() if self.weights_sha256 else ()
        found = [(state_dict.get(f"{prefix}net.{name}"), tensor) for name, tensor in own if tensor.is_floating_point()]
        if not all(other is None or torch.equal(other.to(tensor), tensor) for other, tensor in found):
            errors: list[str] = rest[-1]
            errors.append(
                f"{prefix or 'QFMScore'}: the state dict holds other weights than {self.weights_id!r}; build the "
                "metric with the weights of that time, QFMScore.from_pretrained(id), or leave its keys out"
            )
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "QFMScore":
        """Move or convert; what is moved in inference mode can still be trained through.

        `to_empty` moves and keeps what others lose, and the meta device, which holds no values, is not gone to.
        """
        fn = keeping_values(fn, self.device)

        def lay_out(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            kinds = tensor.device.type, moved.device.type
            if moved.ndim != 4 or kinds[0] == kinds[1] or "mps" not in kinds:
                return moved
            # On MPS the gradient of pooling ends the process where channels come last: seen by others up to torch 2.10.
            plain = kinds[1] == "mps"
            return moved.clone(memory_format=torch.contiguous_format if plain else torch.channels_last)

        with torch.inference_mode(False):
            return super()._apply(lay_out, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def train(self, mode: bool = True) -> "QFMScore":
        """Stay in evaluation mode: a metric inside a model that trains is not trained."""
        return super().train(False)

    if TYPE_CHECKING:  # what torch's own says of any module: Any

        def __call__(self, images: Images) -> Tensor: ...

    def forward(self, images: Images) -> Tensor:
        """Score images for perceived quality, without a reference.

        Args:
            images: `(N, 3, H, W)` or `(3, H, W)`, RGB, float in [0, 1] or uint8; overshoot of [0, 1] up to 0.1 is
                clamped. Or what `load_image` reads: a path, a PIL image, an array `(H, W, C)`, uint8 or float in
                [0, 1]. Or a list of those, of any sizes; the files of a list are read one by one, and a damaged one
                ends the call (`score_files` gives it a row). Moved to the metric's device.

        Returns:
            `(N,)`, float32 in [0, 1]; higher is better. Differentiable in `images`; the gradient passes the clamp
            unchanged, so that black, white and overshooting pixels can move.

        Raises:
            TypeError: none of these; tensors of integers other than uint8.
            ValueError: wrong rank or channels, nothing to score, NaN, Inf, or values further than 0.1 outside [0, 1].
                Values are not checked for tensors that require grad, nor while compiling or exporting.
            ImageError: a picture that cannot be read.

        Examples:
            >>> score([torch.rand(3, 64, 96), torch.rand(3, 120, 80)]).shape
            torch.Size([2])
        """
        checked = as_images(images)
        return self.score_batch(checked) if isinstance(checked, Tensor) else self._score(checked)

    def score_batch(self, images: Tensor) -> Tensor:
        """As `forward`, for what `inputs.as_batch` gives: values are clamped and not checked, so no GPU is waited for.

        Args:
            images: `(N, 3, H, W)`, float or uint8.

        Returns:
            `(N,)`, float32 in [0, 1].
        """
        if torch.compiler.is_compiling():
            with no_autocast(self.device):
                return self.net(self.to_net(images)).float()  # type: ignore[no-any-return]
        return self._score(images)

    def _score(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        scores: dict[int, Tensor] = {}
        with no_autocast(self.device):
            for places, views in self._passes(images):
                scores |= zip(places, self.net.score_views(views).float(), strict=True)
        return _in_order(scores)

    def assess(self, images: Images) -> Assessment:
        """Score images, and say where they are good or bad and how sure that is: all from one forward pass.

        Args:
            images: See `forward`.

        Returns:
            An `Assessment`; its `score` is what `forward` returns, to the last bit on the CPU. Differentiable in
            `images`, as `forward` is.

        Raises:
            TypeError, ValueError, ImageError: see `forward`.

        Examples:
            >>> found = score.assess(torch.rand(2, 3, 320, 256))
            >>> found.score.shape, found.quality_map.shape
            (torch.Size([2]), torch.Size([2, 1, 10, 8]))
        """
        images = as_images(images)
        found: dict[str, dict[int, Tensor]] = {}
        with no_autocast(self.device):
            for places, views in self._passes(images):
                for name, values in self.net.judge_views(views, maps=True)._asdict().items():
                    if values is not None:
                        found.setdefault(name, {}).update(zip(places, values.float(), strict=True))

        def together(name: str) -> Tensor | list[Tensor]:
            alike = isinstance(images, Tensor)
            return _in_order(found[name]) if alike else [found[name][i] for i in range(len(found[name]))]

        defects = None
        if "defects" in found:
            costs, stds = _in_order(found["defects"]).unbind(dim=2)
            defects = Defects(self.defects, costs, stds, together("defect_maps"))
        return Assessment(
            score=_in_order(found["scores"]),
            std=_in_order(found["stds"]) if "stds" in found else None,
            quality_map=together("maps"),
            defects=defects,
            photograph=_in_order(found["photographs"]) > 0 if "photographs" in found else None,
        )

    def quality_map(self, images: Images) -> Tensor | list[Tensor]:
        """Local quality: `assess(images).quality_map`, see `Assessment`.

        Args:
            images: See `forward`.

        Returns:
            `(N, 1, h, w)`, or for a list of images a list of `(1, h, w)`; float32 in (0, 1), higher is better.

        Raises:
            TypeError, ValueError, ImageError: see `forward`.

        Examples:
            >>> score.quality_map(torch.rand(2, 3, 320, 256)).shape
            torch.Size([2, 1, 10, 8])
        """
        return self.assess(images).quality_map

    def uncertainty(self, images: Images) -> Tensor:
        """Expected standard deviation of the MOS about the score: `assess(images).std`.

        Args:
            images: See `forward`.

        Returns:
            `(N,)`, float32, on the scale of the scores.

        Raises:
            WeightsError: these weights predict none.
            TypeError, ValueError, ImageError: see `forward`.
        """
        if not self.net.config.uncertainty:
            raise WeightsError(
                f"weights {self.weights_id!r}: expected weights that predict an uncertainty, these do not; "
                "load others, or train with network.uncertainty = true"
            )
        std = self.assess(images).std
        assert std is not None
        return std

    @property
    def lower_better(self) -> bool:
        """False: a higher score is a better picture, whatever the metric is used for."""
        return False

    @property
    def device(self) -> torch.device:
        """Where images are moved to."""
        return self.net.mean.device

    @property
    def defects(self) -> tuple[str, ...]:
        """Names of the defects that the weights tell of, of `qfm_metric.defects.NAMES`; none if they tell of none."""
        return self.net.config.defects

    @property
    def batch(self) -> int:
        """How many images pass the network at once."""
        # Larger batches of feature maps fall out of a CPU's cache: 8 at a time take 2-4x as long as 8 times one.
        return 1 if self.device.type == "cpu" else GPU_BATCH

    def _passes(self, images: Tensor | Sequence[Tensor]) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Make the views of images; yields those that share a forward pass, with their places in `images`."""
        if isinstance(images, Tensor):
            for start in range(0, len(images), self.batch):
                views = self.net.distinct_views(self.to_net(images[start : start + self.batch]))
                yield range(start, start + len(views)), views
            return
        looked = (self.net.distinct_views(self.to_net(image.unsqueeze(0))) for image in images)
        yield from together(looked, self.batch)

    def look(self, pixels: Pixels) -> Tensor:
        """Views `(1, V, 3, h, w)` of one picture, see `Metric`."""
        return preprocess_pixels(self.net, pixels)

    def rate(self, views: Sequence[Tensor], maps: bool = False, descriptors: bool = False) -> list[Rating]:
        """Ratings of pictures that were looked at, see `Metric`."""
        ratings: dict[int, Rating] = {}
        for places, batch in together(views, self.batch):
            found = self.net.judge_views(batch, maps, descriptors)
            nothing = [None] * len(batch)
            stds = nothing if found.stds is None else found.stds.tolist()
            quality_maps = nothing if found.maps is None else found.maps
            defects = nothing if found.defects is None else map(self.named, found.defects[..., 0].tolist())
            notes = nothing if found.photographs is None else map(note, found.photographs.tolist())
            shown = nothing if found.descriptors is None else found.descriptors
            scores = found.scores.tolist()
            ratings |= zip(places, map(Rating, scores, stds, quality_maps, defects, notes, shown), strict=True)
        return [ratings[i] for i in range(len(views))]

    def named(self, costs: Sequence[float]) -> dict[str, float]:
        """What each defect costs, by name."""
        return dict(zip(self.defects, costs, strict=True))

    def show(self, views: Tensor, size: tuple[int, int]) -> Tensor:
        """The whole picture as it was looked at, see `Metric`."""
        whole = views[:1, 0] * self.net.std + self.net.mean
        height, width = (max(1, round(side * max(whole.shape[-2:]) / max(size))) for side in size)
        return resize(whole, (height, width))[0].clamp(0, 1)

    def to_net(self, images: Tensor) -> Tensor:
        """To the network's device, precision and range."""
        target = self.net.mean
        if target.device.type == "mps":
            images = images.contiguous()  # as weights are there, see `_apply`
        if images.dtype == torch.uint8:
            return images.to(target.device, target.dtype) / 255
        clamped = images.clamp(0, 1)  # before what is finite in double precision becomes infinite in single
        if images.requires_grad:
            # The gradient passes the clamp unchanged: black, white and overshooting pixels can be moved back by it.
            clamped = clamped.detach() + (images - images.detach())
        if images.dtype == torch.float64:  # MPS has none: it must not get there, nor the gradient come back as it
            clamped = clamped.to(target.dtype)
        return clamped.to(target.device, target.dtype)

    def __repr__(self) -> str:
        """Without the network's layers, which nobody asks a metric for: `print(metric.net)` has them."""
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        return f"{self.weights_id!r}, device={str(self.device)!r}"

    @property
    def signature(self) -> str:
        """What to state beside published scores: version, weights, hash, preprocessing."""
        from . import __version__

        config = self.net.config
        return (
            f"qfm_metric {__version__}, weights {self.weights_id} (sha256 {self.weights_sha256[:12] or 'none'}), "
            f"views of at most {config.view_pixels} px: the whole (antialiased bilinear, shape kept, never enlarged) "
            f"and {config.native_views} {_crops(config)}"
        )


def _crops(config: QFMConfig) -> str:
    pixels = config.working_pixels
    return f"crops of the picture at no more than {pixels} px" if pixels else "at native resolution"


def _in_order(found: dict[int, Tensor]) -> Tensor:
    return torch.stack([found[i] for i in range(len(found))])
