"""Films of a high dynamic range (PQ and HLG, BT.2020) as sRGB, which is what the network has seen."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..images import Pixels

TRANSFERS = {16: "PQ", 18: "HLG"}  # as FFmpeg numbers them
WHITE = 203.0  # cd/m2 of white paper: ITU-R BT.2408
PEAK = 1000.0  # cd/m2 that are still told apart: what most of such films are made for, and HLG's nominal display
KNEE = 0.7  # of white paper's light: nothing below is changed; white paper becomes .93 of sRGB's scale
ROWS = 256  # that are converted at a time: floating point takes four times the memory
TO_BT709 = np.array(  # from BT.2020's primaries: ITU-R BT.2087
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)  # of BT.2020

Floats = NDArray[np.floating[Any]]


def to_srgb(pixels: Pixels, transfer: str) -> Pixels:
    """Map pixels to sRGB: what is darker than white paper stays nearly as it is, what is brighter is compressed.

    Args:
        pixels: `(H, W, 3)`, uint16: BT.2020, full range.
        transfer: A value of `TRANSFERS`.

    Returns:
        `(H, W, 3)`, uint8.
    """
    shown = np.empty(pixels.shape, dtype=np.uint8)
    for top in range(0, len(pixels), ROWS):
        signal = pixels[top : top + ROWS].astype(np.float32) / np.float32(65535)
        light = (_pq(signal) if transfer == "PQ" else _hlg(signal)) / WHITE
        luminance = np.maximum(light @ LUMINANCE, 1e-6)[..., None]
        shown[top : top + ROWS] = _encode(light * (_compress(luminance) / luminance) @ TO_BT709.T)
    return shown


def _compress(luminance: Floats) -> Floats:
    """Luminance of which white paper has 1, as it is up to the knee, and from there on up to the peak below 1."""
    above = np.maximum(luminance - KNEE, 0) / (1 - KNEE)
    most = (PEAK / WHITE - KNEE) / (1 - KNEE)
    bent = above * (1 + above / most**2) / (1 + above)  # Reinhard's curve with a white point; its slope begins as 1
    return np.minimum(luminance, KNEE) + (1 - KNEE) * np.minimum(bent, 1)


def _pq(signal: Floats) -> Floats:
    """Light of SMPTE ST 2084's signal, in cd/m2."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = signal ** np.float32(1 / m2)
    return 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** np.float32(1 / m1)


def _hlg(signal: Floats) -> Floats:
    """Light of BT.2100's hybrid log-gamma on its nominal display, in cd/m2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)
    return PEAK * scene * np.maximum(scene @ LUMINANCE, 1e-6)[..., None] ** np.float32(0.2)


def _encode(light: Floats) -> Pixels:
    """sRGB of linear light in [0, 1]; what is outside is cut off."""
    light = np.clip(light, 0, 1)
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** np.float32(1 / 2.4) - 0.055)
    return np.rint(signal * 255).astype(np.uint8)
