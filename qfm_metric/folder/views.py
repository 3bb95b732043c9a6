"""Views of a picture that is never whole in memory as floating point: a 100 MP picture would take 1.2 GB, twice."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..images import Pixels, to_unit
from ..model import QFMNet, native_pieces, resize, view_size

SMALL = 2**20  # pixels that pass at once; also about what a strip has


def preprocess_pixels(net: QFMNet, pixels: Pixels) -> Tensor:
    """`net.distinct_views` of what `read_pixels` gave, `(1, V, 3, h, w)`; on the CPU the same to the last bit.

    The antialiased resize is separable, width first: strips of rows are made narrow one after another, and what is
    left is made short at once.
    """
    height, width = pixels.shape[:2]
    size = view_size(height, width, net.config.view_pixels)
    if height * width <= SMALL or pixels.dtype.kind == "f" or size == (height, width):
        return net.distinct_views(_to_images(net, pixels))
    rows = max(1, SMALL // width)
    strips = (_to_images(net, pixels[top : top + rows]) for top in range(0, height, rows))
    narrow = torch.cat([resize(strip, (strip.shape[-2], size[1])) for strip in strips], dim=-2)
    planes: Any = np.moveaxis(pixels if pixels.ndim == 3 else pixels[..., None], -1, 0)
    pieces: list[Any] = native_pieces(planes, size, net.config.native_views)
    return net.stack_views(resize(narrow, size), [_to_images(net, np.moveaxis(piece, 0, -1)) for piece in pieces])


def split_tiles(pixels: Pixels, side: int) -> list[Pixels]:
    """A grid of equal parts whose sides are about `side` px (2/3 to 4/3 of it): none is a sliver at an edge."""
    rows, columns = (max(1, round(length / side)) for length in pixels.shape[:2])
    bands = np.array_split(pixels, rows, axis=0)
    return [tile for band in bands for tile in np.array_split(band, columns, axis=1)]


def _to_images(net: QFMNet, pixels: Pixels) -> Tensor:
    """As `QFMScore` hands images to `net`: white behind transparency may exceed 1 by rounding."""
    return to_unit(pixels)[None].to(net.mean.device, net.mean.dtype).clamp_(0, 1)
