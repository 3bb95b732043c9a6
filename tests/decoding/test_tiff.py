"""Pixels of TIFFs, by depth, coding, order and place; tifffile and a writer of single tags make them."""

import struct

import numpy as np
import pytest
import tifffile
import torch
from helpers.pictures import FLOAT32, ONE_LEVEL, assert_close, blocks, tensor_of
from helpers.tiffs import BITS, COMPRESSION, HEIGHT, PHOTOMETRIC, SAMPLES, WIDTH, grey_directory, pack_bits, write_tiff
from PIL import Image

from qfm_metric.images import ImageError, load_image
from qfm_metric.panorama.gpano import projection_of

RNG = np.random.default_rng(0)
ROWS, COLUMNS = 33, 48
SIXTEEN_BITS = 0.5001 / 65535  # grey of 9 to 16 bits is rounded to 16
EIGHT_BITS = 1.0 / 255  # of colours of more than 8 bits, Pillow drops the low ones; so is done for those it cannot read


def integers(bits, *shape):
    values = RNG.integers(0, 2**bits, shape, dtype=np.uint64)
    values.flat[:2] = 0, 2**bits - 1
    return values.astype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)


def over_white(unit):
    return unit[..., :3] * unit[..., 3:] + 1 - unit[..., 3:] if unit.shape[-1] == 4 else unit


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("inverted", [False, True], ids=["black at 0", "white at 0"])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8, 9, 10, 12, 14, 15, 16, 32])
def test_grey_of_every_number_of_bits_has_its_own_full_scale(tmp_path, bits, inverted, order):
    samples = integers(bits, ROWS, COLUMNS + 1)  # an odd number: rows end within a byte
    data = samples.astype(f"{order}u{bits // 8}").tobytes() if bits in (8, 16, 32) else pack_bits(samples, bits)
    tags = {WIDTH: COLUMNS + 1, HEIGHT: ROWS, BITS: bits, COMPRESSION: 1, PHOTOMETRIC: int(not inverted), SAMPLES: 1}
    path = write_tiff(tmp_path / "a.tif", {**tags, "data": data}, order=order)
    unit = samples / (2**bits - 1)
    tolerance = SIXTEEN_BITS if 8 < bits < 16 else ONE_LEVEL / 2 if bits < 8 else FLOAT32
    assert_close(load_image(path), tensor_of(1 - unit if inverted else unit, 1), tolerance)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits"])
@pytest.mark.parametrize("dtype", ["u2", "u4", "f2", "f4", "f8"])
def test_deep_grey_in_every_compression(tmp_path, dtype, compression, photometric, order):
    samples = (
        integers(8 * int(dtype[1]), ROWS, COLUMNS) if dtype[0] == "u" else RNG.random((ROWS, COLUMNS)).astype(dtype)
    )
    options = {"rowsperstrip": 10} if compression else {}
    tifffile.imwrite(
        tmp_path / "a.tif", samples, byteorder=order, photometric=photometric, compression=compression, **options
    )
    unit = samples / np.float64(np.iinfo(dtype).max) if dtype[0] == "u" else samples.astype(np.float64)
    assert_close(
        load_image(tmp_path / "a.tif"), tensor_of(1 - unit if photometric == "miniswhite" else unit, 1), FLOAT32
    )


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["u2", "u4", "f4"])
def test_deep_grey_with_a_predictor(tmp_path, dtype, order):
    ramp = np.add.outer(np.arange(ROWS), np.arange(COLUMNS)) / (ROWS + COLUMNS)
    samples = ramp.astype("f4") if dtype == "f4" else (ramp * np.iinfo(dtype).max).astype(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", samples, byteorder=order, photometric="minisblack", compression="deflate", predictor=True
    )
    full = 1 if dtype == "f4" else np.float64(np.iinfo(dtype).max)
    assert_close(load_image(tmp_path / "a.tif"), tensor_of(samples / full, 1), FLOAT32)


