"""The head that compares a picture with its reference, fitted to series whose clean picture is known.

What is kept of the clean picture is what people said of each type and level (`severity`). KADID-10k's people and
TID2013's used their scales differently, and each set's own power of the answer is fitted beside the head and then left
out: within a set it changes no order. The backbone stays as it is, and no score moves. Ours.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..model import QFMNet
from ..reference_head import ReferenceHead
from ..score import QFMScore
from .calibrate import write_weights
from .datasets.table import DataError, Decoded
from .defects import CLEAN, TYPES
from .material import LENGTH, Batch
from .material.stored import StoredMaterial, read_batch
from .pseudo_labels import read_labels
from .severity import FLOOR

SCALES = ("KADID-10k", "TID2013", "own")  # that may differ
STEPS, RATE = 2000, 3e-3
SERIES = 8  # a step
CELLS = 24  # of a view that are kept of each series: all of them would fill the memory, and say little more


@dataclass(frozen=True)
class Pairs:
    """S series, each of a clean picture and three versions.

    Attributes:
        cells: `(S, LENGTH, V, cells, C)`, standardised, in half precision; the first is the clean picture's.
        kept: `(S, LENGTH - 1)`, share of the clean picture's quality that people say is kept.
        types: `(S, LENGTH)`, places in `TYPES`, or -1: several.
    """

    cells: Tensor
    kept: Tensor
    types: Tensor

    def select(self, places: NDArray[np.int64]) -> "Pairs":
        """Some of the series."""
        return Pairs(self.cells[places], self.kept[places], self.types[places])

    def without(self, types: Collection[int]) -> "Pairs":
        """The series with none of these types."""
        left = torch.isin(self.types, torch.tensor([*types], dtype=self.types.dtype)).any(dim=1)
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
    return Pairs(cells, kept, types[chosen])


def read_pairs(net: QFMNet, data: Path, cells: Path, seed: int = 0) -> Pairs:
    """All such series of a folder of cells; 9,000 take 5 GB.

    Args:
        net: Whose backbone made the cells.
        data: What `prepare` wrote.
        cells: What `cells` stored.
        seed: Of the choice of cells.

    Raises:
        DataError: no cells of this backbone, or no such series.
    """
    decoded = Decoded.open(data / "decoded")
    material = StoredMaterial.open(cells, net, decoded, read_labels(decoded, ()))
    files = sorted(path for group in material.groups for path in group)
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
        """Smooth L1 of what is kept, and of the gaps between the versions of a series."""
        powers = (self.log_powers - self.log_powers.mean()).exp()  # the head's own scale is between theirs
        scales = [SCALES.index(TYPES[place][0]) for place in pairs.types[:, 1].tolist()]
        found = pairs.answers(self.head) ** powers[scales][:, None]
        gaps = (_gaps(found), _gaps(pairs.kept))
        return F.smooth_l1_loss(found, pairs.kept, beta=0.1) + 0.5 * F.smooth_l1_loss(*gaps, beta=0.1)

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
        steps: Of `SERIES` each.
        seed: Of the draws and the start.
        say: Gets the mean loss of every hundred steps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trained = Trained(ReferenceHead(pairs.cells.shape[-1], pairs.cells.shape[2]))
    optimizer = torch.optim.AdamW(trained.parameters(), lr=RATE, weight_decay=0.0, betas=(0.9, 0.99))
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses: list[float] = []
    for step in range(steps):
        drawn = np.random.default_rng((seed, step)).integers(0, len(pairs.kept), SERIES)
        loss = trained.loss(pairs.select(drawn))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        trained.hold()
        rate.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            say(f"step {step + 1}/{steps}: loss {np.mean(losses[-100:]):.4f}")
    return trained.head.eval()


def train_reference(
    weights: str | None,
    data: Path,
    cells: Path,
    out: Path,
    *,
    steps: int = STEPS,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Fit the head of a network, and write its weights with it.

    Args:
        weights: Id or file; None: the shipped weights.
        data, cells: See `read_pairs`.
        out: Weights file to write.
        steps, seed, say: See `fit_head`.

    Raises:
        DataError: see `read_pairs`.
        WeightsError: no such weights.
    """
    net = QFMScore.from_pretrained(weights).net
    pairs = read_pairs(net, data, cells, seed)
    say(f"{len(pairs.kept)} series")
    write_weights(with_head(net, fit_head(pairs, steps=steps, seed=seed, say=say)), out)


def with_head(net: QFMNet, head: ReferenceHead) -> QFMNet:
    """A network that is `net` with this head, in the place of one that it may have."""
    found = QFMNet(replace(net.config, reference=True))
    found.load_state_dict(net.state_dict(), strict=False)
    found.reference.load_state_dict(head.state_dict())
    return found.eval().requires_grad_(False)


def _gaps(kept: Tensor) -> Tensor:
    """`(S, n)` to the gaps of all pairs, `(S, n * (n - 1) / 2)`."""
    i, j = torch.triu_indices(kept.shape[1], kept.shape[1], offset=1)
    return kept[:, i] - kept[:, j]
