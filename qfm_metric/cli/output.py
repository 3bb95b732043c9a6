"""How the command's rows are ordered, counted and written."""

import heapq
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..folder import journal as rows
from ..folder.one_file import Row


@dataclass
class Tally:
    """What was written, in numbers."""

    total: int = 0
    failed: int = 0
    lowest: float = 1.0

    def count(self, results: Iterable[Row]) -> Iterator[Row]:
        """Count rows as they pass."""
        for row in results:
            self.total += 1
            self.failed += row.score is None
            self.lowest = min(self.lowest, 1.0 if row.score is None else round(row.score, rows.DECIMALS))
            yield row

    def status(self, fail_under: float | None) -> int:
        """Say what went wrong; the exit status."""
        if self.total == 0:
            print("qfm-metric: no pictures found", file=sys.stderr)
        elif self.failed:
            print(f"qfm-metric: {self.failed} of {self.total} failed", file=sys.stderr)
        if self.failed or not self.total:
            return 1
        if fail_under is not None and self.lowest < fail_under:
            print(f"qfm-metric: the lowest score is {self.lowest:.{rows.DECIMALS}f}", file=sys.stderr)
            return 3
        return 0


def write_rows(
    results: Iterable[Row],
    write: Callable[[str], object],
    form: str | None,
    report: str = "",
    columns: Sequence[str] = rows.COLUMNS,
    heading: bool = True,
) -> None:
    """Write rows as they come, each whole: one that was computed is not lost."""
    if form == "csv" and heading:
        write(rows.csv_line(columns))
    if form == "json":
        write(f'{{"report": {json.dumps(report)}, "results": [')
        between = "\n  "
        for row in results:
            write(between + rows.json_row(row, columns).rstrip("\n"))
            between = ",\n  "
        write("\n]}\n")
        return
    render = {"csv": rows.csv_row, None: rows.text_row}.get(form, rows.json_row)
    for row in results:
        write(render(row, columns))


def to_screen(text: str) -> None:
    """Write to standard output, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def ranked(results: Iterable[Row], first: str, top: int | None) -> Iterator[Row]:
    """Rows in order of score, errors last; of `top` only so many, without errors, and no more are held in memory."""
    sign = 1 if first == "best" else -1
    kept: list[tuple[float, int, Row]] = []  # the one that goes next comes first
    failed: list[Row] = []
    stopped: KeyboardInterrupt | None = None
    try:
        for number, row in enumerate(results):
            if row.score is None:
                failed += [] if top else [row]
            elif top and len(kept) == top:
                heapq.heappushpop(kept, (sign * row.score, -number, row))
            else:
                heapq.heappush(kept, (sign * row.score, -number, row))
    except KeyboardInterrupt as interrupt:  # what is there is written all the same
        stopped = interrupt
    yield from (row for _, _, row in sorted(kept, key=lambda item: item[:2], reverse=True))
    yield from failed
    if stopped:
        raise stopped


def with_progress(results: Iterable[Row]) -> Iterator[Row]:
    """Count on standard error, on one line."""
    for done, result in enumerate(results, start=1):
        print(f"\r{done} scored", end="", file=sys.stderr, flush=True)
        yield result
    print(file=sys.stderr)
