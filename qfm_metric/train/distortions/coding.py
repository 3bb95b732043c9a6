"""Compression through Pillow, with and without errors on the way, and the 8x8 DCT that codecs and denoisers share."""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from scipy import fft

from .colour import Pixels, Values


def encode(pixels: Pixels, codec: str, **options: Any) -> bytes:
    """The file that Pillow writes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, codec, **options)
    return buffer.getvalue()


def decode(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    return decode(encode(pixels, "JPEG", quality=quality))


def encode_jpeg2000(pixels: Pixels, mode: str, value: float) -> bytes:
    """Lossy JPEG 2000 (the 9/7 wavelet): `mode` "rates" is `value` : 1 of the 24-bit size, "dB" about that PSNR."""
    # A picture can be halved only so often; 6 resolutions are the standard's usual choice.
    resolutions = max(1, min(6, int(math.log2(min(pixels.shape[:2])))))
    options = {"quality_mode": mode, "quality_layers": [value], "num_resolutions": resolutions}
    return encode(pixels, "JPEG2000", irreversible=True, **options)


def jpeg2000(pixels: Pixels, ratio: float) -> Pixels:
    return decode(encode_jpeg2000(pixels, "rates", ratio))


def reduce_colours(pixels: Pixels, colours: int) -> Pixels:
    """A palette of `colours` fitted to the picture (median cut, refined by k-means), with Floyd-Steinberg dither."""
    step = max(1, round(math.sqrt(pixels.shape[0] * pixels.shape[1] / 5_000)))  # k-means over all would take seconds
    sample = Image.fromarray(np.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step]))
    palette = sample.quantize(colours, method=Image.Quantize.MEDIANCUT, kmeans=2)
    dithered = Image.fromarray(pixels).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(dithered.convert("RGB"))


def in_blocks(values: Values, change: Callable[[Values], Values], row: int = 0, column: int = 0) -> Values:
    """Change the 8x8 DCT coefficients of `(H, W, C)`; the grid of blocks starts at -`row`, -`column`.

    `change` takes and returns `(C, rows, 8, columns, 8)`, where axes 2 and 4 are the vertical and horizontal frequency.
    """
    height, width, channels = values.shape
    bottom, right = -(height + row) % 8, -(width + column) % 8
    padded = np.pad(values, ((row, bottom), (column, right), (0, 0)), mode="symmetric").transpose(2, 0, 1)
    blocks = padded.reshape(channels, padded.shape[1] // 8, 8, padded.shape[2] // 8, 8)
    changed = fft.idctn(change(fft.dctn(blocks, axes=(2, 4), norm="ortho")), axes=(2, 4), norm="ortho")
    return changed.reshape(padded.shape).transpose(1, 2, 0)[row : row + height, column : column + width]


def denoise(values: Values, sigma: float) -> Values:
    """Remove noise of standard deviation `sigma`: coefficients below 2.7 sigma are dropped, on four overlapping grids.

    Sliding-window DCT thresholding (Yaroslavsky et al. 2001), the collaborative filters' simpler ancestor. The grids
    fade into each other by a sin^2 window, as no block should show its border.
    """

    def threshold(blocks: Values) -> Values:
        kept = np.abs(blocks) > np.float32(2.7 * sigma)
        kept[:, :, 0, :, 0] = True  # the mean of a block is no noise
        return blocks * kept

    height, width = values.shape[:2]
    total = np.zeros_like(values)
    for row, column in ((0, 0), (0, 4), (4, 0), (4, 4)):
        down = np.sin(np.pi * (np.arange(height) + row + 0.5) / 8) ** 2
        right = np.sin(np.pi * (np.arange(width) + column + 0.5) / 8) ** 2
        weight = (down[:, None] * right).astype(np.float32)  # over the four grids they sum to 1
        total += in_blocks(values, threshold, row, column) * weight[..., None]
    return total


def damage_jpeg(pixels: Pixels, rng: np.random.Generator, acceptable: Callable[[Pixels], bool]) -> Pixels:
    """A JPEG file received over a bad line.

    The file has a restart marker per row of blocks, so a damaged byte spoils the rest of its row at most. Markers and
    headers arrive unharmed, as behind the stronger protection they get in practice. See `_damage` for `acceptable`.
    """
    data = encode(pixels, "JPEG", quality=92, restart_marker_rows=1)
    return _damage(data, data.rindex(b"\xff\xda") + 14, rng, acceptable, tries=32)  # SOS: a marker and 12 bytes


def damage_jpeg2000(pixels: Pixels, rng: np.random.Generator, acceptable: Callable[[Pixels], bool]) -> Pixels:
    """A JPEG 2000 file received over a bad line; a damaged byte spoils the rest of its block of coefficients."""
    data = encode_jpeg2000(pixels, "rates", 12)
    return _damage(data, data.index(b"\xff\x93") + 2, rng, acceptable, tries=16)  # after SOD; slow to decode


def _damage(
    data: bytes, start: int, rng: np.random.Generator, acceptable: Callable[[Pixels], bool], tries: int
) -> Pixels:
    """Damage as many bytes of `data` from `start` on as leave the picture `acceptable`, at random places.

    Errors differ a thousandfold in what they spoil, so the number alone would not steer the damage. They come in lots:
    one that goes too far is undone and the next is half as big, one that does not is followed by one twice as big.
    """
    received = np.frombuffer(data, np.uint8)
    is_marker = received == 0xFF
    harmless = ~(is_marker | np.roll(is_marker, 1)) & (np.arange(received.size) >= start)
    places = rng.permutation(np.flatnonzero(harmless))
    best, size, used = decode(data), 4, 0
    for _ in range(tries):
        lot = places[used : used + size]
        used += size
        worse = received.copy()
        worse[lot] = rng.integers(0, 0xFF, lot.size)  # never 0xFF, which would start a marker
        try:
            pixels = decode(worse.tobytes())
        except OSError:  # the decoder gave up: no picture is too far as well
            pixels = None
        if pixels is not None and acceptable(pixels):
            best, received, size = pixels, worse, 2 * size
        else:
            size = max(1, size // 2)
    return best
