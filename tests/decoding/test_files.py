"""Which of several pictures in a file counts, and what says how it is turned."""

import io

import pytest
import torch
from helpers.pictures import LOSSY, ONE_LEVEL, assert_close, blocks, corners, save, tensor_of
from PIL import Image

from qfm_metric.images import ImageError, load_image, open_image, read_pixels

RED, BLUE = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")


def write_icon(path):
    RED.save(path, sizes=[(16, 16), (32, 32)], append_images=[BLUE.resize((16, 16))])


def write_pages(path):
    RED.save(path, save_all=True, append_images=[BLUE.resize((64, 64))])  # the second one is larger


def write_frames(path):
    RED.save(path, save_all=True, append_images=[BLUE])


def write_pair(path):
    RED.save(path, "MPO", save_all=True, append_images=[BLUE])


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.ico", write_icon), ("a.tif", write_pages), ("a.mpo", write_pair)]
    + [(f"a.{suffix}", write_frames) for suffix in ("gif", "png", "webp", "avif")],
)
def test_of_several_pictures_the_largest_icon_the_first_page_or_frame_counts(tmp_path, name, write):
    write(tmp_path / name)
    assert_close(load_image(tmp_path / name), tensor_of(RED), LOSSY)


@pytest.mark.parametrize(
    ("name", "write"), [("a.gif", write_frames), ("a.png", write_frames), ("a.webp", write_frames)]
)
def test_of_a_pil_image_the_frame_counts_that_it_stands_at(tmp_path, name, write):
    write(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        image.seek(1)
        assert_close(load_image(image), tensor_of(BLUE), LOSSY)
        assert image.tell() == 1


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif"])  # for PNG see test_png.py
@pytest.mark.parametrize("by", ["exif", "xmp"])
def test_orientation_is_taken_from_exif_or_xmp(tmp_path, suffix, by):
    exif = Image.Exif()
    exif[0x0112] = 6
    said = {"exif": exif, "xmp": b'<x:xmpmeta tiff:Orientation="6"/>'}[by]
    save(blocks(), tmp_path / f"a.{suffix}", **{by: said}, quality=95)
    turned = blocks().transpose(Image.Transpose.ROTATE_270)
    assert_close(corners(load_image(tmp_path / f"a.{suffix}")), corners(tensor_of(turned)), LOSSY)


def test_an_orientation_that_there_is_not_turns_nothing(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 99
    blocks().save(tmp_path / "a.png", exif=exif)
    assert torch.equal(load_image(tmp_path / "a.png"), tensor_of(blocks()))


def test_inverted_inks_of_adobe_are_turned(tmp_path):
    Image.new("CMYK", (16, 16), (0, 204, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    assert_close(load_image(tmp_path / "a.jpg")[:, 8, 8], [1, 0.2, 0], ONE_LEVEL)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (5, 1)])
def test_pictures_of_a_pixel_or_a_line(mode, size):
    assert load_image(Image.new(mode, size)).shape == (3, size[1], size[0])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I", "F"])
def test_pictures_without_a_pixel(mode):
    for size in ((0, 4), (4, 0)):
        with pytest.raises(ImageError, match=f"at least one pixel, got {size[0]} x {size[1]}"):
            load_image(Image.new(mode, size))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "F", "P", "1", "CMYK", "I;16"])
def test_a_large_picture_is_the_same_in_strips(monkeypatch, mode):
    image = Image.linear_gradient("L").convert("L" if mode in ("F", "I;16") else mode)
    if mode == "F":
        image = image.convert("F").point(lambda level: level / 255)
    elif mode == "I;16":
        image = image.convert("I;16")
    whole = read_pixels(image)
    monkeypatch.setattr("qfm_metric.images._STRIP", 256 * 7)
    assert (read_pixels(image) == whole).all()


def test_a_file_in_memory_is_the_same_picture(tmp_path):
    encoded = io.BytesIO()
    blocks().save(encoded, "PNG")
    with open_image("a.png", encoded.getvalue()) as image:
        assert (read_pixels(image) == blocks()).all()
