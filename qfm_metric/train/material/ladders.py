"""Ladders: series of KADID-10k's and TID2013's distortions, rendered once, because they are slow, and read from disk.

A folder of ladders holds `series.json`, what each series is (`Ladder`); `frames.u8`, `(3 N, 384, 512, 3)` uint8, three
versions of each series (the clean one is a part of the decoded picture); and `done.txt`, the numbers of the series that
are rendered, one a line. Equal arguments give equal bytes; 5,000 series are 9 GB.
"""

import json
from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...atomic import whole_file
from ..datasets.table import DataError, Decoded
from ..distortions import compose
from ..distortions.colour import Pixels
from ..severity import Levels, read_severity

FRAME = (384, 512)  # height, width: the size that KADID-10k's and TID2013's parameters are made for
STEPS = 3  # versions of a series, beside the clean one
COMPOSED = 8  # there is one series of two distortions for this many of one
Step = tuple[str, int, int]  # data set, type, level


class Ladder(NamedTuple):
    """A series: `FRAME` of a clean picture, and three versions of it.

    Attributes:
        source: Index of the decoded picture.
        top: First row of the frame; it begins at the first column.
        steps: Per version, the distortions that made it, one after the other.
        qualities: Per version, how much people say is kept, in [0, 1]; of two distortions the product. Ours.
    """

    source: int
    top: int
    steps: list[list[Step]]
    qualities: list[float]

    def alone(self) -> list[tuple[Step, float]]:
        """The distortions that made a version by themselves, and how much that keeps."""
        return [(steps[0], kept) for steps, kept in zip(self.steps, self.qualities, strict=True) if len(steps) == 1]


