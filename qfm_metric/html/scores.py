"""A page of scored pictures, worst first: `write_report`, or a `ReportWriter` that rows pass while they are scored."""

import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from numbers import Integral
from types import TracebackType
from typing import IO

from ..atomic import naming, whole_file
from ..decoding.suffixes import check_no_picture
from ..folder.row import Row, checked
from ..own_files import is_page
from ..scale import BANDS, band_index
from .document import (
    BINS,
    SCORES,
    Card,
    Group,
    Head,
    Picture,
    bin_of,
    common_folder,
    paragraph,
    table,
    write_page,
)
from .thumbnails import LARGE, SMALL, thumbnail_if_readable

LIMIT = 20_000  # cards of a page
LARGE_LIMIT = 100  # the worst ones have a large picture
SORTS = [("worst first", "order"), ("best first", "falling"), ("name", "name"), ("largest picture first", "pixels")]
ERROR = len(BANDS)  # the group behind the bands

Span = tuple[int, int]  # place and length in the spool


def write_report(
    rows: Iterable[Row],
    path: str | os.PathLike[str],
    *,
    title: str = "Image quality",
    signature: str = "",
    limit: int = LIMIT,
    large: int = LARGE_LIMIT,
) -> None:
    """Write one self-contained HTML page: pictures worst first, their scores, a histogram, filters.

    Args:
        rows: What `score_files` yields, taken one at a time; pictures are read from their paths, maps from the overlays
            that rows name.
        path: Where to; appears when it is whole. If `rows` raises, the page has the rows so far, and the error goes on;
            if it raises before the first row, no page is written and one that was there stays.
        title: Headline.
        signature: What the scores were made with: `QFMScore().signature`.
        limit: Most cards. Of more pictures the page has the worst, and the histogram and the counts of all.
        large: How many of the worst get a large picture, read from their paths at the end.

    Raises:
        OSError: `path` cannot be written, or is there, not empty and no page of ours.
        ValueError: a score outside [0, 1]; `path` is named as a picture, and would cover it.
        TypeError: something else than rows; a title that is no text; a limit that is no integer.

    Examples:
        >>> write_report(score_files(["a.jpg"]), "report.html", signature=QFMScore().signature)  # doctest: +SKIP
    """
    with ReportWriter(path, title=title, signature=signature, limit=limit, large=large) as report:
        for row in checked(rows):
            report.add(row)


@dataclass(frozen=True)
class _Entry:
    """A row, and where in the spool its pictures' bytes lie."""

    row: Row
    thumbnail: Span | None = None
    map: Span | None = None


