"""TIFF files: the picture that counts in them, decoded by Pillow where Pillow is right."""

import io
import struct
from contextlib import suppress
from functools import partial
from typing import BinaryIO, cast

import numpy as np
import PIL
from PIL import Image
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import MAX_SAMPLESPERPIXEL, PREFIXES, TiffImageFile

from .errors import ImageError, check_pixels, read_whole
from .tiff_directories import TAGS, Directory, find_picture, read_directory
from .tiff_samples import SampledTiff, can_decode, pillow_is_right

_CLASSIC = 2**32  # bytes: a TIFF file of the classic kind has no more
_MOST_PIXELS = 2**20  # of a tile, however small the picture


def is_tiff(head: bytes) -> bool:
    return head.startswith(tuple(PREFIXES))


def open_tiff(file: BinaryIO) -> Image.Image:
    """The first picture of a TIFF file that is no thumbnail and no mask; its tags only.

    Raises:
        ImageError: it holds the raw data of a sensor, is damaged or hostile, or nobody here decodes its samples.
    """
    directory, is_first = find_picture(file)
    if directory.is_raw:
        raise ImageError(
            f"expected a picture, got the raw data of a camera's sensor ({directory}), maybe with a thumbnail of it; "
            "develop it and export it as JPEG, PNG or TIFF"
        )
    _check_tiles(directory)
    file.seek(0)
    if pillow_is_right(directory) and directory.samples <= MAX_SAMPLESPERPIXEL:  # beyond, Pillow logs an error
        try:
            return Image.open(
                file if is_first else _begin_with(directory, read_whole(file, _CLASSIC)), formats=["TIFF"]
            )
        except PIL.UnidentifiedImageError:
            pass
    return _decode_samples(file, directory)


def correct_tiff(image: Image.Image) -> Image.Image:
    """`image`, or if it is of a TIFF that Pillow decodes wrong, another of the same directory.

    Raises:
        ImageError: it is of such a TIFF and has been decoded already, or nobody here decodes its samples.
    """
    if not isinstance(image, TiffImageFile):
        return image
    tags = {int(tag): np.atleast_1d(np.array(image.tag_v2[tag], dtype=np.int64)) for tag in TAGS if tag in image.tag_v2}
    directory = Directory(0, image.tag_v2.prefix == b"II", tags, None)
    if pillow_is_right(directory):
        return image
    if not image.tile or image.fp is None:
        raise ImageError(f"expected a TIFF that Pillow decodes right, got {directory}; pass its path instead")
    _check_tiles(directory)
    file = cast(BinaryIO, image.fp)
    return _decode_samples(file, read_directory(file, image.tag_v2.offset))


def load_pixels(image: Image.Image) -> None:
    """Decode a picture; metadata of a TIFF that Pillow cannot read as soon as it has decoded it spoil no pixel."""
    if not isinstance(image, TiffImageFile):
        image.load()
        return
    vars(image)["load_end"] = partial(_read_metadata, image)
    try:
        image.load()
    finally:
        del vars(image)["load_end"]


def _read_metadata(image: TiffImageFile) -> None:
    with suppress(Exception):
        TiffImageFile.load_end(image)


def _check_tiles(directory: Directory) -> None:
    """Tiles may stand out at the edges of a picture, but whoever decodes one needs memory for all of it."""
    width, height = directory.size
    if directory.first(Tag.TileWidth, 0) * directory.first(Tag.TileLength, 0) > max(4 * width * height, _MOST_PIXELS):
        raise ImageError(
            "expected a TIFF, got one whose tiles are far larger than its picture; it is damaged or hostile"
        )


def _decode_samples(file: BinaryIO, directory: Directory) -> Image.Image:
    if not can_decode(directory):
        signed = directory.sample_format == 2
        advice = "scale it to [0, 1] and pass it as a float array" if signed else "export it as PNG or JPEG"
        raise ImageError(f"expected a TIFF of samples whose scale and coding are known, got {directory}; {advice}")
    check_pixels(*directory.size)
    return SampledTiff(file, directory)


def _begin_with(directory: Directory, data: bytes) -> BinaryIO:
    """The file with another first directory: Pillow reads no other one, unless it is in the main chain."""
    order, big = "<" if directory.little else ">", 43 in data[2:4]
    at, number = (8, "Q") if big else (4, "I")
    changed = bytearray(data)
    struct.pack_into(order + number, changed, at, directory.offset)
    return io.BytesIO(changed)
