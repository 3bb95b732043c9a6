"""Files that lack their end, though their decoder makes a picture of what is left.

Decoders refuse files that are cut off. They do not see that an end is missing if zeros stand for it, as after a
download into reserved space, or if the file was closed as if it were whole. What makes sure is another decoding, with
other bytes where the end should be: if it differs, the picture was decoded from bytes that were never written.
"""

import io
import re
from collections.abc import Callable
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image

from .boxes import walk_boxes
from .errors import ImageError, read_whole

Reopen: TypeAlias = Callable[[BinaryIO], Image.Image]

_ADVICE = "copy, download or export it again"
_EOI = b"\xff\xd9"
_NOISE = bytes(range(1, 250, 3)) * 50  # no marker of any format; some 4 KiB
_SMALL = 2**20  # pixels; for larger ones another decoding of a progressive JPEG would take too long
_ZEROS = 64  # at the end of AVIF and HEIC files of the most uniform pictures there are none
_UNIFORM = 8  # levels; zeros can stand for the same block again and again, in WebP
_WEBP_SHARE = 32  # such blocks are less of a file than one part in so many, unless they are all of its last rows


def check_end(image: Image.Image, file: BinaryIO, reopen: Reopen) -> None:
    """Refuse a decoded picture whose file lacks its end; nothing is looked at before it is decoded.

    Args:
        image: What `reopen(file)` gave, decoded, at whatever scale.

    Raises:
        ImageError: the end is missing.
    """
    if getattr(image, "tile", None):
        return
    if image.format in ("JPEG", "MPO"):
        _check_jpeg(image, file, reopen)
    elif image.format == "WEBP":
        _check_webp(image, file)
    elif image.format in ("AVIF", "HEIF"):
        _check_boxes(file, reopen)


def _check_jpeg(image: Image.Image, file: BinaryIO, reopen: Reopen) -> None:
    """What is missing of a scan is decoded as flat blocks; later scans of a progressive JPEG may be missing as well."""
    progressive = "progressive" in image.info
    width, height = image.size
    corner = np.asarray(image.crop((max(0, width - 4), max(0, height - 4), width, height)))
    if not progressive and (corner != corner[:1, :1]).any():
        return
    data = read_whole(file)
    frame, scans, end = _read_markers(data)
    if not frame:
        return
    precisions = {component: np.full(64, 99) for component in frame}  # bits that are still to come, by coefficient
    for components, first, last, low in scans:
        for component in components:
            precisions.get(component, np.zeros(64))[first : last + 1] = low
    if any(each.any() for each in precisions.values()):
        raise ImageError(f"expected a whole JPEG, but scans of it are missing: it was closed early; {_ADVICE}")
    if progressive and width * height > _SMALL:
        return
    if _differ(data[:end] + _EOI, data[:end] + _NOISE + _EOI, reopen, small=not progressive):
        raise ImageError(f"expected a whole JPEG, but its last scan ends too soon: it was closed early; {_ADVICE}")


def _read_markers(data: bytes) -> tuple[list[int], list[tuple[list[int], int, int, int]], int]:
    """Components of a Huffman-coded JPEG; of each scan components, first and last coefficient, low bit; the end."""
    frame: list[int] = []
    scans: list[tuple[list[int], int, int, int]] = []
    at, progressive = 2, False
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + size]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xD9:
            break
        if marker in (0xC0, 0xC1, 0xC2) and len(body) >= 6:
            frame, progressive = list(body[6::3]), marker == 0xC2
        at += 2 + size
        if marker == 0xDA and len(body) >= 4:
            count = body[0]
            first, last, bits = body[-3:] if progressive else (0, 63, 0)
            scans.append((list(body[1 : 1 + 2 * count : 2]), first, last, bits & 15))
            following = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]").search(data, at)
            at = len(data) if following is None else following.start()
    return frame, scans, at


def _check_webp(image: Image.Image, file: BinaryIO) -> None:
    data = read_whole(file)
    at = 12
    while at + 8 <= len(data) and data[at : at + 4] not in (b"VP8 ", b"VP8L"):
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little") + data[at + 4] % 2
    end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    coded = data[at + 8 : end]
    zeros = len(coded) - len(coded.rstrip(b"\0"))
    if zeros < _ZEROS or zeros * _WEBP_SHARE < len(coded):
        return
    last_rows = np.asarray(image.crop((0, max(0, image.height - 2), *image.size)))
    if np.ptp(last_rows.reshape(-1, last_rows.shape[-1]), axis=0).max() <= _UNIFORM:
        return
    raise ImageError(f"expected a whole WebP, but its picture ends in {zeros} bytes of zero; {_ADVICE}")


def _check_boxes(file: BinaryIO, reopen: Reopen) -> None:
    """AVIF and HEIC: the coded pictures are in a box `mdat`, as a rule the last one."""
    length = file.seek(0, 2)
    file.seek(max(0, length - _ZEROS))
    if file.read().strip(b"\0"):
        return
    at = next((start for kind, start, end in walk_boxes(file) if kind == b"mdat" and end >= length), None)
    if at is None:
        return
    data = read_whole(file)
    start = max(len(data.rstrip(b"\0")), at)
    noise = (_NOISE * ((len(data) - start) // len(_NOISE) + 1))[: len(data) - start]
    if _differ(data, data[:start] + noise, reopen):
        raise ImageError(f"expected a whole picture, but its file ends in {len(noise)} bytes of zero; {_ADVICE}")


def _differ(data: bytes, other: bytes, reopen: Reopen, small: bool = False) -> bool:
    """Whether two files are different pictures; `small`: JPEGs are compared at an eighth of their size."""
    decoded = []
    try:
        for each in (data, other):
            image = reopen(io.BytesIO(each))
            if small:
                image.draft(image.mode, (1, 1))
            decoded.append(np.asarray(image))
    except Exception:  # bytes of the end make the difference between a picture and none
        return True
    return not np.array_equal(decoded[0], decoded[1])
