"""One self-contained HTML page of cards, for `qfm-metric report` and `compare`, written card by card. It loads nothing.

What goes into the page is data: JSON that cannot end its script block, or escaped text. A content security policy lets
only the page's own script and style work, known by their hashes, and pictures that are inside it.
"""

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import IO, Any
from urllib.parse import quote

from ..defects import ADDED, NAMES
from ..folder.file_names import name_bytes, shown
from ..folder.row import Row
from ..scale import BANDS, MAP_COLOURS, band

BINS = 40  # of a histogram; whole numbers of them fit into a band
SCRIPTS = ("data", "cards", "grid", "filter", "histogram", "marks", "lists", "view", "start")  # one after the other


@dataclass(frozen=True)
class Picture:
    """A picture of a card: its row and what is shown of it; `label` tells two apart, and `file` is what is linked."""

    row: Row
    label: str = ""
    thumbnail: bytes | None = None  # JPEG
    large: bytes | None = None  # JPEG
    map: bytes | None = None  # PNG
    file: str = ""  # default: the row's path


@dataclass(frozen=True)
class Card:
    """What the page sorts and filters. `value` is None for an error, `group` a place in `Head.groups`."""

    name: str
    value: float | None
    group: int
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Group:
    """A box to tick: a word, a colour of the style sheet (0 bad to 4 excellent, 5 grey), and the count of all."""

    name: str
    colour: int
    count: int


@dataclass(frozen=True)
class Scale:
    """What the cards' values are and where they lie; `words` name ranges: `name` and `centre`."""

    value: str
    low: float
    high: float
    ticks: Sequence[float]
    words: Sequence[Mapping[str, Any]]
    signed: bool = False


SCORES = Scale(
    "score", 0.0, 1.0, [0.0, *(end for _, end in BANDS)], [{"name": w, "centre": end - 0.1} for w, end in BANDS]
)


@dataclass(frozen=True)
class Head:
    """What stands around the cards. `kept` says which cards the page has if not all `total`."""

    title: str
    scale: Scale
    groups: Sequence[Group]
    histogram: Sequence[Sequence[int]]  # bins, groups
    sorts: Sequence[tuple[str, str]]  # label, key: order (as written), rising, falling, name, pixels
    total: int
    kept: str
    summary: str  # HTML, as the footer
    footer: str


def bin_of(value: float, scale: Scale = SCORES) -> int:
    """The histogram's bin of a value; one at the edge of a band counts into that band."""
    return min(BINS - 1, max(0, int((value - scale.low) / (scale.high - scale.low) * BINS + 1e-9)))


def common_folder(paths: Iterable[str]) -> str:
    """The beginning that all paths share, up to and with a separator, as it is written; empty if there is none."""
    shared = os.path.commonprefix(list(paths))  # noqa: RUF071 -- of characters: commonpath would tidy a//b and ./a
    return shared[: len(shared) - len(os.path.basename(shared))]


def write_page(file: IO[str], head: Head, cards: Iterable[Card], folder: str) -> None:
    """Write the page, a card at a time.

    Args:
        file: Where to, text.
        folder: Where the page will lie: links to the pictures are relative to it.
        head: What stands around the cards.
        cards: In the order in which the page shows them first.
    """
    style, script = _asset("page.css"), _script()
    content = asdict(head) | {"map_colours": MAP_COLOURS}
    del content["summary"], content["footer"]
    parts = {
        "title": html.escape(shown(head.title)),
        "policy": f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'",
        "style": style,
        "script": script,
        "summary": head.summary,
        "footer": head.footer,
        "page": _json(content),
    }
    for text in re.split(r"(\{\{\w+\}\})", _asset("page.html")):
        name = text[2:-2] if text.startswith("{{") else ""
        if name == "cards":
            for i, card in enumerate(cards):
                file.write(f"{',' if i else ''}\n{_json(_card(card, folder))}")
        else:
            file.write(parts[name] if name else text)


def table(rows: Iterable[tuple[str, str]]) -> str:
    """An HTML table of names and values, given as text."""
    cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def paragraph(text: str) -> str:
    """Text as an HTML paragraph."""
    return f"<p>{html.escape(text)}</p>"


def _card(card: Card, folder: str) -> dict[str, Any]:
    return {
        "name": shown(card.name),
        "value": card.value,
        "group": card.group,
        "pictures": [_picture(picture, folder) for picture in card.pictures],
    }


def _picture(picture: Picture, folder: str) -> dict[str, Any]:
    row = picture.row
    content: dict[str, Any] = {"score": row.score, "label": picture.label, "path": shown(row.path)}
    content["href"] = _href(picture.file or row.path, folder)
    content |= {name: getattr(row, name) for name in ("std", "width", "height", "note")}
    if row.score is not None:
        content["band"] = band(row.score)
        costs = {name: row.value(name) for name in NAMES}
        content["defects"] = {name: cost for name, cost in costs.items() if isinstance(cost, float) and cost >= ADDED}
    if row.error:
        content["error"] = shown(row.error)
    for name in ("thumbnail", "large", "map"):
        if data := getattr(picture, name):
            content[name] = base64.b64encode(data).decode("ascii")
    return {name: value for name, value in content.items() if name == "score" or value not in (None, "", {})}


def _href(path: str, folder: str) -> str:
    """A link to the file, relative to the page; none for what is not a file, such as an object store's."""
    if "://" in path:
        return ""
    with suppress(ValueError):  # another drive of Windows
        path = os.path.relpath(path, folder)
    return quote(name_bytes(path.replace(os.sep, "/")))


def _json(content: Any) -> str:
    """JSON in ASCII that cannot end a script block."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def _script() -> str:
    """The scripts in one block, which keeps their names from those of the browser."""
    return '"use strict";\n{\n' + "\n".join(_asset(f"{name}.js") for name in SCRIPTS) + "}\n"


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
