"""What a frozen network makes of pictures, for heads that are fitted later: the views' mean cells, and its logit."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..hub import released_with
from ..images import Pixels, open_image, read_pixels
from ..score import QFMScore
from ..weights import WeightsError
from .agreement import Scores
from .scoring import Make, each_picture


class Frozen(NamedTuple):
    """Of N pictures.

    Attributes:
        means: `(N, V * D)`, `QFMNet.view_means`.
        logits: `(N,)`, before the calibration.
        stds: `(N,)`, expected deviation of the MOS about the score; NaN where the network predicts none.
    """

    means: Scores
    logits: Scores
    stds: Scores

    def select(self, places: NDArray[np.int64]) -> "Frozen":
        """Of some of the pictures."""
        return Frozen(self.means[places], self.logits[places], self.stds[places])


def look(
    metric: QFMScore, make: Make, count: int, workers: int = 2, progress: Callable[[int], None] = lambda done: None
) -> Frozen:
    """What a network with mean tokens makes of the pictures `make(0)` to `make(count - 1)`.

    Args:
        workers, progress: See `each_picture`.

    Raises:
        WeightsError: the network has no mean tokens.
    """
    need_mean_tokens(metric)
    found = each_picture(lambda number: _look(metric, make(number)), count, workers, progress)
    return Frozen(*(np.stack(values) for values in zip(*found, strict=True)))


def pixels_of(path: Path) -> Pixels:
    """What a file shows.

    Raises:
        ImageError: it cannot be read.
    """
    with open_image(path) as image:
        return read_pixels(image)


def need_mean_tokens(metric: QFMScore) -> None:
    """Refuse a network whose views have no mean tokens; says which of the released weights have them."""
    if metric.net.config.mean_tokens:
        return
    raise WeightsError(
        f"weights {metric.weights_id!r} cannot be fitted: their views have no mean tokens; choose "
        f"{' or '.join(released_with('mean_tokens')) or 'weights that were trained with network.mean_tokens = true'}"
    )


def _look(metric: QFMScore, pixels: Pixels) -> tuple[Scores, Scores, Scores]:
    net = metric.net
    with torch.inference_mode():
        cells = net.cells(net.pyramid(metric.look(pixels)))
        tokens = net.embed(cells, 1)
        answers = net.decoder(tokens)
        logit = net.forward_logits(answers, tokens, net.statistics(cells, 1))[0].double()
        std = net.forward_std(answers)[0].double() if net.config.uncertainty else torch.tensor(torch.nan)
        return net.view_means(tokens)[0].double().numpy(), logit.numpy(), std.numpy()
