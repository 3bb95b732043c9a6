"""AVIF and HEIC, arrays, and everything that is no picture: damaged, hostile, of a wrong kind."""

import builtins
import doctest
import io
import random
import sys
import warnings

import numpy as np
import pytest
import torch
from helpers.pictures import (
    FLOAT32,
    LOSSY,
    NOISE,
    assert_close,
    blocks,
    corners,
    noise,
    palette,
    save,
    swapped_profile,
    tensor_of,
)
from PIL import Image, features

from qfm_metric import images
from qfm_metric.decoding import files
from qfm_metric.images import ImageError, load_image


def hide_opener(monkeypatch, name):
    Image.init()  # what registers while the list is replaced would be lost afterwards
    monkeypatch.setattr(Image, "ID", [each for each in Image.ID if each != name])


def test_avif_is_left_to_pillow_whatever_brand_comes_first(tmp_path, monkeypatch):
    assert features.check("avif")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    hide_opener(monkeypatch, "HEIF")  # another package's
    path = save(blocks(), tmp_path / "a.avif", quality=95)
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"mif1" + data[12:])
    assert_close(corners(load_image(path)), corners(tensor_of(blocks())), LOSSY)


def test_avif_without_its_codec_asks_for_a_newer_pillow(tmp_path, monkeypatch):
    path = save(blocks(), tmp_path / "a.avif")
    hide_opener(monkeypatch, "AVIF")
    for table in (Image.OPEN, Image.SAVE):
        monkeypatch.delitem(table, "AVIF")
    with pytest.raises(ImageError, match=r"pip install --upgrade 'pillow>=11\.3'"):
        load_image(path)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_heic_is_read_without_registering_an_opener(tmp_path, brand):
    # None, unless another package (imageio, behind scikit-image) has registered pillow_heif's opener already.
    before = Image.OPEN.get("HEIF")
    path = save(blocks(), tmp_path / "a.jpg.heic", quality=95).rename(tmp_path / "a.jpg")
    data = path.read_bytes()
    path.write_bytes(data[:8] + brand + data[12:])
    assert_close(corners(load_image(path)), corners(tensor_of(blocks())), LOSSY)
    assert Image.OPEN.get("HEIF") is before


def test_heic_with_alpha(tmp_path):
    path = save(Image.new("RGBA", (64, 64), (255, 51, 0, 153)), tmp_path / "a.heic", quality=95)
    assert_close(load_image(path)[:, 32, 32], [1, 0.52, 0.4], LOSSY)


def test_heic_without_its_package_names_the_extra(tmp_path, monkeypatch):
    path = save(blocks(), tmp_path / "a.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"pip install qfm-metric\[heic\]") as caught:
        load_image(path)
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.parametrize(
    ("content", "message", "cause"),
    [
        (None, "check the path", FileNotFoundError),
        ("folder", "got a folder", type(None)),
        (b"", "empty file", type(None)),
        (b"\x80 this is no text and no picture", "nothing that Pillow", Image.UnidentifiedImageError),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "PostScript", type(None)),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "truncated or damaged", Exception),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42avc1", "a video", Image.UnidentifiedImageError),
    ],
)
def test_what_is_no_picture_is_named_and_explained(tmp_path, content, message, cause):
    path = tmp_path / "a.jpg"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        load_image(path)
    assert str(caught.value).startswith(repr(str(path)))
    assert isinstance(caught.value.__cause__, cause)


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        (b"abc", "BytesIO"),
        (torch.zeros(3, 2, 2), "permute"),
        (io.BytesIO(), r"PIL\.Image\.open\(file\)"),
        (None, "NoneType"),
        ([[0.5]], "numpy array"),
    ],
)
def test_other_types_are_type_errors(source, advice):
    with pytest.raises(TypeError, match=advice):
        load_image(source)


def test_decompression_bombs(tmp_path, monkeypatch):
    path = save(Image.new("RGB", (8, 5), "red"), tmp_path / "a.png")
    heic = save(Image.new("RGB", (64, 64), "red"), tmp_path / "a.heic")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 19)  # 40 > 2 * 19
    for bomb in (path, heic):
        with pytest.raises(ImageError, match=r"38 pixels.*raise PIL\.Image\.MAX_IMAGE_PIXELS"):
            load_image(bomb)

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        assert load_image(path).shape == (3, 5, 8)
    assert not shown
    with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS"):  # these tests make errors of warnings
        load_image(path)

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert load_image(heic).shape == (3, 64, 64)


DAMAGE = ["jpg", "png", "webp", "tif", "gif", "bmp", "jp2", "avif", "heic"]


def load_or_refuse(path):
    """None if `load_image` refuses; any exception but ImageError passes, and fails the test."""
    try:
        tensor = load_image(path)
    except ImageError:
        return None
    assert tensor.shape[0] == 3
    assert tensor.numel() > 0
    assert 0 <= tensor.min() <= tensor.max() <= 1
    return tensor


@pytest.mark.parametrize("suffix", DAMAGE)
def test_truncated_files_are_refused(tmp_path, suffix):
    options = {"compression": "tiff_lzw"} if suffix == "tif" else {}
    path = save(blocks(), tmp_path / f"a.{suffix}", **options)
    data = path.read_bytes()
    for length in sorted({*range(1, 24), *np.linspace(24, len(data) - 1, 20).astype(int).tolist()}):
        path.write_bytes(data[:length])
        tensor = load_or_refuse(path)
        assert tensor is None or length > len(data) / 2


