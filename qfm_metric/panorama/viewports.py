"""Which directions a sphere is looked at in, and how much each counts.

People look about the horizon most. How much less they look elsewhere is set here, not learned.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .sphere import Sphere, middles

# Pitch of a row of viewports, how many there are in it, and what they count together.
ROWS = ((90, 1, 0.03), (45, 8, 0.17), (0, 12, 0.6), (-45, 8, 0.17), (-90, 1, 0.03))
# The directions that entropy chooses from, every so many degrees, and what it is measured in.
PITCHES = range(60, -61, -15)
YAW_STEP = 5
PATCH, PATCH_SIDE, LEVELS = 40, 16, 32  # degrees, samples a side, levels of grey
CHOSEN, APART = 12, 30  # viewports at most, and degrees between their directions at least
SPREAD = 30  # degrees of pitch, the standard deviation of how much a direction counts
LUMA = (0.299, 0.587, 0.114)


class Viewport(NamedTuple):
    """A direction that a picture is looked at in.

    Attributes:
        yaw: Degrees to the right of the picture's middle, from -180 to 180.
        pitch: Degrees above its horizon, from -90 to 90.
        weight: What it counts; those of a picture come to 1.
    """

    yaw: float
    pitch: float
    weight: float


def fixed_viewports(first: float = 0.0) -> list[Viewport]:
    """30 in the same pattern for every picture: 12 about the horizon, 8 above and below, one at each pole.

    Args:
        first: Yaw of the first of each row, in degrees.
    """
    return [
        Viewport(_turn(first + 360 * i / count), pitch, weight / count)
        for pitch, count, weight in ROWS
        for i in range(count)
    ]


def entropy_viewports(sphere: Sphere, first: float = 0.0) -> list[Viewport]:
    """Up to 12 where there is most to see: the highest entropy of grey levels, weighted by pitch; none near another.

    Args:
        first: Yaw that the directions to choose from are counted from, in degrees.
    """
    places = [(_turn(first + yaw), pitch) for pitch in PITCHES for yaw in range(0, 360, YAW_STEP)]
    places = [place for place in places if sphere.holds(*place)]
    wanted = [_entropy(sphere.view(*place, side=PATCH_SIDE, fov=PATCH)) * _prior(place[1]) for place in places]
    near, chosen = APART - 1e-6, list[tuple[float, float]]()  # directions that are just apart are, however rounded
    for place in sorted(places, key=dict(zip(places, wanted, strict=True)).__getitem__, reverse=True):
        if len(chosen) < CHOSEN and all(_between(place, other) > near for other in chosen):
            chosen.append(place)
    total = sum(_prior(pitch) for _, pitch in chosen)
    return sorted((Viewport(yaw, pitch, _prior(pitch) / total) for yaw, pitch in chosen), key=lambda one: -one.pitch)


def first_yaw(sphere: Sphere) -> float:
    """The yaw to count from, so that viewports turn with the picture: of a part its middle, else where it is brightest.

    That is the phase of one wave of brightness around the sphere. All columns decide it together, so that it turns by
    less than a column, too, and that noise, blur and compression hardly move it.
    """
    place = sphere.placement
    if not place.goes_round:
        return _turn(360 * (place.left + place.width / 2) - 180)
    height, width = sphere.image.shape[-2:]
    longitudes = 2 * math.pi * (place.left + place.width * middles(width))
    latitudes = math.pi * (0.5 - place.top - place.height * middles(height))
    columns = (_luma(sphere.image).double().cpu() * latitudes.cos()[:, None]).sum(0)
    wave = math.atan2((columns * longitudes.sin()).sum(), (columns * longitudes.cos()).sum())
    return _turn(math.degrees(wave) - 180)


def held_viewports(sphere: Sphere, viewports: list[Viewport]) -> list[Viewport]:
    """Those of which a picture that is a part of the whole shows all; what they count comes to 1 again."""
    held = [viewport for viewport in viewports if sphere.holds(viewport.yaw, viewport.pitch)]
    total = sum(viewport.weight for viewport in held)
    return [viewport._replace(weight=viewport.weight / total) for viewport in held]


def direction(yaw: float, pitch: float) -> tuple[float, float, float]:
    """Right, up and forward, a unit vector."""
    turned, raised = math.radians(yaw), math.radians(pitch)
    return math.sin(turned) * math.cos(raised), math.sin(raised), math.cos(turned) * math.cos(raised)


def _turn(yaw: float) -> float:
    return (yaw + 180) % 360 - 180


def _between(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Degrees between two directions."""
    cosine = sum(a * b for a, b in zip(direction(*one), direction(*other), strict=True))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def _prior(pitch: float) -> float:
    return math.exp(-((pitch / SPREAD) ** 2) / 2)


def _luma(image: Tensor) -> Tensor:
    weights = torch.tensor(LUMA, dtype=image.dtype, device=image.device).view(3, 1, 1)
    return (image.detach() * weights).sum(0)


def _entropy(patch: Tensor) -> float:
    """Of the levels of grey, in bits. A sample counts for the two that it lies between: rounding changes no choice."""
    grey = (_luma(patch).double() * (LEVELS - 1)).clamp(0, LEVELS - 1).flatten()
    lower = grey.floor().clamp(max=LEVELS - 2)
    share = grey - lower
    counts = torch.bincount(lower.long(), 1 - share, LEVELS) + torch.bincount(lower.long() + 1, share, LEVELS)
    shares = counts / grey.numel()
    return -torch.special.xlogy(shares, shares).sum().item() / math.log(2)
