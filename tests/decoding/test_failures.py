"""What a message says of files that are no pictures, and of pictures that cannot be read."""

import errno
import io
import os
import re
import zipfile

import numpy as np
import pytest
import torch
from helpers.pictures import noise, save
from PIL import Image, features
from PIL.TiffImagePlugin import AppendingTiffWriter

from qfm_metric.decoding import files
from qfm_metric.images import ImageError, load_image

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123\n"
DOWNLOAD = r"download went wrong.*then download it again$"
CONTENTS = {
    "LFS": (LFS, r"a Git LFS pointer, not the file it stands for; run: git lfs pull$"),
    "HTML": (b"\r\n<!DOCTYPE html>\n<html><body>404", f"an HTML page; .*{DOWNLOAD}"),
    "HTML without doctype": (b"<html lang=en>", f"an HTML page; .*{DOWNLOAD}"),
    "HTML behind a mark": ("\ufeff<!doctype HTML>".encode(), f"an HTML page; .*{DOWNLOAD}"),
    "XHTML": (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "">', "an HTML page"),
    "SVG": (
        b'<?xml version="1.0"?>\n<!-- drawn\nby hand -->\n<svg xmlns="">',
        "SVG, which has no pixels; export it as PNG",
    ),
    "answer of a server": (b'<?xml version="1.0"?><Error><Code>AccessDenied', f"XML; .*{DOWNLOAD}"),
    "JSON": (b'{"message": "rate limit"}', f"JSON; .*{DOWNLOAD}"),
    "JSON list": (b"[1, 2]", f"JSON; .*{DOWNLOAD}"),
    "text": (b"Not Found\n", "text: 'Not Found'"),
    "text cut in a character": ("\u00e9".encode() * 1000, "text: "),
    "UTF-16": ("hello".encode("utf-16"), "text: 'hello'"),
    "link": (b"https://example.com/a.jpg\n", "a link to something; download what it links to"),
    "data URL": (b"data:image/png;base64,AAAA", "a data URL; decode its base64 part"),
    "PDF": (b"%PDF-1.7\n", "a PDF; export its pages"),
    "zeros": (bytes(5000), "nothing but bytes of zero; it was never written"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "PostScript; export it"),
    "gzip": (b"\x1f\x8b\x08\0\0", "a gzip archive; unpack it"),
    "video": (b"\0\0\0\x18ftypisom\0\0\0\0mp42avc1", "a video; score films"),
    "QuickTime": (b"\0\0\0\x14ftypqt  ", "a video"),
    "MPEG": (b"\0\0\x01\xb3" + bytes(range(1, 99)), "a video"),
    "AVI": (b"RIFF\x10\0\0\0AVI LIST", "a video"),
    "sound": (b"RIFF\x10\0\0\0WAVEfmt ", "a sound"),
    "CR3": (b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", "the raw data of a camera's sensor; develop it"),
    "JPEG XL": (b"\xff\x0a\xfa\x1f", "JPEG XL; export it"),
    "JPEG XL container": (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL; export it"),
    "companion of macOS": (
        b"\0\x05\x16\x07\0\x02\0\0Mac OS X",
        "what macOS keeps beside a file; pass the file whose name",
    ),
    "Thumbs.db": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an OLE document, such as Thumbs.db"),
    "Photoshop": (b"8BPS\0\2" + bytes(99), "a Photoshop document of a kind that Pillow does not read"),
    "ORF": (b"IIRO\x08\0\0\0" + bytes(99), "the raw data of a camera's sensor"),
    "OpenEXR": (b"\x76\x2f\x31\x01\x02\0\0\0", "OpenEXR; export it"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5; read it with its own reader"),
    "DICOM": (bytes(128) + b"DICM\x02\0", r"DICOM; scale its values to \[0, 1\]"),
    "bytes": (b"\x80\x81\x82 neither text nor picture", "nothing that Pillow .* recognises"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_file_that_is_no_picture_is_called_what_it_is(tmp_path, kind):
    content, message = CONTENTS[kind]
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=rf"^'{re.escape(str(tmp_path))}/a\.jpg': expected .*{message}"):
        load_image(tmp_path / "a.jpg")


def test_archives_and_arrays_are_called_what_they_are(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.png", "w") as archive:
        archive.writestr("b.png", "")
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(ImageError, match="a ZIP archive"):
        load_image(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"pass numpy\.load\(path\)"):
        load_image(tmp_path / "b.npy")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "check its permissions"),
        (errno.EIO, "the disk or the network could not deliver it"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENAMETOOLONG, "shorten the path"),
        (errno.ELOOP, "symbolic links"),
        (errno.ESTALE, "mount it again"),
        (errno.ENOTDIR, "a part of the path is a file"),
        (errno.EBUSY, "try again"),
    ],
)
def test_each_error_of_the_system_has_its_own_advice(tmp_path, monkeypatch, number, advice):
    def refuse(*args):
        raise OSError(number, os.strerror(number), "a.png")

    path = save(noise("RGB"), tmp_path / "a.png")
    monkeypatch.setattr(files, "open", refuse, raising=False)
    with pytest.raises(ImageError, match=f"got: {os.strerror(number)}; .*{advice}") as caught:
        load_image(path)
    assert ("permissions" in str(caught.value)) == (number == errno.EACCES)


def loop(path):
    path.symlink_to(path)


@pytest.mark.parametrize("suffix", [".jp2", ".png", ".tif", ".bmp"])
def test_a_disk_that_fails_in_the_middle_of_a_file_is_not_called_damage(tmp_path, monkeypatch, suffix):
    class Failing(io.FileIO):
        def readinto(self, buffer):
            if self.tell() >= 20_000:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().readinto(memoryview(buffer)[:1000])

    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}")
    monkeypatch.setattr(files, "open", lambda path, mode: io.BufferedReader(Failing(path)), raising=False)
    with pytest.raises(ImageError, match="the disk or the network could not deliver it"):
        load_image(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "got a folder; pass the files in it"),
        (os.mkfifo, "got a pipe; write it to a file first"),
        (loop, "symbolic links lead to each other"),
        (lambda path: path.symlink_to("nowhere"), "found none; check the path"),
    ],
    ids=["folder", "pipe", "loop", "dangling link"],
)
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path, make, message):
    make(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match=message):
        load_image(tmp_path / "a.jpg")


