"""Words for scores: the five of absolute category rating (ACR), an equal fifth of [0, 1] each.

Equal parts are how ITU-R BT.500 lays these words along a continuous scale, and BIQ2021's people rated single pictures.
Its training part has 3, 11, 18, 48 and 20 % of photographs in the bands, from bad to excellent: "good" is what an
ordinary photograph is. The words say where a score lies on the scale, not more.
"""

BANDS: tuple[tuple[str, float], ...] = (
    ("bad", 0.2),
    ("poor", 0.4),
    ("fair", 0.6),
    ("good", 0.8),
    ("excellent", 1.0),
)
"""Word and upper end of each band, from the worst. A band begins where the one before ends, and has its beginning."""


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
