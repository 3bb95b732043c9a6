"""Pictures in every mode, orientation and colour space, against values worked out by hand."""

import struct

import numpy as np
import pytest
import torch
from helpers.pictures import (
    FLOAT32,
    LOSSY,
    NOISE,
    ONE_LEVEL,
    assert_close,
    blocks,
    corners,
    noise,
    one,
    palette,
    save,
    srgb_profile,
    swapped_profile,
    tensor_of,
)
from PIL import Image, ImageOps

from qfm_metric.decoding.suffixes import IMAGE_SUFFIXES
from qfm_metric.images import ImageError, load_image


@pytest.mark.parametrize(
    ("image", "rgb"),
    [
        (Image.new("1", (1, 1), 1), (1, 1, 1)),
        (one("L", 51), (0.2, 0.2, 0.2)),
        (one("LA", 51, 153), (0.52, 0.52, 0.52)),  # 0.2 * 0.6 + 0.4
        (one("La", 51, 153), (0.6, 0.6, 0.6)),  # premultiplied: 0.2 + 0.4
        (palette("P", 1), (1, 0.2, 0)),
        (palette("PA", 1, 153), (1, 0.52, 0.4)),
        (one("RGB", 255, 51, 0), (1, 0.2, 0)),
        (one("RGBA", 255, 51, 0, 153), (1, 0.52, 0.4)),
        (one("RGBA", 9, 99, 199, 0), (1, 1, 1)),
        (one("RGBa", 153, 51, 0, 153), (1, 0.6, 0.4)),
        (one("RGBX", 255, 51, 0, 7), (1, 0.2, 0)),
        (one("CMYK", 0, 204, 255, 0), (1, 0.2, 0)),
        (one("CMYK", 0, 0, 0, 204), (0.2, 0.2, 0.2)),
        (one("YCbCr", 51, 128, 128), (0.2, 0.2, 0.2)),
        (Image.new("LAB", (1, 1), (255, 128, 128)), (1, 1, 1)),
        (one("HSV", 0, 255, 51), (0.2, 0, 0)),
        (Image.new("I", (1, 1), 13107), (0.2, 0.2, 0.2)),
        (Image.new("F", (1, 1), 0.2), (0.2, 0.2, 0.2)),
        (one("I;16", 0x33, 0x34), (0x3433 / 65535,) * 3),
        (one("I;16L", 0x33, 0x34), (0x3433 / 65535,) * 3),
        (one("I;16B", 0x33, 0x34), (0x3334 / 65535,) * 3),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_each_mode_has_the_value_worked_out_by_hand(image, rgb):
    tensor = load_image(image)
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, 1, 1)
    assert_close(tensor.flatten(), rgb, ONE_LEVEL if image.mode == "LAB" else FLOAT32)


LOSSLESS = [
    ("png", "1", {}),
    ("png", "L", {}),
    ("png", "LA", {}),
    ("png", "RGB", {}),
    ("png", "RGBA", {}),
    ("tif", "1", {"compression": "group4"}),
    ("tif", "L", {}),
    ("tif", "LA", {}),
    ("tif", "RGB", {"compression": "tiff_lzw"}),
    ("tif", "RGBA", {}),
    ("bmp", "RGB", {}),
    ("gif", "L", {}),
    ("webp", "RGB", {"lossless": True}),
    ("webp", "RGBA", {"lossless": True, "exact": True}),
    ("ppm", "RGB", {}),
    ("pgm", "L", {}),
    ("tga", "RGBA", {}),
    ("jp2", "RGB", {}),
]


@pytest.mark.parametrize(("suffix", "mode", "options"), LOSSLESS, ids=lambda value: str(value))
def test_lossless_files_keep_every_pixel(tmp_path, suffix, mode, options):
    image = noise("L").convert("1") if mode == "1" else noise(mode)
    path = save(image, tmp_path / f"a.{suffix}", **options)

    pixels = np.asarray(image).astype(np.float64) / (1 if mode == "1" else 255)
    if mode in ("LA", "RGBA"):
        pixels = pixels[..., :-1] * pixels[..., -1:] + 1 - pixels[..., -1:]  # over white
        pixels = pixels.repeat(3, axis=-1) if mode == "LA" else pixels
    assert_close(load_image(path), tensor_of(pixels, 1), FLOAT32)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_suffix_of_a_folder_scan_can_be_read(tmp_path, suffix):
    mode = {".pgm": "L", ".pbm": "1"}.get(suffix, "RGB")
    image = blocks().convert(mode)
    path = save(image, tmp_path / f"a{suffix}", **({} if suffix in (".pgm", ".pbm") else {"quality": 95}))
    expected = image.convert("RGB").quantize().convert("RGB") if suffix == ".gif" else image.convert("RGB")
    assert_close(corners(load_image(path)), corners(tensor_of(np.asarray(expected))), LOSSY)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "gif"])
