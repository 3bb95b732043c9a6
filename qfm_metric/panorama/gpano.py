"""What a file says of itself as a panorama: Google's GPano properties in its XMP, which cameras and stitchers write."""

from collections.abc import Mapping

from PIL import Image

from ..decoding.errors import ImageError
from ..xmp_packet import PacketError, read_properties
from .sphere import MOST, WHOLE, Placement

GPANO = "http://ns.google.com/photos/1.0/panorama/"
SIZES = (
    *("FullPanoWidthPixels", "FullPanoHeightPixels", "CroppedAreaImageWidthPixels", "CroppedAreaImageHeightPixels"),
    *("CroppedAreaLeftPixels", "CroppedAreaTopPixels"),
)
SLACK = 0.02  # by which shapes may be off: stitchers and programs that reduce pictures round
WHOLE_IS = "the whole sphere is twice as wide as high"


def projection_of(image: Image.Image) -> dict[str, str]:
    """The GPano properties of an equirectangular picture; none of any other, and where the packet is broken."""
    packet = image.info.get("xmp")
    data = packet.encode() if isinstance(packet, str) else packet if isinstance(packet, bytes) else b""
    try:
        found = read_properties(data.strip(b"\0"), [(GPANO, name) for name in ("ProjectionType", *SIZES)])
    except PacketError:  # spoils no pixel
        return {}
    values = {name: value.strip() for (_, name), value in found.items()}
    return values if values.get("ProjectionType", "").lower() == "equirectangular" else {}


def place(width: int, height: int, properties: Mapping[str, str]) -> Placement:
    """Where a picture lies on the sphere.

    Args:
        width, height: Of the picture in px. If a program has reduced it since it was stitched, the properties are too.
        properties: What `projection_of` found; empty: the picture has to show the whole sphere.

    Raises:
        ImageError: it cannot be placed.
    """
    if not set(SIZES) & set(properties):
        return _whole(width, height)
    try:
        full_width, full_height, crop_width, crop_height, left, top = (float(properties[name]) for name in SIZES)
    except KeyError as error:
        raise ImageError(f"expected all of GPano's sizes or none, got no {error.args[0]}; mend its XMP") from error
    except ValueError as error:
        raise ImageError(f"expected numbers as GPano's sizes: {error}; mend its XMP") from error
    if not _alike(full_width, 2 * full_height):
        raise ImageError(f"expected a full panorama of 2:1, GPano says {full_width:g} x {full_height:g}; {WHOLE_IS}")
    if not _alike(width * crop_height, height * crop_width):
        raise ImageError(
            f"expected the shape that GPano says, {crop_width:g} x {crop_height:g}, got {width} x {height} px; it was "
            "cropped or turned since: score it as flat"
        )
    right, bottom = left + crop_width, top + crop_height
    if not (left >= 0 and top >= 0 and right <= full_width * MOST and bottom <= full_height * MOST):
        raise ImageError(
            f"expected an area inside of {full_width:g} x {full_height:g}, GPano says {left:g}..{right:g} x "
            f"{top:g}..{bottom:g}; mend its XMP"
        )
    return Placement(left / full_width, top / full_height, crop_width / full_width, crop_height / full_height)


def check_placement(width: int, height: int, placement: object) -> Placement:
    """A placement that was given for a picture.

    Raises:
        TypeError: it is none.
        ImageError: pixels would be wider than high, or higher than wide, at the horizon.
    """
    if not isinstance(placement, Placement):
        raise TypeError(f"placement: expected a Placement, got {type(placement).__name__}")
    whole = width / placement.width, height / placement.height
    if not _alike(whole[0], 2 * whole[1]):
        raise ImageError(
            f"expected a placement by which the whole is twice as wide as high, got {whole[0]:.0f} x {whole[1]:.0f} px "
            f"for {width} x {height} px; its width and height are shares of the sphere's, 360 x 180 degrees"
        )
    return placement


def _whole(width: int, height: int) -> Placement:
    if not _alike(width, 2 * height):
        raise ImageError(
            f"expected an equirectangular picture of 2:1, got {width} x {height} px; {WHOLE_IS}: give the placement "
            "of a part, or score it as flat"
        )
    return WHOLE


def _alike(one: float, other: float) -> bool:
    return one > 0 and other > 0 and abs(one / other - 1) <= SLACK
