"""PNG files without what is no part of their picture.

Pillow unpacks every text and profile of a PNG, and gives the whole file up if one is larger than 1 MiB, damaged or of
an odd length. Generated images carry such texts. It also leaves the checksums of the pixels alone.
"""

import io
import zlib
from typing import BinaryIO

from PIL import Image

from .errors import ImageError

MAGIC = b"\x89PNG\r\n\x1a\n"

_MOST_TEXT = 2**20  # that Pillow unpacks of a compressed one
_MOST_BYTES = 2**24  # of a profile, or of a text that is not compressed
_TURNING_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")  # these may say how the picture is turned
_TELLING = {b"tRNS", b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"iTXt"}  # the others change no pixel that Pillow decodes
_BLOCK = 2**20


def open_png(file: BinaryIO) -> Image.Image:
    """The picture of a PNG file (of an APNG, the one that all readers show), of which only the header is decoded.

    Raises:
        ImageError: the checksum of a part without which there is no picture is wrong.
    """
    kept, profile = _read_picture(file)
    image = Image.open(kept, formats=["PNG"])
    if profile:
        image.info["icc_profile"] = profile
    return image


def _read_picture(file: BinaryIO) -> tuple[io.BytesIO, bytes | None]:
    """The file with only the chunks that say something of the pixels, and the colour profile, unpacked."""
    length, at, kind = file.seek(0, 2), len(MAGIC), b""
    kept, profile, seen = io.BytesIO(), None, set[bytes]()
    kept.write(MAGIC)
    while at + 8 <= length and kind != b"IEND":
        file.seek(at)
        head = file.read(8)
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        at += 12 + size
        if _is_critical(kind):
            kept.write(head)
            _check(kind, _copy(file, kept, size + 4, zlib.crc32(kind)))
        elif kind in _TELLING and size <= _MOST_BYTES:
            chunk = io.BytesIO()
            if not _copy(file, chunk, size + 4, zlib.crc32(kind)):
                continue
            data = chunk.getvalue()[:-4]
            name = data.partition(b"\0")[0] if kind.endswith(b"Xt") else kind
            if name in seen:  # unpacking takes time: of each only the first
                continue
            seen.add(name)
            if kind == b"iCCP":
                profile = _unpack(data.partition(b"\0")[2][1:], _MOST_BYTES)
            elif not kind.endswith(b"Xt") or _may_turn(kind, data):
                kept.write(head + chunk.getvalue())
    kept.seek(0)
    return kept, profile


def _is_critical(kind: bytes) -> bool:
    return not kind[0] & 0x20


def _check(kind: bytes, right: bool | None) -> None:
    if right or (kind == b"IEND" and right is None):  # all of the picture is there
        return
    name = kind.decode("latin-1")
    wrong = f"ends within a chunk {name}" if right is None else f"has a chunk {name} with a wrong checksum"
    raise ImageError(f"expected a whole PNG, but it {wrong}: it is damaged; copy, download or export it again")


def _copy(source: BinaryIO, target: BinaryIO, size: int, crc: int) -> bool | None:
    """Of a chunk's data with its checksum: whether that is right, None if the file ends before."""
    left = size - 4
    while left:
        block = source.read(min(left, _BLOCK))
        target.write(block)
        crc = zlib.crc32(block, crc)
        left -= len(block)
        if not block:
            return None
    checksum = source.read(4)
    target.write(checksum)
    return int.from_bytes(checksum, "big") == crc if len(checksum) == 4 else None


def _may_turn(kind: bytes, data: bytes) -> bool:
    """Whether a text may hold an orientation, and Pillow will take it."""
    keyword = next((each for each in _TURNING_TEXTS if data.startswith(each)), None)
    if keyword is None:
        return False
    rest = data[len(keyword) :]
    if kind == b"zTXt":
        return _unpack(rest[1:], _MOST_TEXT) is not None
    if kind == b"iTXt" and rest[:1] == b"\1":
        return _unpack(rest[2:].split(b"\0", 2)[-1], _MOST_TEXT) is not None
    return True


def _unpack(data: bytes, most: int) -> bytes | None:
    """None if it is damaged or would be larger."""
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(data, most)
    except zlib.error:
        return None
    return None if unpacking.unconsumed_tail else unpacked
