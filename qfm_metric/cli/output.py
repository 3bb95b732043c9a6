"""How the command's rows are ordered, counted and written."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from ..folder.file_names import printable
from ..folder.formats import FORMATS, TEXT, Format
from ..folder.journal import Done
from ..folder.row import DECIMALS, Row
from ..folder.scan import count_below
from ..requirements import Requirement
from .parser import warn

Write = Callable[[str], object]


def write_rows(
    rows: Iterable[Row], write: Write, form: Format, columns: Sequence[str], signature: str = "", heading: bool = True
) -> None:
    """Write rows as they come, each whole: one that was computed is not lost."""
    if heading and (begin := form.begin(columns, signature)):
        write(begin)
    try:
        for number, row in enumerate(rows):
            write((form.between if number else "") + form.row(row, columns))
    except BaseException:  # whatever ends the run, a document has its end, or nobody could read it
        with suppress(OSError):
            write(form.end)
        raise
    if form.end:
        write(form.end)


def format_of(name: str | None) -> Format:
    """Of the option that was given, if any."""
    return TEXT if name is None else FORMATS[name]


def counted(rows: Iterable[Row], done: Done) -> Iterator[Row]:
    """Count rows as they pass."""
    for row in rows:
        done.count(row)
        yield row


def required(rows: Iterable[Row], requirement: Requirement, done: Done) -> Iterator[Row]:
    """Count rows that are not as required as they pass; a line on standard error says what each of them lacks."""
    for row in rows:
        verdict = requirement.check(row.value)
        lacks = [f"expected {condition}, got {row.value(condition.column)}" for condition in verdict.unmet]
        lacks += [f"expected {condition}, which is not known" for condition in verdict.unknown]
        if lacks and row.score is not None:  # what could not be scored has failed already
            done.lacking += 1
            warn(f"{printable(row.path)}: {'; '.join(lacks)}")
        yield row


def status_of(done: Done, fail_under: float | None, *folders: str) -> int:
    """Say what went wrong; the exit status. If nothing was found, `folders` may have folders with pictures."""
    total = done.paths.total()
    if total == 0:
        below = sum(map(count_below, folders))
        hint = f"; {below:,} in the folders in it: add -r" if below else ""
        warn(f"no pictures found{hint}")
    elif done.failed:
        warn(f"{done.failed} of {total} failed")
    if done.failed or not total:
        return 1
    if done.lacking:
        warn(f"{done.lacking} of {total} are not as required")
        return 3
    if fail_under is not None and done.lowest < fail_under:
        warn(f"the lowest score is {done.lowest:.{DECIMALS}f}")
        return 3
    return 0


def grouped(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows in their order, with the group of each, once all are there."""
    from ..folder.groups import group_rows  # imports numpy, which help does without

    kept: list[Row] = []
    stopped: BaseException | None = None
    try:
        for row in rows:
            kept.append(row)
    except BaseException as error:  # Ctrl-C, a full disk for maps: what is there is grouped and written all the same
        stopped = error
    yield from group_rows(kept)
    if stopped:
        raise stopped


def ranked(rows: Iterable[Row], first: str, top: int | None) -> Iterator[Row]:
    """Rows in order of score, errors last; of `top` only so many, without errors, and no more are held in memory."""
    sign = 1 if first == "best" else -1
    kept: list[tuple[float, int, Row]] = []  # the one that goes next comes first
    failed: list[Row] = []
    stopped: BaseException | None = None
    try:
        for number, row in enumerate(rows):
            if row.score is None:
                failed += [] if top else [row]
            elif top and len(kept) == top:
                heapq.heappushpop(kept, (sign * row.score, -number, row))
            else:
                heapq.heappush(kept, (sign * row.score, -number, row))
    except BaseException as error:  # as in `grouped`
        stopped = error
    yield from (row for _, _, row in sorted(kept, key=lambda item: item[:2], reverse=True))
    yield from failed
    if stopped:
        raise stopped
