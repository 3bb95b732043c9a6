"""Logos, icons, flat shapes, pixel art and test cards."""

import numpy as np
from PIL import Image, ImageDraw

from .paint import Colour, Generator, canvas, colour, font, gradient, outline, paper, vivid, word


def logo(rng: Generator, height: int, width: int) -> Image.Image:
    """A mark of few flat shapes, with or without a name."""
    ground = paper(rng)
    image, pen = canvas(height, width, ground)
    side, x, y = min(height, width), width / 2, height / 2
    named = rng.random() < 0.6
    y -= 0.12 * side if named else 0
    for _ in range(int(rng.integers(1, 6))):
        shape(rng, pen, (x + rng.normal(0, 0.08) * side, y + rng.normal(0, 0.08) * side), side * rng.uniform(0.1, 0.34))
    if named:
        face = font(rng, side * rng.uniform(0.08, 0.2))
        pen.text((x, y + 0.38 * side), word(rng).upper() if rng.random() < 0.5 else word(rng), vivid(rng), face, "mm")
    return image


def shape(rng: Generator, pen: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float) -> None:
    """A disc, ring, rectangle, regular or rough polygon, star or sector, filled or not."""
    x, y = centre
    box = (x - radius, y - radius * rng.uniform(0.5, 1), x + radius, y + radius * rng.uniform(0.5, 1))
    fill: Colour | None = vivid(rng) if rng.random() < 0.6 else colour(rng)
    edge, width = (
        (colour(rng), int(rng.integers(1, 2 + max(1, round(radius / 6))))) if rng.random() < 0.5 else (fill, 1)
    )
    if rng.random() < 0.15:
        fill, width = None, max(width, 3)
    kind = rng.integers(6)
    if kind == 0:
        pen.ellipse(box, fill, edge, width)
    elif kind == 1:
        pen.rounded_rectangle(box, radius * rng.uniform(0, 0.4), fill, edge, width)
    elif kind == 2:
        pen.polygon(outline(rng, centre, radius, int(rng.integers(3, 9)), 0), fill, edge, width)
    elif kind == 3:
        pen.polygon(outline(rng, centre, radius, int(rng.integers(5, 14))), fill, edge, width)
    elif kind == 4:
        spikes = int(rng.integers(4, 12))
        star = outline(rng, centre, radius, 2 * spikes, 0)
        inner = rng.uniform(0.3, 0.8)
        star = [(x + (px - x) * inner, y + (py - y) * inner) if i % 2 else (px, py) for i, (px, py) in enumerate(star)]
        pen.polygon(star, fill, edge, width)
    else:
        first = rng.uniform(0, 360)
        pen.pieslice(box, first, first + rng.uniform(40, 320), fill, edge, width)


def shapes(rng: Generator, height: int, width: int) -> Image.Image:
    """Many flat shapes all over, on a colour or a gradient."""
    sideways = bool(rng.random() < 0.5)
    image = gradient(height, width, colour(rng), colour(rng), sideways) if rng.random() < 0.4 else None
    image = image or canvas(height, width, paper(rng))[0]
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 40))):
        centre = (rng.uniform(0, width), rng.uniform(0, height))
        shape(rng, pen, centre, min(height, width) * rng.uniform(0.03, 0.3))
    return image


