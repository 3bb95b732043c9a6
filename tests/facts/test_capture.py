"""Times of capture: what cameras write, in every format that holds it, and what says nothing."""

import pytest
from helpers.pictures import dated
from PIL import Image, features

from qfm_metric.facts.capture import capture_time
from qfm_metric.images import open_image, read_pixels

NOON = 1714564800.0  # 2024-05-01 12:00:00 UTC


def time_of(path):
    with open_image(path) as image:
        read_pixels(image)
        return capture_time(image)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif"])
def test_the_time_is_read_from_every_format_that_holds_it(tmp_path, name):
    if name.endswith("avif") and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    assert time_of(dated(tmp_path / name, "2024:05:01 12:00:00")) == NOON


@pytest.mark.parametrize(
    ("tags", "after"),
    [
        ({"fraction": "5"}, 0.5),
        ({"fraction": "125 "}, 0.125),
        ({"fraction": "no"}, 0),
        ({"offset": "+02:00"}, -7200),
        ({"offset": "-03:30"}, 12600),
        ({"offset": "Z"}, 0),
        ({"offset": "   :  "}, 0),  # what EXIF has where it is not known
        ({"fraction": "25", "offset": "+01:00"}, -3599.75),
    ],
)
def test_fractions_and_the_clocks_offset_count(tmp_path, tags, after):
    assert time_of(dated(tmp_path / "a.jpg", "2024:05:01 12:00:00", **tags)) == NOON + after


@pytest.mark.parametrize(
    "time", ["0000:00:00 00:00:00", "    :  :     :  :  ", "", "2024-05-01", "2024:05:01 12:00:61"]
)
def test_what_is_no_time_is_none(tmp_path, time):
    assert time_of(dated(tmp_path / "a.jpg", time)) is None


def test_a_picture_without_exif_has_none(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert time_of(tmp_path / "a.png") is None


@pytest.mark.filterwarnings("default")
def test_damaged_exif_has_none_and_the_picture_is_read_in_silence(tmp_path, recwarn):
    with Image.open(dated(tmp_path / "whole.jpg", "2024:05:01 12:00:00", fraction="123456789")) as image:
        whole = image.info["exif"]
    Image.new("L", (8, 8)).save(tmp_path / "a.jpg", exif=whole[:-4])  # lacks the end of the fraction alone
    assert time_of(tmp_path / "a.jpg") == NOON
    for damaged in (whole[:40], whole[:10] + b"\xff" * 4 + whole[14:], b"Exif\0\0no TIFF"):
        Image.new("L", (8, 8)).save(tmp_path / "a.jpg", exif=damaged)
        assert time_of(tmp_path / "a.jpg") is None
    assert not recwarn