def test_a_folder_that_cannot_be_looked_into_says_why(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "scandir", refuse)  # permissions do not stop root
    with pytest.raises(ImageError, match="got: Permission denied; check its permissions"):
        load_image(tmp_path)


@pytest.mark.parametrize("form", ["progressive.jpg", "a.webp", "a.avif", "thumbnail.tif"])
def test_a_file_is_not_read_as_a_whole_however_large_it_is(tmp_path, form):
    """All the bytes behind a picture would be read, though they be more than there is memory."""
    path = tmp_path / form
    if form == "a.avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    if form.endswith("tif"):
        small, large = (Image.new("L", (side, side), 99) for side in (8, 64))
        with AppendingTiffWriter(str(path), new=True) as file:
            small.save(file, "TIFF", tiffinfo={254: 1})
            file.newFrame()
            large.save(file, "TIFF")
    else:
        Image.new("RGB", (64, 64), (90, 120, 40)).save(path, progressive=True)
    assert load_image(path).shape == (3, 64, 64)
    os.truncate(path, 2**42)  # takes no room on the disk
    with pytest.raises(ImageError, match=r"expected at most [\d,]+ MiB of this format, got 4,194,304; find out"):
        load_image(path)


def test_devices_and_paths_that_cannot_be(tmp_path):
    for path, message in [
        ("/dev/null", "got a device"),
        ("a\0b", "a null character"),
        ("a" * 5000, "shorten the path"),
        ("\ud800", "one that no file here can have"),
    ]:
        with pytest.raises(ImageError, match=message):
            load_image(path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "too little is left for it; free some"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            "too little is left",
        ),
        (OSError("decoder jpeg2k not available"), "built without .decoder jpeg2k not available."),
        (OSError("decoder error -2"), "damaged, or compressed in a way that this Pillow was built without"),
        (NotImplementedError("Unimplemented DXGI format 3"), "another kind .Unimplemented DXGI format 3."),
        (OSError("Unsupported BMP compression (7)"), "another kind"),
        (OSError("image file is truncated"), "probably truncated or damaged"),
    ],
)
def test_what_decoders_raise_is_told_apart(tmp_path, monkeypatch, error, message):
    def fail(self):
        raise error

    path = save(noise("RGB"), tmp_path / "a.bmp")
    with Image.open(path) as image:
        monkeypatch.setattr(type(image), "load", fail)
    with pytest.raises(ImageError, match=message) as caught:
        load_image(path)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "avif", "tif", "bmp"])
@pytest.mark.parametrize("loaded", [False, True])
def test_a_closed_pil_image_is_called_closed(tmp_path, suffix, loaded):
    image = Image.open(save(noise("RGB"), tmp_path / f"a.{suffix}"))
    if loaded:
        image.load()
    image.close()
    with pytest.raises(ImageError, match="got a closed one; pass it inside its `with` block"):
        load_image(image)


def test_a_pil_image_whose_file_has_been_closed(tmp_path):
    with open(save(noise("RGB"), tmp_path / "a.png"), "rb") as file:
        image = Image.open(file)
    with pytest.raises(ImageError, match="got a closed one"):
        load_image(image)


def test_a_pil_image_that_was_loaded_in_its_with_block_is_read_behind_it(tmp_path):
    path = save(noise("RGB"), tmp_path / "a.png")
    with Image.open(path) as image:
        image.load()
    assert torch.equal(load_image(image), load_image(path))
