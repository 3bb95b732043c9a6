"""The head that tells photographs from other pictures: a logistic regression on what a trained network sees of both.

It is fitted last, on frozen features, and no score moves. The photographs are those of the data set, also cropped,
grey, reduced, JPEG-coded and distorted, so that a bad photograph remains one; the others are drawn
(`not_photographs`). Ours.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ..images import Pixels
from ..score import QFMScore
from . import not_photographs
from .agreement import Scores, auc
from .calibrate import write_weights
from .datasets.table import DataError, Decoded
from .distortions import DATA_SETS, coding, distort
from .frozen import look
from .material import framing
from .not_photographs.paint import draw_size
from .start import with_new

# Of the validation photographs that decide the threshold, those noted as none; half of the hundredth that others may
# reach, because the share elsewhere differs by chance.
NOTED_SHARE = 0.005
PENALTY = (1e-4, 1e-3, 1e-2, 1e-1)  # inverse strengths of regularisation to choose from, on the features standardised


class Check(NamedTuple):
    """How well a head tells both.

    Attributes:
        auc: Chance that a photograph has a higher logit than another picture.
        false_notes, false_grey_notes: Share of the photographs, and of their grey copies, that are noted as none.
        noted: Share of the other pictures that are noted.
    """

    auc: float
    false_notes: float
    false_grey_notes: float
    noted: float


def vary(pixels: Pixels, seed: int, number: int) -> Pixels:
    """A photograph as it may come: cropped to 64 to 512 px, reduced, distorted, grey, coded.

    Equal arguments give equal pixels. Sizes are drawn as for `not_photographs.draw`, so that they tell nothing.
    """
    rng = np.random.default_rng((seed, number, 1))
    height, width = draw_size(rng)
    share = min(1.0, min(pixels.shape[0] / height, pixels.shape[1] / width))
    height, width = int(height * share), int(width * share)
    # From what is seen at the picture's own size to all that has this shape.
    zoom = rng.uniform(1, min(pixels.shape[0] / height, pixels.shape[1] / width))
    rows, columns = int(height * zoom), int(width * zoom)
    top, left = (
        int(rng.integers(0, have - want + 1)) for have, want in zip(pixels.shape, (rows, columns), strict=False)
    )
    part = Image.fromarray(pixels[top : top + rows, left : left + columns])
    found = np.asarray(part.resize((width, height), Image.Resampling.LANCZOS))
    if rng.random() < 0.35:
        name = [*DATA_SETS][rng.integers(2)]
        types = [*DATA_SETS[name]]
        found = distort(found, name, types[rng.integers(len(types))], int(rng.integers(1, 6)), number)
    if rng.random() < 0.25:
        found = framing.grey(found)
    return coding.jpeg(found, int(rng.integers(30, 98))) if rng.random() < 0.25 else found


def train_photograph(
    weights: str | None,
    data: Path,
    out: Path,
    *,
    count: int = 3000,
    seed: int = 0,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> Check:
    """Fit the head of a network with mean tokens, and write its weights with it.

    Args:
        weights: Id or file; None: the shipped weights.
        data: What `prepare` wrote.
        out: Weights file to write.
        count: Photographs to learn from, as many other pictures, and at most as many of each half of the validation.
        seed: Of all that is drawn.
        workers: Processes.
        say: Gets lines of progress.

    Returns:
        The check on drawn pictures of another seed, and the half of the validation groups that did not decide the
        threshold.

    Raises:
        DataError: the data has too few photographs to train or to validate.
        WeightsError: the network has no mean tokens.
    """
    decoded, metric = Decoded.open(data / "decoded"), QFMScore.from_pretrained(weights)
    train = decoded.select("train")
    if len(train) < 2 or len(decoded.select("val")) < 4:
        raise DataError(f"{data}: expected 2 photographs to train and 4 to validate, got too few")
    chosen = np.random.default_rng(seed).permutation(np.resize(train, count))
    say(f"{count} photographs and {count} drawn pictures")
    told = partial(_say_some, say)
    photographs = look(metric, lambda i: vary(decoded.pixels[chosen[i]], seed, i), count, workers, told).means
    others = look(metric, partial(not_photographs.draw, seed), count, workers, told).means
    groups = [decoded.rows[i].group for i in chosen]
    weight, bias = fit(photographs, others, groups)
    deciding, kept = (places[:count] for places in validation_halves(decoded))
    colour, grey = (photograph_means(metric, decoded, deciding, as_grey, workers) for as_grey in (False, True))
    bias -= threshold(colour @ weight + bias, grey @ weight + bias)
    add_head(metric, weight, bias)
    write_weights(metric.net, out)
    drawn = look(metric, partial(not_photographs.draw, seed + 1), max(10, count // 10), workers).means
    held = [photograph_means(metric, decoded, kept, as_grey, workers) @ weight + bias for as_grey in (False, True)]
    return check(held[0], held[1], drawn @ weight + bias)


def fit(photographs: Scores, others: Scores, groups: list[str]) -> tuple[Scores, float]:
    """Weight `(F,)` and bias of a logistic regression from features `(N, F)`; its penalty by cross-validation.

    Args:
        photographs, others: `(N, F)` and `(M, F)`.
        groups: Of the photographs; none is on both sides of a fold. Each other picture is a group of its own.
    """
    from sklearn.linear_model import LogisticRegression  # of the extra `train`; slow to import
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.concatenate([photographs, others])
    labels = np.repeat([1, 0], [len(photographs), len(others)])
    apart = [*groups, *(f"drawn {i}" for i in range(len(others)))]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    search = GridSearchCV(
        pipeline, {"logisticregression__C": PENALTY}, scoring="neg_log_loss", cv=GroupKFold(min(5, len(set(groups))))
    )
    scaler, regression = search.fit(features, labels, groups=apart).best_estimator_
    weight = regression.coef_[0] / scaler.scale_
    return weight, float(regression.intercept_[0] - weight @ scaler.mean_)


def threshold(colour: Scores, grey: Scores) -> float:
    """The logit below which at most `NOTED_SHARE` of the photographs and of their grey copies lie, `(N,)` each."""
    # Strictly above 0 is a photograph: what lies on the threshold itself is noted, too.
    lowest = [np.sort(logits)[int(NOTED_SHARE * len(logits))] for logits in (colour, grey)]
    return float(np.nextafter(min(lowest), -np.inf))


def check(colour: Scores, grey: Scores, others: Scores) -> Check:
    """From logits: of photographs and their grey copies `(N,)`, and of other pictures `(M,)`."""
    photographs = np.repeat([True, False], [len(colour) + len(grey), len(others)])
    told = auc(np.concatenate([colour, grey, others]), photographs)
    return Check(told, *(float(np.mean(logits <= 0)) for logits in (colour, grey, others)))


def validation_halves(decoded: Decoded) -> tuple[Scores, Scores]:
    """Indices of the validation pictures of every other group, and of the rest; in no order."""
    places = np.random.default_rng(0).permutation(decoded.select("val"))
    names = sorted({decoded.rows[i].group for i in places})
    first = np.array([names.index(decoded.rows[i].group) % 2 == 0 for i in places])
    return places[first], places[~first]


def photograph_means(metric: QFMScore, decoded: Decoded, places: Scores, as_grey: bool, workers: int = 2) -> Scores:
    """`Frozen.means` of decoded photographs as they are, or of their grey copies."""

    def make(i: int) -> Pixels:
        pixels = np.asarray(decoded.pixels[places[i]])
        return framing.grey(pixels) if as_grey else pixels

    return look(metric, make, len(places), workers).means


def add_head(metric: QFMScore, weight: Scores, bias: float) -> None:
    """Give the metric's network the head that is `means @ weight + bias`, in the place of one that it may have."""
    net = with_new(metric.net, "photograph", photograph=True)
    net.photograph.weight.copy_(torch.from_numpy(weight)[None])
    net.photograph.bias.fill_(bias)
    metric.net = net


def _say_some(say: Callable[[str], None], done: int) -> None:
    if done % 500 == 0:
        say(f"{done} seen")
