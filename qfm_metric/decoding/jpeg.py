"""JPEG files: their EXIF, which Pillow reads as soon as it opens them."""

from typing import BinaryIO

from PIL import Image

from .tiff_directories import check_exif

MAGIC = b"\xff\xd8\xff"


def open_jpeg(file: BinaryIO) -> Image.Image:
    """The first picture of a JPEG or MPO file, of which only the header has been read.

    Raises:
        HostileTagsError: it has EXIF that would exhaust the memory.
    """
    check_exif(_read_exif(file))
    file.seek(0)
    return Image.open(file)


def _read_exif(file: BinaryIO) -> bytes:
    """Of all segments before the pixels, joined, as Pillow does."""
    exif = bytearray()
    file.seek(2)
    while True:
        head = file.read(4)
        marker, size = head[1:2], int.from_bytes(head[2:], "big")
        if len(head) < 4 or head[0] != 0xFF or marker == b"\xda" or size < 2:
            return bytes(exif)
        if marker == b"\xff":  # filling
            file.seek(-3, 1)
        elif marker == b"\xe1":
            segment = file.read(size - 2)
            if segment.startswith(b"Exif\0\0"):
                exif += segment if not exif else segment[6:]
        else:
            file.seek(size - 2, 1)
