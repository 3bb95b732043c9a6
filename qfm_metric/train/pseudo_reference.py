"""What a degraded picture could have been: the clean picture's cells, guessed, and what the gap to them costs.

FPR (Chen et al., IEEE TIP 2022) scores by such a guess. Ours is learned behind a network that has a head for pictures
with a reference, so that this head says of the guess what it would say of the clean picture. No score moves by it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..inputs import Images, as_images
from ..model import QFMNet
from ..reference import QFMReference
from ..reference_head import ReferenceHead
from .agreement import Scores, auc, srcc
from .defects import CLEAN, TYPES
from .descent import descend
from .material import LENGTH
from .material.stored import read_batch
from .reference import Pairs, cell_files, read_pairs

HIDDEN = 192
STEPS, RATE = 3000, 1e-3
SERIES = 8  # a step
PRICED, PLACED = 5.0, 5.0  # weights of what the head says of all cells, and of each, beside that of the cells
DECIDED = 3.0  # how sharply damaged cells are told from others at first
HELD_OUT = 8  # of so many source pictures one is measured on
FEWEST = 10  # series to measure on


class PseudoReference(nn.Module):
    """Guesses the clean picture's cells from a cell and the mean cell of its view.

    Args:
        channels: C of a cell.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.see = nn.Linear(2 * channels, HIDDEN)
        self.damaged = nn.Linear(HIDDEN, 1)
        self.change = nn.Linear(HIDDEN, channels)
        for parameter in self.change.parameters():
            nn.init.zeros_(parameter)  # nothing was done to a picture

    def forward(self, cells: Tensor) -> Tensor:
        """Standardised cells `(N, V, cells, C)` to those of the clean picture, of the same shape."""
        around = cells.mean(dim=2, keepdim=True).expand_as(cells)
        seen = F.gelu(self.see(torch.cat([cells, around], dim=-1)))
        return cells + torch.sigmoid(DECIDED * self.damaged(seen)) * self.change(seen)  # type: ignore[no-any-return]


class Gap(NamedTuple):
    """Between a picture and what it could have been.

    Attributes:
        kept: Share of the guess's quality that it keeps, in (0, 1]; 1: nothing is guessed to be lost.
        map: `(rows, columns)` from 0 on, what the 3 x 3 cells about each cell of the whole view cost on average.
    """

    kept: float
    map: Tensor


@torch.inference_mode()
def find_gap(compare: QFMReference, guess: PseudoReference, image: Images) -> Gap:
    """What one picture could have been, as a number and a map.

    Args:
        compare: With the weights that the guess was fitted behind.
        guess: See `read_guess`.
        image: As `QFMScore.forward` takes one.

    Raises:
        TypeError, ValueError, ImageError: see `QFMScore.forward`.
        ValueError: several pictures.
    """
    images = as_images(image)
    if len(images) != 1:
        raise ValueError(f"image: expected one picture, got {len(images)}; call this for each")
    metric = compare.metric
    cells = metric.net.cells(metric.net.pyramid(metric.net.distinct_views(metric.to_net(images[0][None]))))
    seen = metric.net.reference_cells(cells, 1)
    guessed = guess(seen)
    kept = metric.net.reference(seen, guessed).item()
    return Gap(kept, gap_map(metric.net.reference, seen, guessed, cells.shape[-2:])[0])


def gap_map(head: ReferenceHead, cells: Tensor, references: Tensor, shape: Sequence[int]) -> Tensor:
    """`local_costs` as maps `(N, rows, columns)`, each cell the mean of the 3 x 3 about it, as in the quality map.

    Args:
        head, cells, references: See `local_costs`.
        shape: Rows and columns of the views.
    """
    costs = local_costs(head, cells, references).view(len(cells), 1, *shape)
    return F.avg_pool2d(costs, 3, stride=1, padding=1, count_include_pad=False)[:, 0]


def local_costs(head: ReferenceHead, cells: Tensor, references: Tensor) -> Tensor:
    """What the head counts for each cell of the whole views, `(N, cells)`: units by their prices and kinds."""
    prices = head.prices[0].clamp(min=0) * head.factors(cells - references)[:, 0]
    return (head.unit_costs(cells, references)[:, 0] * prices.sum(dim=1, keepdim=True)).sum(dim=2)


