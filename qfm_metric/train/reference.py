"""The head that compares a picture with its reference, fitted to series whose clean picture is known.

What is kept of the clean picture is what people said of each type and level (`severity`). KADID-10k's people and
TID2013's used their scales differently: each set's own power of the answer is fitted beside the head and then left out,
and within a set the order of all versions counts, whatever they are of. The backbone stays as it is, and no score
moves. Ours.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..model import QFMNet
from ..reference_head import ReferenceHead
from ..score import QFMScore
from ..weights import WeightsError
from .calibrate import write_weights
from .datasets.table import DataError
from .defects import CLEAN, TYPES
from .descent import descend
from .distortions import DATA_SETS
from .losses import ranking
from .material import LENGTH, Batch
from .material.stored import read_batch, stored_files
from .severity import FLOOR
from .start import with_new

# How much series count, by whose scale they are on. Where people of both sets disagree about a type, the head must find
# a compromise; with equal weights it was nearly KADID-10k's.
SCALES = {"KADID-10k": 1.0, "TID2013": 2.0, "own": 1.0}
ORDER = 0.5  # weight of the order
STEPS, RATE = 2000, 3e-3
SERIES = 16  # a step
ROUNDING = 0.02  # deviations by which the same cells may differ; half precision and folding: .002
CELLS = 24  # of a view that are kept of each series: all of them would fill the memory, and say little more


@dataclass(frozen=True)
class Pairs:
    """S series, each of a clean picture and three versions.

    Attributes:
        cells: `(S, LENGTH, V, cells, C)`, standardised, in half precision; the first is the clean picture's.
        kept: `(S, LENGTH - 1)`, share of the clean picture's quality that people say is kept.
        types: `(S, LENGTH)`, places in `TYPES`, or -1: several.
        sources: `(S,)`, index of the decoded picture.
    """

    cells: Tensor
    kept: Tensor
    types: Tensor
    sources: Tensor

    def draw(self, seed: Sequence[int], count: int) -> "Pairs":
        """So many of the series, some of them perhaps twice."""
        return self.select(np.random.default_rng([*seed]).integers(0, len(self.kept), count))

    def select(self, places: NDArray[np.int64]) -> "Pairs":
        """Some of the series."""
        return Pairs(self.cells[places], self.kept[places], self.types[places], self.sources[places])

    def without(self, types: Collection[int]) -> "Pairs":
        """The series with none of these types, nor with several at once, which may be of them."""
        left = torch.isin(self.types, torch.tensor([-1, *types], dtype=self.types.dtype)).any(dim=1)
        return self.select(np.flatnonzero(~left.numpy()))

    def answers(self, head: ReferenceHead) -> Tensor:
        """What a head says, `(S, LENGTH - 1)`."""
        versions = self.cells[:, 1:].float()
        clean = self.cells[:, :1].float().expand_as(versions)
        return head(versions.flatten(0, 1), clean.flatten(0, 1)).view(self.kept.shape)


def pairs_of(net: QFMNet, batch: Batch, seed: Sequence[int]) -> Pairs | None:
    """The series of a stored batch that begin with a clean picture, `CELLS` of each view; None: there is none.

    Args:
        net: Whose backbone made the cells.
        seed: Of the choice of cells, which is the same for all versions.
    """
    assert batch.cells is not None  # of what is stored
    types = torch.from_numpy(batch.types[batch.photos :]).view(-1, LENGTH)
    chosen = types[:, 0] == CLEAN
    if not chosen.any():
        return None
    views = len(batch.cells) // len(batch.targets)
    shape = batch.cells.shape[1:]
    of_series = torch.from_numpy(batch.cells[batch.photos * views :]).view(-1, LENGTH * views, *shape)[chosen]
    places = np.random.default_rng([*seed]).integers(0, batch.cells[0, 0].size, CELLS)
    some = of_series.flatten(0, 1).flatten(2)[..., places, None].float()
    cells = net.reference_cells(some, len(of_series) * LENGTH).half()
    targets = torch.from_numpy(batch.targets[batch.photos :]).view(-1, LENGTH)[chosen]
    kept = ((targets[:, 1:] - FLOOR) / (targets[:, :1] - FLOOR)).clamp(0, 1)
    # Where there is one view, the others are like it.
    cells = cells.view(-1, LENGTH, *cells.shape[1:]).expand(-1, -1, 1 + net.config.native_views, -1, -1)
    sources = torch.from_numpy(batch.sources[batch.photos :]).view(-1, LENGTH)[chosen, 0]
    return Pairs(cells, kept, types[chosen], sources)


def cell_files(net: QFMNet, cells: Path, backbone: str | None = None) -> list[Path]:
    """Files of stored batches that serve a network.

    Args:
        net: That looks at the cells.
        cells: What `cells` stored.
        backbone: The weights that they were made with, if those are not of `net` but see the same: its own from before
            its BatchNorm was folded. None: `net`.

    Raises:
        DataError: no cells of this backbone.
        WeightsError: no such weights as `backbone`, or they see something else than `net`.
    """
    if backbone is None:
        return stored_files(cells, net)
    maker = QFMScore.from_pretrained(backbone).net
    check_same_backbone(net, maker)
    return stored_files(cells, maker)


def read_pairs(net: QFMNet, cells: Path, backbone: str | None = None, seed: int = 0) -> Pairs:
    """All such series of a folder of cells; 9,000 take 2.5 GB.

    Args:
        net, cells, backbone: See `cell_files`.
        seed: Of the choice of cells.

    Raises:
        DataError, WeightsError: see `cell_files`.
        DataError: there is no such series.
    """
    files = cell_files(net, cells, backbone)
    read = (pairs_of(net, read_batch(path), (seed, number)) for number, path in enumerate(files))
    found = [pairs for pairs in read if pairs is not None]
    if not found:
        raise DataError(f"{cells}: expected cells of series with a clean picture, got none; store with --severity")
    parts = (torch.cat([getattr(pairs, field.name) for pairs in found]) for field in fields(Pairs))
    return Pairs(*parts)


class Trained(nn.Module):
    """A head, and the power that each of `SCALES` takes of what it says."""

    def __init__(self, head: ReferenceHead) -> None:
        super().__init__()
        self.head = head
        self.log_powers = nn.Parameter(torch.zeros(len(SCALES)))

    def loss(self, pairs: Pairs) -> Tensor:
        """Smooth L1 of what is kept and of the gaps in a series, and preferences between all versions of a data set."""
        powers = (self.log_powers - self.log_powers.mean()).exp()  # the head's own scale is between theirs
        versions = pairs.types[:, 1:]
        types = versions.masked_fill(versions == CLEAN, -1).amax(dim=1)  # one of them may just be shifted
        scales = torch.tensor([list(SCALES).index(TYPES[place][0]) for place in types.tolist()])
        weights = torch.tensor(list(SCALES.values()))[scales]
        answers = pairs.answers(self.head)
        found = answers ** powers[scales][:, None]
        errors = F.smooth_l1_loss(found, pairs.kept, beta=0.1, reduction="none").mean(dim=1)
        gaps = F.smooth_l1_loss(_gaps(found), _gaps(pairs.kept), beta=0.1, reduction="none").mean(dim=1)
        terms = [(weights * (errors + 0.5 * gaps)).mean()]
        for place in map(list(SCALES).index, DATA_SETS):
            of_set = scales == place
            rated = answers[of_set].flatten(), pairs.kept[of_set].flatten()
            order = ranking(*rated, torch.zeros_like(rated[0]))
            terms.append(ORDER * (weights * of_set).mean() * order)
        return torch.stack(terms).sum()

    @torch.no_grad()
    def hold(self) -> None:
        """Bring back what a step made negative."""
        for parameter in (self.head.differences, self.head.prices):
            parameter.clamp_(min=0)


def fit_head(
    pairs: Pairs, *, steps: int = STEPS, seed: int = 0, say: Callable[[str], None] = lambda text: None
) -> ReferenceHead:
    """Fit a head to series, by AdamW with a rate that falls to nothing along half a cosine.

    Args:
        pairs: The series.
        steps, say: See `descend`.
        seed: Of the draws and the start.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trained = Trained(ReferenceHead(pairs.cells.shape[-1], pairs.cells.shape[2]))
    optimizer = torch.optim.AdamW(trained.parameters(), lr=RATE, weight_decay=0.0, betas=(0.9, 0.99))
    optimizer.register_step_post_hook(lambda *_: trained.hold())

    descend(optimizer, lambda step: trained.loss(pairs.draw((seed, step), SERIES)), steps, say, clip=1.0)
    return trained.head.eval()


