"""When a picture was taken, as its camera wrote it into EXIF."""

from contextlib import suppress
from datetime import datetime, timezone

from PIL import ExifTags, Image

from ..decoding.quiet import no_warnings
from ..decoding.tiff_directories import check_exif


def capture_time(image: Image.Image) -> float | None:
    """When a picture was taken, in seconds since 1970; None if the file does not say.

    In UTC if the camera wrote how far its clock is from that, else by its clock alone: times of two cameras can be
    compared if both wrote it, or if their clocks agree.

    Args:
        image: As `qfm_metric.images.open_image` gives it, decoded: PNG may have its EXIF behind the pixels.
    """
    with suppress(Exception), no_warnings():  # damaged EXIF is none, and Pillow raises what it likes
        check_exif(image.info.get("exif", b""))
        tags = image.getexif().get_ifd(ExifTags.IFD.Exif)
        time = _text(tags[ExifTags.Base.DateTimeOriginal])
        taken = datetime.strptime(time, "%Y:%m:%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
        return taken + _fraction(tags) - _offset(tags)
    return None


def _text(value: object) -> str:
    return (value.decode("ascii") if isinstance(value, bytes) else str(value)).strip("\0 ")


def _fraction(tags: dict[int, object]) -> float:
    """Of a second: `12` says .12."""
    digits = _text(tags.get(ExifTags.Base.SubsecTimeOriginal, ""))
    return float(f"0.{digits}") if digits.isdecimal() else 0.0


def _offset(tags: dict[int, object]) -> float:
    """How far the clock is ahead of UTC, in seconds."""
    with suppress(ValueError):
        zone = datetime.strptime(_text(tags.get(ExifTags.Base.OffsetTimeOriginal, "")), "%z").utcoffset()
        return zone.total_seconds() if zone else 0.0
    return 0.0
