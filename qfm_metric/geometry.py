"""How large views are, and how they are taken from pictures."""

import math
import operator

import torch
import torch.nn.functional as F
from torch import Tensor

CELL = 32  # px of a view per token side; view sides are multiples of it
SHORTEST_SIDE = 2 * CELL  # a view has at least 2 x 2 tokens


def view_size(height: int, width: int, pixels: int) -> tuple[int, int]:
    """Height and width at which a picture is looked at: its shape kept, its area at most about `pixels`.

    A larger picture is reduced, a smaller one keeps its size; both sides are rounded to a multiple of 32. Sides are
    held between 64 and `pixels / 64`, which upscales thumbnails below 64 px and squeezes strips thinner than about
    1:36.
    """
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    longest = pixels // SHORTEST_SIDE // CELL * CELL
    h, w = (min(max(round(side * scale / CELL) * CELL, SHORTEST_SIDE), longest) for side in (height, width))
    # Compiled for dynamic shapes the sides are symbolic, and the network's own padding arithmetic on them takes minutes
    # to trace. index() makes them numbers: one graph for each shape of view, whatever the pictures' sizes.
    return operator.index(h), operator.index(w)


def working_size(height: int, width: int, pixels: int) -> tuple[int, int]:
    """Height and width of what is looked at: the picture's own, or reduced to an area of about `pixels` if there are.

    A crop of a photograph of 12 megapixels shows blur and grain without their context, and hardly a part of it.
    """
    if not pixels or height * width <= pixels:
        return height, width
    scale = math.sqrt(pixels / (height * width))
    return max(1, operator.index(round(height * scale))), max(1, operator.index(round(width * scale)))


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """`(N, 3, H, W)` to `size` (height, width)."""
    if images.shape[-2:] == size:
        return images
    if images.device.type == "mps":  # where torch antialiases only since 2.7, and gives it no gradient
        return resize(images.cpu(), size).to(images.device)
    if images.device.type == "cpu" and images.dtype in (torch.float16, torch.bfloat16):  # which torch has not there
        return resize(images.float(), size).to(images.dtype)
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


def native_pieces(images: Tensor, size: tuple[int, int], count: int) -> list[Tensor]:
    """`count` crops of `size` (height, width), evenly spread along the diagonal; one: the centre.

    None if the images `(N, 3, H, W)` are too small for one, or of its size themselves.
    """
    spare = [have - want for have, want in zip(images.shape[-2:], size, strict=True)]
    if min(spare) < 0 or not any(spare):
        return []
    places = [(2 * i + 1) / (2 * count) for i in range(count)]
    corners = [(int(spare[0] * place), int(spare[1] * place)) for place in places]
    return [images[..., top : top + size[0], left : left + size[1]] for top, left in corners]
