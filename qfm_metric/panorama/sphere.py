"""An equirectangular picture as a sphere, and what a viewer who stands in it sees.

    pixels -> area_mean      reduced to what the viewports can show            (3, h, w)
           -> smooth_rows    near the poles a row has more pixels than arc
           -> Sphere.view    a rectilinear viewport, across seam and poles     (3, side, side)

Angles are in degrees: yaw to the right from the middle of the picture, pitch upwards from its horizon.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import Pixels, to_unit

SIDE = 1024  # px of a viewport at most
MARGIN = 2  # px beside a picture that interpolation may ask for
STRIP = 2**20  # pixels that pass at once
MOST = 1 + 1e-3  # of a share, because sizes in files are rounded


@dataclass(frozen=True)
class Placement:
    """Which part of the whole equirectangular picture a picture shows, in shares of the whole's width and height.

    Attributes:
        left, top: Where its upper left corner lies, from 0 to 1.
        width, height: Its size, above 0 up to 1; what lies beyond the right edge goes on at the left.

    Raises:
        TypeError, ValueError: a share that is none; a picture that reaches below the whole one.
    """

    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0

    def __post_init__(self) -> None:
        for name in ("left", "top", "width", "height"):
            share: float = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, Real):
                raise TypeError(f"{name}: expected a share from 0 to 1, got {share!r}")
            if not 0 <= share <= MOST or (share == 0 and name in ("width", "height")):
                raise ValueError(f"{name}: expected a share of the whole sphere from 0 to 1, got {share:g}")
        if self.top + self.height > MOST:
            raise ValueError(f"height: expected no more than is left below {self.top:g}, got {self.height:g}")

    @property
    def goes_round(self) -> bool:
        """Whether its right edge meets its left one."""
        return self.width > 1 - 1e-3

    def columns(self, longitude: Tensor) -> Tensor:
        """Longitudes in turns from the middle of the whole, as shares of this picture's width."""
        return (longitude + 0.5 - self.left).remainder(1) / self.width

    def rows(self, latitude: Tensor) -> Tensor:
        """Latitudes in half turns from the horizon upwards, as shares of this picture's height."""
        return (0.5 - latitude - self.top) / self.height


WHOLE = Placement()


def viewport_side(width: float, fov: float) -> int:
    """Pixels of a viewport's side that has in its middle the resolution of the picture: there, none is enlarged.

    Args:
        width: Of the whole equirectangular picture, in px.
        fov: Of the viewport from side to side, in degrees.
    """
    return max(1, int(width / math.pi * math.tan(math.radians(fov) / 2)))


def middles(count: int) -> Tensor:
    """The middles of equal parts of [0, 1]."""
    return (torch.arange(count, dtype=torch.float64, device="cpu") + 0.5) / count


def area_mean(image: Tensor, count: int, dim: int) -> Tensor:
    """Reduce one dimension to `count` samples, each the mean of an equal share of it; enlarges nothing.

    Shares end at the picture's edges, so that a seam needs no care.
    """
    length = image.shape[dim]
    if count >= length:
        return image
    share = length / count
    starts = torch.arange(count, dtype=torch.float64, device="cpu") * share
    first = starts.floor()
    reduced = torch.zeros((), dtype=image.dtype, device=image.device)
    shape = [-1 if i == dim % image.ndim else 1 for i in range(image.ndim)]
    for step in range(math.ceil(share) + 1):
        source = first + step
        covered = torch.minimum(starts + share, source + 1) - torch.maximum(starts, source)
        weight = (covered.clamp(min=0) / share).to(image).view(shape)
        at = source.long().clamp(max=length - 1).to(image.device)
        reduced = reduced + image.index_select(dim, at) * weight
    return reduced


def smooth_rows(image: Tensor, placement: Placement = WHOLE) -> Tensor:
    """Smooth each row along itself as far as its pixels are narrower on the sphere than those of the horizon.

    At a latitude they are narrower by its cosine, and a viewport that has the pixels of the horizon would skip some.
    The kernel is the discrete Gaussian, which is nowhere negative, with the variance of the triangle that antialiased
    bilinear reduction by 1 / cos takes, less that of one pixel's. At the horizon it does nothing.
    """
    height, width = image.shape[-2:]
    if not placement.goes_round:
        image = torch.cat([image, image.flip(-1)], dim=-1)  # its edges are no neighbours
    latitude = math.pi * (0.5 - placement.top - middles(height) * placement.height)
    variance = latitude.tan().square() / 6
    waves = torch.fft.rfftfreq(image.shape[-1], dtype=torch.float64, device="cpu")
    kept = torch.exp(variance[:, None] * (torch.cos(2 * math.pi * waves) - 1))
    smooth = torch.fft.irfft(torch.fft.rfft(image) * kept.to(image), n=image.shape[-1])
    return smooth[..., :width]


