"""Pages of text, scanned or set, and forms."""

import numpy as np
from PIL import Image, ImageFilter

from ..distortions.colour import from_greys
from .paint import Generator, canvas, colour, font, ink, paper, paragraph, word, words


def page(rng: Generator, height: int, width: int) -> Image.Image:
    """A page of one or two columns, with a heading and figures now and then."""
    ground = paper(rng)
    image, pen = canvas(height, width, ground)
    fill, size = ink(rng, ground), float(rng.uniform(9, 26))
    margin, columns = rng.uniform(0.01, 0.1) * width, int(rng.integers(1, 3))
    top = margin
    if rng.random() < 0.5:
        pen.text((margin, top), words(rng, 3), fill, font(rng, 1.8 * size))
        top += 2.6 * size
    each = (width - 2 * margin) / columns
    for column in range(columns):
        left, down = margin + column * each, top
        while down + size < height - margin:
            bottom = min(height - margin, down + size * rng.uniform(3, 14))
            if rng.random() < 0.12:
                pen.rectangle((left, down, left + 0.9 * each, bottom), colour(rng), fill)
            else:
                paragraph(rng, pen, (left, down, left + 0.94 * each, bottom), size, fill)
            down = bottom + size
    return image


def form(rng: Generator, height: int, width: int) -> Image.Image:
    """Labels, lines to write on, boxes to tick and tables; some of it filled in by hand."""
    ground = paper(rng)
    image, pen = canvas(height, width, ground)
    fill, size = ink(rng, ground), float(rng.uniform(9, 18))
    hand, top, margin = colour(rng, 0, 120), size, 0.04 * width
    while top < height - 2 * size:
        kind = rng.integers(4)
        if kind == 0:
            columns, rows = int(rng.integers(2, 6)), int(rng.integers(2, 6))
            each = (width - 2 * margin) / columns
            for row in range(rows):
                for column in range(columns):
                    left, down = margin + column * each, top + 1.6 * size * row
                    pen.rectangle((left, down, left + each, down + 1.6 * size), outline=fill)
                    if rng.random() < 0.7:
                        pen.text((left + 3, down + 2), word(rng)[: int(each / size)], fill, font(rng, size))
            top += 1.6 * size * rows
        elif kind == 1:
            pen.rectangle((margin, top, margin + size, top + size), outline=fill)
            if rng.random() < 0.5:
                pen.line((margin, top, margin + size, top + size), hand, 2)
            pen.text((margin + 1.6 * size, top), words(rng, 4), fill, font(rng, size))
        else:
            pen.text((margin, top), word(rng) + ":", fill, font(rng, size))
            pen.line((margin + 8 * size, top + size, width - margin, top + size), fill)
            if rng.random() < 0.6:
                pen.text((margin + 9 * size, top - 0.3 * size), words(rng, 2), hand, font(rng, 1.2 * size))
        top += size * rng.uniform(1.5, 3)
    return image


def scan(rng: Generator, height: int, width: int) -> Image.Image:
    """A page or form as a scanner or a copier gives it: a little turned, soft, uneven, grainy, or black and white."""
    sheet = (page if rng.random() < 0.6 else form)(rng, height, width)
    edge = tuple(int(value) for value in np.asarray(sheet)[0, 0])
    sheet = sheet.rotate(float(rng.normal(0, 1.2)), Image.Resampling.BICUBIC, fillcolor=edge)
    sheet = sheet.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.2))))
    greys = np.asarray(sheet.convert("L"), np.float64)
    across, down = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
    shade = 1 - rng.uniform(0, 0.25) * (1 + rng.uniform(-1, 1) * across + rng.uniform(-1, 1) * down) / 2
    greys = greys * shade + rng.normal(0, rng.uniform(0, 8), greys.shape)
    if rng.random() < 0.2:
        greys = np.where(greys > 0.6 * greys.max(), 255.0, 0.0)
    tint = rng.uniform(0.85, 1, 3) if rng.random() < 0.4 else np.ones(3)
    return Image.fromarray(from_greys(greys[..., None] * tint))
