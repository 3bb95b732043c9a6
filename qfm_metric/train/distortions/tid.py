"""TID2013's 24 distortion types at five levels (Ponomarenko et al., Signal Processing: Image Communication 30, 2015).

The data set's generator was not published. Known are the list of types, that levels stand for a PSNR of about 33, 30,
27, 24 and 21 dB, and what Liu et al. read off the pictures for 17 of the types (RankIQA, ICCV 2017). The strength that
reaches a level's PSNR is searched for each picture, so these levels are the data set's whatever the picture. Where no
strength does (a flat picture under blur, the few qualities that JPEG has below 10, 256 colours as the most of a
palette) the nearest comes out.

| type | what is ours | why |
|---|---|---|
| 2, 3, 4, 5 | ratio of chroma to luminance, correlation, mask, band | known by name only |
| 9 denoising | sliding DCT thresholding | BM3D would be another dependency |
| 12, 13 transmission errors | bytes of a real file damaged, decoded as they are | the channel is not known |
| 14, 15, 16, 18 | steps after RankIQA's, spread over five levels | scores that equal PSNR would not explain |
| 15 blocks | each off its own mean, by less the more there are | scores rise with the level; RankIQA's do the same |
| 17 contrast | less at levels 1, 3, 5 and more at 2, 4 | the scores show it; steps from KADID-10k's curves and scores |
| 20 comfort noise | DCT coefficients below a threshold get random signs | the coder is not at hand |
| 21 noisy and compressed | noise, then 8x8 DCT quantised in steps of 2.5 sigma | the coder is not at hand |
| 22 dither | palette by median cut and k-means | as for KADID-10k |
| 23 chromatic aberration | red moves twice as far as green, blue not | RankIQA's, by fractions of a pixel |
| 24 sparse sampling | random share of the picture's DCT, low frequencies first | the solver is not at hand |

No type is left out; 12, 13, 20, 21 and 24 imitate the appearance rather than repeat the method. The human means per
type and level were looked at to choose the steps of 14 to 18, so agreement on these five is partly by construction.
"""

from collections.abc import Callable

import numpy as np
from scipy import fft, ndimage

from .coding import damage_jpeg, damage_jpeg2000, decode, denoise, encode_jpeg2000, in_blocks, jpeg, reduce_colours
from .colour import LUMINANCE, Pixels, Values, from_greys, rgb_from_ycbcr, to_pixels, to_values, ycbcr_from_rgb
from .filters import gaussian
from .type import Distortion, Provenance, psnr, reach

Generator = np.random.Generator
Render = Callable[[float], Pixels]  # a strength to a picture, stronger with strength

PSNRS = (33.0, 30.0, 27.0, 24.0, 21.0)


def _normal(pixels: Pixels, rng: Generator) -> Values:
    return rng.standard_normal(pixels.shape, np.float32)


def _add(pixels: Pixels, noise: Values) -> Render:
    """`noise` times a strength that is about its standard deviation in grey levels."""
    spread = max(float(noise.std()), 1e-6)  # one pixel alone has none
    values, noise = to_values(pixels), noise / np.float32(255 * spread)
    return lambda strength: to_pixels(values + np.float32(strength) * noise)


def white_noise(pixels: Pixels, rng: Generator) -> Render:
    return _add(pixels, _normal(pixels, rng))


def chroma_noise(pixels: Pixels, rng: Generator) -> Render:
    """Colour components more noisy than luminance: three times."""
    ycbcr = _normal(pixels, rng) * np.array([1, 3, 3], np.float32)
    return _add(pixels, rgb_from_ycbcr(ycbcr) - rgb_from_ycbcr(np.zeros_like(ycbcr)))


def correlated_noise(pixels: Pixels, rng: Generator) -> Render:
    """Spatially correlated: white noise blurred by a pixel."""
    return _add(pixels, gaussian(_normal(pixels, rng), 1.0))


