"""Photographs that no codec has touched, and what makes them worse step by step: along each a score must fall.

BIQ2021's photographs are JPEGs, the data sets' mildest JPEG is a strong one, and their strongest blur is not the
strongest there is. So a network may take a mild JPEG for a gain, and the ruined for mended. No price is needed to know
better: only the order is taught. Ours.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..atomic import whole_file
from ..model import QFMNet
from ..score import QFMScore
from .datasets.table import DataError, Decoded
from .distorted import picture_features
from .distortions import coding
from .distortions.colour import Pixels
from .distortions.simple import gaussian_blur, geometric, white_noise
from .material.stored import begin_store, reading, stored_files
from .scoring import each_picture
from .severity_check import CLEAN_MOS

SOUND = 0.45  # least MOS of a photograph that is made worse
REDUCED = (0.5, 0.85)  # to what part of its sides: what its JPEG did to it is gone then
KINDS = ("jpeg", "jpeg", "blur", "noise")  # as often as they are here
FILE = "series.npz"
STEPS = 3  # versions, each worse than the one before


class Series(NamedTuple):
    """How a photograph gets worse: its index, its new size, a kind, strengths in [0, 1] that rise, a seed of noise."""

    source: int
    share: float
    kind: str
    strengths: tuple[float, ...]
    seed: int

    def render(self, photograph: Pixels) -> list[Pixels]:
        """The reduced photograph and its versions, `(h, w, 3)` uint8."""
        size = [round(side * self.share) for side in photograph.shape[1::-1]]
        clean = np.asarray(Image.fromarray(photograph).resize(size, Image.Resampling.LANCZOS))
        return [clean, *(worse(clean, self.kind, strength, self.seed) for strength in self.strengths)]


def worse(clean: Pixels, kind: str, strength: float, seed: int) -> Pixels:
    """What is left of a picture, from hardly a loss at strength 0 to a ruin at 1."""
    if kind == "jpeg":
        return coding.jpeg(clean, round(geometric(97, 3, strength)))
    if kind == "blur":
        return gaussian_blur(clean, geometric(0.3, 14, strength))
    return white_noise(clean, geometric(1.5, 90, strength), seed)


def draw(number: int, seed: int, sources: np.ndarray) -> Series:
    """The series of a number, of one of `sources`."""
    rng = np.random.default_rng((seed, number))
    source, share, kind = int(rng.choice(sources)), float(rng.uniform(*REDUCED)), KINDS[int(rng.integers(len(KINDS)))]
    strengths = (np.arange(STEPS) + rng.random(STEPS)) / STEPS
    return Series(source, share, kind, tuple(strengths.tolist()), int(rng.integers(2**31)))


class Falling(NamedTuple):
    """What is seen of S series, each from the clean picture to the worst.

    Attributes:
        features: `(S, 1 + STEPS, F)`, see `head_features`.
        mos: `(S,)` of the photographs, in [0, 1].
    """

    features: Tensor
    mos: Tensor

    def sound(self) -> Tensor:
        """What is seen of clean pictures with nothing wrong, `(N, F)`: reduced ones, so no codec's damage either."""
        return self.features[self.mos >= CLEAN_MOS, 0]


def store_falling(
    weights: str | None,
    data: Path,
    out: Path,
    *,
    count: int = 1000,
    seed: int = 0,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Keep what a network's backbone makes of such series of training photographs.

    Args:
        weights: Id or file; None: the shipped weights.
        data: What `prepare` wrote.
        out: Folder to write.
        count: Series.
        seed: Of the draws.
        workers: See `each_picture`.
        say: Gets lines of progress.

    Raises:
        DataError: the folder holds series of another backbone or seed; or there is no photograph of `SOUND` MOS.
        WeightsError: no such weights.
    """
    net, decoded = QFMScore.from_pretrained(weights).net, Decoded.open(data / "decoded")
    train = decoded.select("train")
    sources = train[decoded.mos[train] >= SOUND]
    if not len(sources):
        raise DataError(f"{data}: expected training photographs with an MOS of {SOUND} or more, got none")
    begin_store(out, net, seed)
    series = [draw(number, seed, sources) for number in range(count)]

    @torch.inference_mode()
    def look(number: int) -> np.ndarray:
        pictures = series[number].render(np.asarray(decoded.pixels[series[number].source]))
        return np.stack([picture_features(net, picture) for picture in pictures])

    def progress(done: int) -> None:
        if done % 200 == 0 or done == count:
            say(f"{done}/{count} series")

    features = each_picture(look, count, workers, progress)
    with whole_file(out / FILE, "wb") as file:
        np.savez(file, features=features, mos=decoded.mos[[each.source for each in series]])


def read_falling(folder: Path, net: QFMNet) -> Falling:
    """What `store_falling` kept of this backbone.

    Raises:
        DataError: nothing is there, or another backbone's.
    """
    (path,) = stored_files(folder, net, "falling")
    with reading(path), np.load(path) as stored:
        return Falling(torch.from_numpy(stored["features"]), torch.from_numpy(stored["mos"]))
