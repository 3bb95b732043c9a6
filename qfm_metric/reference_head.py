"""ReferenceHead: what the differences between a picture's cells and those of its reference cost.

sizes of the differences -> units, each a non-negative sum of them            how much of a loss there is, and where
                         x factor of what both show there on average          grain hides in foliage, not in the sky
                         -> pooled over the cells: the mean, and the worst
kind: which channels differ, whatever by how much -> factor on each pool      a darker picture and a blurred one
                         -> sum, non-negative prices                          cost

No difference costs exactly nothing, any other never less, and all of it is symmetric in the two pictures. Ours.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNITS, HIDDEN = 24, 24
SHARPNESS = 4.0  # of the pool that the worst cells decide; costs of a cell are below about 2
LARGEST = 2.0  # logarithm of a kind's factor
LEAST = 1e-3  # mean difference, in deviations, below which kinds are told less and less


class ReferenceHead(nn.Module):
    """Differences between cells to the share of quality that is kept.

    Args:
        channels: C of a cell.
        views: V of a picture; where there is one, the others are like it.
    """

    def __init__(self, channels: int, views: int) -> None:
        super().__init__()
        self.differences = nn.Parameter(nn.init.uniform_(torch.empty(UNITS, channels), 0, 2 / channels))
        self.masking = nn.Linear(channels, UNITS)
        factors = nn.Linear(HIDDEN, 2 * UNITS)
        self.kinds = nn.Sequential(nn.Linear(2 * channels, HIDDEN), nn.GELU(), factors)
        self.prices = nn.Parameter(torch.full((views, 2, UNITS), 0.5 / (views * UNITS)))
        for layer in (self.masking, factors):  # nothing is masked and all kinds are alike
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, cells: Tensor, references: Tensor) -> Tensor:
        """Standardised cells `(N, V, cells, C)` of pictures and of their references to `(N,)` in (0, 1]; 1: alike."""
        costs = self.unit_costs(cells, references)
        pools = torch.stack([costs.mean(dim=2), worst(costs)], dim=2) * self.factors(cells - references)
        views = torch.arange(len(self.prices), device=pools.device).clamp(max=pools.shape[1] - 1)
        return torch.exp(-(pools[:, views] * self.prices.clamp(min=0)).sum(dim=(1, 2, 3)))

    def unit_costs(self, cells: Tensor, references: Tensor) -> Tensor:
        """`(N, V, cells, K)` from 0 on: how much of each unit's loss there is where."""
        sizes = (cells - references).abs().log1p()
        seen = 2 * torch.sigmoid(self.masking((cells + references) / 2))
        return (seen * F.linear(sizes, self.differences.clamp(min=0))).log1p()

    def factors(self, gaps: Tensor) -> Tensor:
        """Differences `(N, V, cells, C)` to factors `(N, V, 2, K)` by their kind, which size does not change."""
        sizes, drifts = gaps.abs().mean(dim=2), gaps.mean(dim=2).abs()
        kind = torch.cat([sizes, drifts], dim=-1) / (sizes.mean(dim=-1, keepdim=True) + LEAST)
        return torch.exp(LARGEST * torch.tanh(self.kinds(kind))).view(*kind.shape[:2], 2, UNITS)


def worst(costs: Tensor) -> Tensor:
    """Pool `(N, V, cells, K)` over the cells, where the highest count most: `(N, V, K)`; 0 of zeros."""
    # Not the root of mean squares, whose gradient is infinite where there is no difference.
    return (SHARPNESS * costs).expm1().mean(dim=2).log1p() / SHARPNESS
