"""Names of files that a scan of a folder takes as pictures."""

_SUFFIXES = "jpg jpeg jpe jfif mpo png apng webp avif heic heif hif tif tiff bmp dib gif ppm pgm pbm pnm jp2 j2k tga"
IMAGE_SUFFIXES: frozenset[str] = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
"""Their suffixes, in lower case."""
