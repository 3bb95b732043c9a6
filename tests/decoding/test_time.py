"""Files that are made to take long: a few seconds at most for megabytes, whatever is in them."""

import contextlib
import io
import struct
import time
import zlib

import numpy as np
import pytest
from helpers.pictures import noise
from PIL import Image

from qfm_metric.images import ImageError, load_image

SECONDS = 10.0  # of processor time; each takes well below 3, and took minutes or more by an obvious way


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(chunks):
    encoded = io.BytesIO()
    noise("RGB").save(encoded, "PNG")
    data = encoded.getvalue()
    at = data.index(b"IDAT") - 4
    return data[:at] + chunks + data[at:]


def tiff_of_many_directories():
    """Each a thumbnail."""
    tag = struct.pack("<HHHII", 1, 254, 4, 1, 1)
    return b"II*\0\x08\0\0\0" + b"".join(tag + struct.pack("<I", 8 + 18 * (i + 1)) for i in range(200_000)) + bytes(16)


def tiff_of_overlapping_directories():
    """Each of 30,000 tags or more, and the first one refers to thousands of others, which begin within it."""
    count, others = 65_000, 4000
    tags = struct.pack("<HHII", 254, 4, 1, 1) + struct.pack("<HHII", 330, 4, others, 8 + 2 + 12 * (count + 2) + 4)
    table = struct.pack("<H", count) + tags + struct.pack("<HHIHH", 256, 3, 1, 9, 30_000) * (count - 2) + bytes(28)
    return b"II*\0\x08\0\0\0" + table + np.arange(8, 8 + 12 * others, 12, dtype="<u4").tobytes() + bytes(16)


def progressive_with_filling():
    """A long run of 0xFF in its last scan, which is no marker."""
    encoded = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8)).save(encoded, "JPEG", progressive=True)
    return encoded.getvalue()[:-2] + b"\xff" * 500_000 + b"\0\xff\xd9"


FILES = {
    "chunks": lambda: png_with(chunk(b"tEXt", b"") * 300_000),
    "profiles that unpack to much": lambda: png_with(chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**25))) * 1000),
    "texts that unpack to much": lambda: png_with(
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2**20))) * 2000
    ),
    "comments": lambda: b"<?xml?>" + b"<!-- -->" * 120,
    "comments without an end": lambda: b"<!--" * 250,
    "directories": tiff_of_many_directories,
    "overlapping directories": tiff_of_overlapping_directories,
    "segments": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 500_000,
    "filling": lambda: b"\xff\xd8" + b"\xff" * 1_000_000,
    "filling of a scan": progressive_with_filling,
    "boxes": lambda: b"\0\0\0\x0cftypavif" + b"\0\0\0\x08free" * 500_000 + bytes(64),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_files_are_read_or_refused_soon(tmp_path, name):
    (tmp_path / "a").write_bytes(FILES[name]())
    started = time.process_time()
    with contextlib.suppress(ImageError):
        assert load_image(tmp_path / "a").shape[0] == 3
    assert time.process_time() - started < SECONDS
