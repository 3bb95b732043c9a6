"""Lay a map of local quality over its picture, to look at."""

import io
import itertools
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from .own_files import MAP_VALUES
from .scale import MAP_COLOURS

if TYPE_CHECKING:  # torch is slow to import; pages that show maps do without
    from torch import Tensor

LONGEST_SIDE = 1024  # px of an overlay: a map has some 10 x 10 cells, more pixels show nothing more
OPACITY = 0.5
LONGEST_NAME = 200  # bytes of a picture's name; file systems allow 255, with what is added


def draw_overlay(image: "Tensor", quality_map: "Tensor", score: float | None = None) -> Image.Image:
    """Colour a picture by its local quality: dark violet is bad (0), yellow is good (1), on every picture alike.

    Args:
        image: `(3, H, W)`, float in [0, 1] or uint8, as `load_image` gives it. Shown in grey.
        quality_map: `(1, h, w)` or `(h, w)` in [0, 1], of the whole picture; interpolated between its cells.
        score: Written beside the legend.

    Returns:
        RGB, the picture (reduced to at most 1024 px on the longer side) over a legend. Saved by `save_overlay`, it
        keeps the values of the map, for `read_map`.

    Raises:
        ValueError: wrong shapes.
        TypeError: no tensors.
    """
    import torch
    import torch.nn.functional as F

    for name, tensor in (("image", image), ("quality_map", quality_map)):
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}; load_image and assess give some")
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image: expected (3, H, W), got {tuple(image.shape)}")
    cells = quality_map.squeeze(0) if quality_map.ndim == 3 else quality_map
    if cells.ndim != 2:
        raise ValueError(f"quality_map: expected (1, h, w) or (h, w), got {tuple(quality_map.shape)}")
    picture = _reduce(image.detach().cpu())
    size = (picture.shape[-2], picture.shape[-1])
    smooth = F.interpolate(cells.detach().cpu()[None, None].float(), size, mode="bilinear", align_corners=False)
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float32, device="cpu").view(3, 1, 1)
    grey = (picture * luma).sum(0).numpy()[..., None] * 255
    mixed = (1 - OPACITY) * grey + OPACITY * _colour(smooth[0, 0].numpy())
    overlay = _with_legend(Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8)), score)
    overlay.info[MAP_VALUES] = json.dumps([[round(value, 4) for value in row] for row in cells.tolist()])
    return overlay


def save_overlay(overlay: Image.Image, source: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Write an overlay as PNG under the name of its picture; no file is ever overwritten.

    Args:
        overlay: What `draw_overlay` gave.
        source: Path of the picture: `a/cat.jpg` gives `cat-map.png`; if that is taken, `cat-map-2.png`, and so on.
        folder: Made if needed.

    Returns:
        The path that was written.

    Raises:
        OSError: the folder or the file cannot be written.
        TypeError: no picture.
    """
    if not isinstance(overlay, Image.Image):
        raise TypeError(f"overlay: expected what draw_overlay gives, got {type(overlay).__name__}")
    folder, name = Path(folder), os.fsencode(Path(source).stem)[:LONGEST_NAME]
    stem = os.fsdecode(name.decode("utf-8", "ignore").encode())
    folder.mkdir(parents=True, exist_ok=True)
    texts, encoded = PngImagePlugin.PngInfo(), io.BytesIO()
    if MAP_VALUES in overlay.info:
        texts.add_text(MAP_VALUES, overlay.info[MAP_VALUES])
    overlay.save(encoded, "PNG", pnginfo=texts)
    for number in itertools.count(1):
        path = folder / f"{stem}-map{'' if number == 1 else f'-{number}'}.png"
        try:
            file = path.open("xb")
        except FileExistsError:
            continue
        try:
            with file:
                file.write(encoded.getvalue())
        except BaseException as error:
            with suppress(OSError):
                path.unlink()
            if isinstance(error, OSError):  # a full disk, which names no file
                raise OSError(error.errno, error.strerror, os.fspath(path)) from error
            raise
        break
    return path


def read_map(path: str | os.PathLike[str]) -> "Tensor | None":
    """The quality map that an overlay was drawn from: `(1, h, w)` in [0, 1]; None of any other picture.

    Raises:
        OSError: the file cannot be read as a picture.
    """
    from torch import from_numpy

    cells = read_cells(path)
    return None if cells is None else from_numpy(cells)[None]


def read_cells(path: str | os.PathLike[str]) -> NDArray[np.float32] | None:
    """As `read_map`, an array `(h, w)`."""
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise OSError(None, "expected a file, got a folder, a pipe or a device", os.fspath(path))
    with Image.open(path) as picture:
        text = picture.info.get(MAP_VALUES)
    if text is None:
        return None
    with suppress(ValueError, TypeError, RecursionError):  # somebody else's text of this name
        cells = np.array(json.loads(text), np.float32)
        return cells if cells.ndim == 2 and cells.size else None
    return None


def encode_map(cells: NDArray[np.float32]) -> bytes:
    """A PNG with a pixel per cell in the overlay's colours, to be stretched over a picture.

    Args:
        cells: `(h, w)` in [0, 1].
    """
    encoded = io.BytesIO()
    Image.fromarray(_colour(cells).round().astype(np.uint8)).save(encoded, "PNG", optimize=True)
    return encoded.getvalue()


def _reduce(image: "Tensor") -> "Tensor":
    """`(3, H, W)` in [0, 1], float, no side longer than `LONGEST_SIDE`."""
    import torch
    import torch.nn.functional as F

    picture = image.float() / 255 if image.dtype == torch.uint8 else image.float()
    scale = LONGEST_SIDE / max(picture.shape[-2:])
    if scale >= 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[-2:]]
    return F.interpolate(picture[None], size, mode="bilinear", antialias=True, align_corners=False)[0]


def _colour(quality: NDArray[np.float32]) -> NDArray[np.float64]:
    """`(h, w)` in [0, 1] to `(h, w, 3)` in 0..255."""
    colours = np.array(MAP_COLOURS)
    places = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(quality, places, channel) for channel in colours.T], axis=-1)


def _with_legend(picture: Image.Image, score: float | None) -> Image.Image:
    """A bar from 0 to 1 under the picture."""
    size = max(10, max(picture.size) // 50)
    font, height = ImageFont.load_default(size), 2 * size
    text = "local quality" if score is None else f"score {score:.2f}, local quality"
    before, after = f"{text}  0 ", " 1"
    widths = [int(font.getlength(part)) for part in (before, after)]
    bar = 6 * size
    canvas = Image.new("RGB", (max(picture.width, sum(widths) + bar + size), picture.height + height), "white")
    canvas.paste(picture)
    draw, middle, left = ImageDraw.Draw(canvas), picture.height + height // 2, size // 2
    draw.text((left, middle), before, "black", font, anchor="lm")
    ramp = _colour(np.linspace(0, 1, bar, dtype=np.float32)[None].repeat(size, axis=0)).astype(np.uint8)
    canvas.paste(Image.fromarray(ramp), (left + widths[0], middle - size // 2))
    draw.text((left + widths[0] + bar, middle), after, "black", font, anchor="lm")
    return canvas
