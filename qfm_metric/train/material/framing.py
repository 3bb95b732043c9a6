"""From a picture to its views: which part, at which size, by which kernel; grey, coded once more, between bars."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..distortions.colour import Pixels

Generator = np.random.Generator
Size = tuple[int, int]  # height, width
Kernel = Image.Resampling
Shapes = list[tuple[float, list[Size]]]  # how often, and which: one of a group is as likely as another

SHAPES: Shapes = [
    (0.30, [(128, 128), (128, 160), (160, 128), (160, 160), (160, 224), (192, 160), (192, 192)]),
    (0.40, [(224, 224), (192, 256), (256, 192), (256, 256), (224, 288), (288, 224)]),
    (0.25, [(256, 352), (352, 256), (320, 320), (288, 384), (384, 288)]),
    (0.05, [(384, 384)]),
]
# Of whole and detail. Small ones are for details of pictures three times as large as the view: ours have 512 px.
SMALL_JOINT: list[Size] = [(160, 160), (160, 192), (192, 160), (192, 224), (224, 192)]
LARGE_JOINT: list[Size] = [(288, 288), (320, 288), (288, 320), (352, 256), (256, 352), (384, 224), (224, 384)]
KERNELS = (Kernel.BILINEAR, Kernel.BILINEAR, Kernel.BICUBIC, Kernel.LANCZOS, Kernel.BOX, Kernel.HAMMING)
GREY = np.array([0.299, 0.587, 0.114], np.float32)


class Area(NamedTuple):
    """A rectangle of a picture, in px."""

    top: int
    left: int
    height: int
    width: int

    def of(self, pixels: Pixels) -> Pixels:
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]

    @classmethod
    def whole(cls, pixels: Pixels) -> "Area":
        return cls(0, 0, *pixels.shape[:2])


@dataclass(frozen=True)
class Frame:
    """Where the views of a picture are: an area of its source, and a detail of that area at a size of its own.

    Attributes:
        area: What is seen of the source.
        size: Of each view.
        kernel: That resizes.
        virtual: The size that the area is a picture of; the detail's pixels are this picture's.
        corner: Top and left of the detail in the picture of that size. None: there is no detail, just the whole.
    """

    area: Area
    size: Size
    kernel: Kernel
    virtual: Size
    corner: Size | None = None

    def views(self, pixels: Pixels) -> list[Pixels]:
        """Of the source: the whole area at the views' size, and the detail, each `(h, w, 3)`."""
        whole = take(pixels, self.area, self.size, self.kernel)
        return [whole] if self.corner is None else [whole, self._detail(pixels, self.corner)]

    def render(self, pixels: Pixels) -> tuple[Pixels, "Frame"]:
        """The area at its virtual size, and the frame that takes the same views of it."""
        picture = take(pixels, self.area, self.virtual, self.kernel)
        return picture, Frame(Area.whole(picture), self.size, self.kernel, self.virtual, self.corner)

    def _detail(self, pixels: Pixels, corner: Size) -> Pixels:
        """Resized once, from the area: the same as cut out of the picture at its virtual size."""
        (top, left), (height, width), part = corner, self.size, self.area.of(pixels)
        if part.shape[:2] == self.virtual:
            return part[top : top + height, left : left + width]
        (down, right), (rows, columns) = part.shape[:2], self.virtual
        upper, lower = top * down / rows, (top + height) * down / rows
        box = (left * right / columns, upper, (left + width) * right / columns, lower)
        return np.asarray(_image(part).resize((width, height), self.kernel, box))


@dataclass(frozen=True)
class Bars:
    """Bars of one level (0..255) on two opposite sides, `thickness` px each: above and below if `across`."""

    thickness: int
    across: bool

    @classmethod
    def draw(cls, rng: Generator, size: Size) -> "Bars":
        """Thin ones for a view of `size`: half of them up to an eighth of its height each, half up to a fifth."""
        height = size[0]
        thickest = height // 5 if rng.random() < 0.5 else height // 8
        return cls(int(rng.integers(1, thickest)), bool(rng.random() < 0.5))

    def inside(self, size: Size) -> Size:
        """What they leave of a view."""
        height, width = size
        return (height - 2 * self.thickness, width) if self.across else (height, max(32, width - 2 * self.thickness))


