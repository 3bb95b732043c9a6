"""Films that lack their end: FFmpeg plays them as far as they go, and takes that for the whole."""

import os
from typing import BinaryIO

HEAD = 2**16  # bytes in which a Matroska file says how long it is
TAIL = 2**12  # bytes; a file that was downloaded into reserved space ends with more zeros
SLACK = 64  # bytes that writers have miscounted
EBML, SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"  # Matroska's and WebM's header, and what holds all the rest
BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip")  # that an MP4 file may begin with
NEEDED = (b"moov", b"moof", b"mdat")  # others, cut off or not, hold nothing of the film


def lacks_end(path: str) -> bool:
    """Whether a file is shorter than it says itself (MP4, MOV, Matroska, WebM, AVI), or ends with zeros.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        ends_with_zeros = not file.read().strip(b"\0")
        file.seek(0)
        head = file.read(HEAD)
        if head[4:8] in BOXES:  # where zeros may fill what was reserved
            return _box_lacks_end(file, size)
    return ends_with_zeros or _declared(head) > size + SLACK


def _box_lacks_end(file: BinaryIO, size: int) -> bool:
    at, in_fragments = 0, False
    while at < size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: up to the end of the file, wherever that is; or there is nothing, and may be more to come
            return in_fragments and not any(kind)
        in_fragments |= kind == b"moof"
        if at + length > size:
            return kind in NEEDED
        at += length
    return False


def _declared(head: bytes) -> int:
    """How many bytes a file says that it has; 0 if it does not."""
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        length = int.from_bytes(head[4:8], "little")
        return 0 if length == 2**32 - 1 else length + 8
    if head[:4] != EBML:
        return 0
    at = 0
    while at < len(head):
        name = head[at : at + 4]
        at += 4 if name in (EBML, SEGMENT) else 1  # others here are fillers, whose names have one byte
        known, at = _read_length(head, at)
        if name == SEGMENT or known is None:
            return at + (known or 0)
        at += known
    return 0


def _read_length(data: bytes, at: int) -> tuple[int | None, int]:
    """A length of a Matroska element, None if it is not known yet, and where what follows begins."""
    first = data[at] if at < len(data) else 0
    width = 9 - first.bit_length()
    value = int.from_bytes(data[at : at + width], "big") & (2 ** (7 * width) - 1)
    return None if width > 8 or value == 2 ** (7 * width) - 1 else value, at + width
