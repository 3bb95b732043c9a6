"""TIFFs that Pillow reads wrong or not at all, as PIL images: by number of bits, white at zero, planes, floats.

Pillow still unpacks what is compressed: it is given the bytes of a strip as a grey picture of 8 bits.
"""

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import TiffImageFile

from .errors import ImageError
from .tiff_directories import Directory

_BLOCK = 2**20  # samples that are converted at once
_MOST_BYTES = 2**30  # of a strip or tile that is unpacked at once
_UNPACKED_BY_PILLOW = {5, 8, 32773, 32946, 34925, 50000}  # to bytes as they are, whatever they mean
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # by photometric interpretation
_WHOLE = (8, 16, 32, 64)  # bits that are bytes
_MODES = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA", (4, False): "CMYK"}


def pillow_is_right(directory: Directory) -> bool:
    """Whether the pixels are those that Pillow decodes, if it decodes any."""
    d = directory
    if d.compression != 1 and d.compression not in _UNPACKED_BY_PILLOW:
        return d.bits <= 8  # JPEG and the like
    if d.photometric == 6:  # YCbCr that is not compressed, it takes for RGB
        return d.compression != 1
    if d.photometric not in _COLOURS:
        return not d.in_planes or d.samples == 1
    grey, swapped = _COLOURS[d.photometric] == 1, d.compression != 1 and not d.little
    if d.sample_format == 1 and d.bits <= 8:
        return not d.in_planes or d.samples == _COLOURS[d.photometric]
    if d.sample_format == 1 and d.bits == 16 and d.photometric:
        return not d.in_planes or d.samples == 1
    return (
        grey
        and d.samples == 1
        and d.photometric == 1
        and not swapped
        and (d.sample_format, d.bits) in {(2, 32), (3, 32)}
    )


def can_decode(directory: Directory) -> bool:
    """Whether a `SampledTiff` can be made of it."""
    d = directory
    colours = _COLOURS.get(d.photometric, 0)
    known = {1: {*range(1, 17), 32}, 3: {16, 32, 64}}.get(d.sample_format, set())
    return (
        0 < colours <= d.samples <= 8
        and d.bits in known
        and (d.compression == 1 or d.compression in _UNPACKED_BY_PILLOW)
        and (d.bits in _WHOLE or d.first(Tag.Predictor, 1) == 1)
        and min(d.size) > 0
    )


class SampledTiff(ImageFile.ImageFile):
    """One picture of a TIFF: L, LA, RGB, RGBA or CMYK of 8 bits; I;16 or F (in [0, 1]) for grey of more bits."""

    format = "TIFF"
    format_description = "TIFF of samples that Pillow does not read"

    def __init__(self, file: BinaryIO, directory: Directory) -> None:
        self.directory = directory
        super().__init__(file)
        self.getexif()[Tag.Orientation] = directory.first(Tag.Orientation, 1)

    def _open(self) -> None:
        d = self.directory
        colours = _COLOURS[d.photometric]
        kinds = d.values(Tag.ExtraSamples).tolist()[: d.samples - colours]
        self._alpha = next((i for i, kind in enumerate(kinds) if kind in (1, 2)), None)
        if colours == 4:
            self._alpha = None  # Pillow has no CMYK with transparency
        self._premultiplied = self._alpha is not None and kinds[self._alpha] == 1
        self._mode = _MODES[colours, self._alpha is not None]
        if self._mode == "L" and d.bits > 8:
            self._mode = "I;16" if d.bits <= 16 and d.sample_format == 1 else "F"
        self._size = d.size
        self._undecoded = True
        if d.profile is not None:
            assert self.fp is not None
            self.fp.seek(d.profile[0])
            self.info["icc_profile"] = self.fp.read(d.profile[1])

    def load(self) -> Any:
        if self._undecoded:
            self.load_prepare()
            self._undecoded = False  # from here on, `paste` finds the picture loaded,
            self.readonly = 0  # and need not copy it
            for left, top, samples in _read_blocks(self.fp, self.directory):
                self.paste(self._to_image(samples), (left, top))
            self.fp = None
        return Image.Image.load(self)

    def _to_image(self, samples: NDArray[Any]) -> Image.Image:
        """Of `(H, W, samples)`, in the mode of this picture."""
        colours = _COLOURS[self.directory.photometric]
        size, inverted = samples.shape[1::-1], self.directory.photometric == 0
        if self._mode == "F":
            grey = _to_unit(samples[..., 0], self.directory)
            return Image.frombytes("F", size, (1 - grey if inverted else grey).tobytes())
        full, dtype = (65535, "<u2") if self._mode == "I;16" else (255, "u1")
        scaled = _to_integers(samples, self.directory, full).astype(dtype)
        if inverted:
            scaled[..., 0] = full - scaled[..., 0]
        if self._alpha is None:
            return Image.frombytes(self._mode, size, scaled[..., :colours].tobytes())
        stored = {"LA": "La", "RGBA": "RGBa"}[self._mode] if self._premultiplied else self._mode
        data = scaled[..., [*range(colours), colours + self._alpha]].tobytes()
        return Image.frombytes(stored, size, data).convert(self._mode)


