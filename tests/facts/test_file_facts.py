"""What is said of a file as a whole."""

import dataclasses
import io
import subprocess
import sys
import zlib

import numpy as np
import pytest
from helpers.photographs import half, jpeg, photograph
from helpers.processes import environment
from PIL import Image

import qfm_metric
from qfm_metric.facts import Facts, file_facts
from qfm_metric.folder.one_file import facts_columns
from qfm_metric.folder.row import FACT_COLUMNS
from qfm_metric.images import ImageError


def png_of_16_bits(pixels):
    """A PNG file of `(H, W, 3)` uint16, which Pillow reads and does not write."""

    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    height, width = pixels.shape[:2]
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_all_facts_of_a_photograph(tmp_path):
    image = half(photograph("astronaut.png")).resize((512, 512), Image.Resampling.BICUBIC)
    (tmp_path / "a.jpg").write_bytes(jpeg(image, 92))
    facts = file_facts(tmp_path / "a.jpg")
    assert dataclasses.replace(facts, shadows=0, highlights=0) == Facts(
        width=512,
        height=512,
        jpeg_quality=92,
        jpeg_tables="standard",
        recompressed=False,
        earlier_quality=None,
        enlarged=2.0,
        shadows=0,
        highlights=0,
        bits=8,
    )
    pixels = np.asarray(image)
    clipped = 100 * np.mean(pixels.max(-1) <= 2)
    assert clipped > 5
    assert facts.shadows == pytest.approx(clipped, abs=2)  # the file is compressed, `image` is not


def test_paths_and_bytes_give_the_same(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(photograph("coffee.png"), 80))
    assert file_facts(str(path)) == file_facts(path.read_bytes()) == qfm_metric.file_facts(path)


def test_columns_are_the_fields_but_the_size():
    facts = file_facts(jpeg(photograph("coffee.png"), 80))
    fields = {field.name for field in dataclasses.fields(Facts)}
    assert set(FACT_COLUMNS) == fields - {"width", "height"}  # every table has those already
    columns = facts_columns(facts)
    assert list(columns) == list(FACT_COLUMNS)
    assert columns["earlier_quality"] is None
    assert columns["recompressed"] == 0
    for name, value in columns.items():
        assert value is None or type(value) is FACT_COLUMNS[name]


def test_columns_of_a_file_that_tells_nothing_are_empty():
    file = io.BytesIO()
    Image.new("RGBA", (3, 3)).save(file, "PNG")
    columns = facts_columns(file_facts(file.getvalue()))
    assert {name for name, value in columns.items() if value is not None} == {"shadows", "highlights"}


def test_facts_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        file_facts(jpeg(photograph("coffee.png"))).bits = 3


def test_colour_of_16_bits_has_unknown_bits():
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 50, 3)).astype(np.uint16)
    assert file_facts(png_of_16_bits(pixels)).bits is None  # Pillow hands on 8 of them


@pytest.mark.parametrize("suffix", ["avif", "jp2"])
def test_colour_of_formats_that_may_be_deeper_has_unknown_bits(tmp_path, suffix):
    photograph("coffee.png").save(tmp_path / f"a.{suffix}")
    assert file_facts(tmp_path / f"a.{suffix}").bits is None
    if suffix == "jp2":
        photograph("coffee.png").convert("L").save(tmp_path / "grey.jp2", irreversible=False)
        assert file_facts(tmp_path / "grey.jp2").bits == 8


def test_grey_of_16_bits_is_read_whole(tmp_path):
    levels = np.random.default_rng(0).integers(0, 4096, (200, 200)).astype(np.uint16)
    Image.fromarray(levels * 16).save(tmp_path / "a.png")
    assert file_facts(tmp_path / "a.png").bits == 12


@pytest.mark.parametrize("data", [b"", b"no picture", jpeg(photograph("coffee.png"))[:5000]])
def test_what_is_no_picture_is_an_image_error(data):
    with pytest.raises(ImageError, match="picture in memory"):
        file_facts(data)


def test_a_file_that_is_not_there_is_an_image_error(tmp_path):
    with pytest.raises(ImageError, match="found none"):
        file_facts(tmp_path / "none.jpg")


def test_values_out_of_range_are_refused(tmp_path):
    Image.fromarray(np.full((200, 200), 17, dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"\[0, 1\]"):
        file_facts(tmp_path / "a.tif")


def test_importing_facts_loads_no_torch():
    code = "import sys, qfm_metric.facts; assert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


@pytest.mark.parametrize("source", [np.zeros((8, 8), np.uint8), Image.new("L", (8, 8)), io.BytesIO(b""), 3, None])
def test_what_is_no_file_is_refused_by_its_type(source):
    with pytest.raises(TypeError, match="source: expected a path or the bytes of a file, got"):
        file_facts(source)