def plan(decoded: Decoded, levels: Levels, count: int, seed: int, clean_mos: float = 0.65) -> list[Ladder]:
    """What is rendered: `count` series of one type each, at three of its levels, then an eighth as many of two.

    Args:
        decoded: Training pictures with an MOS of at least `clean_mos` are the clean ones.
        levels: People's means; every type in it gets as many series.
        seed: Of every draw.

    Raises:
        DataError: no series, no picture is clean, or the pictures are smaller than `FRAME`.
    """
    if count < 1:
        raise DataError(f"expected 1 series or more, got {count}")
    train = decoded.select("train")
    clean = np.random.default_rng((seed, 77)).permutation(train[decoded.mos[train] >= clean_mos])
    if not len(clean) or decoded.pixels.shape[1] < max(FRAME):
        side = decoded.pixels.shape[1]
        raise DataError(
            f"expected training pictures of {max(FRAME)} px with an MOS of {clean_mos:g} or more, "
            f"got {len(clean)} of {side} px"
        )
    spare = decoded.pixels.shape[1] - FRAME[0] + 1
    quality = {(level.data_set, level.type, level.level): level.quality for level in levels}
    types = sorted({(level.data_set, level.type) for level in levels})
    ladders = []
    for k in range(count):
        rng = np.random.default_rng((seed, 78, k))
        source, top = int(clean[k % len(clean)]), int(rng.integers(0, spare))
        chosen = [(*types[k % len(types)], int(level)) for level in np.sort(rng.permutation(5)[:STEPS] + 1)]
        ladders.append(Ladder(source, top, [[step] for step in chosen], [quality[step] for step in chosen]))
    for k in range(count // COMPOSED):
        rng = np.random.default_rng((seed, 79, k))
        source, top = int(clean[-1 - k % len(clean)]), int(rng.integers(0, spare))
        first, second = (levels[i] for i in rng.integers(0, len(levels), 2))
        a, b = ((level.data_set, level.type, level.level) for level in (first, second))
        kept = [first.quality, second.quality, first.quality * second.quality]
        ladders.append(Ladder(source, top, [[a], [b], [a, b]], kept))
    return ladders


def render(
    data: Path,
    severity: Path,
    out: Path,
    series: int,
    seed: int = 0,
    *,
    workers: int = 2,
    count: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Render a folder of ladders; a call that was stopped goes on where it was when it is called again.

    Args:
        data: What `prepare` wrote.
        severity: People's means (`read_severity`).
        out: The folder.
        series, seed: See `plan`.
        workers: Processes.
        count: Stop when so many are rendered; None: all.
        say: Gets lines of progress.

    Raises:
        DataError: as `plan` and `read_severity`; or `out` holds ladders of other arguments.
    """
    ladders = plan(Decoded.open(data / "decoded"), read_severity(severity), series, seed)
    out.mkdir(parents=True, exist_ok=True)
    content = json.dumps(ladders)
    if (out / "series.json").exists():
        if (out / "series.json").read_text() != content:
            raise DataError(f"{out}: holds ladders of other pictures, means, series or seed; choose another folder")
    else:
        (out / "done.txt").unlink(missing_ok=True)  # frames of a run that did not get as far
        with (out / "frames.u8").open("wb") as file:
            file.truncate(STEPS * len(ladders) * FRAME[0] * FRAME[1] * 3)
        with whole_file(out / "series.json") as file:
            file.write(content)
    order = np.random.default_rng(seed).permutation(len(ladders))[:count]
    done = read_done(out)
    left = [int(k) for k in order if k not in done]
    # One thread a worker: a forked child that starts OpenMP's threads anew can hang.
    pool = ProcessPoolExecutor(workers, get_context("fork"), torch.set_num_threads, (1,))
    with (out / "done.txt").open("a") as file, pool:
        rendered = pool.map(partial(_render_one, data / "decoded", out), left, chunksize=4)
        for number, k in enumerate(rendered, start=len(order) - len(left) + 1):
            file.write(f"{k}\n")
            file.flush()
            if number % 200 == 0 or number == len(order):
                say(f"{number}/{len(order)} series")


def read_done(folder: Path) -> set[int]:
    """Numbers of the series that are rendered; a line that was not finished does not count."""
    if not (folder / "done.txt").exists():
        return set()
    return {int(line) for line in (folder / "done.txt").read_text().split("\n")[:-1]}


@dataclass(frozen=True)
class Ladders:
    """Rendered series; `frames` is a read-only `(3 N, 384, 512, 3)` uint8 memory map, `drawn` numbers those to draw."""

    series: list[Ladder]
    frames: NDArray[np.uint8]
    drawn: list[int]

    @classmethod
    def open(cls, folder: Path, decoded: Decoded, levels: Levels) -> "Ladders":
        """Open what `render` wrote of these pictures by these means.

        Raises:
            DataError: there are none, not all are rendered, they are of pictures that are not in the training part, or
                other means say what they keep.
        """
        command = "python -m qfm_metric.train ladders"
        if not (folder / "series.json").exists():
            raise DataError(f"{folder}: no ladders; expected what `{command}` writes")
        series = read_series(folder)
        if missing := len(series) - len(read_done(folder)):
            raise DataError(f"{folder}: {missing} of {len(series)} series are not rendered; call `{command}` again")
        if others := {ladder.source for ladder in series} - set(decoded.select("train").tolist()):
            raise DataError(f"{folder}: ladders of other pictures; {len(others)} of them are none of the training part")
        quality = {(level.data_set, level.type, level.level): level.quality for level in levels}
        if any(quality.get(step) != kept for ladder in series for step, kept in ladder.alone()):
            raise DataError(f"{folder}: ladders of other human means; expected those that `{command} --severity` got")
        return cls(series, _frames(folder, len(series)), list(range(len(series))))

    def of(self, sources: NDArray[np.int64], without: Collection[str] = ()) -> "Ladders":
        """The same, but drawn are those of some pictures alone, and none with any type of `without`.

        Raises:
            DataError: none is left, or `without` names a type of which there is none.
        """
        types = [{f"{name}/{type}" for steps in ladder.steps for name, type, _ in steps} for ladder in self.series]
        if unknown := set(without) - set().union(*types):
            raise DataError(f"without: expected types of the ladders, got {', '.join(sorted(unknown))}")
        known, left_out = set(sources.tolist()), set(without)
        kept = [i for i in self.drawn if self.series[i].source in known and not types[i] & left_out]
        if not kept:
            raise DataError("expected ladders of the pictures and types that are left, got none")
        return replace(self, drawn=kept)

    def pictures(self, number: int, decoded: Decoded) -> list[Pixels]:
        """The four versions of a series, `(384, 512, 3)` each, the clean one first."""
        clean = _clean_frame(self.series[number], decoded)
        return [clean, *self.frames[STEPS * number : STEPS * (number + 1)]]


def read_series(folder: Path) -> list[Ladder]:
    """What each series of a folder is."""
    content = json.loads((folder / "series.json").read_text())
    return [
        Ladder(source, top, [[(name, type, level) for name, type, level in step] for step in steps], qualities)
        for source, top, steps, qualities in content
    ]


def _clean_frame(ladder: Ladder, decoded: Decoded) -> Pixels:
    height, width = FRAME
    return decoded.pixels[ladder.source, ladder.top : ladder.top + height, :width]


def _frames(folder: Path, series: int, mode: str = "r") -> NDArray[np.uint8]:
    return np.memmap(folder / "frames.u8", np.uint8, mode, shape=(STEPS * series, *FRAME, 3))  # type: ignore[call-overload]


@lru_cache(maxsize=1)
def _opened(decoded: Path, folder: Path) -> tuple[Decoded, list[Ladder]]:
    """Once per process: tables of thousands of rows."""
    return Decoded.open(decoded), read_series(folder)


def _render_one(decoded: Path, folder: Path, number: int) -> int:
    pictures, series = _opened(decoded, folder)
    frames = _frames(folder, len(series), "r+")
    clean = np.array(_clean_frame(series[number], pictures))
    for place, steps in enumerate(series[number].steps):
        frames[STEPS * number + place] = compose(clean, steps, seed=number)
    return number