def icon(rng: Generator, height: int, width: int) -> Image.Image:
    """A thing with shaded surfaces and highlights on an empty ground, as icon themes draw them."""
    ground = paper(rng)
    image, _ = canvas(height, width, ground)
    side = min(height, width)
    for _ in range(int(rng.integers(1, 6))):
        mask, pen = Image.new("L", image.size), None
        pen = ImageDraw.Draw(mask)
        x, y = width / 2 + rng.normal(0, 0.1) * side, height / 2 + rng.normal(0, 0.1) * side
        radius = side * rng.uniform(0.12, 0.42)
        box = (x - radius, y - radius * rng.uniform(0.4, 1), x + radius, y + radius * rng.uniform(0.4, 1))
        kind = rng.integers(3)
        if kind == 0:
            pen.ellipse(box, 255)
        elif kind == 1:
            pen.rounded_rectangle(box, radius * rng.uniform(0, 0.4), 255)
        else:
            pen.polygon(outline(rng, (x, y), radius, int(rng.integers(3, 10)), rng.choice([0, 0.3])), 255)
        base = vivid(rng) if rng.random() < 0.6 else colour(rng, 60, 230)
        low, high = (tuple(int(min(255, value * share)) for value in base) for share in (rng.uniform(0.4, 0.9), 1.3))
        shaded = gradient(height, width, high, low, bool(rng.random() < 0.3))  # type: ignore[arg-type]
        image.paste(shaded, mask=mask)
        if rng.random() < 0.5:
            light = mask.resize([max(1, round(value * 0.8)) for value in mask.size]).point(lambda value: value // 4)
            image.paste((255, 255, 255), (round(width * 0.1), round(height * 0.06)), light)
    return image


def pixel_art(rng: Generator, height: int, width: int) -> Image.Image:
    """A figure or a scene of few colours on a coarse grid, enlarged without smoothing."""
    cells = int(rng.integers(8, 48))
    rows, columns = max(2, cells * height // max(height, width)), max(2, cells * width // max(height, width))
    palette = np.array([colour(rng) if rng.random() < 0.5 else vivid(rng) for _ in range(int(rng.integers(2, 9)))])
    if rng.random() < 0.5:
        half = rng.integers(0, len(palette), (rows, (columns + 1) // 2))
        half[rng.random(half.shape) < 0.5] = 0
        grid = np.concatenate([half, half[:, ::-1]], axis=1)[:, :columns]
    else:
        small = Image.new("P", (columns, rows))
        pen = ImageDraw.Draw(small)
        for _ in range(int(rng.integers(3, 14))):
            x, y = rng.uniform(0, columns), rng.uniform(0, rows)
            reach = rng.uniform(0.05, 0.4) * cells
            draw = pen.ellipse if rng.random() < 0.5 else pen.rectangle
            draw((x, y, x + reach, y + reach * rng.uniform(0.3, 1)), int(rng.integers(len(palette))))
        grid = np.asarray(small)
    pixels = palette[grid].astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)


def test_card(rng: Generator, height: int, width: int) -> Image.Image:
    """Bars, steps, circles, gratings and crosses, as cameras and screens are tested with."""
    image, pen = canvas(height, width, colour(rng) if rng.random() < 0.3 else (128, 128, 128))
    top = 0.0
    while top < height:
        bottom = top + height * rng.uniform(0.1, 0.6)
        count = int(rng.integers(2, 17))
        kind = rng.integers(5)
        for i in range(count):
            left, right = i * width / count, (i + 1) * width / count
            if kind == 0:
                level = round(255 * i / max(1, count - 1))
                pen.rectangle((left, top, right, bottom), (level, level, level))
            elif kind == 1:
                bar = tuple(255 * int(bit) for bit in f"{(7 - i) % 8:03b}")
                pen.rectangle((left, top, right, bottom), bar)
            elif kind == 2:
                step = max(2, count - i)
                for x in np.arange(left, right, 2 * step):
                    pen.rectangle((float(x), top, float(x) + step - 1, bottom), (0, 0, 0))
            elif kind == 3:
                pen.rectangle((left, top, right, bottom), (0, 0, 0) if i % 2 else (255, 255, 255))
                pen.ellipse((left, top, right, bottom), outline=vivid(rng), width=2)
            else:
                image.paste(
                    gradient(max(1, round(bottom - top)), width, colour(rng), colour(rng), True), (0, round(top))
                )
                break
        top = bottom
    if rng.random() < 0.6:
        x, y, radius = width / 2, height / 2, 0.45 * min(height, width)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=(255, 255, 255), width=2)
        pen.line((0, y, width, y), (255, 255, 255))
        pen.line((x, 0, x, height), (255, 255, 255))
    return image
