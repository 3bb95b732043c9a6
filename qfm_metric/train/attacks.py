"""Attacks on a score: small changes of the pixels that move it far, to measure how robust it is.

`score_fn` maps `(N, 3, H, W)` in [0, 1] to `(N,)`, differentiably and each picture by itself. No gradient reaches its
parameters. Attacked pictures come back detached, in [0, 1].
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

ScoreFn = Callable[[Tensor], Tensor]

MOMENTUM = 0.75  # alpha of Croce & Hein, the share of the new step
PROGRESS = 0.75  # rho: the share of steps that must have gained for the step size to stay


def apgd(
    score_fn: ScoreFn,
    images: Tensor,
    eps: float,
    steps: int = 50,
    restarts: int = 1,
    direction: int = 1,
    seed: int = 0,
) -> Tensor:
    """Auto-PGD in the L-inf ball: the pictures within `eps` that score highest among those visited.

    Croce & Hein, *Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks*,
    ICML 2020, Algorithm 1, with the score itself as the objective. With step size `eta`, starting at `2 eps`, and `P`
    the projection onto the ball and [0, 1]:

        z       = P(x_k + eta * sign(grad f(x_k)))
        x_{k+1} = P(x_k + 0.75 (z - x_k) + 0.25 (x_k - x_{k-1}))

    At checkpoints that come ever closer, `eta` is halved and `x` goes back to the best so far where fewer than 75 % of
    the steps since the last one gained, or where neither `eta` nor the best has changed since. All of that by picture.

    Args:
        score_fn: See above.
        images: `(N, 3, H, W)`, float in [0, 1].
        eps: Radius of the ball, in the pixels' unit: 2/255 is two grey levels.
        steps: Gradients taken from each start. One step from the picture itself is FGSM.
        restarts: Starts. The first is the picture itself, the others are uniform in the ball; they pass as one batch.
        direction: 1 raises the score, -1 lowers it.
        seed: Decides the random starts.

    Returns:
        `(N, 3, H, W)`; never worse than `images`, nor than with fewer restarts.

    Raises:
        ValueError: `eps` is negative, `steps` or `restarts` below 1, or a `direction` other than 1 and -1.
    """
    if not eps >= 0 or steps < 1 or restarts < 1 or direction not in (1, -1):
        raise ValueError(
            "expected eps >= 0, steps >= 1, restarts >= 1 and direction 1 or -1, "
            f"got {eps}, {steps}, {restarts} and {direction}"
        )
    images = images.detach()
    low, high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    starts = [images, *(_within(low, high, seed, turn) for turn in range(1, restarts))]
    climb = _Climb(
        score_fn, torch.cat(starts), low.repeat(restarts, 1, 1, 1), high.repeat(restarts, 1, 1, 1), direction
    )
    climb.run(2 * eps, steps)
    gains, pictures = climb.best_value.view(restarts, -1), climb.best.view(restarts, *images.shape)
    return pictures[gains.argmax(dim=0), torch.arange(len(images), device=images.device)]


class _Climb:
    """APGD's state for a batch of starts; every decision is made by picture."""

    def __init__(self, score_fn: ScoreFn, start: Tensor, low: Tensor, high: Tensor, direction: int) -> None:
        self.score_fn, self.low, self.high, self.direction = score_fn, low, high, direction
        self.x = self.previous = self.best = start
        self.value, self.gradient = self.evaluate(start)
        self.best_value, self.best_gradient = self.value, self.gradient

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = value_and_gradient(self.score_fn, x)
        return self.direction * value, self.direction * gradient

    def run(self, eta: float, steps: int) -> None:
        step_size = torch.full_like(self.value, eta)
        gained = torch.zeros_like(self.value)
        checks, since = checkpoints(steps), 0
        size_then, best_then = step_size, self.best_value
        for step in range(1, steps + 1):
            gained = gained + self.step(step_size, 1.0 if step == 1 else MOMENTUM, last=step == steps)
            if step not in checks:
                continue
            stalled = (size_then == step_size) & (best_then == self.best_value)
            size_then, best_then = step_size, self.best_value
            halve = (gained < PROGRESS * (step - since)) | stalled
            step_size = torch.where(halve, step_size / 2, step_size)
            self.go_back(halve)
            gained, since = torch.zeros_like(gained), step

    def step(self, step_size: Tensor, share: float, last: bool) -> Tensor:
        """Move once; returns which pictures gained. The last step needs no gradient."""
        moved = self.project(self.x + _by_picture(step_size) * self.gradient.sign())
        x = self.project(self.x + share * (moved - self.x) + (1 - share) * (self.x - self.previous))
        if last:
            with torch.no_grad():
                value, gradient = self.direction * self.score_fn(x).detach(), self.gradient
        else:
            value, gradient = self.evaluate(x)
        gained, better = value > self.value, value > self.best_value
        self.previous, self.x, self.value, self.gradient = self.x, x, value, gradient
        self.best = torch.where(_by_picture(better), x, self.best)
        self.best_gradient = torch.where(_by_picture(better), gradient, self.best_gradient)
        self.best_value = torch.where(better, value, self.best_value)
        return gained

    def go_back(self, chosen: Tensor) -> None:
        self.x = torch.where(_by_picture(chosen), self.best, self.x)
        self.gradient = torch.where(_by_picture(chosen), self.best_gradient, self.gradient)
        self.value = torch.where(chosen, self.best_value, self.value)

    def project(self, x: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, self.low), self.high)


