"""A folder of generated pictures, some of them broken; for tests, and at full size for benchmarks/folder.py."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

WAYS = {
    "empty": lambda path, jpeg: path.write_bytes(b""),
    "truncated": lambda path, jpeg: path.write_bytes(jpeg[: len(jpeg) // 2]),
    "only a header": lambda path, jpeg: path.write_bytes(jpeg[:20]),
    "random bytes": lambda path, jpeg: path.write_bytes(np.random.default_rng(len(jpeg)).bytes(2000)),
    "folder": lambda path, jpeg: path.mkdir(),
    "text": lambda path, jpeg: path.write_text("no picture, in spite of its name\n"),
    "web page": lambda path, jpeg: path.write_text("<!DOCTYPE html><title>404 Not Found</title>"),
    "bomb": lambda path, jpeg: path.write_bytes(bomb()),
    "link to nothing": lambda path, jpeg: path.symlink_to("gone.jpg"),
    "no permission": lambda path, jpeg: (path.write_bytes(jpeg), path.chmod(0)),  # root can read it all the same
}


def bomb():
    """A PNG of a few bytes that says it has 10^10 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def picture(width, height, seed):
    """Smooth colours with some noise: compresses about as a photograph does."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    tile = rng.integers(-12, 13, (128, 128, 1), dtype=np.int16)
    noise = np.tile(tile, (-(-height // 128), -(-width // 128), 1))[:height, :width]
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(smooth + noise, 0, 255, dtype=np.int16, casting="unsafe").astype(np.uint8))


def save_as(kind, image, path):
    """One of several kinds of files that can be read."""
    if kind == "cmyk":
        image.convert("CMYK").save(path)
    elif kind == "deep":
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)
    elif kind == "alpha":
        image.putalpha(image.convert("L"))
        image.save(path)
    else:
        image.save(path)


def generate(folder, count, sizes, broken):
    """Write `count` files; every `1 / broken`-th is broken, in turn in all ways; sizes `(width, height)` in turn."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    kinds = [("plain", "jpg"), ("plain", "jpg"), ("plain", "png"), ("cmyk", "jpg"), ("plain", "jpg"), ("deep", "png")]
    kinds += [("plain", "webp"), ("alpha", "png")]
    ways, every = list(WAYS.values()), round(1 / broken)
    for i in range(count):
        width, height = sizes[i % len(sizes)]
        kind, suffix = kinds[i % len(kinds)]
        path = Path(folder, f"{i:06d}.{suffix}")
        if i % every == every // 2:
            save_as("plain", picture(64, 64, i), path.with_suffix(".jpg"))
            jpeg = path.with_suffix(".jpg").read_bytes()
            os.unlink(path.with_suffix(".jpg"))
            ways[i // every % len(ways)](path, jpeg)
        else:
            save_as(kind, picture(width, height, i), path)
    return sorted(str(path) for path in Path(folder).iterdir())