@dataclass(frozen=True, eq=False)
class Sphere:
    """A picture that can be looked at in any direction.

    Attributes:
        padded: `(3, h + 4, w + 4)` in [0, 1]: the picture, no finer than the viewports show, with what lies beside it.
        placement: What of the whole it is.
        side: Of viewports, in px.
        fov: Of viewports from side to side, in degrees.
    """

    padded: Tensor
    placement: Placement
    side: int
    fov: float

    @classmethod
    def of_pixels(cls, pixels: Pixels, placement: Placement, fov: float, most: int = SIDE) -> "Sphere":
        """From what `read_pixels` gave, a strip at a time: memory grows with the picture's height, not its area."""
        height, width = pixels.shape[:2]
        rows = max(1, STRIP // width)

        def narrow(columns: int) -> Tensor:
            tops = range(0, height, rows)
            return torch.cat([area_mean(to_unit(pixels[top : top + rows]), columns, -1) for top in tops], dim=-2)

        return cls._of(narrow, height, width, placement, fov, most)

    @classmethod
    def of_image(cls, image: Tensor, placement: Placement, fov: float, most: int = SIDE) -> "Sphere":
        """From `(3, H, W)`, float in [0, 1]; differentiable in it."""
        height, width = image.shape[-2:]
        return cls._of(lambda columns: area_mean(image, columns, -1), height, width, placement, fov, most)

    @classmethod
    def _of(
        cls, narrow: Callable[[int], Tensor], height: int, width: int, placement: Placement, fov: float, most: int
    ) -> "Sphere":
        """With a function that gives the picture with as many columns as it is asked for."""
        whole = width / placement.width
        side = viewport_side(whole, fov)
        if side > most:
            scale = most * math.pi / math.tan(math.radians(fov) / 2) / whole
            side, height, width = most, max(1, round(height * scale)), max(1, round(width * scale))
        image = smooth_rows(area_mean(narrow(width), height, -2), placement)
        return cls(_padded(image, placement), placement, side, fov)

    @property
    def image(self) -> Tensor:
        """`(3, h, w)` in [0, 1]."""
        return self.padded[:, MARGIN:-MARGIN, MARGIN:-MARGIN]

    def view(self, yaw: float, pitch: float, *, side: int | None = None, fov: float | None = None) -> Tensor:
        """What a camera sees that looks in this direction, `(3, side, side)` in [0, 1]; differentiable in the picture.

        Outside of a picture that shows a part of the whole, its edges go on.
        """
        longitude, latitude = _rays(pitch, fov or self.fov, side or self.side)
        rows, columns = self.placement.rows(latitude), self.placement.columns(longitude + yaw / 360)
        height, width = self.image.shape[-2:]
        across = (2 * columns - 1) * (width / (width + 2 * MARGIN))
        down = (2 * rows - 1) * (height / (height + 2 * MARGIN))
        grid = torch.stack([across, down], dim=-1).to(self.padded)
        seen = F.grid_sample(self.padded[None], grid[None], mode="bicubic", padding_mode="border", align_corners=False)
        # Bicubic interpolation overshoots at edges. The gradient passes, so that black and white can be moved.
        return seen[0] + (seen[0].clamp(0, 1) - seen[0]).detach()

    def holds(self, yaw: float, pitch: float) -> bool:
        """Whether the picture shows all that a viewport in this direction sees."""
        longitude, latitude = _rays(pitch, self.fov, 33)
        rows, columns = self.placement.rows(latitude), self.placement.columns(longitude + yaw / 360)
        slack = 0.5 / self.image.shape[-2]  # the centres of the outermost pixels
        inside = (rows >= -slack) & (rows <= 1 + slack)
        return bool((inside if self.placement.goes_round else inside & (columns <= 1)).all())


def _padded(image: Tensor, placement: Placement) -> Tensor:
    """A picture with what lies beside it on the sphere: the other side of the seam, and what is beyond a pole."""
    ends = (MARGIN, MARGIN, 0, 0)
    if not placement.goes_round:
        return F.pad(image[None], (MARGIN,) * 4, mode="replicate")[0]
    wide = F.pad(image[None], ends, mode="circular")[0]
    beyond = F.pad(image.roll(image.shape[-1] // 2, -1)[None], ends, mode="circular")[0]
    has_top, has_bottom = placement.top < 1e-3, placement.top + placement.height > 1 - 1e-3
    top = beyond[:, :MARGIN].flip(-2) if has_top else wide[:, :1].expand(-1, MARGIN, -1)
    bottom = beyond[:, -MARGIN:].flip(-2) if has_bottom else wide[:, -1:].expand(-1, MARGIN, -1)
    return torch.cat([top, wide, bottom], dim=-2)


@lru_cache(1)  # viewports of one pitch come one after another
def _rays(pitch: float, fov: float, side: int) -> tuple[Tensor, Tensor]:
    """Longitude in turns and latitude in half turns, `(side, side)`, of a viewport's pixels at yaw 0."""
    with torch.inference_mode(False):  # kept for others, who may want a gradient
        return _cast_rays(math.radians(pitch), math.tan(math.radians(fov) / 2), side)


def _cast_rays(pitch: float, half: float, side: int) -> tuple[Tensor, Tensor]:
    along = (2 * middles(side) - 1) * half
    right, up = along[None, :].expand(side, side), -along[:, None].expand(side, side)
    sine, cosine = math.sin(pitch), math.cos(pitch)
    forward, up = cosine - up * sine, up * cosine + sine
    longitude = torch.atan2(right, forward) / (2 * math.pi)
    latitude = torch.atan2(up, torch.hypot(right, forward)) / math.pi
    return longitude.float(), latitude.float()
