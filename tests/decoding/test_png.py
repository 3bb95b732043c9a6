"""Chunks of PNG files that are no pixels: whatever they hold, the pixels are read, and the same."""

import struct
import zlib

import numpy as np
import pytest
import torch
from helpers.pictures import NOISE, ONE_LEVEL, assert_close, noise, swapped_profile, tensor_of
from PIL import Image, ImageFile, PngImagePlugin

from qfm_metric.images import ImageError, load_image

EXPECTED = tensor_of(NOISE[..., 1:])
LONG = b"a node of a workflow; " * 100_000  # 2.2 MB, twice what Pillow unpacks


def chunk(kind, data, checksum=None):
    checksum = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def write_with(path, *chunks, behind=False):
    """Noise, with chunks before or behind its pixels."""
    noise("RGB").save(path)
    data = path.read_bytes()
    at = data.rindex(b"IEND") - 4 if behind else data.index(b"IDAT") - 4
    path.write_bytes(data[:at] + b"".join(chunks) + data[at:])
    return path


SPOILERS = {
    "compressed text": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LONG)),
    "compressed international text": chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(LONG)),
    "compressed XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LONG)),
    "compressed EXIF": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(LONG)),
    "many texts": chunk(b"tEXt", b"prompt\0" + LONG) * 32,  # 70 MB, more than Pillow holds
    "text of another compression": chunk(b"zTXt", b"workflow\0\7" + zlib.compress(b"a")),
    "profile": chunk(b"iCCP", b"long\0\0" + zlib.compress(LONG)),
    "endless profile": chunk(b"iCCP", b"long\0\0" + zlib.compress(bytes(2**25))),
    "garbage profile": chunk(b"iCCP", b"long\0\0garbage"),
    "EXIF": chunk(b"eXIf", b"II*\0" + LONG),
    "damaged text": chunk(b"tEXt", b"prompt\0text", checksum=1),
    "damaged EXIF": chunk(b"eXIf", b"II*\0\xff\xff", checksum=1),
    "short resolution": chunk(b"pHYs", b"\0"),
    "short rendering intent": chunk(b"sRGB", b""),
    "short animation": chunk(b"acTL", b"\0"),
    "unknown": chunk(b"waNT", LONG),
}


@pytest.mark.parametrize(
    ("spoiler", "behind"),
    [(name, behind) for name in SPOILERS for behind in ([False] if "profile" in name else [False, True])],
)
def test_no_metadata_spoils_a_pixel(tmp_path, spoiler, behind):
    path = write_with(tmp_path / "a.png", SPOILERS[spoiler], behind=behind)
    assert torch.equal(load_image(path), EXPECTED)


def test_the_limits_of_pillow_are_left_alone(tmp_path):
    before = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    load_image(write_with(tmp_path / "a.png", SPOILERS["compressed text"]))
    assert before == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def test_a_profile_of_more_than_a_mebibyte_counts(tmp_path):
    profile = swapped_profile() + bytes(2**21)  # behind its last tag, which nobody reads
    profile = struct.pack(">I", len(profile)) + profile[4:]
    path = write_with(tmp_path / "a.png", chunk(b"iCCP", b"long\0\0" + zlib.compress(profile)))
    assert_close(load_image(path), tensor_of(NOISE[..., :0:-1]), ONE_LEVEL)


def hexadecimal(exif):
    """As ImageMagick writes it."""
    return f"\nexif\n{len(exif):8}\n{exif.hex()}".encode()


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("kind", ["eXIf", "XMP", "compressed XMP", "text", "compressed text"])
def test_orientation_is_read_wherever_it_stands(tmp_path, kind, behind):
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp, text = b'<x:xmpmeta tiff:Orientation="6"/>', b"Raw profile type exif\0"
    said = {
        "eXIf": chunk(b"eXIf", exif.tobytes()[6:]),
        "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        "compressed XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)),
        "text": chunk(b"tEXt", text + hexadecimal(exif.tobytes())),
        "compressed text": chunk(b"zTXt", text + b"\0" + zlib.compress(hexadecimal(exif.tobytes()))),
    }[kind]
    path = write_with(tmp_path / "a.png", SPOILERS["compressed text"], said, behind=behind)
    assert torch.equal(load_image(path), tensor_of(np.rot90(NOISE[..., 1:], -1)))


def test_changed_bytes_of_pixels_are_told_by_their_checksum(tmp_path):
    path = tmp_path / "a.png"
    noise("RGB").save(path, compress_level=0)  # stored as they are: one bit makes one sample another one
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a chunk IDAT with a wrong checksum.*again"):
        load_image(path)


def test_of_an_animated_png_the_first_frame_counts_though_later_ones_are_damaged(tmp_path):
    path = tmp_path / "a.png"
    noise("RGB").save(path, save_all=True, append_images=[noise("RGB").rotate(180)])
    data = path.read_bytes()
    at = data.index(b"fdAT")
    path.write_bytes(data[: at + 4] + bytes(40) + data[at + 44 :])
    assert torch.equal(load_image(path), EXPECTED)


@pytest.mark.parametrize("lenient", [False, True])
def test_a_png_that_is_cut_off_is_refused_even_if_pillow_would_read_it(tmp_path, monkeypatch, lenient):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    noise("RGB").save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: data.rindex(b"IEND") - 20])
    with pytest.raises(ImageError, match="ends within a chunk IDAT"):
        load_image(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(data[: data.rindex(b"IEND") + 2])  # all pixels are there
    assert torch.equal(load_image(tmp_path / "a.png"), EXPECTED)
