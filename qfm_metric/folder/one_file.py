"""What happens to one file, in whatever process: decode, look, score, draw, say what was wrong."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path

import torch
from torch import Tensor

from ..images import ImageError, Pixels, naming, open_image, read_pixels
from ..model import resize
from ..overlay import draw_overlay, save_overlay
from ..score import GPU_BATCH, QFMScore
from .views import preprocess_pixels, split_tiles

Network = Callable[[Tensor], Tensor]  # views to scores, as `QFMNet.score_views`
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


@dataclass(frozen=True)
class Row:
    """What is known of one file: a score, or what went wrong.

    Attributes:
        path: As it was given.
        score: In [0, 1], higher is better; with tiles, the mean of theirs. None if there is an error.
        error: None if there is a score.
        width, height: Of the upright picture in pixels; None if there is an error.
        lowest: The lowest score of a tile; None unless tiles were asked for.
        map: Path of the overlay that was written, see `qfm_metric.overlay`; None unless maps were asked for.
    """

    path: str
    score: float | None = None
    error: str | None = None
    width: int | None = None
    height: int | None = None
    lowest: float | None = None
    map: str | None = None


def no_wait(pixels: int) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True)
class Job:
    """What happens to a file in a worker."""

    metric: QFMScore
    tile: int | None
    dtype: torch.dtype
    maps: str | None = None
    wait: Wait = no_wait
    network: Network | None = None

    def __call__(self, source: Source) -> Row:
        """Score one file by itself."""
        if self.tile is None:
            return next(self.finish([self.look(source)]))
        path = path_of(source)
        try:
            with self._pixels(source) as pixels:
                tiles = split_tiles(pixels, self.tile)
                scores: list[float] = []
                for i in range(0, len(tiles), GPU_BATCH):  # the views of all tiles would take 8 times the pixels
                    found = self.assess([self._views(path, tile) for tile in tiles[i : i + GPU_BATCH]])
                    scores += [score for score, _ in found]
                return Row(path, sum(scores) / len(scores), None, pixels.shape[1], pixels.shape[0], min(scores))
        except ImageError as error:
            return Row(path, error=str(error))

    def look(self, source: Source) -> tuple[Row, Tensor | None]:
        """A row that lacks its score, and the views; or a row with an error."""
        path = path_of(source)
        try:
            with self._pixels(source) as pixels:
                return Row(path, width=pixels.shape[1], height=pixels.shape[0]), self._views(path, pixels)
        except ImageError as error:
            return Row(path, error=str(error)), None

    def finish(self, looked: list[tuple[Row, Tensor | None]]) -> Iterator[Row]:
        """Rows with their scores and maps, from those that lack them."""
        found = iter(self.assess([views for _, views in looked if views is not None]))
        for row, views in looked:
            if views is not None:
                score, quality_map = next(found)
                row = replace(row, score=score)
                if quality_map is not None:
                    row = replace(row, map=self._save_map(row, views, quality_map))
            yield row

    def assess(self, views: list[Tensor]) -> list[tuple[float, Tensor | None]]:
        """Score of each `(1, V, 3, h, w)`, and its map if wanted; those of the same shape share batches on a GPU."""
        device = self.metric.device.type
        size = 1 if device == "cpu" else GPU_BATCH  # as QFMScore has it
        order = sorted(range(len(views)), key=lambda i: views[i].shape)
        found: dict[int, tuple[float, Tensor | None]] = {}
        score_views = self.metric.net.score_views if self.network is None else self.network
        with torch.inference_mode(), torch.autocast(device, self.dtype, enabled=self.dtype != torch.float32):
            for _, alike in groupby(order, key=lambda i: views[i].shape):
                while batch := list(islice(alike, size)):
                    together = torch.cat([views[i] for i in batch])
                    maps: Iterable[Tensor | None] = [None] * len(batch)
                    if self.maps is None:
                        scores = score_views(together)
                    else:
                        scores, _, maps = self.metric.net.assess_views(together)
                    found |= zip(batch, zip(scores.float().tolist(), maps, strict=True), strict=True)
        return [found[i] for i in range(len(views))]

    @contextmanager
    def _pixels(self, source: Source) -> Iterator[Pixels]:
        """Of a file; there is room for them inside."""
        data = source.data if isinstance(source, EncodedImage) else None
        with ExitStack() as held:
            with open_image(path_of(source), data) as image:
                held.enter_context(self.wait(image.width * image.height))
                pixels = read_pixels(image)
            yield pixels

    def _views(self, path: str, pixels: Pixels) -> Tensor:
        with naming(path), torch.inference_mode():
            return preprocess_pixels(self.metric.net, pixels)

    def _save_map(self, row: Row, views: Tensor, quality_map: Tensor) -> str:
        """Write the overlay over the picture's whole view, in the picture's own shape; its path."""
        assert self.maps is not None
        size = row.height or 1, row.width or 1
        whole = views[:1, 0] * self.metric.net.std + self.metric.net.mean
        height, width = (max(1, round(side * max(whole.shape[-2:]) / max(size))) for side in size)
        overlay = draw_overlay(resize(whole, (height, width))[0].clamp(0, 1), quality_map.float(), row.score)
        folders = [part for part in Path(row.path).parent.parts if part not in (Path(row.path).anchor, os.pardir)]
        return os.fspath(save_overlay(overlay, row.path, Path(self.maps, *folders)))


def path_of(source: Source) -> str:
    return source.path if isinstance(source, EncodedImage) else source