class ReportWriter:
    """The page of `write_report` for rows that go elsewhere, too: `with ReportWriter(path) as r: ... map(r.add, rows)`.

    Small pictures are written to a temporary file as they come; memory holds the paths and scores of `limit` rows.
    The arguments are those of `write_report`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        title: str = "Image quality",
        signature: str = "",
        limit: int = LIMIT,
        large: int = LARGE_LIMIT,
    ) -> None:
        for name, number, least in (("limit", limit, 1), ("large", large, 0)):  # before anything is scored
            if isinstance(number, bool) or not isinstance(number, Integral):
                raise TypeError(f"{name}: expected an integer, got {number!r}")
            if number < least:
                raise ValueError(f"{name}: expected at least {least}, got {number}")
        for name, text in (("title", title), ("signature", signature)):
            if not isinstance(text, str):
                raise TypeError(f"{name}: expected text, got {type(text).__name__}")
        check_no_picture(os.fspath(path))
        self.path, self.folder = path, os.path.dirname(os.path.abspath(path))
        self.title, self.signature, self.limit, self.large = title, signature, limit, large
        self.counts = [0] * (len(BANDS) + 1)
        self.histogram = [[0] * (len(BANDS) + 1) for _ in range(BINS)]
        self.sum = 0.0
        self._worst: list[tuple[float, int, _Entry]] = []  # a heap, the best of the worst on top
        self._errors: list[_Entry] = []
        self._stack = ExitStack()
        self._file: IO[str]
        self._spool: IO[bytes]

    def __enter__(self) -> "ReportWriter":
        with ExitStack() as stack:
            self._file = stack.enter_context(whole_file(self.path, is_ours=is_page, newline="\n"))
            self._spool = stack.enter_context(tempfile.TemporaryFile(dir=self.folder))
            self._stack = stack.pop_all()
        return self

    def add(self, row: Row, picture: bytes | None = None) -> Row:
        """Take a row; returns it, so that rows can be mapped through.

        Args:
            row: See `write_report`.
            picture: JPEG of a picture that is in no file; default: made from the row's path.

        Raises:
            TypeError: it is no row.
        """
        if not isinstance(row, Row):
            raise TypeError(f"row: expected a Row, as score_files yields, got {type(row).__name__}")
        if row.score is None:
            self.counts[ERROR] += 1
            if len(self._errors) < self.limit:
                self._errors.append(_Entry(row))
            return row
        group = band_index(row.score)
        self.counts[group] += 1
        self.histogram[bin_of(row.score)][group] += 1
        self.sum += row.score
        number = sum(self.counts)
        if len(self._worst) < self.limit or (-row.score, -number) > self._worst[0][:2]:
            entry = _Entry(
                row, self._store(picture or thumbnail_if_readable(row.path, SMALL)), self._store(_map_of(row))
            )
            push = heapq.heappush if len(self._worst) < self.limit else heapq.heapreplace
            push(self._worst, (-row.score, -number, entry))
        return row

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the page with the rows so far, whatever happened; none if it happened before the first."""
        if error is not None and not sum(self.counts):
            self._stack.__exit__(kind, error, trace)
            return
        with naming(self.path), self._stack:  # closing may find the disk full, too
            quick = isinstance(error, KeyboardInterrupt)  # whoever pressed it waits for the end
            write_page(self._file, self._head(error), self._cards(0 if quick else self.large), self.folder)

    def _store(self, data: bytes | None) -> Span | None:
        if data is None:
            return None
        with naming(self.path):
            at = self._spool.seek(0, os.SEEK_END)
            self._spool.write(data)
        return at, len(data)

    def _fetch(self, span: Span | None) -> bytes | None:
        if span is None:
            return None
        self._spool.seek(span[0])
        return self._spool.read(span[1])

    def _cards(self, large: int) -> Iterator[Card]:
        entries = [entry for _, _, entry in sorted(self._worst, key=lambda item: (-item[0], -item[1]))]
        base = common_folder(entry.row.path for entry in [*entries, *self._errors])
        for i, entry in enumerate([*entries, *self._errors]):
            row = entry.row
            big = thumbnail_if_readable(row.path, LARGE) if i < large and row.score is not None else None
            picture = Picture(row, "", self._fetch(entry.thumbnail), big, self._fetch(entry.map))
            group = ERROR if row.score is None else band_index(row.score)
            yield Card(row.path[len(base) :], row.score, group, [picture])

    def _head(self, error: BaseException | None) -> Head:
        total, failed = sum(self.counts), self.counts[ERROR]
        facts = [("pictures", f"{total:,}")]
        if total > failed:
            facts.append(("mean score", f"{self.sum / (total - failed):.3f}, from 0 (bad) to 1 (excellent)"))
        if failed:
            facts.append(("could not be scored", f"{failed:,}"))
        summary = table(facts)
        if error is not None:
            summary += paragraph(f"The run ended early ({type(error).__name__}): these are the pictures until then.")
        names = [name for name, _ in BANDS]
        return Head(
            title=self.title,
            scale=SCORES,
            groups=[Group(name, i, self.counts[i]) for i, name in enumerate([*names, "error"])],
            histogram=self.histogram,
            sorts=SORTS,
            total=total,
            kept="the worst",
            summary=summary,
            footer=paragraph(self.signature) if self.signature else "",
        )


def _map_of(row: Row) -> bytes | None:
    """PNG of the map of which the row names an overlay; None if there is none, or the file has gone."""
    if not row.extra.get("map"):
        return None
    from ..overlay import encode_map, read_cells

    with suppress(OSError):  # Pillow's own is one
        cells = read_cells(str(row.extra["map"]))
        return None if cells is None else encode_map(cells)
    return None
