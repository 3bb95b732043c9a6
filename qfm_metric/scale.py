"""What a score means: a word for it, a colour, and where it stands among the photographs that people rated.

The words are the five of absolute category rating (ACR), an equal fifth of [0, 1] each.

Equal parts are how ITU-R BT.500 lays these words along a continuous scale, and BIQ2021's people rated single pictures.
Its training part has 3, 11, 18, 48 and 20 % of photographs in the bands, from bad to excellent: "good" is what an
ordinary photograph is. The words say where a score lies on the scale, not more.
"""

import bisect

BANDS: tuple[tuple[str, float], ...] = (
    ("bad", 0.2),
    ("poor", 0.4),
    ("fair", 0.6),
    ("good", 0.8),
    ("excellent", 1.0),
)
"""Word and upper end of each band, from the worst. A band begins where the one before ends, and has its beginning."""

# fmt: off
MAP_COLOURS: tuple[tuple[int, int, int], ...] = (
    (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99),
    (170, 220, 50), (253, 231, 37),
)
# fmt: on
"""RGB of local quality 0, 1/8 ... 1, as in viridis (matplotlib, CC0): ordered by lightness, readable without colour."""


# MOS of the 10,000 photographs of BIQ2021's training part, in steps of 1 %; printed by benchmarks/mos_quantiles.py.
# fmt: off
QUANTILES: tuple[float, ...] = (
    0.0000, 0.1486, 0.1729, 0.1947, 0.2083, 0.2218, 0.2347, 0.2509, 0.2706, 0.2898,
    0.3164, 0.3393, 0.3608, 0.3823, 0.4004, 0.4168, 0.4305, 0.4419, 0.4537, 0.4640,
    0.4751, 0.4843, 0.4939, 0.5050, 0.5152, 0.5271, 0.5384, 0.5503, 0.5625, 0.5721,
    0.5810, 0.5891, 0.5972, 0.6066, 0.6138, 0.6220, 0.6302, 0.6384, 0.6461, 0.6534,
    0.6604, 0.6669, 0.6741, 0.6806, 0.6874, 0.6938, 0.6993, 0.7047, 0.7096, 0.7145,
    0.7192, 0.7229, 0.7264, 0.7302, 0.7339, 0.7371, 0.7400, 0.7428, 0.7455, 0.7481,
    0.7508, 0.7537, 0.7564, 0.7586, 0.7618, 0.7642, 0.7669, 0.7696, 0.7720, 0.7739,
    0.7764, 0.7788, 0.7810, 0.7831, 0.7854, 0.7874, 0.7898, 0.7923, 0.7944, 0.7968,
    0.7990, 0.8015, 0.8035, 0.8057, 0.8082, 0.8110, 0.8136, 0.8166, 0.8194, 0.8222,
    0.8253, 0.8285, 0.8319, 0.8353, 0.8389, 0.8436, 0.8489, 0.8550, 0.8625, 0.8753,
    1.0000,
)
# fmt: on


def band_index(score: float) -> int:
    """The place of a score's band in `BANDS`, 0 to 4.

    Raises:
        ValueError: not within [0, 1].
    """
    if not 0 <= score <= 1:  # NaN, too
        raise ValueError(f"expected a score in [0, 1], got {score}")
    return next((i for i, (_, end) in enumerate(BANDS) if score < end), len(BANDS) - 1)


def band(score: float) -> str:
    """The word for a score in [0, 1]: bad, poor, fair, good or excellent.

    Raises:
        ValueError: not within [0, 1].

    Examples:
        >>> band(0.72)
        'good'
    """
    return BANDS[band_index(score)][0]


def percentile(score: float) -> float:
    """Share of BIQ2021's training photographs that people rated below `score`, in percent, 0 to 100.

    Scores of a metric spread less than people's: few photographs get a score near 0 or 100 %.

    Args:
        score: In [0, 1].

    Raises:
        ValueError: not within [0, 1].

    Examples:
        >>> round(percentile(0.72))
        50
    """
    if not 0 <= score <= 1:  # NaN, too
        raise ValueError(f"expected a score in [0, 1], got {score}")
    below = bisect.bisect_right(QUANTILES, score, hi=len(QUANTILES) - 1) - 1
    low, high = QUANTILES[below : below + 2]
    return below + (score - low) / (high - low)