@pytest.mark.parametrize("suffix", DAMAGE)
def test_damaged_files_are_read_or_refused(tmp_path, suffix):
    path = save(blocks(), tmp_path / f"a.{suffix}", icc_profile=swapped_profile())
    data, rng = path.read_bytes(), random.Random(suffix)
    for _ in range(25):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 2, 8])):
            damaged[int(len(data) * rng.random() ** 2)] = rng.randrange(256)  # headers most of all
        path.write_bytes(damaged)
        load_or_refuse(path)


@pytest.mark.parametrize("suffix", ["jpg", "gif", "tif", "heic"])
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_the_file_is_closed_after_success_and_failure(tmp_path, monkeypatch, suffix, share):
    path = save(blocks(), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    opened = []

    def recording_open(*args):
        opened.append(builtins.open(*args))  # noqa: SIM115
        return opened[-1]

    monkeypatch.setattr(files, "open", recording_open, raising=False)
    assert (load_or_refuse(path) is None) == (share < 1)
    assert [file.closed for file in opened] == [True]


@pytest.mark.parametrize(
    ("array", "rgb"),
    [
        (np.array([[51]], dtype=np.uint8), (0.2, 0.2, 0.2)),
        (np.array([[[51]]], dtype=np.uint8), (0.2, 0.2, 0.2)),
        (np.array([[[51, 153]]], dtype=np.uint8), (0.52, 0.52, 0.52)),
        (np.array([[[255, 51, 0]]], dtype=np.uint8), (1, 0.2, 0)),
        (np.array([[[255, 51, 0, 153]]], dtype=np.uint8), (1, 0.52, 0.4)),
        (np.array([[[65535, 13107, 0]]], dtype=np.uint16), (1, 0.2, 0)),
        (np.array([[[65535, 13107, 0]]], dtype=">u2"), (1, 0.2, 0)),
        (np.array([[[True, False, True]]]), (1, 0, 1)),
        (np.array([[[1, 0.25, 0]]], dtype=np.float16), (1, 0.25, 0)),
        (np.array([[[1, 0.2, 0]]], dtype=np.float32), (1, 0.2, 0)),
        (np.array([[[1, 0.2, 0, 0.6]]], dtype=np.float64), (1, 0.52, 0.4)),
    ],
    ids=lambda value: f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else "",
)
def test_arrays_of_each_kind(array, rgb):
    assert_close(load_image(array).flatten(), rgb, FLOAT32)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_an_array_is_the_pil_image_that_it_makes(mode):
    assert torch.equal(load_image(np.asarray(noise(mode))), load_image(noise(mode)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 20, 20), dtype=np.uint8), r"array\.transpose\(1, 2, 0\)"),
        (np.zeros((2, 20, 20, 3), dtype=np.uint8), "one picture at a time"),
        (np.zeros((20, 20, 5), dtype=np.uint8), "1, 2, 3 or 4 channels"),
        (np.zeros(20, dtype=np.uint8), r"\(H, W\)"),
        (np.zeros((0, 20, 3), dtype=np.uint8), "at least one pixel"),
        (np.zeros((20, 20), dtype=np.int64), "int64: expected bool, uint8"),
        (np.zeros((20, 20), dtype=complex), "complex128"),
        (np.array([["a"]]), "expected bool"),
        (np.array([[0.0, 255.0]]), "0..255; it looks like 0..255: divide by 255"),
        (np.array([[0.0, 1.01]]), "np.clip"),
        (np.array([[-1.0, 1.0]]), r"\(array \+ 1\) / 2"),
        (np.array([[0.5, np.nan]]), "NaN"),
        (np.array([[0.5, np.inf]], dtype=np.float32), "infinity"),
        (np.array([[0.5, 1e300]]), "expected floating-point values"),
    ],
)
def test_arrays_that_are_no_picture(array, message):
    with pytest.raises(ImageError, match=message):
        load_image(array)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_an_array_is_neither_modified_nor_shared(dtype):
    source = NOISE[..., :3].copy() if dtype == np.uint8 else (NOISE[..., :3] / 255).astype(dtype)
    before = source.copy()
    source.flags.writeable = False
    load_image(source).fill_(0.5)
    np.testing.assert_array_equal(source, before)

    planar = np.ascontiguousarray(before.transpose(2, 0, 1)).transpose(1, 2, 0)  # (C, H, W) in memory, as the result
    load_image(planar).fill_(0.5)
    np.testing.assert_array_equal(planar, before)


def test_views_of_an_array():
    flipped = NOISE[::-1, ::-2, :3]
    assert torch.equal(load_image(flipped), tensor_of(flipped))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_a_pil_image_is_left_as_it_was(mode):
    image = palette("P", 1) if mode == "P" else Image.new(mode, (5, 3))
    orientation = 1 if mode == "P" else 6  # turning copies, and would hide what P is tested for
    image.getexif()[0x0112] = orientation
    image.info["icc_profile"] = swapped_profile()
    if mode in ("1", "L", "P"):
        image.info["transparency"] = b"\x33\x99" if mode == "P" else 0
    before, info = image.copy(), dict(image.info)
    load_image(image).fill_(0.5)
    assert (image.mode, image.size, image.tobytes()) == (before.mode, before.size, before.tobytes())
    assert image.info == info
    assert image.getexif()[0x0112] == orientation
    if mode == "P":
        assert image.getpalette("RGBA") == before.getpalette("RGBA")


def test_the_documented_example():
    assert doctest.testmod(images) == (0, 1)
