"""What QFMScore takes as images: refused is what cannot be scored, with what was expected, what came and what to do."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

OVERSHOOT = 0.1 + 1e-6  # what interpolation and networks do to [0, 1] (and rounding); more is a mistake


def as_batch(images: Tensor) -> Tensor:
    """One `(3, H, W)` as a batch of one, a batch as it is; checked."""
    images = images.unsqueeze(0) if images.ndim == 3 else images
    check_images(images, "images")
    return images


def check_list(images: Sequence[Tensor]) -> None:
    """Refuse a list that holds anything else than images `(3, H, W)`."""
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
