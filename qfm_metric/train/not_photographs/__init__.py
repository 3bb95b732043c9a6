"""Pictures that are no photographs, drawn from a seed: text, charts, logos, drawings, cartoons, screens, cards, maps.

paint -> documents, charts, graphics, scenes, screens -> draw
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from ..distortions import coding
from ..distortions.colour import Pixels
from . import charts, documents, graphics, scenes, screens
from .paint import Generator, draw_size

KINDS: dict[str, Callable[[Generator, int, int], Image.Image]] = {
    kind.__name__: kind
    for kind in (
        *(documents.page, documents.form, documents.scan),
        charts.chart,
        *(graphics.logo, graphics.shapes, graphics.icon, graphics.pixel_art, graphics.test_card),
        *(scenes.cartoon, scenes.painted, scenes.line_drawing, scenes.map_sheet),
        screens.screenshot,
    )
}
FINEST = 3  # times the size at which antialiased pictures are drawn


def draw(seed: int, number: int) -> Pixels:
    """Picture `number` of a seed, `(H, W, 3)` uint8 of 64 to 512 px; the kinds come in turn.

    Some are drawn larger and reduced, which smooths their edges, some are grey, some were JPEG-coded.
    """
    rng = np.random.default_rng((seed, number))
    kind = [*KINDS.values()][number % len(KINDS)]
    height, width = draw_size(rng)
    scale = float(rng.uniform(1.2, FINEST)) if rng.random() < 0.5 else 1.0
    image = kind(rng, round(height * scale), round(width * scale))
    if scale > 1:
        smooth = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
        image = image.resize((width, height), smooth[rng.integers(len(smooth))])
    if rng.random() < 0.15:
        image = image.convert("L").convert("RGB")
    pixels = np.asarray(image)
    return coding.jpeg(pixels, int(rng.integers(30, 98))) if rng.random() < 0.4 else pixels
