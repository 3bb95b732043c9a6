"""The third reader, which sees the mean and the spread over each view, fitted behind a finished network.

It learns from whole training photographs, as inference sees them; from the photographs and series of stored cells; and
from photographs that `distorted` distorted anew. Along photographs that get worse step by step its scores must fall.
The other readers stay as they are. From then on what the worst named defect leaves counts in the score, too; so defects
are named first. Ours.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..model import QFMNet
from ..score import QFMScore
from . import losses
from .calibrate import write_weights
from .datasets.table import DataError, Decoded
from .descent import fit_statistics_head
from .distorted import Seen, head_features, picture_features, read_distorted
from .falling import read_falling
from .frozen import need_mean_tokens
from .invariances import grey
from .material.samples import Pool
from .material.stored import read_batch
from .pseudo_labels import Labels, read_labels
from .reference import cell_files
from .scoring import each_picture
from .severity import target
from .start import with_new

WIDTH = 256
GREY = 5  # one in so many whole photographs is seen black and white
WORST_DEFECT = 0.4  # `QFMConfig.worst_defect` of what is written, if defects are named
STEPS, RATE, DECAY = 1500, 1e-3, 0.05
# Pictures a step: whole photographs, parts of some, versions of stored series, and what was distorted anew. Of stored
# series there are few: the kinds and prices that are ours cost the large pictures.
WHOLE, PARTS, SERIES, DRAWN = 128, 64, 48, 144
FALLING = 32  # series a step that must fall
SUBSETS = {"ss01": 0.3, "ss02": 0.2, "ss03": 0.5}  # of BIQ2021, as the recipes draw them
WEIGHTS = {"regression": 10.0, "distillation": 5.0, "ranking": 1.0, "severity": 20.0, "falling": 10.0}


class Known(NamedTuple):
    """Of N pictures.

    Attributes:
        features: `(N, F)`, `QFMNet.statistics` in half precision.
        targets: `(N,)` what people said, or would say, as an MOS in [0, 1].
        teacher: `(N,)` what the teacher says; of what is no photograph as it is, `targets`.
        weights: `(N,)` how much a picture counts.
        subsets: `(N,)` number of the subset of the data set.
        chances: `(N,)` how often it is drawn.
    """

    features: Tensor
    targets: Tensor
    teacher: Tensor
    weights: Tensor
    subsets: Tensor
    chances: Tensor

    def draw(self, count: int) -> "Known":
        """So many of them, some of them perhaps twice."""
        drawn = torch.multinomial(self.chances, count, replacement=True)
        return Known(*(values[drawn] for values in self))


def train_spread_reader(
    weights: str | None,
    data: Path,
    cells: Path,
    drawn: Sequence[Path],
    falling: Path,
    out: Path,
    *,
    backbone: str | None = None,
    members: Sequence[Path] = (),
    steps: int = STEPS,
    seed: int = 0,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Fit the third reader of a network with mean tokens, and write its weights with it; `calibrate` them afterwards.

    Args:
        weights: Id or file; None: the shipped weights. A third reader that they have is replaced.
        data: What `prepare` wrote.
        cells, backbone: See `reference.cell_files`.
        drawn, falling: Folders that `distorted` and a folder that `falling` wrote with these weights.
        out: Weights file to write.
        members: The teacher's pseudo-labels, see `read_labels`.
        steps, seed, say: See `fit_reader`.
        workers: Processes that look at photographs.

    Raises:
        DataError: no cells of this backbone, or no series among them; see also `read_distorted`, `read_falling` and
            `read_labels`.
        WeightsError: no such weights, or the network has no mean tokens.
    """
    metric = QFMScore.from_pretrained(weights)
    need_mean_tokens(metric)
    decoded = Decoded.open(data / "decoded")
    labels = read_labels(decoded, members)
    net = with_reader(metric.net, WIDTH)
    parts, series = stored(net, cell_files(metric.net, cells, backbone), labels)
    if not len(series.targets):
        raise DataError(f"{cells}: expected cells of series, got none; store with --severity")
    anew = distorted(read_distorted(drawn, metric.net), labels)
    say(f"{len(series.targets) + len(anew.targets)} versions of pictures")
    shown = [(whole(metric, decoded, labels, workers, say), WHOLE), (parts, PARTS), (series, SERIES), (anew, DRAWN)]
    fit_reader(net, shown, read_falling(falling, metric.net).features, steps=steps, seed=seed, say=say)
    write_weights(net, out)


def with_reader(net: QFMNet, width: int) -> QFMNet:
    """A network that is `net` with a new third reader of this width, in whose score the worst defect counts."""
    worst = WORST_DEFECT if net.config.defects else 0.0
    return with_new(net, "spread", spread_width=width, worst_defect=worst)


