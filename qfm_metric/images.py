"""From whatever a picture comes as, to the tensor that the network takes.

    path  -> open_image     the decoder of its format (`decoding`); the header only
          -> read_pixels    first frame, upright, sRGB, 8 or 16 bits      (H, W) or (H, W, C)
    array -> check_array    the same layout                               (H, W) or (H, W, C)
          -> to_unit        [0, 1], over white, grey repeated             (3, H, W)

There is one way through: a file, the PIL image of that file and (for RGB) its array give identical tensors.
The private functions raise ImageError without the name of the picture; `load_image` puts it in front.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from .decoding.errors import ImageError as ImageError
from .decoding.failures import CLOSED, explain
from .decoding.files import open_file
from .decoding.quiet import no_warnings
from .decoding.tiff import correct_tiff, load_pixels
from .decoding.tiff_directories import check_exif

if TYPE_CHECKING:
    from torch import Tensor

Pixels: TypeAlias = NDArray[Any]

_STRIP = 2**20  # pixels that are converted at once: Pillow makes several copies of what it converts

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLAIN_MODES = {"La": "LA", "P": "RGBA", "PA": "RGBA", "RGBa": "RGBA"}
_COLOUR_MODES = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}  # what is left without alpha; RGB for every other mode
STRIP = 64  # rows that are looked at together
_FULL_SCALE = {1: 255, 2: 65535}  # by the bytes of an unsigned sample


def load_image(source: str | os.PathLike[str] | Image.Image | Pixels) -> "Tensor":
    """Read one picture.

    Transparent pixels are laid over white, because that is what web pages and most viewers show behind them.
    Of an animation or a document of many pages, the first counts, but no thumbnail before it; of an icon the largest;
    of a PIL image the frame it stands at.

    Args:
        source: A path, a PIL image, or an array `(H, W)` or `(H, W, C)` with C = 1 (grey), 2 (grey, alpha),
            3 (RGB) or 4 (RGB, alpha); bool, uint8, uint16, or floating point in [0, 1]. It is left as it was.

    Returns:
        `(3, H, W)`, float32 in [0, 1]; RGB, sRGB. Shares no memory with `source`.

    Raises:
        ImageError: `source` cannot be read as a picture.
        TypeError: `source` is none of the above, for example bytes or a tensor.

    Examples:
        >>> load_image(np.zeros((48, 64), dtype=np.uint8)).shape
        torch.Size([3, 48, 64])
    """
    if isinstance(source, np.ndarray):
        with naming(source):
            return to_unit(check_array(source))
    if isinstance(source, Image.Image):
        with naming(source):
            return to_unit(read_pixels(source))
    with open_image(source) as image:
        pixels = read_pixels(image)
    del image  # it takes as much memory again
    with naming(source):
        return to_unit(pixels)


@contextmanager
def open_image(path: str | os.PathLike[str], data: bytes | None = None) -> Iterator[Image.Image]:
    """The picture in a file, of which only the header has been read; what fails inside is an ImageError.

    If it has been decoded inside, and turns out to be of a file that lacks its end, leaving raises ImageError as well.
    With `data`, those bytes are the file, and `path` is what errors call it.
    """
    with naming(path), open_file(os.fsdecode(path), data) as image:
        yield image


def file_bytes(data: bytes | Callable[[], bytes]) -> bytes:
    """An encoded picture that is no file: bytes, or what a function returns.

    Raises:
        ImageError: it cannot be had, or is no bytes.
    """
    try:
        found = data() if callable(data) else data
    except (ImageError, OSError, MemoryError):
        raise
    except Exception as error:  # the caller's own function
        raise ImageError(f"expected the bytes of a file, but {type(error).__name__} came: {error}") from error
    if not isinstance(found, bytes | bytearray | memoryview):
        raise ImageError(f"expected the bytes of a file, got {type(found).__name__}")
    return bytes(found)


@contextmanager
def naming(source: str | os.PathLike[str] | Image.Image | Pixels) -> Iterator[None]:
    """Whatever fails inside is an ImageError that begins with the name of the picture."""
    name = _name(source)
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error.__cause__
    except Exception as error:  # damaged files make decoders raise almost anything, and Pillow lets it pass
        raise ImageError(f"{name}: {explain(error)}") from error


def _name(source: object) -> str:
    """What an error calls the picture; TypeError if `source` is of no type that can be one."""
    if isinstance(source, np.ndarray):
        return f"array of shape {source.shape} and dtype {source.dtype}"
    if isinstance(source, Image.Image):
        return f"PIL image of mode {source.mode}"
    if isinstance(source, (str, os.PathLike)):
        return repr(os.fsdecode(source))
    instead = "convert it to one of them"
    if isinstance(source, (bytes, bytearray, memoryview)):
        instead = "for an encoded file in memory, pass PIL.Image.open(io.BytesIO(data))"
    elif hasattr(source, "permute"):  # a tensor
        instead = "give a tensor to the metric itself, or pass tensor.permute(1, 2, 0).numpy()"
    elif hasattr(source, "read"):
        instead = "for an open file, pass PIL.Image.open(file)"
    raise TypeError(f"expected a path, a PIL image or a numpy array, got {type(source).__name__}; {instead}")


def read_pixels(image: Image.Image) -> Pixels:
    """Upright sRGB pixels, uint8, uint16 or float; the last channel is alpha where there is transparency."""
    if isinstance(image, ImageFile.ImageFile) and image.tile and image.fp is None:
        raise ImageError(CLOSED)
    with no_warnings():
        image = correct_tiff(image)
        load_pixels(image)
        image = _upright(image)
        _check_extent(image)
        width, height = image.size
        rows = max(1, _STRIP // width)
        pixels = _convert(image if height <= rows else image.crop((0, 0, width, rows)))
        if height > rows:
            first, pixels = pixels, np.empty((height, *pixels.shape[1:]), dtype=pixels.dtype)
            pixels[:rows] = first
            for top in range(rows, height, rows):
                pixels[top : top + rows] = _convert(image.crop((0, top, width, min(top + rows, height))))
        if pixels.dtype.kind == "f":
            _check_range(pixels)
        return pixels


def _check_extent(image: Image.Image) -> None:
    if 0 in image.size:
        raise ImageError(f"expected at least one pixel, got {image.width} x {image.height}")
    if image.mode != "I":
        return
    low, high = image.getextrema()
    if low < 0 or high > 65535:  # type: ignore[operator]
        raise ImageError(
            f"expected 32-bit grey within 0..65535, got {low}..{high}; scale it to [0, 1] and pass it as a float array"
        )


def _convert(image: Image.Image) -> Pixels:
    """Pixels of an upright picture, or of some rows of it."""
    if image.mode in _PLAIN_MODES:
        # A copy, because Pillow writes the transparency into the palette of the picture that it converts.
        image = image.copy().convert(_PLAIN_MODES[image.mode])
    colour = _deep_grey(image) if _is_deep(image) else np.asarray(_to_srgb(image))
    if image.mode in ("LA", "RGBA"):
        return np.dstack([colour, np.asarray(image.getchannel("A"))])
    visible = _visible(image)
    if visible is None:
        return colour
    return np.dstack([colour, visible.astype(colour.dtype) * _FULL_SCALE[colour.dtype.itemsize]])


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF (or XMP) orientation.

    ImageOps.exif_transpose also writes the EXIF anew, which fails on some that it can read, and it copies
    pictures that need no turning.
    """
    try:
        check_exif(image.info.get("exif", b""))
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF spoils no pixel
        return image
    return image if turn is None else image.transpose(turn)


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _deep_grey(image: Image.Image) -> Pixels:
    """Grey of more than 8 bits: uint16, or float32 from mode F. Pillow manages no colour at these depths."""
    pixels: Pixels = np.asarray(image)
    return pixels if image.mode == "F" else pixels.astype(np.uint16)