def masked_noise(pixels: Pixels, rng: Generator) -> Render:
    """Noise where texture hides it: in proportion to the local standard deviation."""
    grey = to_values(pixels) @ LUMINANCE
    mean, square = ndimage.uniform_filter(grey, 7), ndimage.uniform_filter(grey**2, 7)
    texture = np.sqrt(np.maximum(square - mean**2, 0)) + np.float32(0.01)  # flat pictures get a little everywhere
    return _add(pixels, _normal(pixels, rng) * texture[..., None])


def high_frequency_noise(pixels: Pixels, rng: Generator) -> Render:
    """White noise less what a blur of one pixel leaves of it."""
    noise = _normal(pixels, rng)
    return _add(pixels, noise - gaussian(noise, 1.0))


def impulse_noise(pixels: Pixels, rng: Generator) -> Render:
    """Strength: the share of values that become black or white, each channel on its own."""
    draw = rng.random(pixels.shape, np.float32)
    white = np.where(rng.random(pixels.shape, np.float32) < 0.5, np.uint8(0), np.uint8(255))
    return lambda strength: np.where(draw < strength, white, pixels)


def quantisation_noise(pixels: Pixels, rng: Generator) -> Render:
    """Strength: the step between the values that are left."""

    def quantise(step: float) -> Pixels:
        return from_greys((np.floor(np.arange(256) / step) + 0.5) * step)[pixels]

    return quantise


def gaussian_blur(pixels: Pixels, rng: Generator) -> Render:
    values = to_values(pixels)
    return lambda sigma: to_pixels(gaussian(values, sigma, radius=round(3 * sigma + 0.5)))


def denoised(pixels: Pixels, rng: Generator) -> Render:
    """Strength: the standard deviation of the noise that was there, in grey levels."""
    values, noise = to_values(pixels), _normal(pixels, rng)
    return lambda sigma: to_pixels(denoise((values + np.float32(sigma / 255) * noise).clip(0, 1), sigma / 255))


def compress_jpeg(pixels: Pixels, rng: Generator) -> Render:
    return lambda strength: jpeg(pixels, max(1, round(100 / strength)))


def multiplicative_noise(pixels: Pixels, rng: Generator) -> Render:
    return _add(pixels, _normal(pixels, rng) * (to_values(pixels) + np.float32(1e-3)))  # a black picture has no noise


def comfort_noise(pixels: Pixels, rng: Generator) -> Render:
    """Detail replaced by noise with the same spectrum: small DCT coefficients keep their size and lose their sign."""
    values, seed = to_values(pixels), int(rng.integers(2**32))

    def replace(threshold: float) -> Pixels:
        def lose_signs(blocks: Values) -> Values:
            flips = np.random.default_rng(seed).random(blocks.shape, np.float32) < 0.5
            small = np.abs(blocks) < np.float32(threshold / 255)
            small[:, :, 0, :, 0] = False
            return np.where(flips & small, -blocks, blocks)

        return to_pixels(in_blocks(values, lose_signs))

    return replace


def noisy_compression(pixels: Pixels, rng: Generator) -> Render:
    """Noise, then block DCT coding whose step is 2.5 times the noise's standard deviation."""
    values, noise = to_values(pixels), _normal(pixels, rng)

    def compress(sigma: float) -> Pixels:
        step = np.float32(2.5 * sigma / 255)
        noisy = (values + np.float32(sigma / 255) * noise).clip(0, 1)
        return to_pixels(in_blocks(noisy, lambda blocks: np.round(blocks / step) * step))

    return compress


def dither(pixels: Pixels, rng: Generator) -> Render:
    return lambda strength: reduce_colours(pixels, max(2, round(256 / strength)))