def fitting(shapes: Shapes, side: int) -> Shapes:
    """The shapes that a picture of `side` px holds; of those that are smaller than all of them, the smallest."""
    kept = [(share, [size for size in group if max(size) <= side]) for share, group in shapes]
    found = [(share, group) for share, group in kept if group] or [(1.0, [min(min(group) for _, group in shapes)])]
    total = sum(share for share, _ in found)
    return [(share / total, group) for share, group in found]


def draw_shape(rng: Generator, shapes: Shapes) -> Size:
    """One of the shapes, as often as they say."""
    options = shapes[int(rng.choice(len(shapes), p=[share for share, _ in shapes]))][1]
    return options[int(rng.integers(len(options)))]


def draw_kernel(rng: Generator) -> Kernel:
    """Bilinear for one in three: what viewers and browsers do most."""
    return KERNELS[int(rng.integers(len(KERNELS)))]


def draw_area(rng: Generator, available: Size, size: Size, whole: float, stretch: float) -> Area:
    """A part of a picture that becomes a view of `size`; never smaller, so that no view is enlarged.

    Args:
        available: Of the picture.
        whole: How often it is as large as the shape allows; else its scale is drawn, small ones as often as large ones.
        stretch: Standard deviation of the logarithm of how much the view is stretched.
    """
    (height, width), (h, w) = available, size
    largest = max(1.0, min(height / h, width / w))
    ratio = largest if rng.random() < whole else float(np.exp(rng.uniform(0, np.log(largest) + 1e-9)))
    stretched = float(np.exp(rng.normal(0, stretch)))
    ah = min(height, max(h, round(h * ratio * stretched)))
    aw = min(width, max(w, round(w * ratio / stretched)))
    return Area(int(rng.integers(0, height - ah + 1)), int(rng.integers(0, width - aw + 1)), ah, aw)


def draw_frame(rng: Generator, area: Area, size: Size, kernel: Kernel, largest: float | None) -> Frame:
    """The whole area, and a detail anywhere in it.

    Args:
        size: Of each view.
        largest: The virtual picture's sides are up to so many times the views', and no larger than the area's; the
            ratio's logarithm is uniform. None: no detail, and nothing is drawn.
    """
    if largest is None:
        return Frame(area, size, kernel, size)
    most = min(largest, area.height / size[0], area.width / size[1])
    ratio = float(np.exp(rng.uniform(0, np.log(max(1.0, most)) + 1e-9)))
    virtual = min(area.height, round(size[0] * ratio)), min(area.width, round(size[1] * ratio))
    return Frame(area, size, kernel, virtual, draw_corner(rng, virtual, size))


def draw_corner(rng: Generator, virtual: Size, size: Size) -> Size:
    """Where a detail of `size` begins in a picture of size `virtual`."""
    return int(rng.integers(0, virtual[0] - size[0] + 1)), int(rng.integers(0, virtual[1] - size[1] + 1))


def take(pixels: Pixels, area: Area, size: Size, kernel: Kernel) -> Pixels:
    """An area, resized to `size` if it has another."""
    part = area.of(pixels)
    if part.shape[:2] == size:
        return part
    return np.asarray(_image(part).resize(size[::-1], kernel))


def grey(pixels: Pixels) -> Pixels:
    """BT.601's luma in all three channels."""
    values = np.rint(pixels @ GREY).astype(np.uint8)
    return np.repeat(values[..., None], 3, 2)


def letterbox(inner: Pixels, size: Size, level: int) -> Pixels:
    """A picture of `size` in the one grey level, with `inner` in its middle."""
    framed = np.full((*size, 3), level, np.uint8)
    top, left = (size[0] - inner.shape[0]) // 2, (size[1] - inner.shape[1]) // 2
    Area(top, left, *inner.shape[:2]).of(framed)[:] = inner
    return framed


def to_tensor(pixels: Pixels) -> Tensor:
    """`(H, W, 3)` uint8 to `(3, H, W)` in [0, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1) / 255


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels))
