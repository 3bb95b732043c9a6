"""The head that names defects, fitted last, to what a frozen backbone makes of stored series.

It reads the mean and the spread of the cells themselves: mean tokens are made for the score, which may forget what
tells two losses of equal size apart. The backbone stays as it is, and no score moves unless the worst defect counts in
it (`QFMConfig.worst_defect`). Ours.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..defects import NAMES
from ..model import QFMNet
from ..score import QFMScore
from ..weights import WeightsError
from . import losses
from .calibrate import write_weights
from .datasets.table import DataError
from .defects import CLEAN
from .descent import fit_statistics_head
from .distorted import Seen, clean, head_features, read_distorted
from .falling import read_falling
from .material import LENGTH, Batch
from .material.stored import leave_out, read_batch
from .reference import cell_files
from .start import with_new

WIDTH = 256
STEPS, RATE, DECAY, DRAWN = 4000, 1e-3, 0.05, 256  # DRAWN pictures a step
SHARES = (0.4, 0.35, 0.25)  # of a step's pictures: of one type, of several defects, clean
MIXED = 0.3  # share of a step's pictures over which another distortion is laid, in what the head sees


class Changes(NamedTuple):
    """What distortions of one type change in what the head sees, of M versions of clean pictures.

    Attributes:
        differences: `(M, F)`, what is seen of the version less what is seen of the clean picture.
        costs: `(M, K)`, of the version, as in `Seen`.
        types: `(M,)`, place in `TYPES`.
    """

    differences: Tensor
    costs: Tensor
    types: Tensor


def train_defect_head(
    weights: str | None,
    cells: Path,
    out: Path,
    *,
    drawn: Sequence[Path] = (),
    falling: Path | None = None,
    backbone: str | None = None,
    without: Collection[str] = (),
    steps: int = STEPS,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Fit the head of a network with mean tokens, and write its weights with it, in the place of one that it may have.

    Args:
        weights: Id or file; None: the shipped weights.
        cells, backbone: See `reference.cell_files`.
        out: Weights file to write.
        drawn: Folders that `distorted` wrote with these weights, to learn from too.
        falling: Folder that `falling` wrote with these weights, whose clean pictures have no defect.
        without: Types ("KADID-10k/10") whose series are left out.
        steps, seed, say: See `fit_head`.

    Raises:
        DataError: no cells of this backbone, or none of which the defects are known; see also `read_distorted` and
            `read_falling`.
        WeightsError: no such weights, or the network has no mean tokens.
    """
    metric = QFMScore.from_pretrained(weights)
    if not metric.net.config.mean_tokens:
        raise WeightsError(f"{metric.weights_id}: expected weights whose views have mean tokens, these have none")
    net = with_head(metric.net, WIDTH)
    read = [see(net, leave_out(read_batch(path), without)) for path in cell_files(metric.net, cells, backbone)]
    seen = Seen(*map(torch.cat, zip(*(pictures for pictures, _ in read), strict=True)))
    changes = Changes(*map(torch.cat, zip(*(of_series for _, of_series in read), strict=True)))
    if not len(seen.types):
        raise DataError(f"{cells}: expected cells of series, got none; store with --severity")
    if drawn:
        seen = seen.joined(read_distorted(drawn, metric.net, without))
    if falling:
        seen = seen.joined(clean(read_falling(falling, metric.net).sound()))
    say(f"{len(seen.types)} pictures")
    fit_head(net.defects, seen, changes, steps=steps, seed=seed, say=say)
    write_weights(net, out)


def with_head(net: QFMNet, width: int) -> QFMNet:
    """A network that is `net` with a new head of named defects, of this width."""
    return with_new(net, "defects", defects=NAMES, defect_width=width)


def see(net: QFMNet, batch: Batch) -> tuple[Seen, Changes]:
    """The pictures of a stored batch of which the defects are known, and what they changed in its clean pictures."""
    assert batch.cells is not None  # of what is stored
    cells = torch.from_numpy(batch.cells)
    features = head_features(net, cells.view(len(batch.types), -1, *cells.shape[1:]))
    costs, types, sources = (torch.from_numpy(values) for values in (batch.defects, batch.types, batch.sources))
    known = ~torch.isnan(costs[:, 0])
    of_series = [each[batch.photos :].view(-1, LENGTH, *each.shape[1:]) for each in (features, costs, types)]
    return Seen(features[known], costs[known], types[known], sources[known]), changes_of(*of_series)


def changes_of(features: Tensor, costs: Tensor, types: Tensor) -> Changes:
    """What each version of one type changed in the clean picture that its series begins with.

    Args:
        features, costs, types: `(series, LENGTH, F)`, `(series, LENGTH, K)` and `(series, LENGTH)`, as in `Seen`.
    """
    told = (types[:, :1] == CLEAN) & (types[:, 1:] >= 0) & (types[:, 1:] != CLEAN)
    differences = features[:, 1:].float() - features[:, :1].float()
    return Changes(differences[told].half(), costs[:, 1:][told], types[:, 1:][told])


def fit_head(
    head: nn.Sequential,
    seen: Seen,
    changes: Changes | None = None,
    *,
    steps: int = STEPS,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Fit a head in place, by AdamW with a rate that falls to nothing along half a cosine.

    Args:
        head: `QFMNet.defects` of a `config.defect_width` above 0.
        seen: What it learns from.
        changes: What is laid over some of that, see `mix`; None: nothing.
        seed: Of the draws and of the dropout.
        say: See `descend`.
    """
    features = seen.features.float()
    often = how_often(seen)

    def loss(step: int) -> Tensor:
        drawn = torch.multinomial(often, DRAWN, replacement=True)
        shown, costs = features[drawn], seen.costs[drawn]
        if changes is not None and len(changes.types):
            shown, costs = mix(shown, costs, changes)
        return losses.named_defects(head(shown).view(DRAWN, -1, 2), costs)

    fit_statistics_head(head, features, loss, rate=RATE, decay=DECAY, steps=steps, seed=seed, say=say)


def mix(features: Tensor, costs: Tensor, changes: Changes) -> tuple[Tensor, Tensor]:
    """Lay what another distortion changes over a share of `MIXED` of the pictures; each type is drawn as often.

    As far as what the head sees adds up, these are pictures of two distortions that were never rendered together. A
    defect costs what the worse of both takes.

    Args:
        features, costs: `(N, F)` and `(N, K)`.
    """
    often = 1 / torch.bincount(changes.types)[changes.types]
    laid = torch.multinomial(often, len(features), replacement=True)
    over = (torch.rand(len(features)) < MIXED)[:, None]
    both = torch.maximum(costs, changes.costs[laid])
    return torch.where(over, features + changes.differences[laid].float(), features), torch.where(over, both, costs)


def how_often(seen: Seen) -> Tensor:
    """Share of the draws that each picture has, `(N,)`.

    `SHARES` say how many are of one type, of several defects and clean. Of the first each type has as many; of the
    second the rarer a picture's rarest defect, the more often it is drawn.
    """
    types, defective = seen.types, seen.costs > 0
    parts = (types >= 0) & (types != CLEAN), types < 0, types == CLEAN
    of_type = torch.bincount(types.clamp(min=0), minlength=CLEAN + 1).clamp(min=1)
    rarest = (defective / defective[parts[1]].sum(dim=0).clamp(min=1)).amax(dim=1)
    chances = (1 / of_type)[types.clamp(min=0)], rarest, torch.ones(len(types))
    found = torch.zeros(len(types))
    for part, share, chance in zip(parts, SHARES, chances, strict=True):
        if part.any():
            found[part] = share * chance[part] / chance[part].sum()
    return found / found.sum()