def chromatic_aberration(pixels: Pixels, rng: Generator) -> Render:
    """Red moves right by the strength and green by half of it, then a slight blur, as in a cheap lens."""
    values = to_values(pixels)

    def part(shift: float) -> Pixels:
        moved = values.copy()
        for channel, distance in ((0, shift), (1, shift / 2)):
            moved[..., channel] = ndimage.shift(values[..., channel], (0, distance), order=1, mode="nearest")
        return to_pixels(gaussian(moved, 0.5))

    return part


def sparse_sampling(pixels: Pixels, rng: Generator) -> Render:
    """Keep a random share of the picture's DCT coefficients: all below a frequency, ever fewer above it."""
    coefficients = fft.dctn(to_values(pixels), axes=(0, 1), norm="ortho")
    height, width = pixels.shape[:2]
    frequency = np.hypot(np.arange(height)[:, None] / height, np.arange(width) / width)
    luck = rng.random((height, width)) ** (1 / 3)  # so that a coefficient is kept with probability (limit / f)^3

    def sample(strength: float) -> Pixels:
        kept = frequency * luck <= 1 / strength
        values = fft.idctn(coefficients * kept[..., None].astype(np.float32), axes=(0, 1), norm="ortho")
        return to_pixels(values)

    return sample


def transmit_jpeg(pixels: Pixels, target: float, rng: Generator) -> Pixels:
    return damage_jpeg(pixels, rng, lambda received: psnr(received, pixels) >= target)


def transmit_jpeg2000(pixels: Pixels, target: float, rng: Generator) -> Pixels:
    return damage_jpeg2000(pixels, rng, lambda received: psnr(received, pixels) >= target)


def compress_jpeg2000(pixels: Pixels, target: float, rng: Generator) -> Pixels:
    """OpenJPEG codes for a PSNR itself; what it misses by is corrected once, because coding is slow."""
    first = decode(encode_jpeg2000(pixels, "dB", target))
    miss = target - psnr(first, pixels)
    return first if abs(miss) < 0.05 else decode(encode_jpeg2000(pixels, "dB", target + miss))


