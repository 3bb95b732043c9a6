"""What files say of themselves as panoramas, and where that puts them."""

import pytest
from helpers.gpano import gpano, with_packet
from helpers.photographs import jpeg
from PIL import Image, PngImagePlugin

from qfm_metric import ImageError
from qfm_metric.images import open_image
from qfm_metric.panorama.gpano import GPANO, place, projection_of
from qfm_metric.panorama.sphere import WHOLE, Placement

BAND = {"full_width": 4000, "full_height": 2000, "width": 4000, "height": 1000, "left": 0, "top": 500}


def properties(**sizes):
    image = Image.new("RGB", (8, 4))
    image.info["xmp"] = gpano(**sizes)
    return projection_of(image)


def write(path, packet):
    image = Image.new("RGB", (40, 20), "red")
    if path.suffix == ".jpg":
        path.write_bytes(with_packet(jpeg(image), packet))
    elif path.suffix == ".png":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", packet.decode())
        image.save(path, pnginfo=texts)
    elif path.suffix == ".tif":
        image.save(path, tiffinfo={700: packet})
    else:
        image.save(path, xmp=packet)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_files_of_every_kind_say_that_they_are_panoramas(tmp_path, suffix):
    for name, packet in (("yes", gpano(**BAND)), ("no", gpano("cylindrical"))):
        write(tmp_path / f"{name}{suffix}", packet)
    with open_image(tmp_path / f"yes{suffix}") as image:
        assert projection_of(image)["FullPanoWidthPixels"] == "4000"
    with open_image(tmp_path / f"no{suffix}") as image:
        assert projection_of(image) == {}


def test_properties_may_be_elements_under_any_prefix():
    image = Image.new("RGB", (8, 4))
    image.info["xmp"] = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:p="' + GPANO.encode() + b'">'
        b"<p:ProjectionType> Equirectangular </p:ProjectionType></rdf:Description></rdf:RDF></x:xmpmeta>\0"
    )
    assert projection_of(image)["ProjectionType"] == "Equirectangular"


@pytest.mark.parametrize("packet", [None, b"", b"<broken", b"\xff\xfe", gpano().replace(b"equirectangular", b"")])
def test_a_picture_that_says_nothing_or_nonsense_is_no_panorama(packet):
    image = Image.new("RGB", (8, 4))
    if packet is not None:
        image.info["xmp"] = packet
    assert projection_of(image) == {}


def test_a_part_is_placed_where_its_properties_say():
    assert place(4000, 1000, properties(**BAND)) == Placement(0, 0.25, 1, 0.5)
    assert place(800, 200, properties(**BAND)) == Placement(0, 0.25, 1, 0.5)  # reduced since
    corner = {**BAND, "width": 1000, "left": 3000, "height": 500, "top": 1500}
    assert place(1000, 500, properties(**corner)) == Placement(0.75, 0.75, 0.25, 0.25)


def test_a_picture_that_says_nothing_of_sizes_is_the_whole_sphere():
    assert place(2000, 1000, properties()) is WHOLE
    assert place(2010, 1000, {}) is WHOLE  # stitchers round


@pytest.mark.parametrize(
    ("size", "sizes", "words"),
    [
        ((1500, 1000), {}, r"expected an equirectangular picture of 2:1, got 1500 x 1000 px"),
        ((4000, 2000), BAND, r"expected the shape that GPano says, 4000 x 1000, got 4000 x 2000 px"),
        ((1000, 4000), BAND, r"cropped or turned since"),
        ((4000, 1000), {**BAND, "full_height": 1500}, r"expected a full panorama of 2:1, GPano says 4000 x 1500"),
        ((4000, 1000), {**BAND, "top": 1200}, r"expected an area inside of 4000 x 2000"),
        ((4000, 1000), {**BAND, "left": -10}, r"expected an area inside of 4000 x 2000"),
        ((4000, 1000), {**BAND, "top": "x"}, r"expected numbers as GPano's sizes"),
        ((4000, 1000), {**BAND, "top": "nan"}, r"expected an area inside"),
        ((4000, 1000), {**BAND, "full_width": "inf"}, r"expected a full panorama of 2:1"),
        ((4000, 1000), {**BAND, "height": 0}, r"expected the shape that GPano says"),
        ((4000, 1000), {"full_width": 4000}, r"expected all of GPano's sizes or none, got no FullPanoHeightPixels"),
    ],
)
def test_what_cannot_be_placed_is_refused_in_words(size, sizes, words):
    with pytest.raises(ImageError, match=words):
        place(*size, properties(**sizes))
