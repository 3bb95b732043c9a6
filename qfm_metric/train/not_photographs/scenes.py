"""Line drawings, cartoons and maps."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .paint import Colour, Generator, canvas, colour, font, gradient, ink, outline, paper, smooth_line, vivid, word


def cartoon(rng: Generator, height: int, width: int) -> Image.Image:
    """A landscape or a face of flat or softly shaded areas, with outlines or without."""
    edge: Colour | None = colour(rng, 0, 70) if rng.random() < 0.6 else None
    pen_width = int(rng.integers(1, 6))
    is_landscape = rng.random() < 0.7
    if is_landscape:
        image = gradient(height, width, colour(rng, 60), colour(rng, 60)) if rng.random() < 0.7 else None
        image = image or canvas(height, width, colour(rng, 60))[0]
        _landscape(rng, image, edge, pen_width)
    else:
        image = canvas(height, width, paper(rng))[0]
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0 if is_landscape else 1, 3))):
        side = min(height, width)
        _figure(
            rng,
            pen,
            rng.uniform(0.2, 0.8) * width,
            rng.uniform(0.4, 0.8) * height,
            rng.uniform(0.1, 0.35) * side,
            edge,
            pen_width,
        )
    levels = int(rng.integers(1, 4))
    return image.quantize(2 ** (2 + levels)).convert("RGB") if rng.random() < 0.25 else image


def _landscape(rng: Generator, image: Image.Image, edge: Colour | None, pen_width: int) -> None:
    width, height = image.size
    pen = ImageDraw.Draw(image)
    x, y, radius = rng.uniform(0, width), rng.uniform(0, 0.4) * height, rng.uniform(0.04, 0.12) * height
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), (255, 255, int(rng.integers(80, 256))), edge)
    for layer in range(int(rng.integers(1, 6))):
        line = height * (0.35 + 0.12 * layer) + 0.12 * height * smooth_line(rng, int(rng.integers(3, 12)), width)
        pen.polygon([(0, height), *enumerate(line.tolist()), (width, height)], colour(rng, 30, 220), edge, pen_width)
        for _ in range(int(rng.integers(0, 6))):
            place = int(rng.integers(width))
            _tree(rng, pen, place, float(line[place]), rng.uniform(0.05, 0.2) * height, edge, pen_width)
    if rng.random() < 0.5:
        left, right = sorted(rng.uniform(0, width, 2))
        top = rng.uniform(0.4, 0.7) * height
        pen.rectangle((left, top, right, height), vivid(rng), edge, pen_width)
        pen.polygon([(left, top), ((left + right) / 2, top - 0.15 * height), (right, top)], vivid(rng), edge, pen_width)


def _tree(
    rng: Generator, pen: ImageDraw.ImageDraw, x: float, y: float, size: float, edge: Colour | None, pen_width: int
) -> None:
    pen.rectangle((x - 0.08 * size, y - 0.5 * size, x + 0.08 * size, y), colour(rng, 40, 120), edge)
    crown = outline(rng, (x, y - 0.8 * size), 0.45 * size, int(rng.integers(3, 16)), rng.choice([0, 0.2]))
    pen.polygon(crown, colour(rng, 20, 200), edge, pen_width)


def _figure(
    rng: Generator, pen: ImageDraw.ImageDraw, x: float, y: float, size: float, edge: Colour | None, pen_width: int
) -> None:
    """A head with eyes and a mouth, and a body below now and then."""
    skin = colour(rng, 120)
    if rng.random() < 0.6:
        pen.rounded_rectangle(
            (x - 0.8 * size, y, x + 0.8 * size, y + 3 * size), 0.5 * size, vivid(rng), edge, pen_width
        )
    pen.ellipse((x - size, y - size, x + size, y + size), skin, edge, pen_width)
    for sign in (-1, 1):
        eye, reach = x + sign * 0.4 * size, rng.uniform(0.12, 0.28) * size
        pen.ellipse(
            (eye - reach, y - 0.3 * size - reach, eye + reach, y - 0.3 * size + reach), (255, 255, 255), edge, 1
        )
        pen.ellipse((eye - reach / 2, y - 0.3 * size, eye + reach / 2, y - 0.3 * size + reach), (0, 0, 0))
    pen.arc((x - 0.5 * size, y - 0.2 * size, x + 0.5 * size, y + 0.6 * size), 20, 160, edge or (0, 0, 0), pen_width)


def painted(rng: Generator, height: int, width: int) -> Image.Image:
    """A cartoon with soft shades laid over it, as clip art and game backgrounds have."""
    flat = cartoon(rng, height, width)
    soft = flat.filter(ImageFilter.GaussianBlur(float(rng.uniform(1, 0.04 * min(height, width)))))
    glow = gradient(height, width, colour(rng), colour(rng), bool(rng.random() < 0.5))
    mixed = Image.blend(flat, soft, float(rng.uniform(0.2, 0.8)))
    return Image.blend(mixed, glow, float(rng.uniform(0, 0.35)))


def line_drawing(rng: Generator, height: int, width: int) -> Image.Image:
    """Contours, hatching and scribbles in one colour on paper; or a cartoon's contours."""
    ground = paper(rng)
    fill = ink(rng, ground)
    if rng.random() < 0.35:
        edges = np.asarray(cartoon(rng, height, width).convert("L").filter(ImageFilter.FIND_EDGES))
        share = np.clip(edges.astype(np.float32) / max(20, int(edges.max())) * 2, 0, 1)[..., None]
        return Image.fromarray((np.array(ground) * (1 - share) + np.array(fill) * share).round().astype(np.uint8))
    image, pen = canvas(height, width, ground)
    for _ in range(int(rng.integers(3, 40))):
        pen_width = int(rng.integers(1, 4))
        kind = rng.integers(4)
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        size = rng.uniform(0.05, 0.4) * min(height, width)
        if kind == 0:
            pen.polygon(
                outline(rng, (x, y), size, int(rng.integers(3, 20)), rng.choice([0, 0.3])), None, fill, pen_width
            )
        elif kind == 1:
            across, down = x + size * smooth_line(rng, 6, 80), y + size * smooth_line(rng, 6, 80)
            pen.line([*zip(across.tolist(), down.tolist(), strict=True)], fill, pen_width)
        elif kind == 2:
            for step in np.arange(0, size, rng.uniform(3, 9)):
                pen.line((x + step, y, x + step + size / 2, y + size), fill)
        else:
            pen.ellipse((x - size, y - size * rng.uniform(0.3, 1), x + size, y + size), None, fill, pen_width)
    return image


