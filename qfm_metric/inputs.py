"""What QFMScore takes as images: refused is what cannot be scored, with what was expected, what came and what to do."""

import math
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .images import Pixels, load_image

Picture: TypeAlias = Tensor | str | os.PathLike[str] | Image.Image | Pixels
Images: TypeAlias = Picture | Sequence[Picture]

DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
OVERSHOOT = 0.1 + 1e-6  # what interpolation and networks do to [0, 1] (and rounding); more is a mistake


def as_images(images: Images, name: str = "images") -> Tensor | Sequence[Tensor]:
    """A batch `(N, 3, H, W)` of what is alike, or the images `(3, H, W)` of a list; what cannot be scored is refused.

    What comes as no tensor is read by `load_image`: of a list one by one, when it is looked at.

    Args:
        images: See `QFMScore.forward`.
        name: Of the argument, for messages.

    Raises:
        TypeError, ValueError: see `QFMScore.forward`.
        ImageError: a picture that cannot be read.
    """
    if isinstance(images, Tensor):
        images = as_batch(images, name)
        check_range(images, name)
        return images
    if isinstance(images, str | os.PathLike | Image.Image | np.ndarray):
        return load_image(images).unsqueeze(0)
    if not isinstance(images, Sequence) or isinstance(images, bytes | bytearray | memoryview):
        raise TypeError(
            f"{name}: expected a tensor, a path, a PIL image, a numpy array or a list of those, got "
            f"{type(images).__name__}; see load_image"
        )
    if not images:
        raise ValueError(f"{name}: expected at least one image, got an empty list")
    for i, image in enumerate(images):
        _check_item(image, f"{name}[{i}]")
    return _Loaded(images)


class _Loaded(Sequence[Tensor]):
    """Images of a list, each read when it is looked at: many photographs at once would fill the memory."""

    def __init__(self, images: Sequence[Picture]) -> None:
        self.images = images

    def __getitem__(self, place: Any) -> Any:
        image = self.images[place]
        return image if isinstance(image, Tensor) else load_image(image)

    def __len__(self) -> int:
        return len(self.images)


def _check_item(image: object, name: str) -> None:
    if isinstance(image, str | os.PathLike | Image.Image | np.ndarray):
        return
    if not isinstance(image, Tensor):
        raise TypeError(
            f"{name}: expected a (3, H, W) tensor, a path, a PIL image or a numpy array, got {type(image).__name__}; "
            "see load_image"
        )
    if image.ndim != 3:
        raise ValueError(f"{name}: expected (3, H, W) in a list of images, got {tuple(image.shape)}")
    as_batch(image, name)
    check_range(image, name)


def as_batch(images: Tensor, name: str = "images") -> Tensor:
    """One `(3, H, W)` as a batch of one, a batch as it is; refuses other shapes and types, whatever the values.

    Raises:
        TypeError: sparse or nested tensors; other types than `DTYPES`.
        ValueError: wrong rank or channels, nothing to score.
    """
    if images.is_nested or images.layout != torch.strided:
        kind, hint = ("nested", "pass images.unbind()") if images.is_nested else ("sparse", "pass images.to_dense()")
        raise TypeError(f"{name}: expected a dense tensor, got a {kind} one; {hint}")
    shape = tuple(images.shape)
    if images.ndim not in (3, 4):
        hint = "; expand a grey image: images.expand(3, -1, -1)" if images.ndim == 2 else ""
        raise ValueError(f"{name}: expected (N, 3, H, W) or (3, H, W), got {shape}{hint}")
    if images.shape[-3] != 3:
        raise ValueError(
            f"{name}: expected 3 channels, (N, 3, H, W) or (3, H, W), got {shape}; {_channel_hint(images)}"
        )
    if images.numel() == 0:
        raise ValueError(f"{name}: expected at least one image of at least 1 x 1 px, got {shape}")
    if images.dtype not in DTYPES:
        raise TypeError(f"{name}: expected float in [0, 1] or uint8, got {images.dtype}; pass images.float() / scale")
    return images.unsqueeze(0) if images.ndim == 3 else images


def _channel_hint(images: Tensor) -> str:
    """What to do with an image that has not 3 channels, or has them elsewhere."""
    channels, last, batch = images.shape[-3], images.shape[-1], images.ndim == 4
    if last == 3:
        return f"channels come first: {'permute(0, 3, 1, 2)' if batch else 'permute(2, 0, 1)'} first"
    if channels == 4:
        rgb = "images[:, :3]" if batch else "images[:3]"
        return f"the fourth is probably alpha (transparency): lay it over white as load_image does, or drop it: {rgb}"
    if channels == 1:
        return f"expand a grey image: images.expand({'-1, 3, -1, -1' if batch else '3, -1, -1'})"
    if last in (1, 4):
        order = "permute(0, 3, 1, 2)" if batch else "permute(2, 0, 1)"
        return f"channels come first: {order} first, and then {'expand grey' if last == 1 else 'drop alpha'} to get RGB"
    return "RGB is needed"


def check_range(images: Tensor, name: str = "images") -> None:
    """Refuse values that no picture has, unless the images require grad or a graph is being compiled.

    Raises:
        ValueError: NaN, Inf, or values further than 0.1 outside [0, 1].
    """
    if images.requires_grad or torch.compiler.is_compiling():
        return
    if fault := range_fault(images):
        raise ValueError(f"{name}: {fault}")


def range_fault(images: Tensor) -> str | None:
    """What is wrong with the values of images, and what to do; None if nothing is seen. A GPU is waited for."""
    if images.is_meta:
        return "expected values in [0, 1], got none: the tensor is on the device meta; make it on another"
    if images.dtype == torch.uint8:
        return None
    try:
        low, high = (value.item() for value in torch.aminmax(images.detach()))
    except RuntimeError:  # under vmap, or of fake tensors, there is nothing to look at
        return None
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return None
    if not math.isfinite(low) or not math.isfinite(high):
        return "expected finite values in [0, 1], got NaN or Inf"
    hint = "rescale them"
    if high > 2:
        hint = "divide by 255 or pass uint8" if low > -0.5 else "undo their normalisation: multiply by std, add mean"
    elif low < -0.5:
        hint = "map [-1, 1] to [0, 1] by (x + 1) / 2"
    return f"expected values in [0, 1], got [{low:.3g}, {high:.3g}]; {hint}"
