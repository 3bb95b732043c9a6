"""Statistics of the cells that a view is divided into, of 32 x 32 px each, and of all cells of a view together."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOOR = 1e-4  # of a variance: keeps the root's gradient finite where nothing changes (black, white, flat pictures)


def pool_cells(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean and standard deviation of `(N, C, h, w)` features in each cell of `grid`: `(N, 2C, *grid)`."""
    if features.shape[-2:] == grid:
        return features  # one position a cell: no spread to speak of
    # Exact: view sides are multiples of 32. Numbers: tracers take no others.
    stride = (int(features.shape[-2] // grid[0]), int(features.shape[-1] // grid[1]))
    return _with_spread(F.avg_pool2d(features, stride), F.avg_pool2d(features.square(), stride))


def statistics(cells: Tensor) -> Tensor:
    """Mean and spread over the cells `(N, C, rows, columns)` of a view, `(N, 2C)`.

    The spread is what contrast, and damage in one place, change most.
    """
    return _with_spread(cells.mean(dim=(-2, -1)), cells.square().mean(dim=(-2, -1)))


def around(cells: Tensor) -> Tensor:
    """`statistics` of the 3 x 3 cells about each cell of `(N, C, rows, columns)`: `(N * rows * columns, 2C)`."""
    mean, square = (F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False) for x in (cells, cells.square()))
    return _with_spread(mean, square).permute(0, 2, 3, 1).flatten(0, 2)


def _with_spread(mean: Tensor, square: Tensor) -> Tensor:
    """Means, and behind them the standard deviations, from the means of the squares: along the second axis."""
    return torch.cat([mean, (square - mean.square()).clamp(min=FLOOR).sqrt()], dim=1)


class Standardize(nn.Module):
    """Shift and scale each of `channels` last-axis features by fixed statistics, measured once before training."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std