def _to_unit(samples: NDArray[Any], directory: Directory) -> NDArray[Any]:
    if directory.sample_format == 3:
        return samples.astype(np.float32)
    scaled: NDArray[Any] = samples / (2**directory.bits - 1)
    return scaled.astype(np.float32)


def _to_integers(samples: NDArray[Any], directory: Directory, full: int) -> NDArray[Any]:
    """In 0..full, which is 255 or 65535."""
    bits = directory.bits
    if directory.sample_format == 3:
        if not ((samples >= 0) & (samples <= 1)).all():
            raise ImageError(
                f"expected floating-point values in [0, 1], got {samples.min():g}..{samples.max():g}; "
                "scale it to that range"
            )
        samples = np.rint(samples.astype(np.float32) * full)
        return samples
    if full == 255 and bits > 8:  # as Pillow makes 8 bits of 16
        return samples >> (bits - 8)
    highest = 2**bits - 1
    scaled: NDArray[Any] = (samples.astype(np.uint32) * full + highest // 2) // highest
    return scaled


def _read_blocks(file: Any, directory: Directory) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Left, top, and samples `(h, w, samples)` of about `_BLOCK` of them, as numbers of this machine."""
    d, (width, height) = directory, directory.size
    tiled = len(d.values(Tag.TileOffsets)) > 0
    columns = d.first(Tag.TileWidth, 0) if tiled else width
    rows = d.first(Tag.TileLength, 0) if tiled else min(d.first(Tag.RowsPerStrip, height), height)
    offsets = d.values(Tag.TileOffsets if tiled else Tag.StripOffsets)
    counts = d.values(Tag.TileByteCounts if tiled else Tag.StripByteCounts)
    across, down = (-(-width // columns), -(-height // rows)) if columns > 0 and rows > 0 else (0, 0)
    planes, together = (d.samples, 1) if d.in_planes else (1, d.samples)
    row_bytes = -(-columns * together * d.bits // 8)
    if not across or len(offsets) < planes * across * down or (d.compression != 1 and row_bytes * rows > _MOST_BYTES):
        raise ImageError(
            "expected a whole TIFF, got one whose strips or tiles do not make up its picture; export it again"
        )
    step = max(1, _BLOCK // (columns * d.samples))
    for chunk in range(across * down):
        left, top = chunk % across * columns, chunk // across * rows
        here = rows if tiled else min(rows, height - top)
        numbers = [plane * across * down + chunk for plane in range(planes)]
        parts = [
            _Chunk(file, d, int(offsets[i]), int(counts[i]) if i < len(counts) else None, row_bytes, here)
            for i in numbers
        ]
        for first in range(0, min(here, height - top), step):
            taken = min(step, here - first)
            samples = [_to_numbers(part.rows(first, taken), d, columns, together) for part in parts]
            block = samples[0] if planes == 1 else np.concatenate(samples, axis=-1)
            yield left, top + first, block[: height - top - first, : width - left]


class _Chunk:
    """The unpacked bytes of a strip or a tile, in one plane if there are planes."""

    def __init__(
        self, file: Any, directory: Directory, offset: int, count: int | None, row_bytes: int, rows: int
    ) -> None:
        self.file, self.offset, self.row_bytes = file, offset, row_bytes
        self.reverse = directory.first(Tag.FillOrder, 1) == 2
        self.unpacked: Image.Image | None = None
        if directory.compression != 1:
            length = file.seek(0, 2)
            file.seek(offset)
            packed = file.read(length if count is None else max(0, min(count, length)))  # it may say anything
            packed = _reverse_bits(packed) if self.reverse else packed
            self.unpacked = _unpack(packed, directory.compression, row_bytes, rows)

    def rows(self, first: int, count: int) -> NDArray[np.uint8]:
        """`(count, row_bytes)`."""
        if self.unpacked is not None:
            return np.asarray(self.unpacked.crop((0, first, self.row_bytes, first + count)))
        self.file.seek(self.offset + first * self.row_bytes)
        data = self.file.read(count * self.row_bytes)
        if len(data) < count * self.row_bytes:
            raise ImageError("expected a whole picture, but its file ends early; copy, download or export it again")
        data = _reverse_bits(data) if self.reverse else data
        return np.frombuffer(data, np.uint8).reshape(count, self.row_bytes)


def _reverse_bits(data: bytes) -> bytes:
    return np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)), bitorder="little").tobytes()


def _unpack(packed: bytes, compression: int, width: int, height: int) -> Image.Image:
    """Bytes that a TIFF compression made of `width * height` bytes, as a grey picture."""
    entries = [
        (Tag.ImageWidth, width),
        (Tag.ImageLength, height),
        (Tag.BitsPerSample, 8),
        (Tag.Compression, compression),
    ]
    entries += [(Tag.PhotometricInterpretation, 1), (Tag.StripOffsets, 256), (Tag.SamplesPerPixel, 1)]
    entries += [(Tag.RowsPerStrip, height), (Tag.StripByteCounts, len(packed))]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + table + bytes(4)
    image = TiffImageFile(io.BytesIO(head.ljust(256, b"\0") + packed))
    image.load()
    return image


def _to_numbers(rows: NDArray[np.uint8], directory: Directory, columns: int, together: int) -> NDArray[Any]:
    """Samples `(h, columns, together)` of rows of bytes."""
    d, across = directory, columns * together
    order = "<" if d.little else ">"
    if d.first(Tag.Predictor, 1) == 3 and d.compression != 1:
        planes = rows.reshape(len(rows), across * d.bits // 8 // together, together)
        rows = np.cumsum(planes, axis=1, dtype=np.uint8).reshape(len(rows), d.bits // 8, across).swapaxes(1, 2)
        order = ">"
    if d.bits not in _WHOLE:
        bits = np.unpackbits(rows, axis=1)[:, : across * d.bits].reshape(len(rows), across, d.bits)
        numbers: NDArray[Any] = np.zeros((len(rows), across), dtype=np.uint16)
        for i in range(d.bits):
            numbers |= bits[..., i].astype(np.uint16) << (d.bits - 1 - i)
    else:
        kind = "f" if d.sample_format == 3 else "u"
        numbers = np.ascontiguousarray(rows).reshape(len(rows), -1).view(f"{order}{kind}{d.bits // 8}")
    numbers = numbers.astype(numbers.dtype.newbyteorder("=")).reshape(len(rows), columns, together)
    if d.first(Tag.Predictor, 1) == 2 and d.compression != 1:
        whole = numbers.view(f"u{d.bits // 8}") if d.bits in _WHOLE else numbers
        numbers = np.cumsum(whole, axis=1, dtype=whole.dtype).view(numbers.dtype)
    return numbers
