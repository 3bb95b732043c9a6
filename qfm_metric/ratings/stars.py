"""How many stars a score is, and the label that goes with them."""

import bisect
from collections.abc import Sequence

from ..scale import BANDS

STARS: tuple[float, ...] = tuple(end for _, end in BANDS[:-1])
"""Scores from which on a picture has 2, 3, 4 and 5 stars: a star for each of the five words of `qfm_metric.scale`."""
LABELS = {1: "Red", 2: "Red", 3: "Yellow", 4: "Green", 5: "Green"}
"""What culling by the preset "normal" rejects, looks at and keeps, if the stars are the five words."""


def stars(score: float, limits: Sequence[float] = STARS) -> int:
    """Stars of a score, 1 to 5.

    Args:
        score: In [0, 1].
        limits: From which on there are 2, 3, 4 and 5 stars.

    Examples:
        >>> stars(0.72)
        4
    """
    return 1 + bisect.bisect_right(limits, score)


def parse_stars(text: str) -> tuple[float, ...]:
    """Read the four limits from text such as `.35,.5,.65,.78`.

    Raises:
        ValueError: they are not four rising scores within (0, 1].
    """
    try:
        limits = tuple(float(part) for part in text.split(","))
    except ValueError:
        limits = ()
    if len(limits) != len(STARS) or not all(a < b for a, b in zip((0.0, *limits), (*limits, 1.0 + 1e-9), strict=True)):
        raise ValueError(f"expected the scores at which 2, 3, 4 and 5 stars begin, such as .2,.4,.6,.8, got {text!r}")
    return limits
