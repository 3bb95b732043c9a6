"""KADID-10k's 25 distortion types at five levels (Lin, Hosu and Saupe, QoMEX 2019).

Method and parameters are those of the MATLAB code that the authors published with KADIS-700k (`imdist_generator.m` and
its functions), written anew; what MATLAB's toolbox does is done by NumPy, SciPy and Pillow. As there, the range of a
distorted picture is stretched to [0, 1], which is why "mean shift" and the blurs lose little contrast; where a clean
picture has less than the full range, only as far as it has it, so that stretching is no distortion of its own.
Radii, lengths and counts are absolute numbers of pixels and patches, made for pictures of 512 x 384.

| type | not as published | why |
|---|---|---|
| 6 colour quantisation | palette by median cut and k-means | MATLAB's minimum variance quantiser is not at hand |
| 15 denoise | sliding DCT thresholding | the pretrained DnCNN is not at hand; same noise before it |
| 19 jitter | spline interpolation, clipped | `interp2`'s cubic; what overshoots would shrink the contrast |

Everything else is the published definition; where only a port of a function was at hand (Gaussian blur, darken, mean
shift and the tone curve, after ARNIQA's), the port's. None of the 25 is left out.
"""

import math
from collections.abc import Callable

import numpy as np

from .coding import denoise, jpeg, jpeg2000, reduce_colours
from .colour import (
    LUMINANCE,
    Pixels,
    Values,
    lab_from_rgb,
    rgb_from_lab,
    rgb_from_ycbcr,
    stretch,
    to_pixels,
    to_values,
    ycbcr_from_rgb,
)
from .filters import convolve, curve, disk, gaussian, line, otsu, resize_nearest, slope, warp
from .type import Distortion, Provenance

Generator = np.random.Generator


def gaussian_blur(values: Values, sigma: float, rng: Generator) -> Values:
    return gaussian(values, sigma)


def lens_blur(values: Values, radius: float, rng: Generator) -> Values:
    return convolve(values, disk(radius))


def motion_blur(values: Values, length: float, rng: Generator) -> Values:
    return convolve(values, line(length, float(rng.integers(0, 181))))


def colour_diffusion(values: Values, amount: float, rng: Generator) -> Values:
    """Blur a* and b*, and raise them."""
    lab = lab_from_rgb(values)
    lab[..., 1:] = gaussian(lab[..., 1:], 1.5 * amount + 2) * np.float32(amount)
    return rgb_from_lab(lab).clip(0, 1)


def colour_shift(values: Values, amount: float, rng: Generator) -> Values:
    """Move green by `amount` pixels, where there is detail."""
    detail = stretch(gaussian(slope(values @ LUMINANCE)[..., None], 4.0)[..., 0])
    detail = stretch(detail.clip(0.1, 1))
    detail = stretch(detail.clip(*np.percentile(detail, (1, 99))))
    direction = rng.random(2)
    shift = np.round(direction / np.linalg.norm(direction) * amount).astype(int)
    height, width = detail.shape
    rows, columns = np.maximum(np.arange(height) - shift[1], 0), np.maximum(np.arange(width) - shift[0], 0)
    shifted = values.copy()
    shifted[..., 1] += detail * (values[rows[:, None], columns, 1] - values[..., 1])
    return shifted


def colour_quantisation(values: Values, colours: float, rng: Generator) -> Values:
    return to_values(reduce_colours(to_pixels(values), int(colours)))


def saturation_hsv(values: Values, factor: float, rng: Generator) -> Values:
    """HSV's saturation times `factor`: each channel's distance from the greatest is scaled."""
    greatest = values.max(axis=2, keepdims=True)
    return greatest + np.float32(factor) * (values - greatest)


def saturation_lab(values: Values, factor: float, rng: Generator) -> Values:
    lab = lab_from_rgb(values)
    lab[..., 1:] *= np.float32(factor)
    return rgb_from_lab(lab).clip(0, 1)


def compress_jpeg2000(values: Values, ratio: float, rng: Generator) -> Values:
    return to_values(jpeg2000(to_pixels(values), ratio))


def compress_jpeg(values: Values, quality: float, rng: Generator) -> Values:
    return to_values(jpeg(to_pixels(values), int(quality)))


def white_noise(values: Values, variance: float, rng: Generator) -> Values:
    noise = rng.standard_normal(values.shape, np.float32)
    return (values + np.float32(math.sqrt(variance)) * noise).clip(0, 1)


def white_noise_ycbcr(values: Values, variance: float, rng: Generator) -> Values:
    return rgb_from_ycbcr(white_noise(ycbcr_from_rgb(values), variance, rng)).clip(0, 1)


