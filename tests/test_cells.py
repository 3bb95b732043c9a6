"""Statistics of cells, with closed-form answers."""

import pytest
import torch

from qfm_metric.cells import Standardize, around, pool_cells, statistics


def test_pool_cells_mean_and_spread():
    features = torch.zeros(1, 2, 4, 4)
    features[0, 0, :2, :2] = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    features[0, 1] = 5.0
    pooled = pool_cells(features, (2, 2))
    assert pooled.shape == (1, 4, 2, 2)
    assert pooled[0, 0, 0, 0] == 2.0
    assert pooled[0, 2, 0, 0] == pytest.approx(1.0)
    assert pooled[0, 1].eq(5).all()
    assert pooled[0, 3, 0, 0] == pytest.approx(0.01)  # the floor of the spread
    assert torch.equal(pool_cells(features, (4, 4)), features)


def test_statistics_are_the_mean_and_the_spread_over_a_view():
    cells = torch.tensor([[1.0, 3.0], [5.0, 5.0]]).view(1, 2, 1, 2)
    # The floor of a spread is .01.
    torch.testing.assert_close(statistics(cells), torch.tensor([[2.0, 5.0, 1.0, 0.01]]))


def test_statistics_around_a_cell_are_those_of_its_neighbours_inside_the_view():
    cells = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = around(cells).view(2, 4, 5, 6)
    torch.testing.assert_close(found[1, 0, 0], statistics(cells[1:, :, :2, :2])[0])
    torch.testing.assert_close(found[0, 2, 3], statistics(cells[:1, :, 1:4, 2:5])[0])


def test_statistics_of_a_flat_view_have_a_finite_gradient():
    cells = torch.ones(1, 2, 3, 3, requires_grad=True)
    (statistics(cells).sum() + around(cells).sum()).backward()
    assert cells.grad.isfinite().all()


def test_standardize():
    layer = Standardize(2)
    layer.mean.copy_(torch.tensor([1.0, 2.0]))
    layer.std.copy_(torch.tensor([2.0, 4.0]))
    torch.testing.assert_close(layer(torch.tensor([3.0, 10.0])), torch.tensor([1.0, 2.0]))