def checkpoints(steps: int) -> set[int]:
    """The steps after which APGD looks back (Croce & Hein, Sec. 3.2).

    `ceil(p_j * steps)` with `p_1 = 0.22` and `p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)`.
    """
    found, before, here = set(), 0, 22  # in hundredths: 57 % of 100 steps are 57
    while here <= 100:
        found.add(-(-here * steps // 100))
        before, here = here, here + max(here - before - 3, 6)
    return found


def ascend(score_fn: ScoreFn, images: Tensor, steps: int = 200, rate: float = 1 / 255, direction: int = 1) -> Tensor:
    """Gradient ascent without a bound but [0, 1]: what a score does to pictures that are optimised for it alone.

    Adam (Kingma & Ba, ICLR 2015) on the pixels, which are clamped after every step.

    Args:
        score_fn: See above.
        images: `(N, 3, H, W)`, float in [0, 1].
        steps: Steps taken.
        rate: Adam's learning rate: about how far a pixel moves in a step.
        direction: 1 raises the score, -1 lowers it.

    Returns:
        `(N, 3, H, W)`, of each picture the best that was visited.

    Raises:
        ValueError: `steps` below 1, `rate` not positive, or a `direction` other than 1 and -1.
    """
    if steps < 1 or not rate > 0 or direction not in (1, -1):
        raise ValueError(f"expected steps >= 1, rate > 0 and direction 1 or -1, got {steps}, {rate} and {direction}")
    x = best = images.detach().clone()
    best_value = torch.full((len(images),), -math.inf, device=images.device)
    adam = torch.optim.Adam([x], lr=rate, maximize=direction == 1)
    for step in range(steps + 1):
        value, x.grad = value_and_gradient(score_fn, x)
        better = direction * value > best_value
        best = torch.where(_by_picture(better), x, best)
        best_value = torch.where(better, direction * value, best_value)
        if step < steps:
            adam.step()
            x.clamp_(0, 1)
    return best


def value_and_gradient(score_fn: ScoreFn, images: Tensor) -> tuple[Tensor, Tensor]:
    """Scores `(N,)` and their gradients to the pictures `(N, 3, H, W)`, both detached; also under `no_grad`."""
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_(True)
        value = score_fn(leaf)
        return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


def _within(low: Tensor, high: Tensor, seed: int, turn: int) -> Tensor:
    # A generator of its own for each start: more restarts leave the earlier ones as they are.
    generator = torch.Generator().manual_seed(1000 * seed + turn)
    share = torch.rand(low.shape, generator=generator, dtype=low.dtype).to(low.device)
    return low + share * (high - low)


def _by_picture(values: Tensor) -> Tensor:
    return values[:, None, None, None]