def impulse_noise(values: Values, share: float, rng: Generator) -> Values:
    """Black or white in each channel on its own."""
    draw = rng.random(values.shape, np.float32)
    return np.where(draw < share, (draw >= share / 2).astype(np.float32), values)


def multiplicative_noise(values: Values, variance: float, rng: Generator) -> Values:
    """Speckle: uniform noise of that variance, times the picture."""
    noise = rng.random(values.shape, np.float32) - np.float32(0.5)
    return (values + values * noise * np.float32(math.sqrt(12 * variance))).clip(0, 1)


def denoised(values: Values, variance: float, rng: Generator) -> Values:
    """Noise, then a denoiser that takes detail with it."""
    return denoise(white_noise(values, variance, rng), math.sqrt(variance)).clip(0, 1)


def brighten(values: Values, amount: float, rng: Generator) -> Values:
    """A curve that lifts the middle, two thirds on RGB and a third on lightness."""
    middle = {0.5: 0.5 + amount / 2}
    lab = lab_from_rgb(values)
    lab[..., 0] = 100 * curve(lab[..., 0] / np.float32(100), middle)
    return (2 * curve(values, middle) + rgb_from_lab(lab).clip(0, 1)) / np.float32(3)


def darken(values: Values, amount: float, rng: Generator) -> Values:
    return curve(values, {0.5: 0.5 - amount / 2})


def mean_shift(values: Values, amount: float, rng: Generator) -> Values:
    return (values + np.float32(amount)).clip(0, 1)


def jitter(values: Values, amount: float, rng: Generator) -> Values:
    """Five times, take every pixel from a random place nearby."""
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]].astype(np.float32)
    for _ in range(5):
        down, right = rng.standard_normal((2, *values.shape[:2]), np.float32) * np.float32(amount)
        values = warp(values, rows - down, columns - right).clip(0, 1)
    return values


