"""Colour spaces and ranges that the distortions work in, as plain formulas.

RGB is float32 in [0, 1] with channels last. L*a*b* is CIE 1976 for sRGB and D65; Y'CbCr is ITU-R BT.601 in its studio
range (Y in 16..235, Cb and Cr in 16..240, all over 255), which is what MATLAB's `rgb2ycbcr` gives for floats and
therefore what KADID-10k added its noise to.
"""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Values = NDArray[np.float32]

_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_XYZ = (_XYZ / _XYZ.sum(axis=1, keepdims=True)).astype(np.float32)  # relative to the white point, so white is a = b = 0
_RGB = np.linalg.inv(_XYZ.astype(float)).astype(np.float32)
_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
_YCBCR_OFFSET = (np.array([16, 128, 128]) / 255).astype(np.float32)
_YCBCR_INVERSE = np.linalg.inv(_YCBCR).astype(np.float32)
_YCBCR = _YCBCR.astype(np.float32)
LUMINANCE = np.array([0.298936, 0.587043, 0.114021], np.float32)  # BT.601's weights


def to_values(pixels: Pixels) -> Values:
    """uint8 to float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)


def to_pixels(values: Values) -> Pixels:
    """Float in [0, 1] to uint8: rounded; what lies outside is clipped."""
    return from_greys(values * 255)


def from_greys(greys: NDArray[np.floating]) -> Pixels:
    """Grey levels to uint8: rounded; what lies outside 0..255 is clipped."""
    return greys.round().clip(0, 255).astype(np.uint8)


def stretch(values: Values) -> Values:
    """Shift and scale so that the least value is 0 and the greatest 1; a constant array stays as it is."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else values


def lab_from_rgb(rgb: Values) -> Values:
    """RGB to L* in [0, 100], a* and b*."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((np.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ.T
    cube = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = cube[..., 0], cube[..., 1], cube[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def rgb_from_lab(lab: Values) -> Values:
    """L*a*b* to RGB; colours outside sRGB come out below 0 or above 1."""
    y = (lab[..., 0] + 16) / 116
    cube = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(cube > 6 / 29, cube**3, (116 * cube - 16) * (27 / 24389)).astype(np.float32)
    linear = xyz @ _RGB.T
    gamma = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, gamma).astype(np.float32)


def ycbcr_from_rgb(rgb: Values) -> Values:
    return rgb @ _YCBCR.T + _YCBCR_OFFSET


def rgb_from_ycbcr(ycbcr: Values) -> Values:
    return (ycbcr - _YCBCR_OFFSET) @ _YCBCR_INVERSE.T