def fit_guess(
    head: ReferenceHead,
    pairs: Pairs,
    *,
    steps: int = STEPS,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> PseudoReference:
    """Fit a guess to series, by AdamW with a rate that falls to nothing along half a cosine.

    What is learned: the clean picture's cells, and that the head says of them what it says of the clean picture, of all
    cells together and of each.

    Args:
        head: Of the network, which stays as it is.
        pairs: The series.
        steps, say: See `descend`.
        seed: Of the draws and the start.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        guess = PseudoReference(pairs.cells.shape[-1])

    def loss(step: int) -> Tensor:
        cells = pairs.draw((seed, step), SERIES).cells.float()
        clean = cells[:, :1].expand_as(cells).flatten(0, 1)
        versions = mix(cells.flatten(0, 1), clean, (seed, step))
        guessed = guess(versions)
        found = F.smooth_l1_loss(guessed, clean)
        for weight, said in ((PRICED, head), (PLACED, partial(local_costs, head))):
            found = found + weight * F.smooth_l1_loss(said(versions, guessed), said(versions, clean), beta=0.1)
        return found

    optimizer = torch.optim.AdamW(guess.parameters(), lr=RATE, weight_decay=0.01)
    descend(optimizer, loss, steps, say)
    return guess.eval()


def mix(cells: Tensor, clean: Tensor, seed: Sequence[int]) -> Tensor:
    """Half of the pictures with only a part of what was done to them: a random share of their cells, elsewhere clean.

    Else a guess never sees a whole cell beside damaged ones, and would mend both alike.

    Args:
        cells, clean: `(N, V, cells, C)`.
        seed: Of the choice.
    """
    generator = np.random.default_rng([*seed, 1])
    shares = np.where(generator.random(len(cells)) < 0.5, 1.0, generator.random(len(cells)))
    done = generator.random(cells.shape[:3]) < shares[:, None, None]
    return torch.where(torch.from_numpy(done)[..., None], cells, clean)


def train_guess(
    weights: str | None,
    cells: Path,
    out: Path,
    *,
    backbone: str | None = None,
    steps: int = STEPS,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Fit a guess behind a network with a head for references, write it, and measure it on pictures left out.

    Args:
        weights: Id or file; None: the shipped weights.
        cells, backbone: See `read_pairs`.
        out: Safetensors file to write.
        steps, seed, say: See `fit_guess`.

    Returns:
        `figures`.

    Raises:
        DataError, WeightsError: see `read_pairs`.
        WeightsError: the weights have no such head.
        ValueError: too few series to measure on.
    """
    net = QFMReference(weights).metric.net
    pairs = read_pairs(net, cells, backbone, seed)
    seen = pairs.select(np.flatnonzero(~held_out(pairs.sources)))
    say(f"{len(seen.kept)} series")
    guess = fit_guess(net.reference, seen, steps=steps, seed=seed, say=say)
    save_file(guess.state_dict(), out)
    answers = [ask(net, guess, series) for series in series_left_out(cell_files(net, cells, backbone))]
    if len(answers) < FEWEST:
        raise ValueError(f"{cells}: expected {FEWEST} series of pictures that are left out, got {len(answers)}")
    return figures(answers)


def read_guess(path: Path) -> PseudoReference:
    """The guess that `train_guess` wrote."""
    tensors = load_file(path)
    guess = PseudoReference(len(tensors["change.bias"]))
    guess.load_state_dict(tensors)
    return guess.eval()


def held_out(sources: Tensor) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether source pictures `(S,)` are left for measuring."""
    return (sources % HELD_OUT == 0).numpy()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Series:
    """A series of a picture that is left out, of one type of KADID-10k or TID2013.

    Attributes:
        cells: `(LENGTH * V, C, rows, columns)`, the clean picture's first.
        targets: `(LENGTH,)`, what people would say, as an MOS in [0, 1].
    """

    cells: Tensor
    targets: Scores


def series_left_out(files: list[Path]) -> Iterator[Series]:
    """Those of stored batches."""
    for path in files:
        batch = read_batch(path)
        assert batch.cells is not None  # of what is stored
        views = len(batch.cells) // len(batch.targets)
        sources = held_out(torch.from_numpy(batch.sources))
        for start in range(batch.photos, len(batch.targets), LENGTH):
            types = batch.types[start : start + LENGTH]
            rendered = (types[1:] == types[1]).all() and types[0] == CLEAN and types[1] >= 0
            if rendered and TYPES[types[1]][0] != "own" and sources[start]:
                cells = torch.from_numpy(batch.cells[start * views : (start + LENGTH) * views]).float()
                yield Series(cells, batch.targets[start : start + LENGTH].astype(np.float64))


class Answers(NamedTuple):
    """Of a series; of all its versions but the clean one, where there is no other word.

    Attributes:
        error, distance: Squared, from the guess to the clean cells and from the cells to those, over all of them.
        guessed, true: What the head says is kept of the guess and of the clean picture.
        logits: The network's score, before its calibration.
        targets: See `Series`.
        gap_auc, quality_auc: How surely the cells of a quadrant that was exchanged for the last version's are told from
            the clean others by the gap's map, and by the map of quality.
    """

    error: float
    distance: float
    guessed: Scores
    true: Scores
    logits: Scores
    targets: Scores
    gap_auc: float
    quality_auc: float


@torch.inference_mode()
def ask(net: QFMNet, guess: PseudoReference, series: Series) -> Answers:
    """What a guess, the head and the network say of a series."""
    seen = net.reference_cells(series.cells, LENGTH)
    guessed, clean = guess(seen), seen[:1].expand_as(seen)
    versions = slice(1, None)
    damaged, inside = exchange(series.cells)
    looked = net.reference_cells(damaged, 1)
    lost = gap_map(net.reference, looked, guess(looked), damaged.shape[-2:])[0].flatten().numpy()
    logits = net.forward_cells(damaged, 1)
    quality = net.forward_local(damaged[:1], logits)[0, 0].flatten().numpy()
    return Answers(
        (guessed - clean)[versions].square().sum().item(),
        (seen - clean)[versions].square().sum().item(),
        net.reference(seen, guessed)[versions].double().numpy(),
        net.reference(seen, clean)[versions].double().numpy(),
        net.forward_cells(series.cells, LENGTH)[versions].double().numpy(),
        series.targets[versions],
        auc(lost, inside),
        auc(-quality, inside),
    )


def exchange(cells: Tensor) -> tuple[Tensor, np.ndarray[Any, np.dtype[np.bool_]]]:
    """The clean picture's cells with those of its last version in the upper left quadrant of the whole view.

    Args:
        cells: Of a series, `(LENGTH * V, C, rows, columns)`.

    Returns:
        `(V, C, rows, columns)`, and where that is, `(rows * columns,)`.
    """
    views = len(cells) // LENGTH
    damaged = cells[:views].clone()
    rows, columns = (side // 2 for side in cells.shape[-2:])
    damaged[0, :, :rows, :columns] = cells[-views, :, :rows, :columns]
    inside = np.zeros(cells.shape[-2:], bool)
    inside[:rows, :columns] = True
    return damaged, inside.ravel()


def figures(answers: list[Answers]) -> dict[str, Any]:
    """What a guess is worth.

    Returns:
        `series` measured on. `explained`: share of the squared distance to the clean cells that the guess takes away.
        `gap`: SRCC of what is said to be kept of the guess and of the clean picture, all versions; `score_for_gap`: of
        the network's score in the place of the guess. `score`: SRCC of the score and what people would say;
        `score_with_gap`: of the score with the logarithm of what is kept, weighed by least squares on the other half of
        the series. `map_auc`, `quality_map_auc`: means of `Answers`.
    """
    guessed, true, logits, targets = (
        np.concatenate([getattr(answer, name) for answer in answers])
        for name in ("guessed", "true", "logits", "targets")
    )
    half = np.repeat(np.arange(len(answers)) % 2, LENGTH - 1)
    columns = np.stack([logits, np.log(guessed), np.ones_like(logits)], axis=1)
    weighed = np.zeros_like(logits)
    for part in (0, 1):
        found = np.linalg.lstsq(columns[half != part], targets[half != part], rcond=None)[0]
        weighed[half == part] = columns[half == part] @ found
    return {
        "series": len(answers),
        "explained": 1 - sum(answer.error for answer in answers) / sum(answer.distance for answer in answers),
        "gap": srcc(guessed, true),
        "score_for_gap": srcc(logits, true),
        "score": srcc(logits, targets),
        "score_with_gap": srcc(weighed, targets),
        "map_auc": float(np.mean([answer.gap_auc for answer in answers])),
        "quality_map_auc": float(np.mean([answer.quality_auc for answer in answers])),
    }