def non_eccentricity_patch(values: Values, patches: float, rng: Generator) -> Values:
    """Patches of 16 x 16, each copied to up to 8 pixels from where it is."""
    height, width = values.shape[:2]
    size = min(16, height // 2, width // 2)  # 16 but for pictures below 32 pixels
    moved = values.copy()
    for down, right, by_rows, by_columns in rng.random((int(patches), 4)):
        row, column = round(down * (height - size)), round(right * (width - size))
        to_row = int(np.clip(row + round((by_rows - 0.5) * size), 0, height - size))
        to_column = int(np.clip(column + round((by_columns - 0.5) * size), 0, width - size))
        moved[to_row : to_row + size, to_column : to_column + size] = moved[
            row : row + size, column : column + size
        ].copy()
    return moved


def pixelate(values: Values, strength: float, rng: Generator) -> Values:
    height, width = values.shape[:2]
    scale = 0.95 - strength**0.6
    small = resize_nearest(values, math.ceil(height * scale), math.ceil(width * scale))
    return resize_nearest(small, height, width)


def quantisation(values: Values, thresholds: float, rng: Generator) -> Values:
    """Otsu's levels over all channels together; a class becomes its upper threshold, the outermost black and white."""
    pixels = to_pixels(values)
    cuts = otsu(pixels, int(thresholds))
    classes = np.array([0, *cuts[1:], 255], np.float32) / np.float32(255)
    return classes[np.searchsorted(cuts, np.arange(256), side="left")[pixels]]


def colour_block(values: Values, blocks: float, rng: Generator) -> Values:
    """Squares of 32 x 32, each of one random colour."""
    height, width = values.shape[:2]
    size = min(32, height, width)
    covered = values.copy()
    for *colour, right, down in rng.random((int(blocks), 5)):
        row, column = int(down * (height - size)), int(right * (width - size))
        covered[row : row + size, column : column + size] = colour
    return covered


def sharpen(values: Values, amount: float, rng: Generator) -> Values:
    """Unsharp masking of the lightness with radius 3."""
    lab = lab_from_rgb(values)
    lightness = lab[..., :1]
    lab[..., :1] = lightness + np.float32(amount) * (lightness - gaussian(lightness, 3.0))
    return rgb_from_lab(lab).clip(0, 1)


def contrast(values: Values, amount: float, rng: Generator) -> Values:
    """A curve through the quarters: steeper above 0, flatter below."""
    return curve(values, {0.3: 0.25 - amount / 4, 0.5: 0.5, 0.7: 0.75 + amount / 4})


def _restore_range(values: Values, clean: Values) -> Values:
    """Stretch to the range of `clean`, never narrower than it is but for what lies outside [0, 1]."""
    low = max(0.0, min(values.min(), clean.min()))
    high = min(1.0, max(values.max(), clean.max()))
    return values if values.min() == values.max() else stretch(values) * np.float32(high - low) + np.float32(low)


def _stretched(
    name: str,
    change: Callable[[Values, float, Generator], Values],
    parameters: tuple[float, float, float, float, float],
    note: str,
    provenance: Provenance = "published",
) -> Distortion:
    def render(pixels: Pixels, parameter: float, rng: Generator) -> Pixels:
        values = to_values(pixels)
        return to_pixels(_restore_range(change(values, parameter, rng), values))

    return Distortion(name, render, parameters, provenance, note)


KADID: dict[int, Distortion] = {
    1: _stretched("GBLUR", gaussian_blur, (0.1, 0.5, 1, 2, 5), "standard deviation in pixels"),
    2: _stretched("Lens_Blur", lens_blur, (1, 2, 4, 6, 8), "radius of the disk"),
    3: _stretched("Motion_Blur", motion_blur, (1, 2, 4, 6, 10), "length of the line; the seed picks the angle"),
    4: _stretched("Color_Diffusion", colour_diffusion, (1, 3, 6, 8, 12), "blur of a*, b* by 1.5 x + 2, then times x"),
    5: _stretched("Color_Shift", colour_shift, (1, 3, 6, 8, 12), "pixels that green moves, where there is detail"),
    6: _stretched(
        "Color_Quantization",
        colour_quantisation,
        (64, 48, 32, 16, 8),
        "colours, dithered; the palette is fitted by median cut and k-means",
        "ours",
    ),
    7: _stretched("Saturation_Dist._HSV", saturation_hsv, (0.4, 0.2, 0.1, 0, -0.4), "factor on HSV's saturation"),
    8: _stretched("Saturation_Dist._Lab", saturation_lab, (1, 2, 3, 6, 9), "factor on a* and b*"),
    9: _stretched("JP2K", compress_jpeg2000, (16, 32, 45, 120, 400), "compression ratio; the encoder is OpenJPEG"),
    10: _stretched("JPEG", compress_jpeg, (43, 36, 24, 7, 4), "quality"),
    11: _stretched("AWGN", white_noise, (0.001, 0.002, 0.003, 0.005, 0.01), "variance, on RGB in [0, 1]"),
    12: _stretched(
        "AWGN_YCbCr", white_noise_ycbcr, (0.0001, 0.0005, 0.001, 0.002, 0.003), "variance, on Y'CbCr in [0, 1]"
    ),
    13: _stretched("Impulse_Noise", impulse_noise, (0.001, 0.005, 0.01, 0.02, 0.03), "share of the values"),
    14: _stretched(
        "Multiplicative_Noise", multiplicative_noise, (0.001, 0.005, 0.01, 0.02, 0.05), "variance of the factor"
    ),
    15: _stretched(
        "Denoising",
        denoised,
        (0.01, 0.03, 0.05, 0.1, 0.15),
        "variance of the noise before; sliding DCT thresholding, not DnCNN",
        "ours",
    ),
    16: _stretched("Brighten", brighten, (0.1, 0.2, 0.4, 0.7, 1.1), "twice what 0.5 rises by"),
    17: _stretched("Darken", darken, (0.05, 0.1, 0.2, 0.4, 0.8), "twice what 0.5 falls by"),
    18: _stretched("Mean_Shift", mean_shift, (0.15, 0.08, 0, -0.08, -0.15), "added, clipped, stretched again"),
    19: _stretched(
        "Jitter",
        jitter,
        (0.05, 0.1, 0.2, 0.5, 1),
        "standard deviation of each of five moves; spline interpolation, clipped",
        "ours",
    ),
    20: _stretched("Non-eccentricity_patch", non_eccentricity_patch, (20, 40, 60, 80, 100), "patches"),
    21: _stretched("Pixelate", pixelate, (0.01, 0.05, 0.1, 0.2, 0.5), "scaled to 0.95 - x^0.6 and back, nearest pixel"),
    22: _stretched(
        "Quantization", quantisation, (20, 16, 13, 10, 7), "thresholds; found exactly, where MATLAB searches"
    ),
    23: _stretched("Color_Block", colour_block, (2, 4, 6, 8, 10), "blocks"),
    24: _stretched("High_Sharpen", sharpen, (1, 2, 3, 6, 12), "amount of unsharp masking"),
    25: _stretched("Contrast Dist.", contrast, (0.3, 0.15, 0, -0.4, -0.6), "steeper above 0, flatter below"),
}
