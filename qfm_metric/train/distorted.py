"""Photographs that are distorted anew, as a frozen backbone sees them: what the head of named defects learns from.

Ladders are rendered once, a few levels and pairs for each of their pictures. A head that is to name both of two
distortions must have seen most pairs of types: here every picture has other ones. Ours.

A store is a folder with a file for each `PIECE` pictures.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..atomic import whole_file
from ..defects import NAMES
from ..model import QFMNet
from ..score import QFMScore
from ..views import preprocess_pixels
from .datasets.table import DataError, Decoded
from .defects import CLEAN, defect_of, read_types, type_of
from .distortions import distort
from .distortions.colour import Pixels
from .invariances import grey
from .material.samples import OF_COLOUR
from .material.stored import begin_store, reading, stored_files
from .severity import DistortionLevel, Levels, read_severity
from .severity_check import CLEAN_MOS

PIECE = 100
NONE, ONE = 0.12, 0.25  # shares of the pictures with no distortion and with one; the others have two
MINDED = 0.1  # share of the quality that people lost to each of two
LEAST_SIDE = 352  # px of a part that is cut out


class Seen(NamedTuple):
    """Of N pictures.

    Attributes:
        features: `(N, F)`, see `head_features`.
        costs: `(N, K)` quality that each of `NAMES` takes, in [0, 1].
        types: `(N,)` place in `TYPES`, or `CLEAN`; -1: several.
        sources: `(N,)` index of the decoded picture.
    """

    features: Tensor
    costs: Tensor
    types: Tensor
    sources: Tensor

    def joined(self, other: "Seen") -> "Seen":
        """Both, one after the other."""
        return Seen(*(torch.cat(parts) for parts in zip(self, other, strict=True)))


def clean(features: Tensor) -> Seen:
    """Of pictures `(N, F)` with nothing wrong, whose photographs do not matter."""
    n = len(features)
    return Seen(features, torch.zeros(n, len(NAMES)), torch.full((n,), CLEAN), torch.full((n,), -1))


def head_features(net: QFMNet, cells: Tensor) -> Tensor:
    """What the head sees of the cells of N pictures, `(N, V, C, rows, columns)`: `(N, F)` in half precision."""
    return net.statistics(cells.flatten(0, 1).float(), len(cells)).half()


def picture_features(net: QFMNet, pixels: Pixels) -> np.ndarray:
    """What the head sees of one picture, `(F,)` in half precision, as inference looks at it."""
    cells = net.cells(net.pyramid(preprocess_pixels(net, pixels)))
    return head_features(net, cells[None])[0].numpy()


class Drawing(NamedTuple):
    """How a picture is made: a photograph, the seed of its part and noise, none to two levels, and if it is grey."""

    source: int
    seed: int
    levels: tuple[DistortionLevel, ...]
    grey: bool = False

    def render(self, photograph: Pixels) -> Pixels:
        """`(H, W, 3)` uint8."""
        found = cut(photograph, np.random.default_rng((self.seed, 1)))
        for level in self.levels:
            found = distort(found, level.data_set, level.type, level.level, seed=self.seed)
        return grey(found) if self.grey else found

    def costs(self) -> np.ndarray:
        """What each of `NAMES` takes, `(K,)`: of two distortions each what it takes alone."""
        found = np.zeros(len(NAMES), np.float32)
        for level in self.seen():
            found[NAMES.index(self.name(level))] = 1 - level.quality
        return found

    def seen(self) -> list[DistortionLevel]:
        """The levels of which there is something to see: where all is grey, none of colour."""
        return [level for level in self.levels if not (self.grey and self.name(level) in OF_COLOUR)]

    def name(self, level: DistortionLevel) -> str:
        """That of a level's defect."""
        return defect_of(level.data_set, level.type, level.level, self.seed)


def cut(photograph: Pixels, rng: np.random.Generator) -> Pixels:
    """A photograph or a square part of it, some mirrored and some reduced."""
    found = photograph
    if rng.random() < 0.5 and min(found.shape[:2]) > LEAST_SIDE:
        side = int(rng.integers(LEAST_SIDE, min(found.shape[:2])))
        top, left = (int(rng.integers(whole - side + 1)) for whole in found.shape[:2])
        found = found[top : top + side, left : left + side]
    if rng.random() < 0.5:
        found = found[:, ::-1]
    if rng.random() < 0.25:
        share = rng.uniform(0.6, 1)
        size = (round(found.shape[1] * share), round(found.shape[0] * share))
        found = np.asarray(Image.fromarray(found).resize(size, Image.Resampling.LANCZOS))
    return np.ascontiguousarray(found)