def test_a_path_its_pil_image_and_its_array_are_the_same_picture(tmp_path, suffix):
    path = save(noise("RGB"), tmp_path / f"a.{suffix}")
    tensor = load_image(path)
    with Image.open(path) as image:
        assert torch.equal(tensor, load_image(image))
        array = np.asarray(image.convert("RGB"))
    assert torch.equal(tensor, load_image(array))
    assert torch.equal(tensor, load_image(str(path)))
    assert torch.equal(tensor, torch.from_numpy(array.copy()).permute(2, 0, 1) / 255)
    assert tensor.is_contiguous()


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_frame_counts(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert_close(load_image(path)[:, 0, 0], [1.0, 0.0, 0.0], LOSSY)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2", "big-endian.tif", "a.pgm"])
def test_16_bit_grey_has_one_scale_in_every_format(tmp_path, name):
    samples = np.array([[0, 1, 256], [300, 40000, 65535]], dtype=np.uint16)
    if name == "a.pgm":
        (tmp_path / name).write_bytes(b"P5 3 2 65535\n" + samples.astype(">u2").tobytes())
    elif name == "big-endian.tif":
        Image.frombytes("I;16B", (3, 2), samples.astype(">u2").tobytes()).save(tmp_path / name)
    else:
        Image.fromarray(samples).save(tmp_path / name)
    assert torch.equal(load_image(tmp_path / name), tensor_of(samples.astype(np.float32), np.float32(65535)))
    assert torch.equal(load_image(samples), load_image(tmp_path / name))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("I", (2, 2), 65536), "65536"),
        (Image.new("I", (2, 2), -1), "-1"),
        (Image.new("F", (2, 2), 200.0), "divide by 255"),
        (Image.new("F", (2, 2), -0.5), r"\[0, 1\]"),
        (Image.new("F", (2, 2), float("nan")), "NaN"),
        (Image.new("RGB", (0, 5)), "at least one pixel"),
        (np.ma.masked_greater(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4), 0.9), r"masked.*filled\(value\)"),
    ],
)
def test_values_without_a_known_scale_or_without_a_value_are_refused(image, message):
    with pytest.raises(ImageError, match=message):
        load_image(image)


def grey_ramp(mode, dtype):
    return Image.frombytes(mode, (3, 1), np.array([0, 100, 200], dtype=dtype).tobytes())


@pytest.mark.parametrize(
    ("image", "transparency", "suffix", "expected"),
    [
        (grey_ramp("L", "u1"), 100, "png", [0, 1, 200 / 255]),
        (grey_ramp("I;16", "<u2"), 100, "png", [0, 1, 200 / 65535]),
        (Image.frombytes("1", (3, 1), b"\xa0"), 1, "png", [1, 0, 1]),
        (Image.frombytes("1", (3, 1), b"\xa0"), 0, "png", [1, 1, 1]),
        (grey_ramp("L", "u1").convert("RGB"), (100, 100, 100), "png", [0, 1, 200 / 255]),
        (grey_ramp("L", "u1").convert("RGB"), (100, 100, 101), "png", [0, 100 / 255, 200 / 255]),
        (grey_ramp("L", "u1").convert("P"), 100, "png", [0, 1, 200 / 255]),
        (grey_ramp("L", "u1").convert("P"), b"\xff" * 100 + b"\x33", "png", [0, 0.8 + 20 / 255, 200 / 255]),
        (grey_ramp("L", "u1"), 100, "gif", [0, 1, 200 / 255]),
    ],
)
def test_declared_transparency_is_white(tmp_path, image, transparency, suffix, expected):
    path = tmp_path / f"a.{suffix}"
    image.save(path, transparency=transparency)
    assert_close(load_image(path)[:, 0], [expected] * 3, FLOAT32)