@pytest.mark.parametrize("tile", [None, (16, 32)], ids=["strips", "tiles"])
@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
def test_colours_beside_each_other_or_in_planes(tmp_path, dtype, channels, planes, compression, tile):
    samples = integers(8 * int(dtype[1]), ROWS, COLUMNS, channels)
    samples = RNG.random(samples.shape).astype(dtype) if dtype == "f4" else samples
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(samples, -1, 0) if planes == "separate" else samples,
        photometric="rgb",
        planarconfig=planes,
        compression=compression,
        tile=tile,
        extrasamples=["unassalpha"] if channels == 4 else None,
    )
    scale = 1 if dtype == "f4" else np.float64(np.iinfo(dtype).max)
    tolerance = FLOAT32 if dtype == "u1" else 2 * EIGHT_BITS  # alpha loses bits as well
    assert_close(load_image(tmp_path / "a.tif"), tensor_of(over_white(samples / scale), 1), tolerance)


def test_planes_and_pixels_are_the_same_picture_to_the_last_bit(tmp_path):
    samples = integers(16, ROWS, COLUMNS, 3)
    tifffile.imwrite(tmp_path / "pixels.tif", samples, photometric="rgb")
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(samples, -1, 0), photometric="rgb", planarconfig="separate")
    assert torch.equal(load_image(tmp_path / "planes.tif"), load_image(tmp_path / "pixels.tif"))


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_inks_of_16_bits(tmp_path, planes):
    inks = np.broadcast_to(np.array([0, 204 * 257, 65535, 0], dtype=np.uint16), (ROWS, COLUMNS, 4))
    data = np.moveaxis(inks, -1, 0) if planes == "separate" else inks
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="separated", planarconfig=planes)
    assert_close(load_image(tmp_path / "a.tif")[:, 0, 0], [1, 0.2, 0], FLOAT32)


