"""What a file is that is no picture, whatever its name says, and what to do about it."""

import codecs
import re

_EXPORT = "export it as PNG or JPEG"
_AGAIN = "the download went wrong: open the address in a browser, then download it again"

VIDEO = ("a video", "score films in a run of their own: qfm-metric FILM, or score_video")
_CAMERA = ("the raw data of a camera's sensor", "develop it and export it as JPEG or PNG")
_BEGINNINGS = {
    b"version https://git-lfs.github.com/spec/": ("a Git LFS pointer, not the file it stands for", "run: git lfs pull"),
    b"version https://hawser.github.com/spec/": ("a Git LFS pointer, not the file it stands for", "run: git lfs pull"),
    b"%PDF": ("a PDF", "export its pages as PNG or JPEG"),
    b"%!PS": ("PostScript", _EXPORT),
    b"\xc5\xd0\xd3\xc6": ("PostScript", _EXPORT),
    b"PK\x03\x04": ("a ZIP archive (or a document that is one)", "unpack it"),
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it"),
    b"Rar!\x1a\x07": ("a RAR archive", "unpack it"),
    b"\xfd7zXZ\0": ("an xz archive", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("a Zstandard archive", "unpack it"),
    b"\x93NUMPY": ("a NumPy array", "pass numpy.load(path)"),
    b"\x89HDF\r\n": ("HDF5", "read it with its own reader, and pass the array"),
    b"SIMPLE  =": ("FITS", "scale its values to [0, 1] and pass the array"),
    b"\xff\x0a": ("JPEG XL", _EXPORT),
    b"\0\0\0\x0cJXL ": ("JPEG XL", _EXPORT),
    b"#?RADIANCE": ("Radiance HDR", _EXPORT),
    b"#?RGBE": ("Radiance HDR", _EXPORT),
    b"\x76\x2f\x31\x01": ("OpenEXR", _EXPORT),
    b"FUJIFILMCCD-RAW": _CAMERA,
    **dict.fromkeys((b"FOVb", b"IIRO", b"IIRS", b"IIU\0", b"\0MRM"), _CAMERA),
    b"II\xbc\x01": ("JPEG XR", _EXPORT),
    b"8BPS": ("a Photoshop document of a kind that Pillow does not read", _EXPORT),
    b"gimp xcf": ("a GIMP project", _EXPORT),
    b"\x1aE\xdf\xa3": VIDEO,
    b"\0\0\x01\xba": VIDEO,
    b"\0\0\x01\xb3": VIDEO,
    b"\0\x05\x16\x07": ("what macOS keeps beside a file", "pass the file whose name lacks the ._"),
    b"\xd0\xcf\x11\xe0": ("an OLE document, such as Thumbs.db", "export the pictures in it"),
    b"MZ": ("a Windows program", "find out where it comes from"),
    b"\x7fELF": ("a program", "find out where it comes from"),
}
HEAD_BYTES = 1024


def what_it_is(head: bytes) -> tuple[str, str] | None:
    """Name of what a file is that begins with `head`, and advice; None if it may be a picture.

    Args:
        head: The first `HEAD_BYTES` bytes, fewer if it has no more.
    """
    for beginning, found in _BEGINNINGS.items():
        if head.startswith(beginning):
            return found
    if not head.strip(b"\0"):
        return "nothing but bytes of zero", "it was never written: copy, download or export it again"
    if head[4:8] == b"ftyp":
        return _CAMERA if head[8:12] == b"crx " else VIDEO
    if head[4:8] in (b"moov", b"mdat", b"wide"):
        return VIDEO
    if head[:4] == b"RIFF" and head[8:12] != b"WEBP":
        return {b"AVI ": VIDEO, b"WAVE": ("a sound", "pass a picture")}.get(head[8:12], ("RIFF of no picture", _EXPORT))
    if head[128:132] == b"DICM":
        return "DICOM", "scale its values to [0, 1] and pass the array"
    return _what_text_it_is(head)


def _what_text_it_is(head: bytes) -> tuple[str, str] | None:
    text = _as_text(head)
    if text is None:
        return None
    start = _skip_prologue(text).lower()
    if re.match(r"<!doctype svg|<svg|<[a-z]+:svg", start):
        return "SVG, which has no pixels", _EXPORT
    if re.match(r"<!doctype html|<html|<head|<body|<script|<meta", start):
        return "an HTML page", _AGAIN
    if start.startswith("<"):
        return "XML", f"if it is an answer of a server, {_AGAIN}"
    if re.match(r"[\[{]\s*([\]}\"{\[]|-?\d|true|false|null)", start):
        return "JSON", f"if it is an answer of a server, {_AGAIN}"
    if start.startswith("data:image/"):
        return "a data URL", "decode its base64 part and save the bytes"
    if re.match(r"https?://\S+\s*$", start):
        return "a link to something", "download what it links to"
    return f"text: {text.strip()[:40]!r}", "find out how it got its name; if it was downloaded, download it again"


def _skip_prologue(text: str) -> str:
    """`text` behind blanks, declarations and comments."""
    rest = text.lstrip("\ufeff \t\r\n")
    while (closing := "?>" if rest.startswith("<?") else "-->" if rest.startswith("<!--") else "") and closing in rest:
        rest = rest.partition(closing)[2].lstrip()
    return rest


def _as_text(head: bytes) -> str | None:
    """`head` if it is text, but for a character that is cut off at its end; None if it is not."""
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return None
    if not text.strip("\ufeff \t\r\n"):
        return None
    return text if all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text) else None
