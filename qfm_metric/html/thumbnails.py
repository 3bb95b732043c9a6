"""Small pictures to look at, not to score."""

import io
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from ..decoding.errors import ImageError

if TYPE_CHECKING:  # a page of pictures that are gone does without numpy and Pillow
    from ..images import Pixels

SMALL = {"side": 128, "quality": 60}  # of the JPEG in a card, about 3 kB
LARGE = {"side": 640, "quality": 80}  # in the large view, about 60 kB


def thumbnail(path: str | os.PathLike[str], side: int, quality: int) -> bytes:
    """Read one file as a small JPEG: upright, sRGB, over white. JPEG is decoded at a fraction of its size.

    Args:
        path: A file that `load_image` reads.
        side: The longer side at most, in pixels; nothing is enlarged.
        quality: Of the JPEG, 1 to 95.

    Raises:
        ImageError: the file cannot be read as a picture.
    """
    import numpy as np

    from ..images import open_image, read_pixels

    with open_image(path) as image:
        image.draft(image.mode, (2 * side, 2 * side))  # enough for the resampling that follows
        pixels = read_pixels(image)
        if pixels.dtype.kind == "f":
            pixels = np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
        elif pixels.dtype.itemsize == 2:
            pixels = (pixels >> 8).astype(np.uint8)
        return encode_thumbnail(pixels, side, quality)


def encode_thumbnail(pixels: "Pixels", side: int, quality: int) -> bytes:
    """Pixels as `read_pixels` gives them, of 8 bits, as a small JPEG over white."""
    import numpy as np
    from PIL import Image

    from ..images import unit_array

    encoded = io.BytesIO()
    small = Image.fromarray(pixels)
    small.thumbnail((side, side))
    unit = unit_array(np.asarray(small))  # over white only now: large pictures in floating point are four times larger
    shown = np.rint(unit.transpose(1, 2, 0) * 255).astype(np.uint8)
    Image.fromarray(shown).save(encoded, "JPEG", quality=quality, optimize=True)
    return encoded.getvalue()


def thumbnail_if_readable(path: str | os.PathLike[str], size: Mapping[str, int]) -> bytes | None:
    """`thumbnail` in `SMALL` or `LARGE`; None of a picture that was scored once and is gone now."""
    if not os.path.exists(path):
        return None
    with suppress(ImageError):
        return thumbnail(path, **size)
    return None
