"""A page of scored pictures, worst first: `write_report`, or a `ReportWriter` that rows pass while they are scored."""

import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO, Any, TypeVar

from PIL import UnidentifiedImageError

from ..images import ImageError
from ..overlay import encode_map, read_map
from ..scale import BANDS, band_index
from .document import (
    BINS,
    LARGE,
    SCORES,
    SMALL,
    Card,
    Group,
    Head,
    Picture,
    bin_of,
    common_folder,
    page_file,
    paragraph,
    table,
    write_page,
    writing,
)
from .thumbnails import thumbnail

LIMIT = 10_000  # cards of a page
LARGE_LIMIT = 100  # the worst ones have a large picture
SORTS = [("worst first", "order"), ("best first", "falling"), ("name", "name"), ("largest picture first", "pixels")]
ERROR = len(BANDS)  # the group behind the bands

Row = TypeVar("Row")
Span = tuple[int, int]  # place and length in the spool


def write_report(
    rows: Iterable[Any],
    path: str | os.PathLike[str],
    *,
    title: str = "Image quality",
    report_string: str = "",
    limit: int = LIMIT,
    large: int = LARGE_LIMIT,
) -> None:
    """Write one self-contained HTML page: pictures worst first, their scores, a histogram, filters.

    Args:
        rows: Objects or mappings with `path` (str) and `score` (float in [0, 1], higher is better; None if there is
            `error`, str); optional: `width` and `height` (px), `thumbnail` (bytes of a JPEG; made from the path if
            absent), `map` (a quality map to lay over the picture: bytes or path of a PNG, or path of an overlay of
            `save_overlay`, of which the map is taken). Taken one at a time.
        path: Where to; appears when it is whole. If `rows` raises, the page has the rows so far, and the error goes on;
            if it raises before the first row, no page is written and one that was there stays.
        title: Headline.
        report_string: What the scores were made with: `QFMScore().report`.
        limit: Most cards. Of more pictures the page has the worst, and the histogram and the counts of all.
        large: How many of the worst get a large picture, read from their paths at the end.

    Raises:
        OSError: `path` cannot be written.
        ValueError: a score outside [0, 1], or a map that is no PNG.

    Examples:
        >>> write_report(score_files("photos"), "report.html", report_string=QFMScore().report)  # doctest: +SKIP
    """
    with ReportWriter(path, title=title, report_string=report_string, limit=limit, large=large) as report:
        for row in rows:
            report.add(row)


@dataclass(frozen=True)
class _Entry:
    """A row without its pictures' bytes, which lie in the spool."""

    picture: Picture
    thumbnail: Span | None
    map: Span | None


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
        report_string: str = "",
        limit: int = LIMIT,
        large: int = LARGE_LIMIT,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit: expected at least 1, got {limit}")
        self.path = os.path.abspath(path)
        self.title, self.report_string, self.limit, self.large = title, report_string, limit, large
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
            self._file = stack.enter_context(page_file(self.path))
            self._spool = stack.enter_context(tempfile.TemporaryFile(dir=os.path.dirname(self.path)))
            self._stack = stack.pop_all()
        return self

    def add(self, row: Row) -> Row:
        """Take a row; returns it, so that rows can be mapped through."""
        values = row if isinstance(row, Mapping) else _Attributes(row)
        picture = Picture(
            os.fspath(values["path"]),
            values["score"],
            values.get("error"),
            width=values.get("width"),
            height=values.get("height"),
        )
        if picture.score is None:
            self.counts[ERROR] += 1
            if len(self._errors) < self.limit:
                self._errors.append(_Entry(picture, None, None))
            return row
        group = band_index(picture.score)
        self.counts[group] += 1
        self.histogram[bin_of(picture.score)][group] += 1
        self.sum += picture.score
        number = sum(self.counts)
        if len(self._worst) < self.limit or (-picture.score, -number) > self._worst[0][:2]:
            entry = _Entry(picture, self._store(self._thumbnail(values)), self._store(_read_map(values.get("map"))))
            push = heapq.heappush if len(self._worst) < self.limit else heapq.heapreplace
            push(self._worst, (-picture.score, -number, entry))
        return row

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the page with the rows so far, whatever happened; none if it happened before the first."""
        if error is not None and not sum(self.counts):
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack, writing(self.path):
            quick = isinstance(error, KeyboardInterrupt)  # whoever pressed it waits for the end
            write_page(
                self._file, self._head(error), self._cards(0 if quick else self.large), os.path.dirname(self.path)
            )

    @staticmethod
    def _thumbnail(values: Any) -> bytes | None:
        if values.get("thumbnail"):
            return bytes(values["thumbnail"])
        with suppress(ImageError):  # scored once, gone now
            return thumbnail(values["path"], **SMALL)
        return None

    def _store(self, data: bytes | None) -> Span | None:
        if data is None:
            return None
        with writing(self.path):
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
        base = common_folder(entry.picture.path for entry in [*entries, *self._errors])
        for i, entry in enumerate([*entries, *self._errors]):
            picture = replace(entry.picture, thumbnail=self._fetch(entry.thumbnail), map=self._fetch(entry.map))
            if i < large and picture.score is not None:
                with suppress(ImageError):
                    picture = replace(picture, large=thumbnail(picture.path, **LARGE))
            group = ERROR if picture.score is None else band_index(picture.score)
            yield Card(picture.path[len(base) :], picture.score, group, [picture])

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
            footer=paragraph(self.report_string) if self.report_string else "",
        )


class _Attributes:
    """An object's attributes as a mapping's items."""

    def __init__(self, row: object) -> None:
        self.row = row

    def __getitem__(self, name: str) -> Any:
        return getattr(self.row, name)

    def get(self, name: str) -> Any:
        return getattr(self.row, name, None)


def _read_map(source: bytes | str | os.PathLike[str] | None) -> bytes | None:
    """The bytes of a map's PNG; None if its file has gone.

    Raises:
        ValueError: no PNG.
    """
    if source is None:
        return None
    if isinstance(source, bytes):
        data = source
    else:
        try:
            with open(source, "rb") as file:
                data = file.read()
            values = read_map(source)
        except UnidentifiedImageError:
            values = None
        except OSError:
            return None
        if values is not None:
            return encode_map(values)
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"map: expected a PNG, got {data[:8]!r}...; save it as PNG")
    return data
