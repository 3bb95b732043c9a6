"""What happens to one file, in whatever process: decode, look, score, draw, say what was wrong."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..defects import top_defect
from ..facts import Facts, facts_of, jpeg_bytes, read_encoding
from ..images import ImageError, Pixels, file_bytes, is_blank, naming, open_image, read_pixels
from ..overlay import draw_overlay, save_overlay
from ..score import GPU_BATCH, Metric, Rating, Views
from ..torch_defaults import no_autocast
from .row import FACT_COLUMNS, Row, Value
from .tiles import split_tiles

Wait = Callable[[int], AbstractContextManager[object]]  # for room for so many pixels


@dataclass(frozen=True)
class EncodedImage:
    """A file that is not on a disk: in an archive, a table, an object store.

    Attributes:
        path: What its row and errors call it.
        data: The bytes of the file; or a function that returns them, which is called when they are needed. What it
            raises becomes the error of the row. With worker processes it has to be picklable.
    """

    path: str
    data: bytes | Callable[[], bytes]


Source = str | EncodedImage


def no_wait(pixels: int) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True)
class OneFile:
    """Scores files one by one, or some at a time: `look` at each, then `finish` them together.

    Attributes:
        metric, tile, dtype, maps, explain, facts: See `score_files`.
        wait: For room to decode a picture.
    """

    metric: Metric
    tile: int | None = None
    dtype: torch.dtype = torch.float32
    maps: str | None = None
    explain: bool = False
    facts: bool = False
    wait: Wait = no_wait

    def __call__(self, source: Source) -> Row:
        """Score one file by itself."""
        if self.tile is None:
            return next(self.finish([self.look(source)]))
        path = path_of(source)
        try:
            with self._decoded(source) as (pixels, facts):
                tiles = split_tiles(pixels, self.tile)
                found: list[Rating] = []
                for i in range(0, len(tiles), GPU_BATCH):  # the views of all tiles would take 8 times the pixels
                    found += self._rate([self._views(path, tile) for tile in tiles[i : i + GPU_BATCH]])
                scores = [rating.score for rating in found]
                row = _without_score(path, pixels)
                notes = {rating.note for rating in found}
                note = row.note or (notes.pop() if len(notes) == 1 else None)  # a tile may be of sky alone
                mean = sum(scores) / len(scores)
                return replace(row, score=mean, note=note, extra={"lowest": min(scores), **facts})
        except ImageError as error:
            return Row(path, error=str(error))

    def look(self, source: Source) -> tuple[Row, Views | None]:
        """A row that lacks its score, and the views; or a row with an error."""
        path = path_of(source)
        try:
            with self._decoded(source) as (pixels, facts):
                return replace(_without_score(path, pixels), extra=facts), self._views(path, pixels)
        except ImageError as error:
            return Row(path, error=str(error)), None

    def finish(self, looked: Sequence[tuple[Row, Views | None]]) -> Iterator[Row]:
        """Rows with their scores and maps, from those that lack them."""
        found = iter(self._rate([views for _, views in looked if views is not None]))
        for row, views in looked:
            if views is not None:
                rating = next(found)
                row = replace(row, score=rating.score, std=rating.std, note=row.note or rating.note)
                if self.explain:
                    row = replace(row, extra={**row.extra, **defect_columns(rating)})
                if rating.quality_map is not None:
                    row = replace(row, extra={**row.extra, "map": self._save_map(row, views, rating)})
            yield row

    def _rate(self, views: Sequence[Views]) -> list[Rating]:
        device = self.metric.device
        lower = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(device.type, self.dtype) if lower else no_autocast(device):
            return self.metric.rate(views, maps=self.maps is not None)

    @contextmanager
    def _decoded(self, source: Source) -> Iterator[tuple[Pixels, dict[str, Value]]]:
        """Pixels of a file, for which there is room inside, and its facts."""
        path = path_of(source)
        with naming(path):
            if isinstance(source, EncodedImage):
                data: bytes | None = file_bytes(source.data)
            else:
                data = jpeg_bytes(path) if self.facts else None
        with ExitStack() as held:
            with open_image(path, data) as image:
                held.enter_context(self.wait(image.width * image.height))
                encoding = read_encoding(image, data) if self.facts else None
                pixels = read_pixels(image)
            yield pixels, facts_columns(facts_of(encoding, pixels)) if encoding else {}

    def _views(self, path: str, pixels: Pixels) -> Views:
        with naming(path), torch.inference_mode():
            return self.metric.look(pixels)

    def _save_map(self, row: Row, views: Views, rating: Rating) -> str:
        """Write the overlay over the picture as the metric sees the whole of it, in its own shape; the path."""
        assert self.maps is not None
        assert rating.quality_map is not None
        whole = self.metric.show(views, (row.height or 1, row.width or 1))
        overlay = draw_overlay(whole, rating.quality_map, row.score)
        folders = [part for part in Path(row.path).parent.parts if part not in (Path(row.path).anchor, os.pardir)]
        return os.fspath(save_overlay(overlay, row.path, Path(self.maps, *folders)))


def _without_score(path: str, pixels: Pixels) -> Row:
    return Row(path, width=pixels.shape[1], height=pixels.shape[0], note="blank" if is_blank(pixels) else None)


def path_of(source: Source) -> str:
    return source.path if isinstance(source, EncodedImage) else source


def defect_columns(rating: Rating) -> dict[str, Value]:
    """What is wrong by the names in `DEFECT_COLUMNS`."""
    assert rating.defects is not None  # the metric has `defects`
    return {"top_defect": top_defect(rating.defects), **rating.defects}


def facts_columns(facts: Facts) -> dict[str, Value]:
    """The facts by the names in `FACT_COLUMNS`."""
    values = {name: getattr(facts, name) for name in FACT_COLUMNS}
    return values | {"recompressed": None if facts.recompressed is None else int(facts.recompressed)}
