"""Closed-form values and gradients of the loss terms."""

import pytest
import torch

from qfm_metric.train.losses import clean_anchor, correlation, ladder_ranking, regression, total


def test_regression_is_quadratic_within_the_knee_and_linear_beyond():
    assert regression(torch.tensor([0.55]), torch.tensor([0.5])).item() == pytest.approx(0.05**2 / 0.2)
    assert regression(torch.tensor([0.9]), torch.tensor([0.5])).item() == pytest.approx(0.4 - 0.05)


def test_correlation():
    mos = torch.tensor([0.1, 0.4, 0.5, 0.9])
    assert correlation(2 * mos + 3, mos).item() == pytest.approx(0, abs=1e-6)
    assert correlation(-mos, mos).item() == pytest.approx(2)
    scores = torch.tensor([0.3, 0.2, 0.8, 0.4])
    expected = 1 - torch.corrcoef(torch.stack([scores, mos]))[0, 1]
    assert correlation(scores, mos).item() == pytest.approx(expected.item())


def test_correlation_of_constants_has_a_finite_gradient():
    scores = torch.full((4,), 0.5, requires_grad=True)
    loss = correlation(scores, torch.rand(4))
    loss.backward()
    assert loss.item() == 1
    assert scores.grad.isfinite().all()


def test_ladder_ranking_asks_for_a_margin_on_every_step():
    falling = torch.tensor([[0.9, 0.7, 0.5, 0.3]])
    assert ladder_ranking(falling, 0.1).item() == 0
    assert ladder_ranking(falling.flip(1), 0.1).item() == pytest.approx(0.3)
    one_wrong = torch.tensor([[0.9, 0.7, 0.7, 0.3]], requires_grad=True)
    loss = ladder_ranking(one_wrong, 0.1)
    assert loss.item() == pytest.approx(0.1 / 3)
    loss.backward()
    assert one_wrong.grad[0, 1] < 0 < one_wrong.grad[0, 2]  # descent raises the cleaner and lowers the worse one
    assert one_wrong.grad[0, 0] == one_wrong.grad[0, 3] == 0


def test_clean_anchor_looks_at_the_first_rung_alone():
    ladders = torch.tensor([[0.55, 0.1], [0.5, 0.9]])
    assert clean_anchor(ladders, torch.tensor([0.5, 0.5])).item() == pytest.approx(0.05**2 / 0.2 / 2)


def test_total():
    terms = {"a": torch.tensor(2.0), "b": torch.tensor(3.0)}
    assert total({"a": 10.0, "b": 0.5}, terms).item() == 21.5
    assert total({"a": 10.0}, terms).item() == 23.0
