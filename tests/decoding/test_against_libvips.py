"""The pixels of `load_image` beside those of libvips, which shares no line with Pillow, over generated files.

It decodes JPEG, PNG, WebP, AVIF and TIFF by builds of its own, and turns and manages colours by its own code.
"""

import numpy as np
import pytest
import pyvips
import tifffile
from helpers.pictures import FLOAT32, LOSSY, ONE_LEVEL, assert_close, srgb_profile, swapped_profile
from PIL import Image, ImageFilter

from qfm_metric.images import load_image

FULL = {"uchar": 255, "ushort": 65535, "uint": 2**32 - 1, "float": 1, "double": 1}
TWO_LEVELS = 2 * ONE_LEVEL  # two colour managers, each rounding to 8 bits, with curves of 8 to 16 bits between
SIZE = 53, 37  # odd, for what goes by blocks


def by_libvips(path):
    """`(H, W, 3)` in [0, 1]: upright, sRGB, over white."""
    image = pyvips.Image.new_from_file(str(path)).autorot()
    if image.get_typeof("icc-profile-data") and image.bands >= 3:
        image = image.icc_transform("srgb", embedded=True)
    pixels = image.numpy().astype(np.float64) / FULL[image.format]
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    if pixels.shape[-1] in (2, 4):
        pixels = pixels[..., :-1] * pixels[..., -1:] + 1 - pixels[..., -1:]
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def assert_alike(path, tolerance):
    assert_close(load_image(path), by_libvips(path).transpose(2, 0, 1).copy(), tolerance)


def picture(mode, seed=0, smooth=0):
    """Noise, or for codecs that lose details something smooth."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], bands), dtype=np.uint8)
    image = Image.fromarray(noise.squeeze()) if mode not in ("1", "P") else Image.fromarray(noise[..., 0]).convert(mode)
    return image.filter(ImageFilter.GaussianBlur(smooth)) if smooth else image


PILLOW_FILES = [
    *(("png", mode, {}, FLOAT32) for mode in ("1", "L", "LA", "RGB", "RGBA", "P")),
    ("png", "P", {"transparency": 7}, FLOAT32),
    ("png", "P", {"transparency": bytes(range(0, 250, 5))}, FLOAT32),
    ("png", "L", {"transparency": 100}, FLOAT32),
    *(("webp", mode, {"lossless": True, "exact": True}, FLOAT32) for mode in ("RGB", "RGBA")),
    *(("tif", mode, {"compression": "tiff_lzw"}, FLOAT32) for mode in ("1", "L", "LA", "RGB", "RGBA", "P")),
    ("tif", "1", {"compression": "group4"}, FLOAT32),
    ("gif", "P", {}, FLOAT32),
    *(("jpg", mode, {"quality": 90, "subsampling": sub}, LOSSY) for mode in ("L", "RGB") for sub in (0, 2)),
    ("jpg", "RGB", {"progressive": True, "quality": 70}, LOSSY),
    ("webp", "RGB", {"quality": 80}, LOSSY),
    ("avif", "RGB", {"quality": 80, "subsampling": "4:4:4"}, LOSSY),
    ("avif", "RGBA", {"quality": 80, "subsampling": "4:4:4"}, LOSSY),
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("suffix", "mode", "options", "tolerance"), PILLOW_FILES, ids=lambda value: str(value)[:40])
def test_each_format_and_mode(tmp_path, suffix, mode, options, tolerance, seed):
    picture(mode, seed, smooth=3 * (tolerance == LOSSY)).save(tmp_path / f"a.{suffix}", **options)
    assert_alike(tmp_path / f"a.{suffix}", tolerance)


@pytest.mark.parametrize("interlace", [False, True])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_png_of_both_depths(tmp_path, dtype, bands, interlace):
    samples = (
        np.random.default_rng(bands).integers(0, 2 ** (8 * int(dtype[1])), (SIZE[1], SIZE[0], bands)).astype(dtype)
    )
    pyvips.Image.new_from_array(samples).pngsave(str(tmp_path / "a.png"), interlace=interlace)
    # Of 16 bits, Pillow keeps 8 unless it is grey alone; alpha loses as many.
    assert_alike(tmp_path / "a.png", FLOAT32 if dtype == "u1" or bands == 1 else TWO_LEVELS)


@pytest.mark.parametrize("compression", [None, "lzw", "deflate"])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
def test_grey_tiff_of_every_depth(tmp_path, dtype, order, inverted, compression):
    rng = np.random.default_rng(int(dtype[1]))
    samples = (
        rng.random(SIZE[::-1]).astype(dtype) if dtype == "f4" else rng.integers(0, 2 ** (8 * int(dtype[1])), SIZE[::-1])
    )
    photometric = "miniswhite" if inverted else "minisblack"
    tifffile.imwrite(
        tmp_path / "a.tif", samples.astype(dtype), photometric=photometric, compression=compression, byteorder=order
    )
    if inverted and dtype == "f4":  # libvips turns integers only
        assert_close(load_image(tmp_path / "a.tif"), 1 - by_libvips(tmp_path / "a.tif").transpose(2, 0, 1), FLOAT32)
    else:
        assert_alike(tmp_path / "a.tif", FLOAT32)


@pytest.mark.parametrize(
    ("planes", "tile"),
    [("contig", None), ("contig", (16, 48)), ("separate", None)],  # libvips reads no tiles in planes
)
@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_colour_tiff(tmp_path, dtype, compression, planes, tile):
    rng = np.random.default_rng(0)
    shape = (SIZE[1], SIZE[0], 3)
    samples = rng.random(shape) if dtype == "f4" else rng.integers(0, 2 ** (8 * int(dtype[1])), shape)
    data = np.moveaxis(samples, -1, 0) if planes == "separate" else samples
    tifffile.imwrite(
        tmp_path / "a.tif",
        data.astype(dtype),
        photometric="rgb",
        planarconfig=planes,
        compression=compression,
        tile=tile,
    )
    assert_alike(tmp_path / "a.tif", FLOAT32 if dtype == "u1" else ONE_LEVEL)  # colours are kept in 8 bits


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "options"), [("jpg", {"quality": 95}), ("png", {}), ("tif", {}), ("webp", {"lossless": True})]
)
def test_each_orientation(tmp_path, suffix, options, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture("RGB", smooth=2 * (suffix == "jpg")).save(tmp_path / f"a.{suffix}", exif=exif, **options)
    assert_alike(tmp_path / f"a.{suffix}", LOSSY if suffix == "jpg" else FLOAT32)


@pytest.mark.parametrize("profile", [srgb_profile(), swapped_profile()], ids=["sRGB", "swapped"])
@pytest.mark.parametrize(
    ("suffix", "options"), [("jpg", {"quality": 95}), ("png", {}), ("tif", {}), ("webp", {"lossless": True})]
)
def test_each_profile(tmp_path, suffix, options, profile):
    mode = "RGB" if suffix == "jpg" else "RGBA"
    picture(mode, smooth=2 * (suffix == "jpg")).save(tmp_path / f"a.{suffix}", icc_profile=profile, **options)
    assert_alike(tmp_path / f"a.{suffix}", LOSSY + TWO_LEVELS if suffix == "jpg" else TWO_LEVELS)
