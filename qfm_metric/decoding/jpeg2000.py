"""JPEG 2000 files, of which Pillow makes 8 bits so that white comes out black if it had more."""

from typing import BinaryIO

from PIL import Image

from .boxes import walk_boxes
from .errors import ImageError

_BOX, _CODESTREAM = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"


def is_jpeg2000(head: bytes) -> bool:
    return head.startswith((_BOX, _CODESTREAM))


def open_jpeg2000(file: BinaryIO) -> Image.Image:
    """The picture of a JP2 file or a bare codestream, of which only the header has been read.

    Raises:
        ImageError: Pillow decodes its samples wrong.
    """
    image = Image.open(file, formats=["JPEG2000"])
    bits = _read_bits(file)
    if bits - {8} and not (image.mode == "I;16" and min(bits) > 8):
        depths = "/".join(map(str, sorted(bits)))
        raise ImageError(
            f"expected a JPEG 2000 of 8 bits a sample (or more, if it is grey), got {depths} bits, "
            "which Pillow decodes wrong; export it as PNG or TIFF"
        )
    return image


def _read_bits(file: BinaryIO) -> set[int]:
    """Of the samples of each component; empty if they are not found."""
    file.seek(0)
    start = 0
    if file.read(4) != _CODESTREAM:
        start = next((start for kind, start, _ in walk_boxes(file) if kind == b"jp2c"), -1)
    if start < 0:
        return set()
    file.seek(start)
    head = file.read(42)
    components = file.read(3 * int.from_bytes(head[40:], "big"))
    return {1 + (component & 127) for component in components[::3]}
