"""Screenshots: windows with bars, menus, buttons, icons, lists, editors and terminals."""

from PIL import Image, ImageDraw

from .charts import chart
from .graphics import icon
from .paint import Colour, Generator, canvas, colour, font, gradient, ink, paragraph, vivid, word, words
from .scenes import cartoon


def screenshot(rng: Generator, height: int, width: int) -> Image.Image:
    """A desktop with a window or several, or one window that fills it."""
    image = (
        gradient(height, width, colour(rng), colour(rng))
        if rng.random() < 0.5
        else canvas(height, width, colour(rng))[0]
    )
    if rng.random() < 0.1:
        image = cartoon(rng, height, width)
    if rng.random() < 0.5:
        image.paste(_window(rng, height, width))
        return image
    for _ in range(int(rng.integers(0, 8))):
        side = int(rng.uniform(0.06, 0.12) * width) + 8
        image.paste(icon(rng, side, side), (int(rng.uniform(0, width)), int(rng.uniform(0, height))))
    for _ in range(int(rng.integers(1, 4))):
        h, w = int(rng.uniform(0.35, 0.9) * height), int(rng.uniform(0.35, 0.9) * width)
        image.paste(_window(rng, h, w), (int(rng.uniform(0, width - w)), int(rng.uniform(0, height - h))))
    bar = int(rng.uniform(0.03, 0.07) * height) + 4
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, height - bar, width, height), colour(rng, 0, 90))
    pen.text(
        (width - 6 * bar, height - bar),
        f"{rng.integers(24)}:{rng.integers(10, 60)}",
        (255, 255, 255),
        font(rng, 0.7 * bar),
    )
    return image


def _window(rng: Generator, height: int, width: int) -> Image.Image:
    dark = rng.random() < 0.3
    ground: Colour = colour(rng, 20, 60) if dark else colour(rng, 225)
    image, pen = canvas(height, width, ground)
    size = float(rng.uniform(8, 15))
    bar = round(1.7 * size)
    title = colour(rng, 0, 200)
    pen.rectangle((0, 0, width, bar), title)
    pen.text((bar, 0.2 * size), words(rng, 3), ink(rng, title), font(rng, size))
    for i in range(3):
        pen.ellipse((width - (i + 1) * bar, 4, width - i * bar - 6, bar - 4), vivid(rng))
    top = float(bar)
    if rng.random() < 0.6:
        left = size
        while left < width - 5 * size:
            name = word(rng).capitalize()
            pen.text((left, top), name, ink(rng, ground), font(rng, size))
            left += (len(name) + 2) * 0.65 * size
        top += bar
    if rng.random() < 0.5:
        for i in range(int(width / bar / 1.2)):
            if rng.random() < 0.7:
                image.paste(icon(rng, bar, bar), (int(i * 1.2 * bar), int(top)))
        top += 1.2 * bar
    _content(rng, image, (0, top, width, height), size, ground)
    pen.rectangle((0, 0, width - 1, height - 1), outline=(90, 90, 90))
    return image


def _content(
    rng: Generator, image: Image.Image, box: tuple[float, float, float, float], size: float, ground: Colour
) -> None:
    left, top, right, bottom = box
    pen, fill = ImageDraw.Draw(image), ink(rng, ground)
    if right - left < 40 or bottom - top < 30:
        return
    if rng.random() < 0.4:
        split = left + (right - left) * rng.uniform(0.2, 0.4)
        pen.rectangle((left, top, split, bottom), colour(rng, 30, 240))
        for y in range(int(top), int(bottom), int(1.6 * size)):
            pen.text((left + 4, y), word(rng), fill, font(rng, size))
        left = split
    kind = rng.integers(5)
    if kind == 0:
        paragraph(rng, pen, (left + 5, top + 4, right - 5, bottom), size, fill)
    elif kind == 1:
        pen.rectangle((left, top, right, bottom), colour(rng, 0, 40))
        for y in range(int(top), int(bottom - size), int(1.3 * size)):
            line = "    " * int(rng.integers(0, 4)) + words(rng, int(rng.integers(1, 7))).lower()
            pen.text((left + 5, y), line, colour(rng, 130), font(rng, size))
    elif kind == 2:
        h, w = int(bottom - top - 8), int(right - left - 8)
        if h > 60 and w > 60:
            image.paste((chart if rng.random() < 0.5 else cartoon)(rng, h, w), (int(left + 4), int(top + 4)))
    elif kind == 3:
        for y in range(int(top), int(bottom), int(1.7 * size)):
            if rng.random() < 0.5:
                pen.rectangle(
                    (left, y, right, y + 1.7 * size), colour(rng, 200) if sum(ground) > 380 else colour(rng, 0, 70)
                )
            for x in range(int(left) + 4, int(right), int(8 * size)):
                pen.text((x, y), word(rng), fill, font(rng, size))
    else:
        for _ in range(int(rng.integers(3, 14))):
            across, down = rng.uniform(left, right), rng.uniform(top, bottom)
            button = (across, down, across + size * rng.uniform(4, 12), down + 1.8 * size)
            pen.rounded_rectangle(button, 3, colour(rng, 120), (110, 110, 110))
            pen.text((across + 5, down + 3), word(rng), (0, 0, 0), font(rng, size))
