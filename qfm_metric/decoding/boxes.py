"""The boxes of which AVIF, HEIC and JPEG 2000 files are made."""

from collections.abc import Iterator
from typing import BinaryIO


def walk_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each outermost box, where what it holds begins, and where it ends by its own account."""
    length, at = file.seek(0, 2), 0
    while at + 8 <= length:
        file.seek(at)
        head = file.read(16)
        size, start = int.from_bytes(head[:4], "big"), at + 8
        if size == 0:
            size = length - at
        elif size == 1:
            size, start = int.from_bytes(head[8:], "big"), at + 16
        if at + size < start:
            return
        yield head[4:8], start, at + size
        at += size