@pytest.mark.parametrize(("kind", "expected"), [("unassalpha", 0.52), ("assocalpha", 0.6), ("unspecified", 0.2)])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_grey_with_alpha(tmp_path, dtype, planes, kind, expected):
    full = np.iinfo(dtype).max
    pixels = np.broadcast_to(np.array([full // 5, full // 5 * 3], dtype=dtype), (ROWS, COLUMNS, 2))
    data = np.moveaxis(pixels, -1, 0) if planes == "separate" else pixels
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", planarconfig=planes, extrasamples=[kind])
    assert_close(load_image(tmp_path / "a.tif")[:, 0, 0], [expected] * 3, ONE_LEVEL)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_deep_grey_is_turned_upright(tmp_path, orientation):
    samples = integers(12, ROWS, COLUMNS)
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples,
        bitspersample=12,
        photometric="minisblack",
        extratags=[(274, 3, 1, orientation, True)],
    )
    turned = np.rot90(samples, {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    assert_close(load_image(tmp_path / "a.tif"), tensor_of(turned, 4095), SIXTEEN_BITS)


@pytest.mark.parametrize("dtype", ["i1", "i2"])
def test_signed_samples_have_no_known_scale(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((ROWS, COLUMNS), dtype=dtype), photometric="minisblack")
    with Image.open(tmp_path / "a.tif") as image:
        for source in (tmp_path / "a.tif", image):
            with pytest.raises(ImageError, match=r"signed.*scale it to \[0, 1\]"):
                load_image(source)


def ycbcr_in_pixels(path):
    tifffile.imwrite(path, integers(8, ROWS, COLUMNS, 3), photometric="ycbcr")


def jpeg_2000(path):
    tifffile.imwrite(path, integers(8, ROWS, COLUMNS, 3), photometric="rgb", compression="jpeg2000")


def bits_of_24(path):
    write_tiff(path, {**grey_directory(integers(8, ROWS, COLUMNS * 3)), WIDTH: COLUMNS, BITS: 24})


@pytest.mark.parametrize(
    ("write", "said"), [(ycbcr_in_pixels, "YCbCr"), (jpeg_2000, "JPEG 2000"), (bits_of_24, "24 bits")]
)
def test_what_cannot_be_read_is_described(tmp_path, write, said):
    write(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=f"got .*{said}.*export it as PNG"):
        load_image(tmp_path / "a.tif")


@pytest.mark.parametrize(("photometric", "bits"), [("minisblack", 12), ("miniswhite", 16)])
def test_the_pil_image_of_a_tiff_is_the_same_picture_or_refused(tmp_path, photometric, bits):
    path = tmp_path / "a.tif"
    options = {"bitspersample": 12} if bits == 12 else {}
    tifffile.imwrite(path, integers(bits, ROWS, COLUMNS), photometric=photometric, **options)
    with Image.open(path) as image:
        assert torch.equal(load_image(image), load_image(path))
    with Image.open(path) as image:
        image.load()
        with pytest.raises(ImageError, match="pass its path instead"):
            load_image(image)


THUMBNAIL, PICTURE = np.full((4, 6), 51, dtype=np.uint8), integers(8, 16, 24)
AS_FIRST = {
    "page": (grey_directory(THUMBNAIL, SUBFILE=1), grey_directory(PICTURE)),
    "child": (grey_directory(THUMBNAIL, SUBFILE=1, children=[grey_directory(PICTURE, SUBFILE=0)]),),
    "second child": (
        grey_directory(THUMBNAIL, SUBFILE=1, children=[grey_directory(THUMBNAIL, SUBFILE=1), grey_directory(PICTURE)]),
    ),
    "mask": (grey_directory(THUMBNAIL, SUBFILE=4), grey_directory(PICTURE)),
    "old tag": ({**grey_directory(THUMBNAIL), 255: 2}, grey_directory(PICTURE)),
    "two thumbnails": (grey_directory(THUMBNAIL, SUBFILE=1), grey_directory(PICTURE, SUBFILE=1)),
    "picture": (grey_directory(PICTURE), grey_directory(THUMBNAIL, SUBFILE=1)),
    "only one": (grey_directory(PICTURE, SUBFILE=1),),
    "page of 12 bits": (
        grey_directory(THUMBNAIL, SUBFILE=1),
        {**grey_directory(PICTURE, BITS=12), "data": pack_bits(PICTURE.astype(np.uint32) * 4095 // 255, 12)},
    ),
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("directories", AS_FIRST)
def test_the_picture_counts_and_not_its_thumbnail(tmp_path, directories, order):
    path = write_tiff(tmp_path / "a.tif", *AS_FIRST[directories], order=order)
    tolerance = 1 / 4095 if "12" in directories else FLOAT32  # the file holds no more bits
    assert_close(load_image(path), tensor_of(PICTURE), tolerance)


def test_a_compressed_picture_behind_its_thumbnail(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(THUMBNAIL, subfiletype=1, subifds=1, photometric="minisblack")
        writer.write(np.asarray(blocks()), compression="jpeg", photometric="rgb")
    assert load_image(tmp_path / "a.tif").shape == (3, 32, 32)


@pytest.mark.parametrize("photometric", [32803, 34892])
def test_raw_data_behind_a_thumbnail_is_named(tmp_path, photometric):
    raw = grey_directory(PICTURE, SUBFILE=0, PHOTOMETRIC=photometric)
    path = write_tiff(tmp_path / "a.dng", grey_directory(THUMBNAIL, SUBFILE=1, children=[raw]))
    with pytest.raises(ImageError, match=r"raw data of a camera's sensor.*develop it"):
        load_image(path)


def test_directories_that_lead_to_each_other_end(tmp_path):
    path = write_tiff(tmp_path / "a.tif", grey_directory(PICTURE, SUBFILE=1))
    data = bytearray(path.read_bytes())
    data[-4:] = data[4:8]  # the next directory is this one
    path.write_bytes(data)
    assert_close(load_image(path), tensor_of(PICTURE), FLOAT32)


def test_tags_that_claim_more_bytes_than_the_file_has_are_refused(tmp_path):
    data = write_tiff(tmp_path / "a.tif", grey_directory(PICTURE)).read_bytes()
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    junk = b"".join(struct.pack("<HHII", 60000 + i, 1, len(data), 0) for i in range(3))  # each all of the file
    hostile = data[:start] + struct.pack("<H", count + 3) + data[start + 2 : -4] + junk + bytes(4)
    (tmp_path / "a.tif").write_bytes(hostile)
    with pytest.raises(ImageError, match="more bytes than there are"):
        load_image(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [8, 12])
def test_tiles_far_larger_than_the_picture_are_refused(tmp_path, bits):
    tiles = {322: 65520, 323: 65520, 324: 8, 325: 16}
    path = write_tiff(tmp_path / "a.tif", {**grey_directory(PICTURE, BITS=bits), **tiles})
    with pytest.raises(ImageError, match="tiles are far larger than its picture"):
        load_image(path)


@pytest.mark.parametrize("count", [0, 2**32 - 1])
def test_a_strip_of_any_length_is_read_no_further_than_the_file(tmp_path, count):
    tifffile.imwrite(tmp_path / "a.tif", integers(16, 16, 24), compression="lzw", photometric="miniswhite")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    at = data.index(struct.pack("<HHI", 279, 4, 1)) + 8
    data[at : at + 4] = count.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(data)
    if count:  # the rest of the file is more than the strip
        assert load_image(tmp_path / "a.tif").shape == (3, 16, 24)
    else:
        with pytest.raises(ImageError):
            load_image(tmp_path / "a.tif")


@pytest.mark.parametrize("order", ["<", ">"])
def test_bits_in_reversed_order(tmp_path, order):
    samples = integers(12, 16, 24)
    plain = np.frombuffer(pack_bits(samples, 12), np.uint8)
    reverse = np.packbits(np.unpackbits(plain), bitorder="little").tobytes()
    directory = {**grey_directory(PICTURE, BITS=12), 266: 2, "data": reverse}
    path = write_tiff(tmp_path / "a.tif", directory, order=order)
    assert_close(load_image(path), tensor_of(samples, 4095), SIXTEEN_BITS)


ODD_METADATA = {
    "XMP as text": (700, "s", 0, "<x:xmpmeta/>"),
    "XMP as numbers": (700, "I", 3, (1, 2, 3)),
    "XMP as one number": (700, "H", 1, 5),
    "a directory of EXIF among the picture's tags": (40965, "I", 1, 8),
}


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("tag", ODD_METADATA.values(), ids=ODD_METADATA)
def test_metadata_that_pillow_cannot_read_spoil_no_pixel(tmp_path, tag, turn, compression):
    pixels = integers(8, ROWS, COLUMNS, 3)
    turned = (274, "H", 1, turn)
    for name, tags in (("plain.tif", [turned]), ("odd.tif", [turned, tag])):
        extra = [(*each, True) for each in tags]
        tifffile.imwrite(tmp_path / name, pixels, photometric="rgb", compression=compression, extratags=extra)
    expected = load_image(tmp_path / "plain.tif")
    assert expected.shape == ((3, COLUMNS, ROWS) if turn == 6 else (3, ROWS, COLUMNS))
    assert torch.equal(load_image(tmp_path / "odd.tif"), expected)
    with Image.open(tmp_path / "odd.tif") as image:
        assert torch.equal(load_image(image), expected)
        assert projection_of(image) == {}


def test_a_damaged_strip_is_told_whatever_the_metadata(tmp_path):
    pixels, extra = integers(8, ROWS, COLUMNS, 3), [(*ODD_METADATA["XMP as text"], True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression="zlib", extratags=extra)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        at = file.pages[0].dataoffsets[0]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[at + 200 : at + 300] = bytes(100)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match="decoding stopped with OSError"):
        load_image(tmp_path / "a.tif")
