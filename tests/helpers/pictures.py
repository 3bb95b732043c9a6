"""Small pictures with known values."""

from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms

NOISE = np.random.default_rng(0).integers(0, 256, (13, 17, 4), dtype=np.uint8)
FLOAT32 = 1e-6  # a handful of float32 operations on values below 1
ONE_LEVEL = 1.01 / 255  # Pillow or LittleCMS rounds to 8 bits on the way
LOSSY = 4 / 255  # the middle of flat 16 px blocks through JPEG, AVIF or HEVC at high quality
HEIF_SUFFIXES = (".heic", ".heif", ".hif")


def one(mode, *samples):
    return Image.frombytes(mode, (1, 1), bytes(samples))


def grey(path, level=51):
    """Write 8 x 8 px of one level, by default of 0.2; returns the path."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), level).save(path)
    return str(path)


def dated(path, time, *, fraction=None, offset=None, level=51):
    """Write 8 x 8 px of one level with a time of capture, as `2024:05:01 12:00:00`; returns the path."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "a camera"  # without a tag of its own Pillow writes none
    tags = {"DateTimeOriginal": time, "SubsecTimeOriginal": fraction, "OffsetTimeOriginal": offset}
    known = {ExifTags.Base[name]: value for name, value in tags.items() if value is not None}
    exif.get_ifd(ExifTags.IFD.Exif).update(known)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (level, level, level)).save(path, exif=exif.tobytes())
    return str(path)


def palette(mode, *samples):
    image = one(mode, *samples)
    image.putpalette([0, 0, 0, 255, 51, 0])
    return image


def noise(mode):
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (17, 13), NOISE[..., 4 - bands :].tobytes())


def tensor_of(array, scale=255):
    """The tensor that an array `(H, W, 3)` or `(H, W)` stands for."""
    array = np.asarray(array) / scale
    planes = [array] * 3 if array.ndim == 2 else list(np.moveaxis(array, -1, 0))
    return torch.from_numpy(np.stack(planes).astype(np.float32))


def blocks():
    """Red, green over blue, white, in flat 16 px blocks."""
    corners = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)
    return Image.fromarray(corners.repeat(16, axis=0).repeat(16, axis=1))


def corners(tensor):
    return tensor[:, 8::16, 8::16]


def save(image, path, **options):
    """Save as the suffix says; HEIC through pillow_heif, without entering it into Pillow's tables."""
    if path.suffix in HEIF_SUFFIXES:
        import pillow_heif

        pillow_heif.encode(image.mode, image.size, image.tobytes(), path, **options)
    else:
        image.save(path, "MPO" if path.suffix == ".mpo" else None, **options)
    return path


def assert_close(tensor, expected, tolerance):
    torch.testing.assert_close(tensor, torch.as_tensor(expected, dtype=torch.float32), atol=tolerance, rtol=0)


def srgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile():
    """sRGB with the names of its red and blue primaries exchanged: (r, g, b) looks as (b, g, r) should."""
    return srgb_profile().replace(b"rXYZ", b"tmp ").replace(b"bXYZ", b"rXYZ").replace(b"tmp ", b"bXYZ")
