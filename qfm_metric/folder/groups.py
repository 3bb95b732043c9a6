"""Pictures of one moment: bursts and near-duplicates, by the time of capture and by what the network sees in them.

A group is led by its first picture, and another one belongs to it if it is like that one: groups do not grow from
neighbour to neighbour into something else. All of this is ours.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .row import Row, checked

WINDOW = 60.0  # seconds after the first picture of a group
# Least likeness of pictures that were taken within the window, and of those whose files do not say when. Chosen on
# BIQ2021's near-duplicates (benchmarks/near_duplicates.py, docs/bursts.md): from .95 on, all random pairs that were
# looked at turned out to be near-duplicates, too; about .9 half of them.
ALIKE = 0.9
ALIKE_AT_ANY_TIME = 0.95
BLOCK = 512  # pictures that are compared at a time
CHUNK = 8192  # with so many others: 16 MB

Places = NDArray[np.int64]
Numbers = NDArray[np.float64]


def group_rows(rows: Iterable[Row]) -> list[Row]:
    """Number the pictures of one moment alike, and rank them by score.

    Pictures whose files say when they were taken belong together if they are within `WINDOW` of each other and at least
    `ALIKE`; others if they are at least `ALIKE_AT_ANY_TIME`. Likeness is the scalar product of the descriptors.

    Args:
        rows: Of `score_files(..., moments=True)`.

    Returns:
        The rows in their order, without moments, with `group` (from 1, in order of the first picture; a picture that is
        like no other has one of its own) and `group_rank` (1 is the best of its group) in `extra`. Rows without a score
        have none.

    Raises:
        ValueError: rows with a score lack their moment.
        TypeError: something else than rows.

    Examples:
        >>> group_rows([Row("a.jpg", error="no picture")])[0].extra
        {}
    """
    rows = list(checked(rows))
    scored = [i for i, row in enumerate(rows) if row.score is not None]
    if not scored:
        return rows
    moments = [moment for i in scored if (moment := rows[i].moment)]
    if len(moments) < len(scored):
        raise ValueError("rows: expected their moments; score them with score_files(..., moments=True)")
    shown = np.frombuffer(b"".join(moment.descriptor for moment in moments), "<f2").reshape(len(scored), -1)
    taken = np.array([math.nan if moment.taken is None else moment.taken for moment in moments])
    members = defaultdict(list)
    for i, leader in zip(scored, _leaders(shown, taken), strict=True):
        members[leader].append(i)
    found = [replace(row, moment=None) for row in rows]
    for number, group in enumerate(members.values(), 1):
        for rank, i in enumerate(sorted(group, key=lambda i: -(rows[i].score or 0.0)), 1):
            found[i] = replace(found[i], extra={**rows[i].extra, "group": number, "group_rank": rank})
    return found


def _leaders(shown: NDArray[np.float16], taken: Numbers) -> list[int]:
    """The place of the picture that leads each one's group.

    Args:
        shown: `(N, C)` descriptors.
        taken: `(N,)` seconds; NaN where they are not known.
    """
    leaders = np.arange(len(taken))
    timed = np.flatnonzero(np.isfinite(taken))
    timed = timed[np.argsort(taken[timed], kind="stable")]
    _join(leaders, timed, timed[:0], shown, taken, WINDOW, ALIKE)
    # A picture without a time may be a copy of any with one, also of one that leads no group.
    _join(leaders, np.flatnonzero(np.isnan(taken)), timed, shown, taken, math.inf, ALIKE_AT_ANY_TIME)
    return leaders.tolist()


def _join(
    leaders: Places,
    places: Places,
    others: Places,
    shown: NDArray[np.float16],
    taken: Numbers,
    window: float,
    alike: float,
) -> None:
    """Let each picture join the group of the most alike one before it, or lead its own.

    Args:
        leaders: Is filled in at `places`, in their order.
        others: Pictures whose groups can be joined; with a finite window in order of time. To them come those of
            `places` that lead.
    """
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        if window < math.inf:
            others = others[np.searchsorted(taken[others], taken[block[0]] - window) :]
        best, nearest = _most_alike(block, others, shown, taken, window)
        among = _likeness(block, block, shown, taken, window)
        leading: list[int] = []
        for i, place in enumerate(block):
            likeness, other = best[i], nearest[i]
            if leading and (own := among[i, leading]).max() > likeness:
                likeness, other = own.max(), block[leading[own.argmax()]]
            if likeness >= alike:
                leaders[place] = leaders[other]
            else:
                leading.append(i)
        others = np.concatenate([others, block[leading]])


def _most_alike(
    places: Places, others: Places, shown: NDArray[np.float16], taken: Numbers, window: float
) -> tuple[NDArray[np.float32], Places]:
    """The largest likeness of each to one of the others, and which that is; minus infinity if there are none."""
    best, nearest = np.full(len(places), -np.inf, np.float32), np.zeros(len(places), np.int64)
    for start in range(0, len(others), CHUNK):
        chunk = others[start : start + CHUNK]
        likeness = _likeness(places, chunk, shown, taken, window)
        found, at = likeness.max(axis=1), chunk[likeness.argmax(axis=1)]
        nearest = np.where(found > best, at, nearest)
        best = np.maximum(found, best)
    return best, nearest


def _likeness(
    places: Places, others: Places, shown: NDArray[np.float16], taken: Numbers, window: float
) -> NDArray[np.float32]:
    """`(places, others)`; minus infinity where the time between them is longer than the window."""
    likeness = shown[places].astype(np.float32) @ shown[others].astype(np.float32).T
    if window < math.inf:
        likeness[np.abs(taken[places][:, None] - taken[others]) > window] = -np.inf
    return likeness
