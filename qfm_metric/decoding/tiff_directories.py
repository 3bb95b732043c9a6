"""The directories of a TIFF file: which of its pictures counts, and what is said of its samples.

Pillow reads all that the tags of a directory point to, which in a hostile file is many times the file; here the size
of it is checked first.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL.ExifTags import Base as Tag

from .errors import ImageError

Values: TypeAlias = NDArray[np.int64]

TAGS = {
    *(Tag.NewSubfileType, Tag.SubfileType, Tag.ImageWidth, Tag.ImageLength, Tag.BitsPerSample, Tag.Compression),
    *(Tag.PhotometricInterpretation, Tag.FillOrder, Tag.StripOffsets, Tag.Orientation, Tag.SamplesPerPixel),
    *(Tag.RowsPerStrip, Tag.StripByteCounts, Tag.PlanarConfiguration, Tag.Predictor, Tag.TileWidth, Tag.TileLength),
    *(Tag.TileOffsets, Tag.TileByteCounts, Tag.SubIFDs, Tag.ExtraSamples, Tag.SampleFormat),
}
_TYPES = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # the unsigned ones; 13 and 18 point to directories
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_MOST = 64  # directories that are looked at for one that is no thumbnail

_PHOTOMETRICS = {
    **{0: "grey with white at 0", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab"},
    **{9: "ICCLab", 10: "ITULab", 32803: "raw sensor data", 32844: "LogL", 32845: "LogLuv", 34892: "linear raw data"},
}
_COMPRESSIONS = {
    **{1: "none", 2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 6: "old JPEG", 7: "JPEG", 8: "deflate"},
    **{32773: "PackBits", 32946: "deflate", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC"},
    **{34892: "lossy JPEG", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"},
}
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point", 4: "untyped", 5: "complex", 6: "complex"}


class HostileTagsError(ImageError):
    """Tags that share their values, again and again: Pillow would read many times what the file has."""

    def __init__(self) -> None:
        super().__init__(
            "expected tags of a picture, got some that claim more bytes than there are; the file is damaged or hostile"
        )


@dataclass(frozen=True)
class Directory:
    """What a directory says of its picture; what it leaves out is as Pillow takes it."""

    offset: int
    little: bool
    tags: dict[int, Values]
    profile: tuple[int, int] | None  # where the ICC profile is, and its length

    def first(self, tag: Tag, default: int) -> int:
        values = self.values(tag)
        return int(values[0]) if len(values) else default

    def values(self, tag: Tag) -> Values:
        return self.tags.get(tag, np.zeros(0, dtype=np.int64))

    @property
    def size(self) -> tuple[int, int]:
        return self.first(Tag.ImageWidth, 0), self.first(Tag.ImageLength, 0)

    @property
    def photometric(self) -> int:
        return self.first(Tag.PhotometricInterpretation, 0)

    @property
    def compression(self) -> int:
        return self.first(Tag.Compression, 1)

    @property
    def in_planes(self) -> bool:
        return self.first(Tag.PlanarConfiguration, 1) == 2

    @property
    def samples(self) -> int:
        return self.first(Tag.SamplesPerPixel, 1)

    @property
    def bits(self) -> int:
        """Of a sample; 0 if samples differ."""
        return self._alike(Tag.BitsPerSample)

    @property
    def sample_format(self) -> int:
        """1 unsigned, 2 signed, 3 floating point; 0 if samples differ."""
        return self._alike(Tag.SampleFormat)

    @property
    def is_part(self) -> bool:
        """Of another picture: a thumbnail or a mask."""
        return bool(self.first(Tag.NewSubfileType, 0) & 0b101) or self.first(Tag.SubfileType, 1) == 2

    @property
    def is_raw(self) -> bool:
        return self.photometric in (32803, 34892)

    def __str__(self) -> str:
        bits = "/".join(map(str, self.values(Tag.BitsPerSample)[:4].tolist() or [1]))
        return (
            f"{_PHOTOMETRICS.get(self.photometric, f'photometric interpretation {self.photometric}')}, "
            f"{self.samples} x {bits} bits {_FORMATS.get(self.sample_format, 'of mixed formats')}, "
            f"compression {_COMPRESSIONS.get(self.compression, self.compression)}{', in planes' * self.in_planes}"
        )

    def _alike(self, tag: Tag) -> int:
        values = self.values(tag)
        if not len(values):
            return 1
        return int(values[0]) if (values == values[0]).all() else 0


def find_picture(file: BinaryIO) -> tuple[Directory, bool]:
    """The directory of the first picture that is neither a thumbnail nor a mask, and whether it is the first one.

    Without such a picture the largest counts. Looked at are the directories of the main chain, and behind each those
    that it refers to, as in DNG and other files that begin with a thumbnail.

    Raises:
        ImageError: the directories are damaged or hostile.
    """
    found: list[Directory] = []
    for directory in _walk(file):
        found.append(directory)
        if not directory.is_part:
            break
    if not found:
        raise ImageError("expected a TIFF with a picture, found none; it is probably truncated or damaged")
    chosen = max(found, key=lambda each: (not each.is_part, each.size[0] * each.size[1]))
    return chosen, chosen is found[0]


def check_exif(exif: bytes) -> None:
    """Refuse EXIF, which is a TIFF of tags alone, that Pillow had better not read; what is only damaged may pass.

    Raises:
        HostileTagsError: its first directory claims far more bytes than it has.
    """
    try:
        next(_walk(io.BytesIO(exif.removeprefix(b"Exif\0\0"))), None)
    except HostileTagsError:
        raise
    except (ImageError, struct.error):
        return


def read_directory(file: BinaryIO, offset: int) -> Directory:
    little, big, _ = _read_header(file)
    return _read(file, offset, little, big)[0]


def _walk(file: BinaryIO) -> Iterator[Directory]:
    little, big, following = _read_header(file)
    seen: set[int] = set()
    while following and following not in seen and len(seen) < _MOST:
        seen.add(following)
        directory, following = _read(file, following, little, big)
        yield directory
        for offset in directory.values(Tag.SubIFDs)[:_MOST].tolist():
            if offset not in seen and len(seen) < _MOST:
                seen.add(offset)
                yield _read(file, offset, little, big)[0]


def _read_header(file: BinaryIO) -> tuple[bool, bool, int]:
    """Whether numbers are little-endian, whether the file is a BigTIFF, and where the first directory is."""
    file.seek(0)
    header = file.read(16)
    little, big = header[:2] == b"II", 43 in header[2:4]
    order = "<" if little else ">"
    if len(header) < 16:
        raise ImageError("expected a TIFF, got only its beginning; copy, download or export it again")
    return little, big, struct.unpack_from(order + ("Q" if big else "I"), header, 8 if big else 4)[0]


def _read(file: BinaryIO, offset: int, little: bool, big: bool) -> tuple[Directory, int]:
    """A directory, and where the next one is (0 if there is none)."""
    order, length = "<" if little else ">", file.seek(0, 2)
    entry, number = struct.Struct(order + ("HHQ8s" if big else "HHI4s")), struct.Struct(order + ("Q" if big else "I"))
    head = struct.Struct(order + ("Q" if big else "H"))
    count = head.unpack(_take(file, offset, head.size))[0]
    tags: dict[int, Values] = {}
    profile, claimed = None, 0
    for tag, kind, values, inline in entry.iter_unpack(_take(file, offset + head.size, count * entry.size)):
        size, where = values * _TYPE_BYTES.get(kind, 0), number.unpack(inline)[0]
        if size > len(inline):
            if where + size > length:  # Pillow skips it, too
                continue
            claimed += size
            if claimed > 2 * length:  # in an honest file no two tags share their values
                raise HostileTagsError
        if tag == Tag.InterColorProfile:
            profile = where, size
        elif tag in TAGS and kind in _TYPES:
            data = _take(file, where, size) if size > len(inline) else inline[:size]
            tags[tag] = np.frombuffer(data, order + _TYPES[kind]).astype(np.int64)
    file.seek(offset + head.size + count * entry.size)
    following = file.read(number.size)
    return Directory(offset, little, tags, profile), number.unpack(following)[0] if len(following) == number.size else 0


def _take(file: BinaryIO, offset: int, size: int) -> bytes:
    missing = offset + size - file.seek(0, 2)
    if missing > 0:
        raise ImageError(
            f"expected a whole TIFF, but it points {missing} bytes beyond its end; "
            "it is truncated or damaged: copy, download or export it again"
        )
    file.seek(offset)
    return file.read(size)
