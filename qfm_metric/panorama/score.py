"""`score_360`: an equirectangular picture, scored through viewports by a metric for flat pictures."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..decoding.errors import ImageError
from ..images import Pixels, check_array, naming, open_image, read_pixels
from ..inputs import Picture, as_batch, check_range
from ..rating import Metric, Views, check_is_metric, common_note
from ..score import QFMScore
from ..torch_defaults import no_autocast
from .gpano import check_placement, place, projection_of
from .sphere import SIDE, Placement, Sphere, middles
from .viewports import Viewport, entropy_viewports, first_yaw, fixed_viewports, held_viewports

FOV = 100.0
SMALLEST_FOV, LARGEST_FOV = 90.0, 110.0
SMALLEST_SIDE = 64  # px: the network enlarges what is smaller
CELL = 10  # degrees of a map's cells
SHOWN = 512  # px of the longer side of a picture that a map is drawn over
_EPS = 1e-6  # from 0 and 1, whose log-odds are infinite

Choice = Literal["fixed", "entropy"]


@dataclass(frozen=True, eq=False)
class PanoramaScore:
    """What is said of an equirectangular picture.

    Attributes:
        score: In [0, 1], higher is better: the weighted mean of the viewports' scores.
        viewports: Directions and weights.
        viewport_scores: `(N,)`, float32, of each.
        quality_map: `(1, 18, 36)`, or less of a part of the sphere: over the picture, 10 degrees a cell, float32 in
            (0, 1), higher is better. NaN where no viewport looks. None if the metric has no maps.
        defects: By name, the share of the quality that a defect takes: the weighted mean of the viewports' shares. None
            if the metric names none.
        note: `not a photograph` if the network takes none of the viewports for one; None: nothing is to be said.
        side: Of the viewports, in px.
    """

    score: float
    viewports: Sequence[Viewport]
    viewport_scores: Tensor
    quality_map: Tensor | None
    defects: Mapping[str, float] | None
    note: str | None
    side: int


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a metric's network looks at of a whole panorama.

    Attributes:
        views: As the metric made them, of each viewport.
        viewports: Directions and weights.
        placement: What of the whole sphere it shows.
        fov, side: Of the viewports, in degrees and px.
        small: The picture, `(3, h, w)`, reduced.
    """

    views: Sequence[Views]
    viewports: Sequence[Viewport]
    placement: Placement
    fov: float
    side: int
    small: Tensor


def score_360(
    image: Picture,
    metric: Metric | None = None,
    *,
    viewports: Choice = "fixed",
    fov: float = FOV,
    side: int = SIDE,
    placement: Placement | None = None,
) -> PanoramaScore:
    """Score an equirectangular picture as a viewer sees it who stands in it and looks about, most along the horizon.

    The metric was made for flat photographs and looks at each viewport by itself. Nobody's opinions of panoramas went
    into this, nor into the weights of the viewports: use it to compare versions of a panorama.

    Viewports are never finer than the picture. A picture that is finer is reduced first, by area and in strips. For a
    gradient, score what `qfm_metric.panorama.sphere.Sphere.view` gives.

    Args:
        image: What `load_image` takes, or a tensor `(3, H, W)`, float in [0, 1] or uint8, detached; twice as wide as
            high, unless it is placed.
        metric: Scores, on the device where it is. Default: `QFMScore()`.
        viewports: `fixed`: 30 in the same pattern for every picture. `entropy`: at most 12, where there is most to see.
            Both are counted from where the picture is brightest, so that they turn with it.
        fov: Of a viewport from side to side, from 90 to 110 degrees.
        side: Pixels of a viewport's side at most, 64 or more.
        placement: The part of the sphere that the picture shows; viewports that look beyond it are left out. Default:
            what a file's GPano properties say, else all.

    Raises:
        ImageError: the picture cannot be read, or cannot be placed on the sphere.
        ValueError: an option is out of range; a tensor of another shape, or with values outside of [0, 1].
        TypeError: no picture, no metric, no placement, or an option that is no number.

    Examples:
        >>> score_360("panorama.jpg").score  # doctest: +SKIP
        0.6021
    """
    if viewports not in ("fixed", "entropy"):
        raise ValueError(f"viewports: expected 'fixed' or 'entropy', got {viewports!r}")
    if isinstance(fov, bool) or not isinstance(fov, Real):
        raise TypeError(f"fov: expected a number of degrees, got {fov!r}")
    if not SMALLEST_FOV <= fov <= LARGEST_FOV:
        raise ValueError(f"fov: expected from {SMALLEST_FOV:g} to {LARGEST_FOV:g} degrees, got {fov}")
    if isinstance(side, bool) or not isinstance(side, Integral):
        raise TypeError(f"side: expected an integer, got {side!r}")
    if side < SMALLEST_SIDE:
        raise ValueError(f"side: expected at least {SMALLEST_SIDE} px, got {side}")
    metric = QFMScore() if metric is None else metric
    check_is_metric(metric)
    with torch.inference_mode(), no_autocast(metric.device):
        sphere = _to_sphere(image, placement, float(fov), int(side))
        return rate_around(metric, look_around(metric, sphere, viewports), maps=metric.runtime == "torch")


