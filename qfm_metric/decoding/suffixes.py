"""Names of files that a scan of a folder takes as pictures."""

_SUFFIXES = "jpg jpeg jpe jfif mpo png apng webp avif heic heif hif tif tiff bmp dib gif ppm pgm pbm pnm jp2 j2k tga"
IMAGE_SUFFIXES: frozenset[str] = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
"""Their suffixes, in lower case."""


def is_named_as_picture(path: str) -> bool:
    """Whether a name ends as pictures' do; `.jpg`, too, which a file `-o.jpg` comes out as."""
    return path.lower().endswith(tuple(IMAGE_SUFFIXES))


def check_no_picture(path: str) -> None:
    """Refuse to write something else under the name of a picture, which may well be there.

    Raises:
        ValueError: the name ends as pictures' do.
    """
    if is_named_as_picture(path):
        raise ValueError(f"path: expected the name of the file to write, got a picture's: {path!r}")
