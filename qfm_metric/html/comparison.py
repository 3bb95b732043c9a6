"""The page of a comparison: pairs side by side, or both sets in one list; the same kind of page as `report`'s."""

import html
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..atomic import whole_file
from ..compare import Comparison
from ..defects import NAMES as DEFECTS
from ..folder.file_names import shown
from ..folder.row import Row
from ..own_files import is_page
from .document import (
    BINS,
    SCORES,
    Card,
    Group,
    Head,
    Picture,
    Scale,
    bin_of,
    paragraph,
    table,
    write_page,
)
from .thumbnails import LARGE, SMALL, thumbnail_if_readable

LIMIT = 5_000  # cards of a page
LARGE_LIMIT = 50  # the first ones have large pictures
NAMES = 1_000  # listed of those that were left out
TOLD = 0.01  # a difference in what a defect costs that is told
MOST_DEFECTS = 3  # that are told
WINNERS = {"A": ("A better", 1), "B": ("B better", 4), "": ("equal", 5)}  # word and colour
SIDES = {"A": ("A", 1), "B": ("B", 4)}
RANGES = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of differences in a histogram
PAIR_SORTS = [
    ("largest difference first", "order"),
    ("B better first", "falling"),
    ("A better first", "rising"),
    ("name", "name"),
]
SINGLE_SORTS = [("worst first", "order"), ("best first", "falling"), ("name", "name")]


def write_comparison(
    comparison: Comparison,
    a: Mapping[str, Row],
    b: Mapping[str, Row],
    path: str | os.PathLike[str],
    *,
    titles: tuple[str, str] = ("A", "B"),
    signature: str = "",
    limit: int = LIMIT,
    large: int = LARGE_LIMIT,
) -> None:
    """Write one self-contained HTML page: the figures, a histogram, and the pictures, read from their paths.

    Args:
        comparison: What `compare_scores` found.
        a: Name, as in the comparison, to its row; `b` of the other side.
        path: Where to; appears when it is whole.
        titles: What A and B are.
        signature: What the scores were made with: `QFMScore().signature`.
        limit: Most cards: the pairs that differ most, or the worst pictures if there are no pairs.
        large: How many of them, from the first, get large pictures.

    Raises:
        OSError: `path` cannot be written, or is there and no page of ours.
    """
    if comparison.paired:
        cards, scale, kinds = _pairs(comparison, a, b), _differences(comparison), list(WINNERS.values())
    else:
        cards, scale, kinds = _singles(a, b), SCORES, list(SIDES.values())
    histogram = [[0] * len(kinds) for _ in range(BINS)]
    for card in cards:
        histogram[bin_of(card.value or 0.0, scale)][card.group] += 1
    counts = [sum(column) for column in zip(*histogram, strict=True)]
    head = Head(
        title=shown(" and ".join(titles)),
        scale=scale,
        groups=[Group(name, colour, count) for (name, colour), count in zip(kinds, counts, strict=True)],
        histogram=histogram,
        sorts=PAIR_SORTS if comparison.paired else SINGLE_SORTS,
        total=len(cards),
        kept="those that differ most" if comparison.paired else "the worst",
        summary=table([*facts(comparison, titles), *defect_facts(a, b)]) + _left_out(comparison),
        footer=paragraph(signature) if signature else "",
    )
    with whole_file(path, is_ours=is_page, newline="\n") as file:
        write_page(file, head, _with_pictures(cards[:limit], large), os.path.dirname(os.path.abspath(path)))


def facts(comparison: Comparison, titles: tuple[str, str]) -> list[tuple[str, str]]:
    """The comparison as names and values to show."""
    found = [
        (f"{side}: {shown(title)}", "nothing scored" if mean is None else f"mean {mean:.3f} of {count:,}")
        for side, title, mean, count in (
            ("A", titles[0], comparison.mean_a, comparison.count_a),
            ("B", titles[1], comparison.mean_b, comparison.count_b),
        )
    ]
    if comparison.difference is not None:
        found.append(("difference, B - A", f"{comparison.difference:+.4f}"))
        interval = "none from so few"
        if comparison.interval:
            interval = f"{comparison.interval[0]:+.4f} to {comparison.interval[1]:+.4f}: {comparison.verdict}"
        found.append(("95 % interval", interval))
    if comparison.win_rate is not None:
        of = "pairs" if comparison.paired else "all combinations"
        found.append(("B wins", f"{comparison.win_rate:.1%} of {of}, ties counted half"))
    how = f"by name: {len(comparison.pairs):,} pairs" if comparison.paired else "no: all of A with all of B"
    return [*found, ("paired", how)]


