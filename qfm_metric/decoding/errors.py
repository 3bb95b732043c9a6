"""The error that pictures raise, and the limits of their size."""

from typing import BinaryIO

LARGEST = 2**30  # bytes; what is decoded has at most 179 million pixels, and these formats compress them


class ImageError(ValueError):
    """Something cannot be read as a picture: absent, damaged, hostile, or of a wrong kind, shape or range."""


def lacks_memory(error: BaseException) -> bool:
    """Whether it was for want of memory: torch says so in a RuntimeError, and the system when a library is loaded."""
    text = str(error)
    told = any(part in text for part in ("allocate memory", "out of memory", "failed to map segment"))
    return isinstance(error, MemoryError) or (told and isinstance(error, RuntimeError | ImportError))


def read_whole(file: BinaryIO, most: int = LARGEST) -> bytes:
    """All bytes of a file.

    Raises:
        ImageError: there are more than `most`.
    """
    check_bytes(file, most)
    file.seek(0)
    return file.read()


def check_bytes(file: BinaryIO, most: int = LARGEST) -> None:
    """Refuse a file that is read as a whole, and has more bytes than a picture: it would exhaust the memory."""
    size = file.seek(0, 2)
    if size > most:
        raise ImageError(
            f"expected at most {most >> 20:,} MiB of this format, got {size >> 20:,}; find out what stands behind the "
            "picture, or export it again"
        )


def check_pixels(width: int, height: int) -> None:
    """Refuse what Image.open refuses of the formats that it knows."""
    from PIL import Image  # the error alone is needed by what never opens a picture

    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise Image.DecompressionBombError(f"Image size ({width * height} pixels) exceeds limit of {2 * limit} pixels.")
