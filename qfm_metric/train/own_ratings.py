"""A few people's ratings: a head for them on frozen features, cross-validated, in a weights file like any other.

The network's logit is `share * (released logit, re-scaled) + ridge on the views' mean cells`, where the ridge learns
what the first term leaves of the ratings' log-odds. Share and penalty are chosen together by cross-validation; where
the ratings do not show that something else is better, the released score stays and is re-scaled alone. All of this is
ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..model import SAY, QFMNet
from .agreement import Scores
from .calibrate import calibrate_std, fit_calibration
from .frozen import Frozen

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the released logit
PENALTIES = tuple(np.geomspace(3, 1e5, 8).tolist())  # on the features, standardised
FOLDS = 5
FEWEST, FEWEST_GROUPS = 20, 4  # pictures; an inner fold needs a group to learn from and one to test on
LEAST = 0.2  # slope of the calibration, and of the line in units of what full agreement gives: the order is kept
CLIP = 0.03  # ratings are held so far from 0 and 1, whose log-odds are infinite


class Settings(NamedTuple):
    """What is chosen by cross-validation; `penalty` infinite: no ridge."""

    share: float
    penalty: float


RELEASED = Settings(1.0, np.inf)  # the released score, re-scaled
GRID = [RELEASED, *(Settings(share, penalty) for share in SHARES for penalty in PENALTIES)]


@dataclass(frozen=True)
class Fit:
    """A fitted head: `score = sigmoid(slope * (share * (line[0] * logit + line[1]) + means @ weight + bias) + offset)`.

    Attributes:
        settings: What was chosen.
        line: Slope and offset of the released logit's line to the ratings' log-odds.
        weight, bias: `(F,)` and a number; 0 where the released score stays.
        calibration: Slope and offset, fitted to predictions for pictures that were held out.
    """

    settings: Settings
    line: tuple[float, float]
    weight: Scores
    bias: float
    calibration: tuple[float, float]

    def scores(self, frozen: Frozen) -> Scores:
        """Of N pictures, `(N,)` in (0, 1)."""
        slope, offset = self.line
        logits = self.settings.share * (slope * frozen.logits + offset) + frozen.means @ self.weight + self.bias
        return _sigmoid(self.calibration[0] * logits + self.calibration[1])


def fit(frozen: Frozen, mos: Scores, groups: Sequence[str], seed: int = 0) -> Fit:
    """Fit a head to ratings.

    Args:
        frozen: Of N pictures.
        mos: `(N,)` in [0, 1], higher is better.
        groups: Of each picture; a group is never on both sides of a fold.
        seed: Of the folds.

    Raises:
        ValueError: too few pictures or groups.
    """
    need_enough(mos, groups)
    target = _log_odds(mos)
    held_out = np.full((len(GRID), len(mos)), np.nan)
    for train, test in folds(groups, seed):
        held_out[:, test] = _candidates(frozen.select(train), target[train], frozen.select(test))
    # To be compared, a candidate that says nothing may become a constant; what is written keeps an order.
    chosen = _choose(np.stack([(_calibrated(z, mos) - mos) ** 2 for z in held_out]))
    line = _line(frozen.logits, target)
    weight, bias = np.zeros(frozen.means.shape[1]), 0.0
    settings = GRID[chosen]
    if np.isfinite(settings.penalty):
        left = target - settings.share * (line[0] * frozen.logits + line[1])
        weights, biases = _ridges(frozen.means, left[:, None], [settings.penalty])
        weight, bias = weights[0], float(biases[0])
    return Fit(settings, line, weight, bias, fit_calibration(held_out[chosen], mos, LEAST))


def need_enough(mos: Scores, groups: Sequence[str]) -> None:
    """Refuse what cannot be cross-validated."""
    if len(mos) < FEWEST or len(set(groups)) < FEWEST_GROUPS:
        raise ValueError(
            f"expected ratings of at least {FEWEST} pictures in {FEWEST_GROUPS} groups, got {len(mos)} in "
            f"{len(set(groups))}; rate more, 50 are a beginning"
        )
    if np.ptp(mos) == 0:
        raise ValueError(f"expected ratings that differ, got {mos[0]:g} for every picture")


def folds(groups: Sequence[str], seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Places to learn from and to test on, `FOLDS` times or once for each group; groups are drawn, and never split."""
    from sklearn.model_selection import KFold  # of the extra `train`; slow to import

    names, place = np.unique(groups, return_inverse=True)
    for _, test in KFold(min(FOLDS, len(names)), shuffle=True, random_state=seed).split(names):
        inside = np.isin(place, test)
        yield np.flatnonzero(~inside), np.flatnonzero(inside)