def _visible(image: Image.Image) -> NDArray[np.bool_] | None:
    """Where the colour is not the one that the header declares transparent; None if it declares none."""
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and image.mode != "F" and len(image.getbands()) == 1:
        return np.asarray(np.asarray(image) != transparent)
    if isinstance(transparent, tuple) and len(transparent) == 3 and image.mode == "RGB":
        return np.asarray((np.asarray(image) != transparent).any(axis=-1))
    return None


def _to_srgb(image: Image.Image) -> Image.Image:
    """Colour without alpha: mode RGB, or L for grey."""
    mode = _COLOUR_MODES.get(image.mode, "RGB")
    colour = image if image.mode == mode else image.convert(mode)
    profile = image.info.get("icc_profile")
    if profile and image.mode != "LAB":  # from LAB, Pillow has come to sRGB already
        colour = _apply_profile(colour, profile)
    return colour.convert("RGB") if colour.mode == "CMYK" else colour


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """`image` in sRGB, or as it is if the profile is broken or belongs to another kind of picture."""
    from PIL import ImageCms  # few pictures need it, and some builds of Pillow lack LittleCMS

    try:
        embedded, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, embedded, srgb, outputMode="RGB") or image
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        return image


def check_array(array: Pixels) -> Pixels:
    """An array as `read_pixels` would give it; refuses what `load_image` does not take."""
    if np.ma.is_masked(array):
        raise ImageError("expected every pixel, got some masked; say what they look like: array.filled(value)")
    pixels = np.asarray(array)  # drops subclasses
    if pixels.dtype.kind + str(pixels.dtype.itemsize) not in ("b1", "u1", "u2", "f2", "f4", "f8"):
        raise ImageError(
            "expected bool, uint8 (0..255), uint16 (0..65535) or floating point in [0, 1]; "
            "convert it, for example with array.astype(np.uint8) if its values are 0..255"
        )
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in (1, 2, 3, 4)):
        return pixels
    hint = "pass one picture at a time, channels last"
    if pixels.ndim == 3 and pixels.shape[0] in (1, 2, 3, 4):
        hint = "its channels seem to come first: pass array.transpose(1, 2, 0)"
    raise ImageError(f"expected (H, W), or (H, W, C) with 1, 2, 3 or 4 channels; {hint}")


