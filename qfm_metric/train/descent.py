"""The short descent by which small layers are fitted behind a backbone that stays as it is."""

import math
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..cells import Standardize


def descend(
    optimizer: torch.optim.Optimizer,
    loss: Callable[[int], Tensor],
    steps: int,
    say: Callable[[str], None],
    clip: float = math.inf,
) -> None:
    """Take steps with a rate that falls to nothing along half a cosine.

    Args:
        optimizer: Of what is fitted.
        loss: Of what is drawn for a step, by the step's number.
        steps: How many.
        say: Gets the mean loss of every hundred steps.
        clip: Largest norm of the gradient.
    """
    learned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses: list[float] = []
    for step in range(steps):
        found = loss(step)
        optimizer.zero_grad()
        found.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learned, clip)
        optimizer.step()
        rate.step()
        losses.append(found.item())
        if (step + 1) % 100 == 0:
            say(f"step {step + 1}/{steps}: loss {np.mean(losses[-100:]):.4f}")


def fit_statistics_head(
    head: nn.Sequential,
    features: Tensor,
    loss: Callable[[int], Tensor],
    *,
    rate: float,
    decay: float,
    steps: int,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """Fit what `statistics_head` made in place, by AdamW.

    Args:
        features: `(N, F)`, all that it is shown; it is standardised by them.
        loss: Of what is drawn for a step, by the step's number.
        rate, decay: Of AdamW.
        seed: Of the draws and of the dropout.
        steps, say: See `descend`.
    """
    standardize = cast(Standardize, head[0])
    standardize.mean.copy_(features.mean(dim=0))
    standardize.std.copy_(features.std(dim=0) + 1e-3)
    head.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=decay)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        descend(optimizer, loss, steps, say)
    head.eval().requires_grad_(False)