def around(metric: Metric, pixels: Pixels, properties: Mapping[str, str]) -> Surroundings:
    """As `look_around`, at what `read_pixels` and `projection_of` gave of a file, with the default options.

    Raises:
        ImageError: it cannot be placed on the sphere, or shows too little of it.
    """
    placement = place(pixels.shape[1], pixels.shape[0], properties)
    return look_around(metric, Sphere.of_pixels(pixels, placement, FOV))


def look_around(metric: Metric, sphere: Sphere, choice: Choice = "fixed") -> Surroundings:
    """Look at a panorama in the directions that count, one after another; needs little memory beside the sphere.

    Raises:
        ImageError: it shows too little of the sphere, or too coarsely.
    """
    place, fov = sphere.placement, sphere.fov
    if sphere.side < SMALLEST_SIDE:
        raise ImageError(
            f"expected viewports of at least {SMALLEST_SIDE} px, got {sphere.side} px for {fov:g} degrees; "
            "score it as flat"
        )
    first = first_yaw(sphere)
    held = held_viewports(sphere, fixed_viewports(first) if choice == "fixed" else entropy_viewports(sphere, first))
    if not held:
        raise ImageError(
            f"expected a panorama that holds at least one whole viewport of {fov:g} degrees, got a part of "
            f"{360 * place.width:.0f} x {180 * place.height:.0f} degrees; score it as flat"
        )
    views = [metric.look(_to_pixels(sphere.view(one.yaw, one.pitch))) for one in held]
    height, width = sphere.image.shape[-2:]
    scale = min(1.0, SHOWN / max(height, width))
    small = F.interpolate(sphere.image[None], (round(height * scale) or 1, round(width * scale) or 1), mode="area")[0]
    return Surroundings(views, held, place, fov, sphere.side, small)


def rate_around(metric: Metric, looked: Surroundings, maps: bool = False) -> PanoramaScore:
    """Rate a panorama that was looked at; its viewports share batches."""
    ratings = metric.rate(looked.views, maps)

    def mean(values: Iterable[float]) -> float:
        return sum(viewport.weight * value for viewport, value in zip(looked.viewports, values, strict=True))

    scores = [rating.score for rating in ratings]
    costs = [rating.defects for rating in ratings if rating.defects is not None]
    return PanoramaScore(
        score=mean(scores),
        viewports=looked.viewports,
        viewport_scores=torch.tensor(scores, dtype=torch.float32, device="cpu"),
        quality_map=map_back(looked, [rating.quality_map for rating in ratings]) if maps else None,
        defects={name: mean(of_one[name] for of_one in costs) for name in costs[0]} if costs else None,
        note=common_note(ratings),
        side=looked.side,
    )


