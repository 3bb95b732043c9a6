"""The page of a plan: pictures with what is to become of them, worst first; the same kind of page as `report`'s."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

from ..atomic import whole_file
from ..cull.decide import Decision
from ..cull.plan import Planned
from .document import BINS, SCORES, Card, Group, Head, Picture, bin_of, paragraph, table, write_page
from .scores import LARGE_LIMIT, LIMIT, SORTS
from .thumbnails import LARGE, SMALL, thumbnail_if_readable

COLOURS = {Decision.KEEP: 3, Decision.LOOK: 2, Decision.REJECT: 0}  # of the style sheet: good, fair, bad


def write_decisions(
    plan: Sequence[Planned],
    path: str | os.PathLike[str],
    *,
    title: str,
    rule: str,
    signature: str = "",
    limit: int = LIMIT,
    large: int = LARGE_LIMIT,
) -> None:
    """Write one self-contained HTML page of a plan.

    Args:
        plan: Pictures, which are read from their paths.
        path: Where to; appears when it is whole.
        title: Headline.
        rule: What the decisions follow.
        signature: What the scores were made with.
        limit: Most cards, the worst.
        large: How many of the worst get a large picture.

    Raises:
        OSError: `path` cannot be written.
    """
    order = list(Decision)
    worst = sorted(plan, key=lambda planned: 2.0 if planned.row.score is None else planned.row.score)
    histogram = [[0] * len(order) for _ in range(BINS)]
    for planned in plan:
        if planned.row.score is not None:
            histogram[bin_of(planned.row.score)][order.index(planned.decision)] += 1
    counts = Counter(planned.decision for planned in plan)
    head = Head(
        title=title,
        scale=SCORES,
        groups=[Group(decision.value, COLOURS[decision], counts[decision]) for decision in order],
        histogram=histogram,
        sorts=SORTS,
        total=len(plan),
        kept="the worst",
        summary=table(
            [("rule", rule), *((decision.value, f"{counts[decision]:,} pictures") for decision in order)],
        ),
        footer=paragraph(signature) if signature else "",
    )
    with whole_file(path, newline="\n") as file:
        write_page(file, head, _cards(worst[:limit], order, large), os.path.dirname(os.path.abspath(path)))


def _cards(plan: Sequence[Planned], order: Sequence[Decision], large: int) -> Iterator[Card]:
    for i, planned in enumerate(plan):
        row = planned.row
        big = thumbnail_if_readable(row.path, LARGE) if i < large and row.score is not None else None
        picture = Picture(row, "", thumbnail_if_readable(row.path, SMALL), big)
        yield Card(planned.name, row.score, order.index(planned.decision), [picture])
