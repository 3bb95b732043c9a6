"""From a file to the PIL image of the picture in it, of which only the header has been read."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import PIL
from PIL import Image, ImageFile

from . import jpeg, png
from .damage import check_end
from .errors import ImageError, check_bytes
from .failures import A_FOLDER
from .foreign import HEAD_BYTES, what_it_is
from .heif import AVIF_BRANDS, container_brands, is_heif, open_heif
from .jpeg2000 import is_jpeg2000, open_jpeg2000
from .quiet import no_warnings
from .tiff import is_tiff, open_tiff

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@contextmanager
def open_file(path: str, data: bytes | None = None) -> Iterator[Image.Image]:
    """The picture in a file, or in `data`; on leaving, what has been decoded is checked for a missing end."""
    if data is None:
        check_kind(path)
    with open(path, "rb") if data is None else io.BytesIO(data) as file:
        head = file.read(HEAD_BYTES)
        if not head:
            raise ImageError("expected a picture, got an empty file; copy, download or export it again")
        image = _open(file, head)
        yield image
        with no_warnings():
            check_end(image, file, lambda other: _open(other, head))


def check_kind(path: str) -> None:
    """Refuse what is no regular file, before it is opened, which for a pipe may take for ever.

    Raises:
        ImageError: a folder, which fails differently on every platform; an address; a pipe or a device.
        OSError: there is nothing, or it cannot be looked at.
    """
    if "://" in path and not os.path.exists(path):
        raise ImageError("expected a path, got an address; download the file first")
    kind = stat.S_IFMT(os.stat(path).st_mode)
    if kind == stat.S_IFDIR:
        os.scandir(path).close()  # one that cannot be looked into has been passed on by who tried
        raise ImageError(A_FOLDER)
    if kind != stat.S_IFREG:
        raise ImageError(f"expected a file, got {_KINDS.get(kind, 'something else')}; write it to a file first")


def _open(file: BinaryIO, head: bytes) -> Image.Image:
    file.seek(0)
    brands = container_brands(head)
    try:
        with no_warnings():
            image = _choose_decoder(file, head, brands)
    except ImageError:
        raise
    except Exception as error:
        found = None if is_heif(brands) or AVIF_BRANDS.intersection(brands) else what_it_is(head)
        if found is not None:
            what, advice = found
            raise ImageError(f"expected a picture, got {what}; {advice}") from error
        if AVIF_BRANDS.intersection(brands) and "AVIF" not in Image.SAVE:  # there only with the codec
            raise ImageError(
                f"expected a format that this Pillow ({PIL.__version__}) reads, got AVIF; update it: "
                "pip install --upgrade 'pillow>=11.3'"
            ) from error
        raise
    if image.format in ("EPS", "MPEG") or isinstance(image, ImageFile.StubImageFile):
        # Pillow knows no more of it than its size; of EPS it would start Ghostscript, to run the program that it is.
        what, advice = what_it_is(head) or (f"{image.format}, which Pillow does not decode", "export it as PNG or JPEG")
        raise ImageError(f"expected a picture made of pixels, got {what}; {advice}")
    return image


def _choose_decoder(file: BinaryIO, head: bytes, brands: list[bytes]) -> Image.Image:
    if brands or head[8:12] == b"WEBP":
        check_bytes(file)
        file.seek(0)
    if is_heif(brands):
        return open_heif(file)
    if is_tiff(head):
        return open_tiff(file)
    if head.startswith(png.MAGIC):
        return png.open_png(file)
    if head.startswith(jpeg.MAGIC):
        return jpeg.open_jpeg(file)
    if is_jpeg2000(head):
        return open_jpeg2000(file)
    return Image.open(file)