def draw(number: int, seed: int, sources: np.ndarray, levels: Levels) -> Drawing:
    """The picture of a number: every type alike often, every level of it too; two have unlike names."""
    rng = np.random.default_rng((seed, number))
    source, own, kind = int(rng.choice(sources)), int(rng.integers(2**31)), rng.random()
    types = sorted({(level.data_set, level.type) for level in levels})
    while True:
        chosen = rng.choice(len(types), 0 if kind < NONE else 1 if kind < NONE + ONE else 2, replace=False)
        of_types = ([level for level in levels if (level.data_set, level.type) == types[i]] for i in chosen)
        found = Drawing(source, own, tuple(each[int(rng.integers(len(each)))] for each in of_types))
        minded = all(1 - level.quality >= MINDED for level in found.levels)
        if len(chosen) < 2 or (minded and len({found.name(level) for level in found.levels}) == 2):
            return found


def store_distorted(
    weights: str | None,
    data: Path,
    severity: Path,
    out: Path,
    *,
    count: int,
    in_grey: bool = False,
    seed: int = 0,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Distort training photographs and keep what a network's backbone makes of them; what is there already is kept.

    Args:
        weights: Id or file; None: the shipped weights.
        data: What `prepare` wrote.
        severity: Human means, see `read_severity`.
        out: Folder to write.
        count: Pictures, rounded up to a multiple of `PIECE`.
        in_grey: Make each black and white when it is distorted.
        seed: Of the draws.
        workers: Processes of one thread each.
        say: Gets lines of progress.

    Raises:
        DataError: see `read_severity`; there are no two defects that people mind; or the folder holds pictures of
            another backbone or seed.
        WeightsError: no such weights.
    """
    global _job
    net, decoded, levels = (
        QFMScore.from_pretrained(weights).net,
        Decoded.open(data / "decoded"),
        read_severity(severity),
    )
    minded = {defect_of(level.data_set, level.type, level.level, 0) for level in levels if 1 - level.quality >= MINDED}
    if len(minded) < 2:
        raise DataError(f"{severity}: expected types of two names or more that people mind, got {len(minded)}")
    train = decoded.select("train")
    begin_store(out, net, seed)
    _job = net, decoded, train[decoded.mos[train] >= CLEAN_MOS], levels, out, seed, in_grey
    missing = [number for number in range(-(-count // PIECE)) if not _piece(out, number).is_file()]
    with ProcessPoolExecutor(workers, get_context("fork"), torch.set_num_threads, (1,)) as pool:
        for done, _ in enumerate(pool.map(_store_piece, missing), start=1):
            say(f"{done * PIECE}/{len(missing) * PIECE} pictures")


_job: tuple[QFMNet, Decoded, np.ndarray, Levels, Path, int, bool]  # inherited by forked workers


@torch.inference_mode()
def _store_piece(piece: int) -> None:
    net, decoded, sources, levels, out, seed, in_grey = _job
    numbers = range(piece * PIECE, (piece + 1) * PIECE)
    seen, drawings = [], [draw(number, seed, sources, levels)._replace(grey=in_grey) for number in numbers]
    for drawing in drawings:
        seen.append(picture_features(net, drawing.render(np.asarray(decoded.pixels[drawing.source]))))
    types = np.full((PIECE, 2), CLEAN)
    for row, drawing in zip(types, drawings, strict=True):
        row[: len(drawing.seen())] = [type_of(level.data_set, level.type) for level in drawing.seen()]
    with whole_file(_piece(out, piece), "wb") as file:
        costs, sources = zip(*((drawing.costs(), drawing.source) for drawing in drawings), strict=True)
        np.savez(file, features=seen, costs=costs, types=types, sources=sources)


def read_distorted(folders: Sequence[Path], net: QFMNet, without: Collection[str] = ()) -> Seen:
    """What `store_distorted` kept.

    Args:
        folders: One or more.
        net: Of the same backbone.
        without: Types ("KADID-10k/10") whose pictures are left out.

    Raises:
        DataError: nothing is there, or another backbone's.
    """
    parts = []
    for path in (path for folder in folders for path in stored_files(folder, net, "distorted")):
        with reading(path), np.load(path) as stored:
            parts.append([stored[name] for name in ("features", "costs", "types", "sources")])
    seen, costs, types, sources = (np.concatenate(values) for values in zip(*parts, strict=True))
    kept = ~np.isin(types, [type_of(*type) for type in read_types(without)]).any(axis=1)
    several = types[:, 1] != CLEAN
    found = np.where(several, -1, types[:, 0])
    return Seen(*(torch.from_numpy(values[kept]) for values in (seen, costs, found, sources)))


def _piece(folder: Path, number: int) -> Path:
    return folder / f"{number:05}.npz"
