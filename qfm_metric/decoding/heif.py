"""HEIC and HEIF files, whose reader is an extra."""

from typing import BinaryIO

from PIL import Image

from .errors import ImageError, check_pixels

AVIF_BRANDS = {b"avif", b"avis"}
_HEVC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF_BRANDS = _HEVC_BRANDS | {b"mif1", b"mif2", b"msf1"}
_FTYP_BYTES = 256  # real files list a handful of brands; a hostile length is not followed further


def container_brands(head: bytes) -> list[bytes]:
    """Major brand, then compatible ones, of an ISO media file (HEIF, AVIF, MP4); none for any other file."""
    if head[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(head[:4], "big"), len(head), _FTYP_BYTES)
    return [head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))]


def is_heif(brands: list[bytes]) -> bool:
    if AVIF_BRANDS.intersection(brands):  # AVIF lists HEIF's general brands as well, even as its major one
        return brands[0] in _HEVC_BRANDS
    return bool(_HEIF_BRANDS.intersection(brands))


def open_heif(file: BinaryIO) -> Image.Image:
    """The primary picture, upright and with its ICC profile; Pillow's list of openers stays as it is."""
    try:
        import pillow_heif  # an extra
    except ImportError as error:
        raise ImageError(
            "expected a format that Pillow reads, got HEIC/HEIF; install its reader: pip install qfm-metric[heic]"
        ) from error
    container = pillow_heif.open_heif(file)  # reads the headers only
    check_pixels(*container.size)
    image: Image.Image = container.to_pillow()
    image.format = "HEIF"
    return image
