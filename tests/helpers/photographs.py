"""scikit-image's photographs, and files made of them in memory."""

import io
from functools import cache

import skimage
from PIL import Image

# N. Robidoux's table, MozJPEG's default, at about a quality of 70; in rows.
_STEPS = (
    "9 9 9 10 15 22 33 51 9 10 12 16 20 24 31 45 9 12 14 18 25 37 54 81 10 16 18 24 31 44 63 93 "
    "15 20 25 31 41 56 78 113 22 24 37 44 56 74 101 142 33 31 54 63 78 101 135 186 51 45 81 93 113 142 186 250"
)
CUSTOM_TABLE = [int(step) for step in _STEPS.split()]


@cache
def photograph(name):
    """`astronaut.png` and others, as RGB."""
    with Image.open(f"{skimage.__path__[0]}/data/{name}") as image:
        return image.convert("RGB")


def half(image):
    """Of half the width and height: sharp to the last pixel, and without traces of its file."""
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def jpeg(image, quality=75, **options):
    """The bytes of a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def reopened(data):
    """The picture in these bytes, decoded."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    return image
