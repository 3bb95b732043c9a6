"""Facts about a file that no network is asked for: compression, enlargement, clipping, bits.

Each is measured, with a method and limits that docs/facts.md states.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

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


FACT_COLUMNS: Mapping[str, type] = {
    "jpeg_quality": int,
    "jpeg_tables": str,
    "recompressed": int,
    "earlier_quality": int,
    "enlarged": float,
    "shadows": float,
    "highlights": float,
    "bits": int,
}
"""Name and type of the columns that facts add to a table; `recompressed` is 1 or 0."""


def facts_columns(facts: Facts) -> dict[str, str | float | int | None]:
    """The facts by the names in `FACT_COLUMNS`."""
    values = {name: getattr(facts, name) for name in FACT_COLUMNS}
    return values | {"recompressed": None if facts.recompressed is None else int(facts.recompressed)}


def file_facts(source: str | os.PathLike[str] | bytes, pixels: NDArray[Any] | None = None) -> Facts:
    """The facts of one file.

    Args:
        source: A path, or what the file holds.
        pixels: What `qfm_metric.images.read_pixels` gave for it, if it has been decoded; else it is decoded here.
            Of a JPEG file, the brightness is decoded again in any case, as it is before conversion to RGB.

    Raises:
        ImageError: `source` cannot be read as a picture.

    Examples:
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (64, 48), "white").save(file, "JPEG", quality=85)
        >>> file_facts(file.getvalue()).jpeg_quality
        85
    """
    from ..images import naming, open_image, read_pixels, to_unit  # brings torch, which facts do without

    path, data = ("picture in memory", source) if isinstance(source, bytes) else (source, None)
    with open_image(path, data) as image:
        deep_colour = _is_deep_colour(image)
        quality, tables = _jpeg_quality(image) if isinstance(image, JpegImageFile) else (None, None)
        if pixels is None:
            pixels = read_pixels(image)
    if pixels.dtype.kind == "f":
        with naming(path):
            to_unit(pixels)  # refuses what is outside [0, 1]
    recompressed, earlier = None, None
    if tables is not None:
        with open_image(path, data) as image:
            recompressed, earlier = _earlier_compression(image)
    tones = count_tones(pixels)
    height, width = pixels.shape[:2]
    return Facts(
        width=width,
        height=height,
        jpeg_quality=quality,
        jpeg_tables=tables,
        recompressed=recompressed,
        earlier_quality=earlier,
        enlarged=enlargement_factor(pixels),
        shadows=tones.shadows,
        highlights=tones.highlights,
        bits=None if deep_colour else tones.bits,
    )


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether Pillow hands on only the upper 8 bits of what the file holds, as it does with colour."""
    stored = str(getattr(image, "tile", ""))  # before decoding
    return ";16" in stored and len(image.getbands()) > 1


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
