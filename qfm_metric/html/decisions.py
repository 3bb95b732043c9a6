"""The page of a plan: pictures with what is to become of them, worst first; the same kind of page as `report`'s."""

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence

from ..atomic import whole_file
from ..cull.decide import Decision
from ..cull.plan import Planned
from ..own_files import is_page
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
    grouped: bool = False,
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
        grouped: Show the groups of several pictures first, each with its best in front.
        limit: Most cards, those of groups, then the worst.
        large: How many of them get a large picture.

    Raises:
        OSError: `path` cannot be written, or is there and no page of ours.
    """
    order = list(Decision)
    groups = _Groups(plan if grouped else ())
    cards = sorted(plan, key=lambda planned: (*groups.place(planned), _from_worst(planned)))
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
        sorts=[("groups first", "order"), ("worst first", "rising"), *SORTS[1:]] if grouped else SORTS,
        total=len(plan),
        kept="those of groups, then the worst" if grouped else "the worst",
        summary=table(
            [
                ("rule", rule),
                *((decision.value, f"{counts[decision]:,} pictures") for decision in order),
                *([("groups", groups.summary())] if grouped else []),
            ],
        ),
        footer=paragraph(signature) if signature else "",
    )
    with whole_file(path, is_ours=is_page, newline="\n") as file:
        shown = _cards(cards[:limit], order, large, groups)
        write_page(file, head, shown, os.path.dirname(os.path.abspath(path)))


def _from_worst(planned: Planned) -> float:
    """What could not be scored comes last."""
    return 2.0 if planned.row.score is None else planned.row.score


class _Groups:
    """The groups of several pictures in a plan; other pictures are in none."""

    def __init__(self, plan: Sequence[Planned]) -> None:
        sizes = Counter(group for planned in plan if (group := planned.row.value("group")) is not None)
        self._sizes = {group: size for group, size in sizes.items() if size > 1}

    def place(self, planned: Planned) -> tuple[float, float]:
        """Where a picture stands on the page: by group, best first; behind all groups if it is in none."""
        group = planned.row.value("group")
        if group not in self._sizes:
            return math.inf, 0.0
        return float(group), -_from_worst(planned)

    def label(self, planned: Planned) -> str:
        group = planned.row.value("group")
        return (
            f"group {group}: {planned.row.value('group_rank')} of {self._sizes[group]}" if group in self._sizes else ""
        )

    def summary(self) -> str:
        return f"{len(self._sizes):,}, of {sum(self._sizes.values()):,} pictures"


def _cards(plan: Sequence[Planned], order: Sequence[Decision], large: int, groups: _Groups) -> Iterator[Card]:
    for i, planned in enumerate(plan):
        row = planned.row
        big = thumbnail_if_readable(row.path, LARGE) if i < large and row.score is not None else None
        picture = Picture(row, groups.label(planned), thumbnail_if_readable(row.path, SMALL), big)
        yield Card(planned.name, row.score, order.index(planned.decision), [picture])
