"""The page of films: a strip of each in time, coloured by the bands, and the frames that were scored."""

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..atomic import whole_file
from ..folder.file_names import shown
from ..folder.row import Row
from ..own_files import is_page
from ..scale import BANDS, band_index
from .document import BINS, SCORES, Card, Group, Head, Picture, bin_of, paragraph, table, write_page
from .thumbnails import SMALL, encode_thumbnail

if TYPE_CHECKING:
    from ..images import Pixels

LIMIT = 2_000  # frames in a page, over all films; each is some 3 kB
SORTS = [("time", "order"), ("worst first", "rising"), ("best first", "falling"), ("name", "name")]
HEIGHT = 10  # of a strip, in units of its view box
LEAST = 0.002  # of a strip's width: a frame can be seen


@dataclass(frozen=True)
class Strip:
    """A film, for the page.

    Attributes:
        path: Of the film.
        facts: Names and values that sum it up.
        rows, times: Of the frames, in order.
        seconds: How long the film is.
    """

    path: str
    facts: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    times: Sequence[float]
    seconds: float


class FilmPage:
    """Gathers what `write` puts into a page: thumbnails as frames pass, then a strip a film."""

    def __init__(self) -> None:
        self.strips: list[Strip] = []
        self._cards: list[Card] = []
        self.total = 0

    def add(self, path: str, row: Row, pixels: "Pixels") -> None:
        """Take a frame: `(H, W, 3)` uint8."""
        self.total += 1
        if len(self._cards) < LIMIT and row.score is not None:
            picture = Picture(row, "", encode_thumbnail(pixels, **SMALL), file=path)
            self._cards.append(Card(row.path, row.score, band_index(row.score), [picture]))

    def write(self, path: str | os.PathLike[str], *, title: str, signature: str = "") -> None:
        """Write one self-contained HTML page.

        Raises:
            OSError: `path` cannot be written, or is there and no page of ours.
        """
        histogram = [[0] * len(BANDS) for _ in range(BINS)]
        counts = [0] * len(BANDS)
        for strip in self.strips:
            for row in strip.rows:
                score = row.score or 0.0
                histogram[bin_of(score)][band_index(score)] += 1
                counts[band_index(score)] += 1
        head = Head(
            title=title,
            scale=SCORES,
            groups=[Group(name, i, counts[i]) for i, (name, _) in enumerate(BANDS)],
            histogram=histogram,
            sorts=SORTS,
            total=self.total,
            kept="the first",
            summary="".join(map(_strip, self.strips)),
            footer=paragraph(signature) if signature else "",
        )
        with whole_file(path, is_ours=is_page, newline="\n") as file:
            write_page(file, head, self._cards, os.path.dirname(os.path.abspath(path)))


def _strip(strip: Strip) -> str:
    """A film's facts, and a bar for each frame from its time to that of the next, as high as its score."""
    length = max(strip.seconds, strip.times[-1] if strip.times else 0.0) or 1.0
    ends = [*strip.times[1:], length]
    bars = []
    for row, start, end in zip(strip.rows, strip.times, ends, strict=True):
        score = row.score or 0.0
        width = max(end - start, LEAST * length)
        bars.append(
            f'<rect class="g{band_index(score)}" x="{start / length:.5f}" y="{HEIGHT * (1 - score):.3f}" '
            f'width="{width / length:.5f}" height="{HEIGHT * score:.3f}">'
            f"<title>{start:.1f} s: {score:.3f}</title></rect>"
        )
    picture = (
        f'<svg viewBox="0 0 1 {HEIGHT}" width="100%" height="48" preserveAspectRatio="none" role="img" '
        f'aria-label="score over time">{"".join(bars)}</svg>'
    )
    return f"<p>{html.escape(shown(strip.path))}</p>{picture}{table(strip.facts)}"
