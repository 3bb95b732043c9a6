"""`score_files`: any number of files to rows, in this process, in worker processes or beside a GPU."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from ..rating import Metric, check_is_metric
from ..score import QFMScore
from .one_file import EncodedImage, OneFile, Source
from .options import BATCH_SIZE, DTYPES, ROOM, check_options, check_projection, check_runtime
from .pool import in_processes, on_gpu
from .row import Row
from .scan import FolderScan


def score_files(
    paths: str | os.PathLike[str] | EncodedImage | Iterable[str | os.PathLike[str] | EncodedImage],
    metric: Metric | None = None,
    *,
    workers: int = 1,
    threads: int = 1,
    batch_size: int = BATCH_SIZE,
    dtype: torch.dtype = torch.float32,
    tile: int | None = None,
    maps: str | os.PathLike[str] | None = None,
    explain: bool = False,
    facts: bool = False,
    projection: str = "flat",
    moments: bool = False,
    room: int = ROOM,
) -> Iterator[Row]:
    """Score files as they come: a row per path, in the order of the paths, whatever is wrong with a file.

    The scores are those of `metric(load_image(path))`: on the CPU to the last bit if torch uses as many threads in
    both. Paths are taken as they are needed, and little is held at a time: for the pixels of pictures that are being
    decoded at most about 10 bytes times `room`, and their views, a few MB each.

    Args:
        paths: Files, or `EncodedImage` for those in memory; may be an iterator without end. A folder among them is not
            looked into. One path alone is a file, or a folder, which stands for the pictures in it (`score_folder`).
        metric: Scores, on the device where it is: a `QFMScore`, a `GuardedScore`, a `CompiledScore` (another
            runtime, on the CPU), or anything with the methods of `qfm_metric.rating.Metric`. Default: `QFMScore()`.
        workers: 1: everything happens in this process. More, on the CPU: so many processes, each of which takes some
            seconds to start and some 550 MB; the calling script needs `if __name__ == "__main__":`, and the metric has
            to be picklable. More, on a GPU: so many threads that decode.
        threads: CPU threads of the network in each worker process, if there are several.
        batch_size: Pictures that are gathered for batches, on a GPU; a row waits for its batch.
        dtype: Precision in which the network computes most. Anything but float32 changes scores.
        tile: Side of tiles in pixels. A picture is scored as a grid of tiles of about that side instead of as a whole:
            `score` is the mean, `extra["lowest"]` the worst. A picture smaller than 1.5 tiles is one tile.
        maps: Folder for an overlay of each picture and its quality map, drawn from the pass that gives the score. The
            folders of the picture's path stand in it again: `a/b/cat.jpg` gives `maps/a/b/cat-map.png`. No file is
            overwritten: the next one is `cat-map-2.png`; `extra["map"]` says which.
        explain: Add to `extra` what is wrong with each picture, see `row.DEFECT_COLUMNS`; not with tiles.
        facts: Add to `extra` what each file says of itself, see `qfm_metric.facts`.
        projection: `equirect`: score each picture as a panorama of the whole sphere, see `score_360`. `auto`: those
            whose GPano properties say so and that can be placed on it, unless there are tiles; `note` tells.
        moments: Add what `qfm_metric.folder.groups.group_rows` finds bursts and near-duplicates by, 640 bytes a row
            with the default weights; not with tiles.
        room: Pixels that may be decoded at the same time; a picture takes three quarters of it at most, also one that
            is larger, and small ones go on beside it.

    Yields:
        Rows. Closing the iterator ends the workers.

    Raises:
        ValueError: an option is out of range; options that contradict each other.
        TypeError: the metric is none; `paths` holds something else; an option that is no integer.
        OSError: an overlay cannot be written.
        RuntimeError: worker processes cannot start.

    Examples:
        >>> [row.error for row in score_files([])]
        []
    """
    numbers = {"workers": workers, "threads": threads, "batch_size": batch_size, "room": room}
    if missing := [name for name, value in numbers.items() if value is None]:
        raise TypeError(f"{missing[0]}: expected an integer, got None; leave it out for the default")
    check_options(**numbers, tile=tile)
    check_projection(projection, tile)
    metric, folder = QFMScore() if metric is None else metric, None if maps is None else os.fsdecode(maps)
    check_metric(metric, dtype, tile, folder)
    if folder == "":  # maps would lie among the pictures, and be taken for some by *.png
        raise ValueError("maps: expected a folder, got an empty path; for the current one give '.'")
    if explain and tile is not None:
        raise ValueError("explain: expected whole pictures, got tiles; leave one of the two out")
    if explain and not metric.defects:
        raise ValueError("explain: expected a metric that names defects, this one does not; load other weights")
    if moments and tile is not None:
        raise ValueError("moments: expected whole pictures, got tiles; leave one of the two out")
    one_file = OneFile(metric, tile, dtype, folder, explain, facts, projection, moments)
    if isinstance(paths, str | bytes | os.PathLike):
        paths = FolderScan()(os.fsdecode(paths))
    if isinstance(paths, Mapping) or hasattr(paths, "columns"):  # whose iteration gives the names of columns
        raise TypeError(f"paths: expected paths, got {type(paths).__name__}; give the column with the paths in it")
    names = map(_source, paths if isinstance(paths, Iterable) else [_source(paths)])
    if metric.device.type != "cpu":
        return _rows_first(names, lambda given: on_gpu(given, one_file, workers, batch_size, room))
    if workers == 1:
        return (one_file(name) for name in names)
    return _rows_first(names, lambda given: in_processes(given, one_file, workers, threads, room))


def score_folder(
    folder: str | os.PathLike[str], metric: Metric | None = None, *, recursive: bool = False, **options: Any
) -> Iterator[Row]:
    """Score the pictures in a folder, in order of name: those whose names end as pictures' do.

    Args:
        folder: Its files are found as they are scored.
        metric: See `score_files`.
        recursive: Look into the folders in it, too, but through no link.
        options: Of `score_files`.

    Yields:
        Rows, see `score_files`.

    Raises:
        NotADirectoryError: there is no such folder.
        TypeError, ValueError, OSError, RuntimeError: see `score_files`.

    Examples:
        >>> from tempfile import mkdtemp
        >>> [row.path for row in score_folder(mkdtemp(), recursive=True)]
        []
    """
    path = os.fsdecode(folder)
    if not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, "expected a folder; for files call score_files", path)
    return score_files(FolderScan(recursive)(path), metric, **options)


def _rows_first(names: Iterator[Source], score: Callable[[Iterator[Source]], Iterator[Row]]) -> Iterator[Row]:
    """Score names; where the next one cannot be had, what is under way comes before the error that says so."""
    failed: list[Exception] = []

    def given() -> Iterator[Source]:
        try:
            yield from names
        except Exception as error:  # of whoever lists them
            failed.append(error)

    yield from score(given())
    if failed:
        raise failed[0]


def _source(path: object) -> Source:
    if isinstance(path, EncodedImage):
        return path
    if isinstance(path, bytes) and b"\0" in path:
        raise TypeError(
            "paths: expected paths or EncodedImages, got the bytes of a file; give EncodedImage(name, bytes)"
        )
    if isinstance(path, str | bytes | os.PathLike):
        return str(os.fsdecode(path))  # numpy's are text that calls itself np.str_('a.jpg')
    raise TypeError(
        f"paths: expected paths or EncodedImages, got {type(path).__name__}; give what is decoded to the metric itself"
    )


def check_metric(metric: Metric, dtype: torch.dtype, tile: int | None = None, maps: str | None = None) -> None:
    """Refuse what is no metric, and what a metric cannot do.

    Raises:
        TypeError: the metric lacks what `Metric` has.
        ValueError: a precision that is none of `DTYPES`; see `check_runtime`, too.
    """
    check_is_metric(metric)
    dtypes = [getattr(torch, name) for name in DTYPES]
    if dtype not in dtypes:
        raise ValueError(f"dtype: expected one of {', '.join(map(str, dtypes))}, got {dtype!r}")
    check_runtime(metric.runtime, str(dtype).removeprefix("torch."), tile, maps)