def map_sheet(rng: Generator, height: int, width: int) -> Image.Image:
    """Land and water, roads of several widths, blocks and names."""
    image, pen = canvas(height, width, colour(rng, 200))
    for _ in range(int(rng.integers(1, 9))):
        centre = (rng.uniform(0, width), rng.uniform(0, height))
        area = outline(rng, centre, rng.uniform(0.1, 0.6) * width, int(rng.integers(8, 40)))
        pen.polygon(area, colour(rng, 130, 250), colour(rng, 90, 200))
    for _ in range(int(rng.integers(3, 30))):
        wide, fill = int(rng.integers(1, 7)), colour(rng, 120)
        curve = smooth_line(rng, int(rng.integers(2, 9)), 60) * 0.3
        if rng.random() < 0.5:
            line = [*zip(np.linspace(0, width, 60).tolist(), ((rng.random() + curve) * height).tolist(), strict=True)]
        else:
            line = [*zip(((rng.random() + curve) * width).tolist(), np.linspace(0, height, 60).tolist(), strict=True)]
        pen.line(line, colour(rng, 60, 140), wide + 2)
        pen.line(line, fill, wide)
    for _ in range(int(rng.integers(3, 25))):
        place = (rng.uniform(0, width), rng.uniform(0, height))
        pen.text(place, word(rng).capitalize(), colour(rng, 0, 110), font(rng, rng.uniform(7, 16)))
    return image
