"""EXIF of JPEG and other files that claims more than there is: neither Pillow nor the memory meets it."""

import struct

import pytest
import torch
from helpers.pictures import NOISE, noise, tensor_of
from PIL import Image

from qfm_metric.images import ImageError, load_image


def overloaded_exif(size):
    """Tags each of which is nearly all of it: Pillow would read them one after another."""
    count = (size - 20) // 14
    tags = b"".join(struct.pack("<HHII", tag + 1, 7, size - 200, 8) for tag in range(count))
    data = struct.pack("<2sHIH", b"II", 42, 8, count) + tags + bytes(4)
    return b"Exif\0\0" + data.ljust(size, b"\0")


def segment(data):
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data


def write_jpeg(path, *segments):
    noise("RGB").save(path, quality=95)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"".join(segments) + data[2:])
    return path


@pytest.mark.parametrize("parts", [1, 3])
def test_a_jpeg_whose_exif_would_exhaust_the_memory_is_refused(tmp_path, parts):
    exif = overloaded_exif(20_000)
    size = -(-len(exif) // parts)
    pieces = [exif[i : i + size] for i in range(0, len(exif), size)]
    pieces = [piece if i == 0 else b"Exif\0\0" + piece for i, piece in enumerate(pieces)]
    path = write_jpeg(tmp_path / "a.jpg", *map(segment, pieces))
    with pytest.raises(ImageError, match="more bytes than there are"):
        load_image(path)


@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("webp", {"lossless": True})])
def test_other_pictures_are_read_without_such_exif(tmp_path, monkeypatch, suffix, options):
    noise("RGB").save(tmp_path / f"a.{suffix}", exif=overloaded_exif(20_000), **options)
    monkeypatch.setattr(Image.Exif, "load", lambda *args: pytest.fail("Pillow reads it"))
    assert torch.equal(load_image(tmp_path / f"a.{suffix}"), tensor_of(NOISE[..., 1:]))


@pytest.mark.parametrize("filling", [b"", b"\xff\xff"])
def test_honest_exif_turns_a_jpeg_wherever_it_stands(tmp_path, filling):
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = load_image(write_jpeg(tmp_path / "a.jpg"))
    comment = b"\xff\xfe\x00\x05abc"
    turned = load_image(write_jpeg(tmp_path / "b.jpg", comment, filling, segment(exif.tobytes())))
    assert torch.equal(turned, plain.rot90(-1, (1, 2)))


@pytest.mark.filterwarnings("default")  # Pillow warns of some, and these tests make errors of warnings
@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0junk" * 9])
def test_damaged_exif_spoils_no_jpeg(tmp_path, exif):
    plain = load_image(write_jpeg(tmp_path / "a.jpg"))
    assert torch.equal(load_image(write_jpeg(tmp_path / "b.jpg", segment(exif))), plain)