def defect_facts(a: Mapping[str, Row], b: Mapping[str, Row]) -> list[tuple[str, str]]:
    """The defects whose mean cost differs most between the sides, as names and values to show; none if not known."""
    sides = [[row for row in rows.values() if row.score is not None] for rows in (a, b)]
    found = []
    for name in DEFECTS:
        costs = [[cost for row in side if isinstance(cost := row.value(name), float)] for side in sides]
        if all(costs):
            mean_a, mean_b = (sum(side) / len(side) for side in costs)
            found.append((abs(mean_b - mean_a), name, mean_a, mean_b))
    most = [entry for entry in sorted(found, reverse=True) if entry[0] >= TOLD][:MOST_DEFECTS]
    return [(name.replace("_", " "), f"costs {before:.3f} in A, {after:.3f} in B") for _, name, before, after in most]


def left_out(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
    """What was not compared: why, and which names."""
    for why, names in (
        ("only in A", comparison.unmatched_a),
        ("only in B", comparison.unmatched_b),
        ("not scored in A", comparison.failed_a),
        ("not scored in B", comparison.failed_b),
    ):
        if names:
            yield f"{why}: {len(names):,}", [shown(name) for name in names]


def _left_out(comparison: Comparison) -> str:
    def details(why: str, names: list[str]) -> str:
        more = [f"and {len(names) - NAMES:,} more"] if len(names) > NAMES else []
        items = "".join(f"<li>{html.escape(name)}</li>" for name in [*names[:NAMES], *more])
        return f"<details><summary>{html.escape(why)}</summary><ul>{items}</ul></details>"

    return "".join(details(why, names) for why, names in left_out(comparison))


def _pairs(comparison: Comparison, a: Mapping[str, Row], b: Mapping[str, Row]) -> list[Card]:
    winners = list(WINNERS)
    return [
        Card(
            pair.name_a,
            pair.difference,
            winners.index(pair.winner),
            [Picture(a[pair.name_a], "A"), Picture(b[pair.name_b], "B")],
        )
        for pair in comparison.pairs
    ]


def _singles(a: Mapping[str, Row], b: Mapping[str, Row]) -> list[Card]:
    """The scored pictures of both, worst first."""
    cards = [
        Card(name, row.score, group, [Picture(row, side)])
        for group, (side, rows) in enumerate(zip(SIDES, (a, b), strict=True))
        for name, row in rows.items()
        if row.score is not None
    ]
    return sorted(cards, key=lambda card: card.value or 0.0)


def _differences(comparison: Comparison) -> Scale:
    """As wide as the largest difference asks for."""
    most = max((abs(pair.difference) for pair in comparison.pairs), default=0.0)
    side = next((side for side in RANGES if most <= side), RANGES[-1])
    words = [{"name": WINNERS[winner][0], "centre": at} for winner, at in (("A", -side / 2), ("B", side / 2))]
    return Scale("difference, B - A", -side, side, [-side, -side / 2, 0.0, side / 2, side], words, signed=True)


def _with_pictures(cards: Sequence[Card], large: int) -> Iterator[Card]:
    """Cards with their pictures' bytes, made one at a time."""

    def look(picture: Picture, more: bool) -> Picture:
        path = picture.row.path
        big = thumbnail_if_readable(path, LARGE) if more else None
        return replace(picture, thumbnail=thumbnail_if_readable(path, SMALL), large=big)

    for i, card in enumerate(cards):
        yield replace(card, pictures=[look(picture, i < large) for picture in card.pictures])