@torch.inference_mode()
def whole(metric: QFMScore, decoded: Decoded, labels: Labels, workers: int, say: Callable[[str], None]) -> Known:
    """The training photographs as inference sees them; those of a subset with a rare MOS are drawn more often.

    Some are seen black and white, which is no damage.
    """
    train = decoded.select("train")

    def look(number: int) -> np.ndarray:
        pixels = np.asarray(decoded.pixels[train[number]])
        return picture_features(metric.net, pixels if (number + 1) % GREY else grey(pixels))

    def progress(done: int) -> None:
        if done % 1000 == 0:
            say(f"{done}/{len(train)} photographs")

    features = torch.from_numpy(np.stack(each_picture(look, len(train), workers, progress)))
    subsets = np.array([decoded.rows[i].subset for i in train])
    chances = np.zeros(len(train))
    for name in np.unique(subsets).tolist():
        chances[subsets == name] = SUBSETS.get(name, 1.0) * Pool.of(train[subsets == name], labels.mos).chances
    return known(features, labels.mos[train], labels.teacher[train], subsets=subsets, chances=chances)


def stored(net: QFMNet, files: Sequence[Path], labels: Labels) -> tuple[Known, Known]:
    """The photographs of stored batches; and their series, of which each version is one picture."""
    photographs, series = [], []
    for path in files:
        batch = read_batch(path)
        assert batch.cells is not None  # of what is stored
        cells = torch.from_numpy(batch.cells)
        features, n = head_features(net, cells.view(len(batch.targets), -1, *cells.shape[1:])), batch.photos
        teacher = labels.teacher[batch.sources[:n]]
        photographs.append((features[:n], batch.targets[:n], teacher, batch.weights[:n], batch.subsets[:n]))
        series.append((features[n:], batch.targets[n:]))
    seen, *others = zip(*photographs, strict=True)
    versions, targets = zip(*series, strict=True)
    return known(torch.cat(seen), *map(np.concatenate, others)), known(torch.cat(versions), np.concatenate(targets))


def distorted(seen: Seen, labels: Labels) -> Known:
    """What was distorted anew: of two distortions a picture keeps what each of them keeps alone, multiplied."""
    kept = np.prod(1 - seen.costs.numpy(), axis=1)
    return known(seen.features, target(labels.clean[seen.sources.numpy()], kept))


def known(
    features: Tensor,
    targets: np.ndarray,
    teacher: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    subsets: np.ndarray | None = None,
    chances: np.ndarray | None = None,
) -> Known:
    """`Known` of arrays; without a teacher the targets stand for it, and without the others all are alike."""
    alike = np.ones(len(targets))
    numbers = np.unique(alike if subsets is None else subsets, return_inverse=True)[1]
    return Known(
        features,
        torch.as_tensor(targets).float(),
        torch.as_tensor(targets if teacher is None else teacher).float(),
        torch.as_tensor(alike if weights is None else weights).float(),
        torch.as_tensor(numbers),
        torch.as_tensor(alike if chances is None else chances),
    )


def fit_reader(
    net: QFMNet,
    shown: Sequence[tuple[Known, int]],
    worse: Tensor,
    *,
    steps: int = STEPS,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Fit `net.spread` in place, by AdamW with a rate that falls to nothing along half a cosine.

    Its logits are read on the scale of the network's calibration, as the other readers' are.

    Args:
        net: Of a `config.spread_width` above 0.
        shown: What it learns from, and how many of those a step shows. The first two are photographs: they are compared
            with people and teacher, and within a subset in pairs. The others are versions: they are compared with what
            people said that each keeps.
        worse: `(S, rungs, F)`, what is seen of series that get worse by steps, along which scores must fall.
        seed: Of the draws and of the dropout.
        say: See `descend`.
    """
    photos = sum(count for _, count in shown[:2])

    def loss(step: int) -> Tensor:
        drawn = [some.draw(count) for some, count in shown]
        seen, wanted, teacher, weights, subsets, _ = (torch.cat(values) for values in zip(*drawn, strict=True))
        series = worse[torch.randint(len(worse), (FALLING,))].flatten(0, 1)
        told = net.calibration(net.spread(torch.cat([seen, series]).float())).squeeze(1)
        scores, falling = told[: len(seen)], told[len(seen) :].view(FALLING, -1)
        terms = {
            "regression": losses.regression(scores[:photos], wanted[:photos], weight=weights[:photos]),
            "distillation": losses.regression(scores[:photos], teacher[:photos], weight=weights[:photos]),
            "ranking": losses.ranking(scores[:photos], wanted[:photos], subsets[:photos]),
            "severity": losses.regression(scores[photos:], wanted[photos:], knee=0.5),
            "falling": losses.falling(falling),
        }
        return losses.total(WEIGHTS, terms)

    features = torch.cat([some.features.float() for some, _ in shown])
    fit_statistics_head(net.spread, features, loss, rate=RATE, decay=DECAY, steps=steps, seed=seed, say=say)