def test_an_rgba_palette_is_composited():
    image = one("P", 1)
    image.putpalette([0, 0, 0, 255, 255, 51, 0, 153], "RGBA")
    assert_close(load_image(image).flatten(), [1, 0.52, 0.4], FLOAT32)


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("tif", {}), ("webp", {"lossless": True})])
def test_exif_orientation_is_applied_once(tmp_path, suffix, options, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    noise("RGB").save(path, exif=exif, **options)
    assert torch.equal(load_image(path), tensor_of(UPRIGHT[orientation](NOISE[..., 1:])))
    with Image.open(path) as image:
        assert torch.equal(load_image(image), load_image(path))


@pytest.mark.parametrize("suffix", ["jpg", "avif", "heic"])
def test_orientation_in_lossy_containers(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(blocks(), tmp_path / f"a.{suffix}", exif=exif.tobytes(), quality=95)
    expected = tensor_of(np.rot90(np.asarray(blocks()), -1))
    assert_close(corners(load_image(path)), corners(expected), LOSSY)


def test_exif_that_cannot_be_rewritten_still_turns_the_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    resolution_as_bytes = exif.tobytes().replace(b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x01")
    noise("RGB").save(tmp_path / "a.png", exif=resolution_as_bytes)
    with Image.open(tmp_path / "a.png") as image, pytest.raises((TypeError, ValueError)):  # by version
        ImageOps.exif_transpose(image)
    assert torch.equal(load_image(tmp_path / "a.png"), tensor_of(np.rot90(NOISE[..., 1:], -1)))


def test_damaged_exif_spoils_no_pixel(tmp_path):
    noise("RGB").save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff")
    assert torch.equal(load_image(tmp_path / "a.png"), tensor_of(NOISE[..., 1:]))


def icc_profile(space, connection, tags):
    """A minimal ICC version 2 input profile."""
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50, in 1/65536
    tags = {b"wtpt": b"XYZ \0\0\0\0" + white, **tags}
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12x4s28x12s48x",
        128 + len(table) + len(body),
        b"lcms",
        0x02400000,
        b"scnr",
        space,
        connection,
        b"acsp",
        white,
    )
    return header + table + body


def linear_grey_profile():
    return icc_profile(b"GRAY", b"XYZ ", {b"kTRC": b"curv" + bytes(8)})  # no entries: gamma 1


def black_ink_profile():
    """CMYK of which only black shows: L* = 100 (1 - K), a* = b* = 0."""
    ramp = bytes(range(256))
    corners = b"".join(bytes([255 * (1 - node % 2), 128, 128]) for node in range(16))  # K runs fastest
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + corners + ramp * 3
    return icc_profile(b"CMYK", b"Lab ", {b"A2B0": lut})


def srgb_encoding(linear):
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_a_profile_changes_the_colours_of_a_file(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(noise("RGB"), tmp_path / f"a.{suffix}", icc_profile=swapped_profile(), **options)
    assert_close(load_image(path), tensor_of(NOISE[..., :0:-1]), ONE_LEVEL)


@pytest.mark.parametrize("suffix", ["avif", "heic"])
def test_a_profile_in_a_heif_container(tmp_path, suffix):
    path = save(blocks(), tmp_path / f"a.{suffix}", quality=95, icc_profile=swapped_profile())
    assert_close(corners(load_image(path)), corners(tensor_of(blocks())).flip(0), LOSSY)


def test_alpha_is_blended_after_the_profile():
    image = one("RGBA", 255, 51, 0, 153)
    image.info["icc_profile"] = swapped_profile()
    assert_close(load_image(image).flatten(), [0.4, 0.52, 1], ONE_LEVEL)


PROFILES = {
    "garbage": b"garbage",
    "empty": b"",
    "truncated": srgb_profile()[:200],
    "RGB": swapped_profile(),
    "CMYK": black_ink_profile(),
    "L": linear_grey_profile(),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_broken_and_foreign_profiles_change_nothing(mode, profile):
    image = noise(mode)
    plain = load_image(image)
    image.info["icc_profile"] = PROFILES[profile]
    assert torch.equal(load_image(image), plain) == (mode != profile)


def test_the_srgb_profile_changes_nothing(tmp_path):
    noise("RGB").save(tmp_path / "a.png", icc_profile=srgb_profile())
    assert torch.equal(load_image(tmp_path / "a.png"), tensor_of(NOISE[..., 1:]))


def test_a_grey_profile():
    image = one("L", 51)
    image.info["icc_profile"] = linear_grey_profile()
    assert_close(load_image(image).flatten(), [srgb_encoding(0.2)] * 3, ONE_LEVEL)


def test_a_cmyk_profile(tmp_path):
    image = Image.new("CMYK", (16, 16), (200, 30, 90, 102))
    path = save(image, tmp_path / "a.tif", icc_profile=black_ink_profile())
    lightness = 100 * (1 - 102 / 255)
    expected = srgb_encoding(((lightness + 16) / 116) ** 3)
    assert_close(load_image(path)[:, 0, 0], [expected] * 3, 2 * ONE_LEVEL)  # Lab is 8-bit on the way, too
