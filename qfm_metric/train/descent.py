"""The short descent by which small layers are fitted behind a backbone that stays as it is."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn


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
