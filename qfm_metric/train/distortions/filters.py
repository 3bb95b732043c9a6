"""Blur kernels, tone curves and other maps that the distortions share. Values are float32 with channels last."""

import math

import numpy as np
from scipy import ndimage

from .colour import Pixels, Values


def gaussian(values: Values, sigma: float, radius: int | None = None) -> Values:
    """Blur height and width; the kernel ends at two sigma unless `radius` says otherwise (MATLAB's `imgaussfilt`)."""
    radius = math.ceil(2 * sigma) if radius is None else radius
    return ndimage.gaussian_filter(values, sigma, axes=(0, 1), radius=radius, mode="nearest")


def disk(radius: float) -> Values:
    """A disk's coverage of each pixel, to sum 1: a defocused lens."""
    reach, fine = math.ceil(radius - 0.5), 16
    offsets = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    inside = offsets[:, None] ** 2 + offsets**2 <= radius**2
    covered = inside.reshape(2 * reach + 1, fine, 2 * reach + 1, fine).mean(axis=(1, 3))
    return (covered / covered.sum()).astype(np.float32)


def line(length: float, degrees: float) -> Values:
    """A line through the middle, one pixel wide with soft sides, to sum 1: a camera that moves."""
    half = max(length - 1, 0) / 2
    reach = math.ceil(half)
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    cosine, sine = math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))  # rows run downwards
    along = np.clip(right * cosine + down * sine, -half, half)
    weight = np.maximum(1 - np.hypot(right - along * cosine, down - along * sine), 0)
    return (weight / weight.sum()).astype(np.float32)


def convolve(values: Values, kernel: Values) -> Values:
    """Apply an odd-sized 2-D kernel to every channel; the border is repeated outwards."""
    from scipy.signal import oaconvolve  # slow to import, and few types need it

    down, right = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(values, ((down, down), (right, right), (0, 0)), mode="edge")
    return oaconvolve(padded, kernel[:, :, None], mode="valid", axes=(0, 1)).astype(np.float32)


def slope(grey: Values) -> Values:
    """How steep an (H, W) picture is, by central differences."""
    down, right = (ndimage.correlate1d(grey, [-0.5, 0, 0.5], axis, mode="nearest") for axis in (0, 1))
    return np.hypot(down, right)


def curve(values: Values, points: dict[float, float]) -> Values:
    """A tone curve: the spline through (0, 0), `points` and (1, 1), clipped to [0, 1]; read from a fine table."""
    knots = {0.0: 0.0, **points, 1.0: 1.0}
    from scipy.interpolate import CubicSpline  # slow, too

    spline = CubicSpline(list(knots), list(knots.values()), bc_type="not-a-knot")
    grid = np.linspace(0, 1, 4097)
    table = spline(grid).clip(0, 1)
    return np.interp(values, grid, table).astype(np.float32)


def warp(values: Values, rows: Values, columns: Values) -> Values:
    """Take every pixel from where the (H, W) maps of rows and columns point, by cubic interpolation."""
    channels = [
        ndimage.map_coordinates(values[..., channel], (rows, columns), order=3, mode="nearest")
        for channel in range(values.shape[2])
    ]
    return np.stack(channels, axis=-1)


def resize_nearest(values: Values, height: int, width: int) -> Values:
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(int)
    return values[rows[:, None], columns]


def otsu(pixels: Pixels, thresholds: int) -> list[int]:
    """The grey levels that part a picture's histogram into `thresholds` + 1 classes of least variance (exact).

    A class ends with its threshold. The best partition of levels 0..b into k classes is the best of 0..a into k - 1 and
    a class a + 1..b, so it is built up class by class.
    """
    level = np.arange(256.0)
    count = np.bincount(pixels.ravel(), minlength=256).astype(float)
    mass, first, second = (np.concatenate([[0.0], np.cumsum(count * level**power)]) for power in (0, 1, 2))
    # cost[a, b]: sum of squared deviations of levels a..b-1 from their mean
    weight = mass[None, :] - mass[:, None]
    mean = (first[None, :] - first[:, None]) / np.maximum(weight, 1e-9)
    cost = second[None, :] - second[:, None] - mean * (first[None, :] - first[:, None])
    cost = np.where(np.arange(257)[:, None] < np.arange(257)[None, :], cost, np.inf)
    best, choices = cost[0], []
    for _ in range(thresholds):
        total = best[:, None] + cost
        choices.append(total.argmin(axis=0))
        best = total.min(axis=0)
    cuts, end = [], 256
    for choice in reversed(choices):
        end = int(choice[end])
        cuts.append(end - 1)
    return cuts[::-1]