@torch.inference_mode()
def check_same_backbone(net: QFMNet, other: QFMNet) -> None:
    """Refuse networks whose cells differ by more than rounding, on a picture of shades and noise.

    Raises:
        WeightsError: they do, or are of other views or channels.
    """
    rng = torch.Generator().manual_seed(0)
    shades = F.interpolate(torch.rand(1, 3, 8, 8, generator=rng), (192, 256), mode="bilinear")
    picture = (shades + 0.1 * torch.randn(shades.shape, generator=rng)).clamp(0, 1).to(net.mean)
    seen = [each.cells(each.pyramid(each.distinct_views(picture))) for each in (net, other.to(net.mean))]
    if seen[0].shape == seen[1].shape:
        gap = ((seen[0] - seen[1]).abs().mean(dim=(0, 2, 3)) / net.standardize.std).mean().item()
        if gap < ROUNDING:
            return
        found = f"ones that differ by {gap:.2f} deviations"
    else:
        found = f"{tuple(seen[1].shape)} in the place of {tuple(seen[0].shape)}"
    raise WeightsError(
        f"backbone: expected one that makes the same cells of a picture, got {found}; choose the weights "
        "that these were folded or went on from, with the backbone left as it was"
    )


def train_reference(
    weights: str | None,
    cells: Path,
    out: Path,
    *,
    backbone: str | None = None,
    steps: int = STEPS,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Fit the head of a network, and write its weights with it.

    Args:
        weights: Id or file; None: the shipped weights.
        cells, backbone: See `read_pairs`.
        out: Weights file to write.
        steps, seed, say: See `fit_head`.

    Raises:
        DataError, WeightsError: see `read_pairs`.
        WeightsError: no such weights.
    """
    net = QFMScore.from_pretrained(weights).net
    pairs = read_pairs(net, cells, backbone, seed)
    say(f"{len(pairs.kept)} series")
    write_weights(with_head(net, fit_head(pairs, steps=steps, seed=seed, say=say)), out)


def attach_head(weights: str | None, source: str, out: Path) -> None:
    """Write weights with the head of others whose backbone sees the same.

    Args:
        weights: Id or file; None: the shipped weights.
        source: Id or file of the weights with the head.
        out: Weights file to write.

    Raises:
        WeightsError: no such weights, no head, or another backbone.
    """
    net, other = (QFMScore.from_pretrained(name).net for name in (weights, source))
    if not other.config.reference:
        raise WeightsError(f"{source}: expected weights that compare with a reference, these do not")
    check_same_backbone(net, other)
    statistics = (net.standardize.mean, net.standardize.std), (other.standardize.mean, other.standardize.std)
    if not all(torch.allclose(one, another) for one, another in zip(*statistics, strict=True)):
        raise WeightsError(f"{source}: cells are standardised by other statistics; fit a head anew")
    write_weights(with_head(net, other.reference), out)


def with_head(net: QFMNet, head: ReferenceHead) -> QFMNet:
    """A network that is `net` with this head, in the place of one that it may have."""
    found = with_new(net, "reference", reference=True)
    found.reference.load_state_dict(head.state_dict())
    return found


def _gaps(kept: Tensor) -> Tensor:
    """`(S, n)` to the gaps of all pairs, `(S, n * (n - 1) / 2)`."""
    i, j = torch.triu_indices(kept.shape[1], kept.shape[1], offset=1)
    return kept[:, i] - kept[:, j]