def pattern_noise(pixels: Pixels, patches: float, rng: Generator) -> Pixels:
    """Non-eccentricity: patches of 15 x 15 replaced by what lies 5 pixels further down and right."""
    moved = pixels.copy()
    height, width = moved.shape[:2]
    size, away = min(15, height // 2, width // 2), min(5, height // 4, width // 4)
    for row, column in rng.random((int(patches), 2)) * (height - size - away, width - size - away):
        source = pixels[int(row) + away :, int(column) + away :][:size, :size]
        moved[int(row) :, int(column) :][:size, :size] = source
    return moved


def local_blocks(pixels: Pixels, blocks: float, rng: Generator) -> Pixels:
    """Squares of 32 x 32 of their own mean colour, off by less the more there are: people mind few strong ones."""
    covered = pixels.copy()
    height, width = covered.shape[:2]
    size = min(32, height, width)
    direction = rng.standard_normal(3)
    offset = 200 / blocks * direction / np.linalg.norm(direction)
    for row, column in rng.random((int(blocks), 2)) * (height - size, width - size):
        block = covered[int(row) :, int(column) :][:size, :size]
        block[:] = from_greys(block.mean(axis=(0, 1)) + offset)
    return covered


def mean_shift(pixels: Pixels, amount: float, rng: Generator) -> Pixels:
    """Brighter or darker throughout; the seed picks which."""
    sign = 1 if rng.random() < 0.5 else -1
    return from_greys(pixels + np.float32(sign * amount))


def contrast(pixels: Pixels, factor: float, rng: Generator) -> Pixels:
    """About the picture's mean."""
    values = to_values(pixels)
    return to_pixels(values.mean() + np.float32(factor) * (values - values.mean()))


def saturation(pixels: Pixels, factor: float, rng: Generator) -> Pixels:
    """Factor on Cb and Cr; below 0 the colours are the opposite ones."""
    ycbcr = ycbcr_from_rgb(to_values(pixels))
    neutral = np.float32(128 / 255)
    ycbcr[..., 1:] = neutral + np.float32(factor) * (ycbcr[..., 1:] - neutral)
    return to_pixels(rgb_from_ycbcr(ycbcr))


def _aimed(
    name: str,
    prepare: Callable[[Pixels, Generator], Render],
    low: float,
    high: float,
    provenance: Provenance = "published",
    note: str = "levels by PSNR",
) -> Distortion:
    """A type whose levels are PSNRs, reached by a strength between `low` and `high`."""

    def render(pixels: Pixels, target: float, rng: Generator) -> Pixels:
        return reach(pixels, prepare(pixels, rng), target, low, high)

    return Distortion(name, render, PSNRS, provenance, note)


TID: dict[int, Distortion] = {
    1: _aimed("AWGN", white_noise, 0.5, 300),
    2: _aimed("Chroma_Noise", chroma_noise, 0.5, 300, "ours", "chroma three times as noisy; levels by PSNR"),
    3: _aimed("Pink_Noise", correlated_noise, 0.5, 300, "ours", "noise blurred by a pixel; levels by PSNR"),
    4: _aimed("Masked_Noise", masked_noise, 0.5, 3000, "ours", "in proportion to local deviation; levels by PSNR"),
    5: _aimed("High_Frequency_Noise", high_frequency_noise, 0.5, 300, "ours", "noise less its blur; levels by PSNR"),
    6: _aimed("Impluse_Noise", impulse_noise, 1e-4, 1),
    7: _aimed("Quantization_Noise", quantisation_noise, 4, 256),
    8: _aimed("GBLUR", gaussian_blur, 0.2, 30),
    9: _aimed("Denoising", denoised, 0.5, 400, "ours", "sliding DCT thresholding, not BM3D; levels by PSNR"),
    10: _aimed("JPEG", compress_jpeg, 1, 100),
    11: Distortion("JP2K", compress_jpeg2000, PSNRS, "published", "levels by PSNR; the encoder is OpenJPEG"),
    12: Distortion("JPEG_Transmission_Error", transmit_jpeg, PSNRS, "ours", "damaged bytes; levels by PSNR"),
    13: Distortion("JP2K_Transmission_Error", transmit_jpeg2000, PSNRS, "ours", "damaged bytes; levels by PSNR"),
    14: Distortion("Non_Eccentricity_Pattern_Noise", pattern_noise, (15, 30, 70, 150, 300), "ours", "patches"),
    15: Distortion("Block_Dist.", local_blocks, (2, 4, 8, 16, 32), "ours", "blocks, more of them and weaker"),
    16: Distortion("Mean_Shift", mean_shift, (8, 15, 30, 45, 60), "ours", "grey levels, up or down"),
    17: Distortion("Contrast_Dist.", contrast, (0.8, 1.2, 0.6, 1.4, 0.4), "ours", "less, more, less, more, less"),
    18: Distortion("Saturation_Dist.", saturation, (0.4, 0.1, -0.2, -0.5, -0.8), "ours", "factor on Cb and Cr"),
    19: _aimed("Multi._Gaussian Noise", multiplicative_noise, 0.5, 300),
    20: _aimed(
        "Comfort_Noise", comfort_noise, 1, 3000, "ours", "small DCT coefficients lose their sign; levels by PSNR"
    ),
    21: _aimed("Multiply_Dist.", noisy_compression, 0.5, 200, "ours", "noise, then DCT coding; levels by PSNR"),
    22: _aimed("Dithering", dither, 1, 128, "ours", "palette by median cut and k-means, at most 256; levels by PSNR"),
    23: _aimed("Chroma_Aberrations", chromatic_aberration, 0.1, 60, "ours", "red and green move; levels by PSNR"),
    24: _aimed("Multiply_Dist.", sparse_sampling, 0.8, 400, "ours", "random DCT coefficients; levels by PSNR"),
}
