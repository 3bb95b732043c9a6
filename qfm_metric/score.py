"""QFMScore: checks images, holds a frozen network, returns one score per image."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .card import model_card
from .hub import load_weights
from .model import QFMConfig, QFMNet
from .weights import FILE, Weights, WeightsError, check_fit, read_manifest, save_weights

OVERSHOOT = 0.1 + 1e-6  # what interpolation and networks do to [0, 1] (and rounding); more is a mistake
GPU_BATCH = 32  # views a forward pass; bounds the memory that many images take


class QFMScore(nn.Module):
    """No-reference image quality: how good an image looks, from 0 (bad) to 1 (excellent).

    The score estimates the mean opinion score (MOS) that a panel of viewers would give on the scale of BIQ2021. The
    network is frozen: no gradient reaches its parameters, `train()` leaves it in evaluation mode, autocast does not
    change its precision (a parent's `requires_grad_()` and `half()` would; `QFMLoss` is out of their reach). The same
    image gets the same score whatever the batch: on the CPU to the last bit, because images pass one by one (which is
    also faster there); on a GPU within 1e-4, because its kernels differ by batch size.

    Args:
        net: The network to hold. Default: the student whose weights come with the package; nothing is downloaded.

    Example:
        >>> score = QFMScore()
        >>> score(torch.rand(2, 3, 224, 224)).shape
        torch.Size([2])
    """

    score_range = (0.0, 1.0)
    higher_is_better = True
    is_differentiable = True

    weights_id: str
    weights_sha256: str

    def __init__(self, net: QFMNet | None = None) -> None:
        super().__init__()
        self.weights_id, self.weights_sha256 = "custom", ""
        if net is None:
            weights = load_weights()
            net = _build(weights)
            self.weights_id, self.weights_sha256 = weights.id, weights.sha256
        # Depthwise convolutions on the CPU are faster so; scores move by less than 1e-6.
        self.net = net.to(memory_format=torch.channels_last).requires_grad_(False)
        self.train(False)

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
        metric = cls(_build(weights))
        metric.weights_id, metric.weights_sha256 = weights.id, weights.sha256
        return metric

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `model.safetensors`, `config.json` and, unless there is one, a model card `README.md`.

        Args:
            folder: Made if needed. `from_pretrained(folder)` gives the same scores to the last bit. Values are stored
                in half precision if that keeps each of them, as it does for the shipped weights.

        Raises:
            WeightsError: the folder cannot be written.
        """
        folder, config, tensors = Path(folder), asdict(self.net.config), self.net.state_dict()
        floats = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
        exact = all(torch.equal(tensor.half().to(tensor.dtype), tensor) for tensor in floats)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sha256 = save_weights(folder / FILE, config, tensors, torch.float16 if exact else torch.float32)
            (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            if not (folder / "README.md").exists():  # may be somebody's own
                # The written bytes decide: a network that was changed since it was loaded inherits no figures.
                entries = read_manifest()["weights"].items()
                released = next((item for item in entries if item[1]["sha256"] == sha256), (folder.name, None))
                (folder / "README.md").write_text(model_card(*released), encoding="utf-8")
        except OSError as error:
            raise WeightsError(f"{folder}: cannot write ({error.strerror}); free space, or choose another") from error

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

    def train(self, mode: bool = True) -> "QFMScore":
        """Stay in evaluation mode: a metric inside a model that trains is not trained."""
        return super().train(False)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Score images for perceived quality, without a reference.

        Args:
            images: `(N, 3, H, W)`, one `(3, H, W)`, or a list of `(3, H, W)` of any sizes. RGB; float in [0, 1] or
            uint8.
                Moved to the metric's device. Overshoot of [0, 1] up to 0.1 is clamped.

        Returns:
            `(N,)`, float32 in [0, 1]; higher is better. Differentiable in `images`; the gradient passes the clamp
            unchanged, so that black, white and overshooting pixels can move.

        Raises:
            TypeError: not a tensor or a list of tensors; integers other than uint8.
            ValueError: wrong rank or channels, nothing to score, NaN, Inf, or values further than 0.1 outside [0, 1].
            Values
                are not checked for inputs that require grad, nor while compiling or exporting.

        Example:
            >>> score([torch.rand(3, 64, 96), torch.rand(3, 120, 80)]).shape
            torch.Size([2])
        """
        with torch.autocast(self.net.mean.device.type, enabled=False):
            if isinstance(images, Tensor):
                images = images.unsqueeze(0) if images.ndim == 3 else images
                check_images(images, "images")
                if torch.compiler.is_compiling():
                    return self.net(self.to_net(images)).float()  # type: ignore[no-any-return]
                return torch.cat([self.net(self.to_net(part)).float() for part in torch.split(images, self._batch)])
            return self._score_list(images)

    @property
    def _batch(self) -> int:
        # Larger batches of feature maps fall out of a CPU's cache: 8 at a time take 2-4x as long as 8 times one.
        return 1 if self.net.mean.device.type == "cpu" else GPU_BATCH

    def _score_list(self, images: Sequence[Tensor]) -> Tensor:
        if not isinstance(images, Sequence) or isinstance(images, str | bytes):
            raise TypeError(f"expected a tensor or a list of tensors, got {type(images).__name__}; see load_image")
        if not images:
            raise ValueError("expected at least one image, got an empty list")
        for i, image in enumerate(images):
            if not isinstance(image, Tensor):
                raise TypeError(f"images[{i}]: expected a (3, H, W) tensor, got {type(image).__name__}; see load_image")
            if image.ndim != 3:
                raise ValueError(f"images[{i}]: expected (3, H, W) in a list of images, got {tuple(image.shape)}")
            check_images(image.unsqueeze(0), f"images[{i}]")
        # Pictures that are looked at in the same shape share a forward pass.
        alike: dict[torch.Size, list[tuple[int, Tensor]]] = {}
        scores: dict[int, Tensor] = {}
        for i, image in enumerate(images):
            views = self.net.distinct_views(self.to_net(image.unsqueeze(0)))
            group = alike.setdefault(views.shape, [])
            group.append((i, views))
            if len(group) == self._batch:
                scores |= self._score_group(alike.pop(views.shape))
        for group in alike.values():
            scores |= self._score_group(group)
        return torch.stack([scores[i] for i in range(len(images))])

    def _score_group(self, group: list[tuple[int, Tensor]]) -> dict[int, Tensor]:
        indices, views = zip(*group, strict=True)
        return dict(zip(indices, self.net.score_views(torch.cat(views)).float(), strict=True))

    def to_net(self, images: Tensor) -> Tensor:
        """To the network's device, precision and range."""
        target = self.net.mean
        scaled = images.to(target.device, target.dtype)
        if images.dtype == torch.uint8:
            return scaled / 255
        # The gradient passes the clamp unchanged: black, white and overshooting pixels can be moved back by it.
        return scaled.clamp(0, 1).detach() + (scaled - scaled.detach()) if scaled.requires_grad else scaled.clamp(0, 1)

    def extra_repr(self) -> str:
        return (
            f"weights_id={self.weights_id!r}, score_range={self.score_range}, higher_is_better={self.higher_is_better}"
        )

    @property
    def report(self) -> str:
        """What to state beside published scores: version, weights, hash, preprocessing."""
        from . import __version__

        config = self.net.config
        return (
            f"qfm_metric {__version__}, weights {self.weights_id} (sha256 {self.weights_sha256[:12] or 'none'}), "
            f"views of at most {config.view_pixels} px: the whole (antialiased bilinear, shape kept, never enlarged) "
            f"and {config.native_views} at native resolution"
        )


def check_images(images: Tensor, name: str) -> None:
    """Refuse what cannot be scored; `images` has a batch dimension."""
    if images.ndim != 4:
        raise ValueError(f"{name}: expected (N, 3, H, W) or (3, H, W), got {tuple(images.shape)}")
    if images.shape[1] != 3:
        hint = (
            "permute(0, 3, 1, 2) first" if images.shape[-1] == 3 else "RGB is needed; expand a grey image to 3 channels"
        )
        raise ValueError(f"{name}: expected 3 channels (N, 3, H, W), got {tuple(images.shape)}; {hint}")
    if images.numel() == 0:
        raise ValueError(f"{name}: expected at least one image of at least 1 x 1 px, got {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise TypeError(f"{name}: expected float in [0, 1] or uint8, got {images.dtype}")
    if not (images.requires_grad or torch.compiler.is_compiling()):
        _check_range(images, name)


def _check_range(images: Tensor, name: str) -> None:
    low, high = (value.item() for value in torch.aminmax(images.detach()))
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError(f"{name}: expected finite values in [0, 1], got NaN or Inf")
    hint = "rescale them"
    if high > 2:
        hint = "divide by 255 or pass uint8"
    elif low < -0.5:
        hint = "map [-1, 1] to [0, 1] by (x + 1) / 2"
    raise ValueError(f"{name}: expected values in [0, 1], got [{low:.3g}, {high:.3g}]; {hint}")


def _build(weights: Weights) -> QFMNet:
    """A network with these weights; every tensor that is missing, unexpected or of another shape is named at once."""
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in weights.config.items()}
        config = QFMConfig(**values)
        with torch.device("meta"):  # takes no memory, whatever backbone a foreign file names
            wanted = QFMNet(config).state_dict()
        check_fit(weights, {name: tensor for name, tensor in wanted.items() if tensor.is_floating_point()})
        with torch.random.fork_rng(devices=[]):  # the initial values are drawn, and then replaced
            net = QFMNet(config)
    except WeightsError:
        raise
    except Exception as error:  # timm raises what it likes for names and depths that it does not have
        raise WeightsError(
            f"weights {weights.id!r}: the config in the header cannot be built: {error}; export them again"
        ) from error
    net.load_state_dict(weights.tensors, strict=False)  # left out are BatchNorm's step counters, see save_weights
    return net