def map_back(looked: Surroundings, maps: Sequence[Tensor | None]) -> Tensor:
    """The viewports' maps on the picture's own grid: where they overlap, the mean of their log-odds.

    A viewport counts by its weight, and less towards its edges, where it is stretched.
    """
    place, half = looked.placement, math.tan(math.radians(looked.fov) / 2)
    height, width = (max(1, round(180 / CELL * place.height)), max(1, round(360 / CELL * place.width)))
    pitches = 90 - 180 * (place.top + place.height * middles(height))[:, None].expand(height, width)
    yaws = 360 * (place.left + place.width * middles(width))[None, :].expand(height, width) - 180
    total, counted = torch.zeros_like(yaws), torch.zeros_like(yaws)
    for viewport, of_viewport in zip(looked.viewports, maps, strict=True):
        if of_viewport is None:
            continue
        right, up, forward = _from_camera(yaws - viewport.yaw, pitches, viewport.pitch)
        across, down = right / forward / half, -up / forward / half
        inside = (forward > 0) & (across.abs() <= 1) & (down.abs() <= 1)
        weight = viewport.weight * inside.double() * ((1 - across.abs()) * (1 - down.abs())).clamp(min=_EPS)
        grid = torch.stack([across, down], dim=-1)[None].clamp(-2, 2).float()
        log_odds = torch.logit(of_viewport.detach().cpu().float(), _EPS)[None]
        seen = F.grid_sample(log_odds, grid, padding_mode="border", align_corners=False)[0, 0]
        total, counted = total + weight * seen, counted + weight
    return torch.sigmoid(total / counted).float()[None]  # 0 / 0, where nothing looks, is NaN


def _from_camera(yaw: Tensor, pitch: Tensor, raised: float) -> tuple[Tensor, Tensor, Tensor]:
    """Right, up and forward of directions in degrees, for a camera at yaw 0 that looks up by `raised` degrees."""
    yaw, pitch, tilt = torch.deg2rad(yaw), torch.deg2rad(pitch), math.radians(raised)
    up, ahead = pitch.sin(), yaw.cos() * pitch.cos()
    forward = ahead * math.cos(tilt) + up * math.sin(tilt)
    return yaw.sin() * pitch.cos(), up * math.cos(tilt) - ahead * math.sin(tilt), forward


def _to_pixels(view: Tensor) -> Pixels:
    return view.detach().cpu().permute(1, 2, 0).numpy()


def _to_sphere(image: Picture, placement: Placement | None, fov: float, side: int) -> Sphere:
    if isinstance(image, Tensor):
        if image.ndim != 3:
            raise ValueError(f"image: expected one (3, H, W), got {tuple(image.shape)}; pass one at a time")
        image = as_batch(image, "image")[0].detach()
        check_range(image, "image")
        image = image.cpu()
        whole = image.float() / 255 if image.dtype == torch.uint8 else image.float().clamp(0, 1)
        return Sphere.of_image(whole, _placed(image.shape[-1], image.shape[-2], {}, placement), fov, side)
    if isinstance(image, np.ndarray):
        with naming(image):
            pixels = check_array(image)
            return Sphere.of_pixels(pixels, _placed(pixels.shape[1], pixels.shape[0], {}, placement), fov, side)
    if isinstance(image, Image.Image):
        with naming(image):
            return _decoded(image, placement, fov, side)
    with open_image(image) as opened:
        return _decoded(opened, placement, fov, side)


def _decoded(image: Image.Image, placement: Placement | None, fov: float, side: int) -> Sphere:
    properties = projection_of(image)
    pixels = read_pixels(image)
    return Sphere.of_pixels(pixels, _placed(pixels.shape[1], pixels.shape[0], properties, placement), fov, side)


def _placed(width: int, height: int, properties: Mapping[str, str], given: Placement | None) -> Placement:
    return place(width, height, properties) if given is None else check_placement(width, height, given)
