"""Fit a network's scores and deviations to MOS, and write it as a file that `QFMScore.from_pretrained` reads."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from ..model import QFMNet
from ..score import QFMScore
from ..weights import save_weights
from .agreement import Scores
from .datasets.table import Decoded
from .defects_check import fit_deviations
from .evaluate import score_images
from .material import to_tensor
from .teacher import error_growth
from .uncertainty import fit_scale


def calibrate(net: QFMNet, scores: Scores, mos: Scores) -> Scores:
    """Fit the calibration's slope and offset on validation: least squares between calibrated score and MOS.

    Args:
        net: Changed in place.
        scores: `(N,)` of `net` as it is now, in (0, 1).
        mos: `(N,)`, in [0, 1].

    Returns:
        `(N,)`, the calibrated scores.
    """
    clipped = np.clip(np.asarray(scores, dtype=float), 1e-6, 1 - 1e-6)
    logits = np.log(clipped / (1 - clipped))
    slope, offset = fit_calibration(logits, mos)
    # The scores came through the calibration as it was: sigmoid(slope * logit + offset).
    before = net.calibration
    before.offset.mul_(slope).add_(offset)
    before.slope.mul_(slope)
    return 1 / (1 + np.exp(-(slope * logits + offset)))


def fit_calibration(logits: Scores, mos: Scores, least: float = 0.0) -> tuple[float, float]:
    """Slope and offset of least squares between `sigmoid(slope * logits + offset)` and `mos`, `(N,)` each.

    The slope is above 0 and at least `least`.
    """

    def error(found: np.ndarray) -> float:
        return float(np.mean((1 / (1 + np.exp(-(np.exp(found[0]) * logits + found[1]))) - mos) ** 2))

    log_slope, offset = minimize(
        error, [0.0, 0.0], method="Nelder-Mead", bounds=[(math.log(least) if least else None, None), (None, None)]
    ).x
    return float(np.exp(log_slope)), float(offset)


def calibrate_std(net: QFMNet, scores: Scores, stds: Scores, mos: Scores, growth: float = 1.0) -> None:
    """Fit the factor on a network's predicted deviations on validation (`uncertainty.fit_scale`); no score moves.

    Args:
        net: Changed in place; one that predicts an uncertainty.
        scores: `(N,)`, calibrated.
        stds: `(N,)` of `net` as it is now.
        mos: `(N,)`, in [0, 1].
        growth: How much larger errors are elsewhere than on validation (`teacher.error_growth`).
    """
    bias: Tensor = net.uncertainty[1].bias  # type: ignore[assignment]
    bias.data += math.log(growth * fit_scale(scores, stds, mos))


def calibrate_weights(
    weights: str | None,
    data: Path,
    out: Path,
    *,
    split: str = "val",
    members: Sequence[Path] = (),
    keep_scores: bool = False,
    severity: Path | None = None,
    workers: int = 2,
) -> None:
    """Fit the calibration and the deviations of released weights to other MOS; no order changes.

    Args:
        weights: Id or file; None: the shipped weights.
        data: What `prepare` wrote; the MOS of its decoded pictures are fitted.
        out: Weights file to write.
        split: The part that is fitted.
        members: The teacher's pseudo-labels, which say how much wider deviations must be (`teacher.error_growth`).
        keep_scores: Fit the deviations alone.
        severity: People's means per distortion type and level (`read_severity`): fit the deviations of the named
            defects, too (`defects_check.fit_deviations`); None: they stay.
        workers: Processes that distort photographs for that.

    Raises:
        DataError: the part has next to no pictures.
        ValueError: the weights predict no deviation, and scores are to be kept: nothing is left to fit.
    """
    decoded = Decoded.open(data / "decoded")
    chosen = decoded.need(split)
    metric = QFMScore.from_pretrained(weights)
    if keep_scores and not metric.net.config.uncertainty:
        raise ValueError(
            "--keep-scores: expected weights that predict a deviation, these do not; nothing is left to fit"
        )
    growth = error_growth(decoded, members) if metric.net.config.uncertainty else 1.0
    mos = decoded.mos[chosen]
    scores, stds = score_images(metric, (to_tensor(decoded.pixels[i]) for i in chosen))
    if not keep_scores:
        scores = calibrate(metric.net, scores, mos)
    if stds is not None:
        calibrate_std(metric.net, scores, stds, mos, growth)
    if severity and metric.defects:
        layer: Any = metric.net.defects[-1]  # a Linear
        shifts = fit_deviations(severity, data, metric, workers=workers)
        layer.bias.data.view(-1, 2)[:, 1] += torch.from_numpy(shifts).to(layer.bias)
    write_weights(metric.net, out)


def write_weights(net: QFMNet, path: Path) -> str:
    """Write `net` in half precision with its config in the header; returns the file's SHA-256."""
    return save_weights(path, asdict(net.config), net.state_dict(), torch.float16)
