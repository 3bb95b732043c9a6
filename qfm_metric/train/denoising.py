"""PFD-IQA's idea at our seam, as an ablation: a denoiser takes what is noise out of the tokens before the decoder.

Li et al., *Feature Denoising Diffusion Model for Blind Image Quality Assessment*, arXiv 2401.11949. Its denoiser learns
from a teacher's features; there are none here, so ours learns to take noise out of the network's own tokens, and from
the losses behind it. Nothing that scores for users has one: weights of such a network are refused.
"""

import itertools

import torch
from torch import Tensor, nn

from ..config import QFMConfig
from ..model import QFMNet
from .matching import root_mean_squares


class Denoiser(nn.Module):
    """A diffusion model of single tokens: a small MLP that names the noise, and DDIM steps that take it away.

    Levels are standard deviations of the noise, in units of the root mean square of a picture's tokens.

    Args:
        dim: Width of tokens.
        level: Largest level of noise, which tokens are taken to have.
        steps: In which it is taken away.
    """

    def __init__(self, dim: int, level: float = 0.3, steps: int = 3) -> None:
        super().__init__()
        self.level, self.steps = level, steps
        self.layers = nn.Sequential(nn.Linear(dim + 1, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)  # nothing is taken away at first

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens `(N, L, D)` without their noise.

        DDIM (Song et al., ICLR 2021) without randomness, `x <- x + (b - a) e(x, a)` from level a to the next, b.
        """
        scale = root_mean_squares(tokens.detach())
        found = tokens / scale
        levels = torch.linspace(self.level, 0, self.steps + 1, device=tokens.device)
        for before, after in itertools.pairwise(levels):
            found = found + (after - before) * self.noise(found, before.expand(len(tokens)))
        return found * scale

    def noise(self, tokens: Tensor, levels: Tensor) -> Tensor:
        """The noise in tokens `(N, L, D)` of scale 1, itself of scale 1, where it has `levels` `(N,)`."""
        told = levels[:, None, None].expand(-1, tokens.shape[1], 1)
        return self.layers(torch.cat([tokens, told / self.level], dim=2))  # type: ignore[no-any-return]

    def loss(self, tokens: Tensor) -> Tensor:
        """Mean squared error of the noise that is named in tokens `(N, L, D)` with noise of random levels."""
        clean = tokens.detach() / root_mean_squares(tokens.detach())
        levels = self.level * torch.rand(len(tokens), device=tokens.device)
        noise = torch.randn_like(clean)
        return (self.noise(clean + levels[:, None, None] * noise, levels) - noise).square().mean()


class DenoisedNet(QFMNet):
    """A network whose decoder and readers see denoised tokens, in training and afterwards."""

    def __init__(self, config: QFMConfig) -> None:
        super().__init__(config)
        self.denoiser = Denoiser(config.dim)

    def embed(self, cells: Tensor, n: int) -> Tensor:
        return self.denoiser(super().embed(cells, n))  # type: ignore[no-any-return]

    def denoising_loss(self, cells: Tensor, n: int) -> Tensor:
        """`Denoiser.loss` of the tokens of `n` pictures, from their cells; only the denoiser learns from it."""
        return self.denoiser.loss(super().embed(cells, n))
