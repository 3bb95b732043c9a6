"""Files that lack their end or were changed: refused where it can be told, and no whole file with them."""

import io
import random

import numpy as np
import pytest
import torch
from helpers.pictures import blocks, save
from PIL import Image, ImageDraw

from qfm_metric import ImageError
from qfm_metric.images import load_image, open_image, read_pixels

FORMATS = {
    "jpg": {},
    "progressive.jpg": {"progressive": True},
    "restarts.jpg": {"restart_marker_rows": 1},
    "cmyk.jpg": {},
    "webp": {},
    "lossless.webp": {"lossless": True},
    "avif": {},
    "heic": {},
    "png": {},
    "jp2": {},
    "gif": {},
}


@pytest.fixture(scope="module")
def photo_files(photo_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with Image.open(photo_path) as image:
        photo = image.convert("RGB").resize((256, 256))
    for name, options in FORMATS.items():
        save(photo.convert("CMYK") if "cmyk" in name else photo, folder / f"photo.{name}", **options)
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_is_read(photo_files, name):
    assert load_image(photo_files / f"photo.{name}").shape == (3, 256, 256)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("name", FORMATS)
def test_zeros_for_an_end_are_refused(photo_files, tmp_path, name, share):
    data = (photo_files / f"photo.{name}").read_bytes()
    kept = int(len(data) * share)
    (tmp_path / "a").write_bytes(data[:kept] + bytes(len(data) - kept))
    with pytest.raises(ImageError, match=r"again$"):
        load_image(tmp_path / "a")


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("name", [name for name in FORMATS if "jpg" in name])
def test_a_jpeg_that_was_closed_early_is_refused(photo_files, tmp_path, name, share):
    data = (photo_files / f"photo.{name}").read_bytes()
    (tmp_path / "a").write_bytes(data[: int(len(data) * share)] + b"\xff\xd9")
    with pytest.raises(ImageError, match="closed early"):
        load_image(tmp_path / "a")


def test_a_progressive_jpeg_without_its_last_scan_is_refused(photo_files, tmp_path):
    data = (photo_files / "photo.progressive.jpg").read_bytes()
    (tmp_path / "a").write_bytes(data[: data.rindex(b"\xff\xda")] + b"\xff\xd9")
    with pytest.raises(ImageError, match="scans of it are missing"):
        load_image(tmp_path / "a")


def test_of_what_is_not_decoded_no_damage_is_told(photo_files, tmp_path):
    data = (photo_files / "photo.jpg").read_bytes()
    (tmp_path / "a").write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    with open_image(tmp_path / "a") as image:
        assert image.size == (256, 256)


def test_damage_is_told_of_drafts_as_well(photo_files, tmp_path):
    def read_draft():
        with open_image(tmp_path / "a") as image:
            image.draft("RGB", (64, 64))
            assert read_pixels(image).shape == (64, 64, 3)

    data = (photo_files / "photo.jpg").read_bytes()
    (tmp_path / "a").write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    with pytest.raises(ImageError, match="closed early"):
        read_draft()


FLAT = {
    "black": Image.new("RGB", (300, 200)),
    "white": Image.new("RGB", (300, 200), "white"),
    "one pixel": Image.new("RGB", (1, 1), "red"),
    "flat below": Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 900, 3), dtype=np.uint8)),
    "blocks": blocks(),
}
ImageDraw.Draw(FLAT["flat below"]).rectangle((0, 300, 900, 600), fill="black")


@pytest.mark.parametrize("suffix", ["jpg", "progressive.jpg", "webp", "fast.webp", "lossless.webp", "avif", "heic"])
@pytest.mark.parametrize("name", FLAT)
def test_a_flat_end_is_no_damage(tmp_path, name, suffix):
    options = {**FORMATS, "fast.webp": {"quality": 5, "method": 0}}[suffix]  # of 900 x 600 px it ends in 10 kB of zeros
    path = save(FLAT[name], tmp_path / f"a.{suffix}", **options)
    assert load_image(path).shape[1:] == (FLAT[name].height, FLAT[name].width)


@pytest.mark.parametrize("name", FORMATS)
def test_what_follows_a_whole_file_is_no_damage(photo_files, tmp_path, name):
    whole = photo_files / f"photo.{name}"
    for tail in (bytes(4096), random.Random(0).randbytes(4096)):
        (tmp_path / "a").write_bytes(whole.read_bytes() + tail)
        if "heic" in name and tail[0]:
            continue  # libheif takes it for a box
        assert torch.equal(load_image(tmp_path / "a"), load_image(whole))


@pytest.mark.parametrize("padding", [200, 20_000])
def test_zeros_of_metadata_at_the_end_are_no_damage(photo_files, tmp_path, padding):
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + bytes(padding)
    with Image.open(photo_files / "photo.png") as image:
        for suffix in ("webp", "jpg", "avif"):
            image.save(tmp_path / f"a.{suffix}", exif=exif[:60_000])
            assert load_image(tmp_path / f"a.{suffix}").shape == (3, 256, 256)
    data = bytearray((photo_files / "photo.avif").read_bytes())
    at = data.rindex(b"mdat") - 4  # a picture that is not the last in its box: padding follows within it
    size = int.from_bytes(data[at : at + 4], "big") + padding
    (tmp_path / "a.avif").write_bytes(data[:at] + size.to_bytes(4, "big") + data[at + 4 :] + bytes(padding))
    assert torch.equal(load_image(tmp_path / "a.avif"), load_image(photo_files / "photo.avif"))


def test_many_pictures_in_one_jpeg_file_are_no_damage(tmp_path):
    image = FLAT["flat below"].resize((64, 48))
    image.save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=[image])
    assert load_image(tmp_path / "a.mpo").shape == (3, 48, 64)


def test_a_jpeg_of_separate_scans_is_whole_only_with_all_of_them(tmp_path):
    encoded = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(encoded, "JPEG", progressive=True)
    data = encoded.getvalue()
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    (tmp_path / "a").write_bytes(data[:second] + b"\xff\xd9")
    with pytest.raises(ImageError, match="scans of it are missing"):
        load_image(tmp_path / "a")
