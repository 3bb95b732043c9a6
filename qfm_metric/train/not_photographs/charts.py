"""Charts as matplotlib draws them."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from .paint import Generator, vivid, words


def chart(rng: Generator, height: int, width: int) -> Image.Image:
    """One or several plots: lines, bars, points, shares, histograms, grids of values, contours."""
    from matplotlib.figure import Figure  # of the extra `train`; slow to import

    dpi = float(rng.uniform(50, 110))
    dark = rng.random() < 0.12
    figure = Figure((width / dpi, height / dpi), dpi=dpi, facecolor="#222222" if dark else "white")
    rows, columns = ((1, 1), (1, 1), (1, 2), (2, 1), (2, 2))[rng.integers(5)]
    for axis in figure.subplots(rows, columns, squeeze=False).flat:
        _KINDS[rng.integers(len(_KINDS))](rng, axis)
        if rng.random() < 0.5:
            axis.set_title(words(rng, 2), fontsize=float(rng.uniform(6, 13)), color="white" if dark else "black")
        if rng.random() < 0.4:
            axis.grid(alpha=0.5)
        if rng.random() < 0.15:
            axis.set_axis_off()
    file = BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB").resize((width, height))


def _colour(rng: Generator) -> tuple[float, ...]:
    return tuple(value / 255 for value in vivid(rng))


def _lines(rng: Generator, axis: Any) -> None:
    for _ in range(int(rng.integers(1, 6))):
        values = np.cumsum(rng.normal(0, 1, int(rng.integers(8, 200))))
        axis.plot(values, color=_colour(rng), linewidth=float(rng.uniform(0.5, 3)), label=words(rng, 1))
    if rng.random() < 0.5:
        axis.legend(fontsize=7)


def _bars(rng: Generator, axis: Any) -> None:
    count = int(rng.integers(2, 12))
    draw = axis.bar if rng.random() < 0.7 else axis.barh
    draw(np.arange(count), rng.random(count), color=[_colour(rng) for _ in range(count)])


def _points(rng: Generator, axis: Any) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.normal(rng.uniform(-2, 2), 1, (2, int(rng.integers(10, 300))))
        axis.scatter(x, y, float(rng.uniform(3, 40)), [_colour(rng)], alpha=float(rng.uniform(0.3, 1)))


def _shares(rng: Generator, axis: Any) -> None:
    count = int(rng.integers(2, 8))
    axis.pie(
        rng.uniform(0.2, 1, count),
        labels=[words(rng, 1) for _ in range(count)],
        colors=[_colour(rng) for _ in range(count)],
    )


def _histogram(rng: Generator, axis: Any) -> None:
    axis.hist(rng.normal(0, 1, 500), int(rng.integers(5, 40)), color=_colour(rng))


def _values(rng: Generator, axis: Any) -> None:
    names = ("viridis", "plasma", "coolwarm", "Greys", "Blues", "jet", "tab10")
    values = rng.random((int(rng.integers(3, 20)), int(rng.integers(3, 20))))
    axis.imshow(values, cmap=names[rng.integers(len(names))], aspect="auto")


def _contours(rng: Generator, axis: Any) -> None:
    x, y = np.meshgrid(np.linspace(-3, 3, 60), np.linspace(-3, 3, 60))
    a, b, c = rng.uniform(0.5, 2, 3)
    draw = axis.contourf if rng.random() < 0.5 else axis.contour
    draw(np.sin(a * x) * np.cos(b * y) + np.exp(-c * (x**2 + y**2)), int(rng.integers(4, 12)))


_KINDS = (_lines, _bars, _points, _shares, _histogram, _values, _contours)
