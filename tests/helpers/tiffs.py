"""TIFF files written tag by tag, for what no writer writes."""

import struct

import numpy as np

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIPS = 256, 257, 258, 259, 262, 273
SAMPLES, STRIP_ROWS, STRIP_BYTES, SUBFILE, SUB_DIRECTORIES = 277, 278, 279, 254, 330


def write_tiff(path, *directories, order="<"):
    """Write a file whose main chain is `directories`; each a dict of tags, with `data` and maybe `children`.

    A value is a number or a list of them (16 bits if all fit). `data` becomes the one strip; `children` are
    directories that SubIFDs points to.
    """
    file = bytearray(struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 0))
    link = 4
    for directory in directories:
        offset, following = _append(file, directory, order)
        struct.pack_into(order + "I", file, link, offset)
        link = following
    path.write_bytes(file)
    return path


def grey_directory(pixels, **tags):
    """Of 8-bit grey; `tags` are named as this module's constants."""
    height, width = pixels.shape
    named = {globals()[name]: value for name, value in tags.items() if name != "children"}
    directory = {WIDTH: width, HEIGHT: height, BITS: 8, COMPRESSION: 1, PHOTOMETRIC: 1, SAMPLES: 1, **named}
    return {**directory, "data": np.ascontiguousarray(pixels).tobytes(), "children": tags.get("children", [])}


def pack_bits(samples, bits):
    """Rows of samples, most significant bit first, each row filled up to a byte."""
    planes = [(samples >> (bits - 1 - i) & 1).astype(np.uint8) for i in range(bits)]
    return np.packbits(np.stack(planes, axis=-1).reshape(len(samples), -1), axis=1).tobytes()


def _append(file, directory, order):
    """Where the directory is, and where the offset of the next one goes."""
    tags = {tag: value for tag, value in directory.items() if isinstance(tag, int)}
    children = [_append(file, child, order)[0] for child in directory.get("children", [])]
    if children:
        tags[SUB_DIRECTORIES] = children
    tags[STRIPS], tags[STRIP_BYTES] = len(file), len(directory["data"])
    tags.setdefault(STRIP_ROWS, tags[HEIGHT])
    file += directory["data"]
    entries = b""
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, list) else [value]
        wide = max(values) > 65535 or tag in (STRIPS, STRIP_BYTES, SUB_DIRECTORIES)
        data = struct.pack(f"{order}{len(values)}{'I' if wide else 'H'}", *values)
        if len(data) > 4:
            where = len(file)
            file += data
            data = struct.pack(order + "I", where)
        entries += struct.pack(order + "HHI", tag, 4 if wide else 3, len(values)) + data.ljust(4, b"\0")
    file += b"\0" * (len(file) % 2)
    offset = len(file)
    file += struct.pack(order + "H", len(tags)) + entries + bytes(4)
    return offset, len(file) - 4