def apply(net: QFMNet, found: Fit, frozen: Frozen, mos: Scores, held_out: Scores) -> None:
    """Make the fit a network's own: its readers' share, the second one's map, its calibration and its deviations.

    Args:
        net: Changed in place.
        found: The fit.
        frozen, mos: What was fitted.
        held_out: `(N,)`, scores of these pictures by fits that had not seen them, which say how wide deviations are.
    """
    slope, offset = found.line
    share = found.settings.share * slope
    with torch.no_grad():
        readers = [net.head[-1], net.means, *([net.spread[-1]] if net.config.spread_width else [])]
        for parameter in (parameter for reader in readers for parameter in reader.parameters()):
            parameter.mul_(share)
        net.config = replace(net.config, worst_defect=float(share * net.config.worst_defect))
        # What is added to the logit is added to one reader, who has a part of the say.
        say = SAY[len(readers)][1]
        net.means.weight.add_(torch.from_numpy(found.weight).to(net.means.weight) / say)
        net.means.bias.add_((found.settings.share * offset + found.bias) / say)
        net.calibration.slope.fill_(found.calibration[0])
        net.calibration.offset.fill_(found.calibration[1])
    if net.config.uncertainty:
        calibrate_std(net, held_out, frozen.stds, mos)


def _candidates(train: Frozen, target: Scores, test: Frozen) -> Scores:
    """Logits `(settings, M)` of `test` by all settings of `GRID`, each fitted to `train`."""
    slope, offset = _line(train.logits, target)
    learned, asked = slope * train.logits + offset, slope * test.logits + offset
    shares = np.array([settings.share for settings in GRID[1:]])
    weights, biases = _ridges(
        train.means, target[:, None] - shares * learned[:, None], [settings.penalty for settings in GRID[1:]]
    )
    return np.concatenate([asked[None], shares[:, None] * asked + weights @ test.means.T + biases[:, None]])


def _ridges(features: Scores, targets: Scores, penalties: Sequence[float]) -> tuple[Scores, Scores]:
    """Weights `(T, F)` and biases `(T,)` of a ridge for each column of `targets` `(N, T)`."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    # One decomposition serves all columns, each with a penalty of its own.
    ridge = Ridge(alpha=np.array(penalties), solver="svd").fit(scaler.transform(features), targets)
    weights = np.atleast_2d(ridge.coef_) / scaler.scale_
    return weights, np.atleast_1d(ridge.intercept_) - weights @ scaler.mean_


def _line(logits: Scores, target: Scores) -> tuple[float, float]:
    """Slope and offset from the released logits to the ratings' log-odds; the slope is above 0, so no order turns."""
    spread = max(float(np.std(logits)), 1e-6)
    slope = max(float(np.cov(logits, target, bias=True)[0, 1]) / spread**2, LEAST * float(np.std(target)) / spread)
    return slope, float(target.mean() - slope * logits.mean())


def _choose(errors: Scores) -> int:
    """The setting of least squared error `(settings, N)`; the first unless the gain exceeds its standard error."""
    best = int(errors.mean(axis=1).argmin())
    gain = errors[0] - errors[best]
    return best if gain.mean() > gain.std() / np.sqrt(len(gain)) else 0


def _calibrated(logits: Scores, mos: Scores) -> Scores:
    slope, offset = fit_calibration(logits, mos)
    return _sigmoid(slope * logits + offset)


def _log_odds(mos: Scores) -> Scores:
    held = np.clip(mos, CLIP, 1 - CLIP)
    return np.log(held / (1 - held))


def _sigmoid(logits: Scores) -> Scores:
    return 1 / (1 + np.exp(-logits))
