"""What happens to one file, in whatever process: decode, look, score, draw, say what was wrong."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..decoding.errors import lacks_memory
from ..decoding.failures import explain
from ..defects import top_defect
from ..facts import Facts, facts_of, jpeg_bytes, read_encoding
from ..facts.capture import capture_time
from ..images import ImageError, Pixels, file_bytes, is_blank, naming, open_image, read_pixels
from ..overlay import draw_overlay, save_overlay
from ..panorama.gpano import projection_of
from ..panorama.score import around, rate_around
from ..rating import Metric, Rating, Views, common_note, errors_of
from ..score import GPU_BATCH
from ..torch_defaults import no_autocast
from .row import FACT_COLUMNS, Moment, Row, Value
from .tiles import split_tiles

EQUIRECTANGULAR = "equirectangular"  # in a row's note
Wait = Callable[[int], AbstractContextManager[object]]  # for room for so many pixels


@dataclass(frozen=True)
class EncodedImage:
    """A file that is not on a disk: in an archive, a table, an object store.

    Attributes:
        path: What its row and errors call it.
        data: The bytes of the file; or a function that returns them, which is called when they are needed. What it
            raises becomes the error of the row. With worker processes it has to be picklable, or the row has an error.

    Raises:
        TypeError: no name.
    """

    path: str
    data: bytes | Callable[[], bytes]

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | bytes | os.PathLike):
            raise TypeError(f"path: expected what the picture is called, got {type(self.path).__name__}")
        object.__setattr__(self, "path", os.fsdecode(self.path))


Source = str | EncodedImage


def no_wait(pixels: int) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True)
class OneFile:
    """Scores files one by one, or some at a time: `look` at each, then `finish` them together.

    Attributes:
        metric, tile, dtype, maps, explain, facts, projection, moments: See `score_files`.
        wait: For room to decode a picture.
    """

    metric: Metric
    tile: int | None = None
    dtype: torch.dtype = torch.float32
    maps: str | None = None
    explain: bool = False
    facts: bool = False
    projection: str = "flat"
    moments: bool = False
    wait: Wait = no_wait

    def __call__(self, source: Source) -> Row:
        """Score one file by itself; one that there is too little memory for has a row with its error."""
        try:
            return next(self.finish([self.look(source)])) if self.tile is None else self._tiled(source, self.tile)
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
            return Row(path_of(source), error=f"{path_of(source)!r}: {explain(error)}")

    def _tiled(self, source: Source, side: int) -> Row:
        path = path_of(source)
        try:
            with self._decoded(source) as (pixels, facts, *_):
                tiles = split_tiles(pixels, side)
                found: list[Rating] = []
                for i in range(0, len(tiles), GPU_BATCH):  # the views of all tiles would take 8 times the pixels
                    found += self._rate([self._views(path, tile) for tile in tiles[i : i + GPU_BATCH]])
                scores = [rating.score for rating in found]
                row = _without_score(path, pixels)
                note = row.note or common_note(found)
                with naming(path), errors_of(self.metric):
                    mean = sum(scores) / len(scores)
                    return replace(row, score=mean, note=note, extra={"lowest": min(scores), **facts})
        except ImageError as error:
            return Row(path, error=str(error))

    def look(self, source: Source) -> tuple[Row, Views | None]:
        """A row that lacks its score, and the views; or a whole row: with an error, or of a panorama."""
        path = path_of(source)
        try:
            with self._decoded(source) as (pixels, facts, gpano, moment):
                row = replace(_without_score(path, pixels), extra=facts, moment=moment)
                if self.projection == "equirect" or gpano:
                    row = self._panorama(row, pixels, gpano)
                    if row.error or row.score is not None:  # views that are many have filled a batch by themselves
                        return row, None
                return row, self._views(path, pixels)
        except ImageError as error:
            return Row(path, error=str(error)), None

    def finish(self, looked: Sequence[tuple[Row, Views | None]]) -> Iterator[Row]:
        """Rows with their scores and maps, from those that lack them."""
        found = iter(self._rate([views for _, views in looked if views is not None]))
        for row, views in looked:
            if views is not None:
                rating = next(found)
                row = _described(self._rated(row, rating), rating)
                if rating.quality_map is not None and row.score is not None:
                    whole = self.metric.show(views, (row.height or 1, row.width or 1))
                    row = self._with_map(row, whole, rating.quality_map)
            yield row

    def _rated(self, row: Row, rating: Rating) -> Row:
        """A row with what the metric says of its picture; with an error if that is no number."""
        try:
            with naming(row.path), errors_of(self.metric):
                extra = {**row.extra, **(defect_columns(rating.defects) if self.explain else {})}
                return replace(row, score=rating.score, std=rating.std, note=row.note or rating.note, extra=extra)
        except ImageError as error:
            return Row(row.path, error=str(error))

    def _rate(self, views: Sequence[Views]) -> list[Rating]:
        with self._precision():
            return self.metric.rate(views, maps=self.maps is not None, descriptors=self.moments)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        device, lower = self.metric.device, self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(device.type, self.dtype) if lower else no_autocast(device):
            yield

    def _panorama(self, row: Row, pixels: Pixels, gpano: Mapping[str, str]) -> Row:
        """The row of an equirectangular picture; without a score if it is to be scored as flat."""
        with naming(row.path), errors_of(self.metric), torch.inference_mode():
            try:
                looked = around(self.metric, pixels, gpano)
            except ImageError as error:
                if self.projection == "equirect":
                    raise
                return _noted(row, f"{EQUIRECTANGULAR}, scored as flat: {str(error).split(';')[0]}")
        with self._precision():
            found = rate_around(self.metric, looked, maps=self.maps is not None)
        row = self._rated(row, Rating(found.score, defects=found.defects, note=found.note))
        if row.score is None:
            return row
        row = _noted(row, EQUIRECTANGULAR)
        if row.moment is not None:  # what the whole shows as it lies in the file
            row = _described(row, self._rate([self._views(row.path, pixels)])[0])
        if found.quality_map is None:
            return row
        return self._with_map(row, looked.small, found.quality_map.nan_to_num(found.score))

    @contextmanager
    def _decoded(self, source: Source) -> Iterator[tuple[Pixels, dict[str, Value], dict[str, str], Moment | None]]:
        """Pixels of a file, for which there is room inside, its facts, its GPano properties, and when it was taken."""
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
                gpano = {} if self.projection == "flat" else projection_of(image)
                pixels = read_pixels(image)
                moment = Moment(capture_time(image)) if self.moments else None
            yield pixels, facts_columns(facts_of(encoding, pixels)) if encoding else {}, gpano, moment

    def _views(self, path: str, pixels: Pixels) -> Views:
        with naming(path), errors_of(self.metric), torch.inference_mode():
            return self.metric.look(pixels)

    def _with_map(self, row: Row, whole: Tensor, quality_map: Tensor) -> Row:
        """Write the overlay over the picture as the metric sees the whole of it, in its own shape."""
        assert self.maps is not None
        overlay = draw_overlay(whole, quality_map, row.score)
        folders = [part for part in Path(row.path).parent.parts if part not in (Path(row.path).anchor, os.pardir)]
        path = os.fspath(save_overlay(overlay, row.path, Path(self.maps, *folders)))
        return replace(row, extra={**row.extra, "map": path})


def _without_score(path: str, pixels: Pixels) -> Row:
    return Row(path, width=pixels.shape[1], height=pixels.shape[0], note="blank" if is_blank(pixels) else None)


def _noted(row: Row, note: str) -> Row:
    return replace(row, note=f"{row.note}; {note}" if row.note else note)


def _described(row: Row, rating: Rating) -> Row:
    """A row whose moment, if it has one, says what the picture shows.

    Raises:
        ValueError: the metric gives none.
    """
    if row.moment is None:
        return row
    if rating.descriptor is None:
        raise ValueError(
            "moments: expected a metric that describes what pictures show, this one does not; use QFMScore"
        )
    descriptor = np.asarray(rating.descriptor.cpu(), "<f2").tobytes()
    return replace(row, moment=replace(row.moment, descriptor=descriptor))


def path_of(source: Source) -> str:
    return source.path if isinstance(source, EncodedImage) else source


def defect_columns(costs: Mapping[str, float] | None) -> dict[str, Value]:
    """What is wrong by the names in `DEFECT_COLUMNS`."""
    assert costs is not None  # the metric has `defects`
    return {"top_defect": top_defect(costs), **costs}


def facts_columns(facts: Facts) -> dict[str, Value]:
    """The facts by the names in `FACT_COLUMNS`."""
    values = {name: getattr(facts, name) for name in FACT_COLUMNS}
    return values | {"recompressed": None if facts.recompressed is None else int(facts.recompressed)}
