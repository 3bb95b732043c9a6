"""Views of pictures: made from pixels in bounded memory, and gathered by their shape.

A picture is never whole in memory as floating point: one of 100 MP would take 1.2 GB, twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .geometry import resize, working_size
from .images import Pixels, to_unit

if TYPE_CHECKING:
    from .model import QFMNet

SMALL = 2**20  # pixels that pass at once; also about what a strip has


def preprocess_pixels(net: "QFMNet", pixels: Pixels) -> Tensor:
    """`net.distinct_views` of what `read_pixels` gave, `(1, V, 3, h, w)`; on the CPU the same to the last bit.

    The antialiased resize is separable, width first: strips of rows are made narrow one after another, and what is
    left is made short at once.
    """
    height, width = pixels.shape[:2]
    size = working_size(height, width, net.config.working_pixels)
    if height * width <= SMALL or size == (height, width):
        return net.distinct_views(_to_images(net, pixels))
    rows = max(1, SMALL // width)
    strips = (_to_images(net, pixels[top : top + rows]) for top in range(0, height, rows))
    narrow = torch.cat([resize(strip, (strip.shape[-2], size[1])) for strip in strips], dim=-2)
    return net.views_of(resize(narrow, size))


def together(views: Iterable[Tensor], size: int) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Pictures that are looked at in the same shape share a pass, at most `size` of them.

    Args:
        views: `(1, V, 3, h, w)` of each picture; taken as they are needed.

    Yields:
        Their places, and their views `(n, V, 3, h, w)`.
    """
    alike: dict[torch.Size, list[tuple[int, Tensor]]] = {}
    for i, of_one in enumerate(views):
        group = alike.setdefault(of_one.shape, [])
        group.append((i, of_one))
        if len(group) == size:
            yield _joined(alike.pop(of_one.shape))
    yield from map(_joined, alike.values())


def _joined(group: list[tuple[int, Tensor]]) -> tuple[Sequence[int], Tensor]:
    places, views = zip(*group, strict=True)
    return places, torch.cat(views)


def _to_images(net: "QFMNet", pixels: Pixels) -> Tensor:
    """As `QFMScore` hands images to `net`: white behind transparency may exceed 1 by rounding."""
    return to_unit(pixels)[None].to(net.mean.device, net.mean.dtype).clamp_(0, 1)
