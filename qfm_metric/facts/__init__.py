"""Facts about a file that no network is asked for: compression, enlargement, clipping, bits.

Each is measured, with a method and limits that docs/facts.md states.
"""

import io
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from ..decoding.jpeg import MAGIC
from .enlargement import enlargement_factor
from .jpeg import file_quality
from .recompression import earlier_compression
from .tones import count_tones


@dataclass(frozen=True)
class Facts:
    """What can be told of a picture from its file. None: does not apply, or cannot be told.

    Attributes:
        width, height: Of the upright picture in pixels.
        jpeg_quality: From 1 to 100 as libjpeg counts; None if the file is no JPEG or its tables are custom.
        jpeg_tables: `standard` or `custom`, the quantisation tables of a JPEG file.
        recompressed: Whether a JPEG file shows that it had been compressed before; False is no proof.
        earlier_quality: Of the compression before.
        enlarged: Factor by which the picture was enlarged from a smaller one; 1.0: no sign of it.
        shadows: Percent of the pixels that are clipped to black in every channel.
        highlights: Percent of the pixels that are clipped to white in every channel.
        bits: Bits per channel that the levels need.
    """

    width: int
    height: int
    jpeg_quality: int | None
    jpeg_tables: str | None
    recompressed: bool | None
    earlier_quality: int | None
    enlarged: float | None
    shadows: float
    highlights: float
    bits: int | None


_CUT_TO_8_BITS = ("AVIF", "HEIF", "JPEG2000")  # formats whose deeper colours come as 8 bits, and nothing tells


@dataclass(frozen=True)
class Encoding:
    """What is known of a file before its pixels are. Attributes: see `Facts`.

    Attributes:
        bits_are_lost: Pillow hands on only the upper 8 bits of what the file holds, or may.
    """

    bits_are_lost: bool = False
    jpeg_quality: int | None = None
    jpeg_tables: str | None = None
    recompressed: bool | None = None
    earlier_quality: int | None = None


def file_facts(source: str | os.PathLike[str] | bytes) -> Facts:
    """The facts of one file: how it was compressed, whether it was enlarged, what is clipped, the bits in use.

    Args:
        source: A path, or what the file holds.

    Raises:
        ImageError: `source` cannot be read as a picture.
        TypeError: `source` is something else, such as what has been decoded already.

    Examples:
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (64, 48), "white").save(file, "JPEG", quality=85)
        >>> file_facts(file.getvalue()).jpeg_quality
        85
    """
    from ..images import open_image, read_pixels  # brings torch, which facts do without

    if not isinstance(source, str | os.PathLike | bytes):
        raise TypeError(f"source: expected a path or the bytes of a file, got {type(source).__name__}")
    path, data = ("picture in memory", source) if isinstance(source, bytes) else (source, jpeg_bytes(source))
    with open_image(path, data) as image:
        encoding = read_encoding(image, data)
        pixels = read_pixels(image)
    return facts_of(encoding, pixels)


def jpeg_bytes(path: str | os.PathLike[str]) -> bytes | None:
    """What a JPEG file holds, as it is decoded twice and shall be read once; None of any other, or unreadable, file."""
    with suppress(OSError, ValueError):  # whoever opens it says what is wrong
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as file:
                head = file.read(len(MAGIC))
                return head + file.read() if head == MAGIC else None
    return None


def read_encoding(image: Image.Image, data: bytes | None) -> Encoding:
    """How a picture is stored.

    Args:
        image: As `qfm_metric.images.open_image` gives it, not yet decoded.
        data: The file, which of a JPEG is decoded here once more: brightness alone, as it is before conversion to RGB.
    """
    if not isinstance(image, JpegImageFile):
        return Encoding(bits_are_lost=_are_bits_lost(image))
    quality, tables = _jpeg_quality(image)
    if data is None or tables is None:
        return Encoding(jpeg_quality=quality, jpeg_tables=tables)
    with Image.open(io.BytesIO(data)) as again:
        return Encoding(False, quality, tables, *_earlier_compression(again))


def facts_of(encoding: Encoding, pixels: NDArray[Any]) -> Facts:
    """The facts of a file of this encoding, whose pixels are what `qfm_metric.images.read_pixels` gives."""
    tones = count_tones(pixels)
    height, width = pixels.shape[:2]
    return Facts(
        width=width,
        height=height,
        jpeg_quality=encoding.jpeg_quality,
        jpeg_tables=encoding.jpeg_tables,
        recompressed=encoding.recompressed,
        earlier_quality=encoding.earlier_quality,
        enlarged=enlargement_factor(pixels),
        shadows=tones.shadows,
        highlights=tones.highlights,
        bits=None if encoding.bits_are_lost else tones.bits,
    )


def _are_bits_lost(image: Image.Image) -> bool:
    stored = str(getattr(image, "tile", ""))  # before decoding
    return len(image.getbands()) > 1 and (";16" in stored or image.format in _CUT_TO_8_BITS)


def _jpeg_quality(image: JpegImageFile) -> tuple[int | None, str | None]:
    components = [component[3] for component in image.layer]
    if not set(components) <= image.quantization.keys():  # they may be kept apart from the picture
        return None, None
    found = file_quality(image.quantization, components)
    return found, "custom" if found is None else "standard"


def _earlier_compression(image: Image.Image) -> tuple[bool | None, int | None]:
    """See `earlier_compression`; None, None for a file that stores no brightness: RGB as it is, or CMYK."""
    if not isinstance(image, JpegImageFile) or image.info.get("adobe_transform") == 0:
        return None, None
    if bytes(component[0] for component in image.layer) == b"RGB":  # says the same without Adobe's marker
        return None, None
    if image.mode == "RGB":
        image.draft("L", image.size)  # the brightness itself, not what is left of it in RGB
    if image.mode != "L":
        return None, None
    steps = np.array(image.quantization[image.layer[0][3]])
    return earlier_compression(np.asarray(image), steps)