def _check_range(pixels: Pixels) -> None:
    low, high = float(pixels.min()), float(pixels.max())  # both NaN if there is any
    if low >= 0 and high <= 1:
        return
    hint = "scale it, or cut off what a filter has overshot with np.clip(array, 0, 1)"
    if not np.isfinite([low, high]).all():
        hint = "find out where NaN or infinity comes from"
    elif low >= 0 and 2 < high <= 255:  # no filter overshoots by this much
        hint = "it looks like 0..255: divide by 255"
    elif -1 <= low < 0 and high <= 1:
        hint = "if it was normalised to [-1, 1], pass (array + 1) / 2"
    raise ImageError(f"expected floating-point values in [0, 1], got {low:g}..{high:g}; {hint}")


def to_unit(pixels: Pixels) -> "Tensor":
    """What `read_pixels` gave, or some rows of it, as `load_image` returns it."""
    from torch import from_numpy  # slow to import; pages of pictures do without

    return from_numpy(unit_array(pixels))


def unit_array(pixels: Pixels) -> NDArray[np.float32]:
    """`to_unit` as an array."""
    if pixels.size == 0:
        raise ImageError(f"expected at least one pixel, got shape {pixels.shape}")
    if pixels.dtype.kind == "f":
        _check_range(pixels)
    planes = np.moveaxis(pixels if pixels.ndim == 3 else pixels[..., None], -1, 0)  # (H, W, C) -> (C, H, W)
    full = _FULL_SCALE[pixels.dtype.itemsize] if pixels.dtype.kind == "u" else 1
    colours = len(planes) - (len(planes) + 1) % 2  # without alpha
    unit = np.empty((3, *planes.shape[1:]), dtype=np.float32)
    unit[:colours] = planes[:colours]
    if full != 1:
        unit[:colours] /= full
    if len(planes) > colours:
        alpha = planes[-1].astype(np.float32) / np.float32(full)
        unit[:colours] *= alpha  # over white; not in 8 bits, so opaque pixels keep their value
        unit[:colours] += 1 - alpha
    unit[colours:] = unit[0]
    return unit


def is_blank(pixels: Pixels) -> bool:
    """Whether what `read_pixels` gave shows one colour all over, within 2 of 255 levels; transparency over white."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for top in range(0, len(pixels), STRIP):  # a photograph's first strip already says no
        strip = unit_array(pixels[top : top + STRIP])
        low, high = np.minimum(low, strip.min((1, 2))), np.maximum(high, strip.max((1, 2)))
        if (high - low).max() > 2.5 / 255:
            return False
    return True
