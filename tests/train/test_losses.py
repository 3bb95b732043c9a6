"""Closed-form values and gradients of the loss terms."""

import math

import pytest
import torch

from qfm_metric.train.losses import (
    consistency,
    correlation,
    difference,
    rank_distillation,
    regression,
    score_distillation,
    total,
    uncertainty,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


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


def test_consistency_moves_the_perturbed_score_alone():
    perturbed, clean = torch.tensor([0.2, 0.6], requires_grad=True), torch.tensor([0.5, 0.5], requires_grad=True)
    loss = consistency(perturbed, clean)
    assert loss.item() == pytest.approx(0.2)
    loss.backward()
    assert perturbed.grad.tolist() == [-0.5, 0.5]
    assert clean.grad is None
    assert consistency(clean, clean).item() == 0


def test_score_distillation_without_disagreement_is_regression(generator):
    scores, teacher = torch.rand(2, 8, generator=generator)
    expected = regression(scores, teacher).item()
    for spread in (0.0, 0.2):  # equal disagreement cancels
        assert score_distillation(scores, teacher, torch.full((8,), spread)).item() == pytest.approx(expected)
    assert score_distillation(teacher, teacher, torch.rand(8, generator=generator)).item() == 0


def test_score_distillation_counts_disagreement_less():
    scores = torch.tensor([0.5, 0.5], requires_grad=True)
    teacher, spread = torch.tensor([0.9, 0.7]), torch.tensor([0.0, 0.05])  # weights 1 and 1/2: of mean 1, 4/3 and 2/3
    loss = score_distillation(scores, teacher, spread)
    assert loss.item() == pytest.approx((4 / 3 * 0.35 + 2 / 3 * 0.15) / 2)
    loss.backward()
    assert scores.grad.tolist() == pytest.approx([-2 / 3, -1 / 3])


def test_rank_distillation_is_a_divergence_between_preferences():
    scores, teacher = torch.tensor([0.5, 0.5]), torch.tensor([0.55, 0.5])
    p = 1 / (1 + math.exp(-1))
    expected = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    assert rank_distillation(scores, teacher).item() == pytest.approx(expected, abs=1e-6)
    assert rank_distillation(scores, teacher, scale=0.1).item() < expected / 2


def test_rank_distillation_is_least_at_the_teacher_up_to_an_offset(generator):
    teacher, noise = torch.rand(2, 8, generator=generator)
    scores = (teacher + 0.1).requires_grad_()
    loss = rank_distillation(scores, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)  # rounding of a difference of two entropies below 1
    assert scores.grad.abs().max() < 1e-5
    worse, worst = rank_distillation(teacher + 0.1 * noise, teacher), rank_distillation(1 - teacher, teacher)
    assert 0.001 < worse < worst
    order = torch.randperm(8, generator=generator)
    assert rank_distillation(noise[order], teacher[order]).item() == pytest.approx(
        rank_distillation(noise, teacher).item(), rel=1e-5
    )


def test_rank_distillation_raises_what_the_teacher_prefers():
    scores = torch.full((3,), 0.5, requires_grad=True)
    rank_distillation(scores, torch.tensor([0.9, 0.5, 0.1])).backward()
    assert scores.grad[0] < 0 < scores.grad[2]
    assert scores.grad[1].item() == pytest.approx(0, abs=1e-6)


def test_difference_compares_gaps_within_a_series():
    targets = torch.tensor([[0.9, 0.6, 0.1], [0.5, 0.4, 0.3]])
    offsets = torch.tensor([[0.1], [-0.2]])
    assert difference(targets + offsets, targets).item() == pytest.approx(0, abs=1e-9)
    scores = targets.clone()
    scores[1, 2] += 0.02  # two of six pairs are off, within the knee
    assert difference(scores, targets).item() == pytest.approx(2 * 0.02**2 / 0.1 / 6, rel=1e-4)
    scores[1, 2] += 0.98
    assert difference(scores, targets).item() == pytest.approx(2 * (1 - 0.025) / 6)
    assert difference(targets.roll(1, 0), targets) > 0.01


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: consistency(x, torch.full((6,), 0.5)),
        lambda x: score_distillation(x, torch.rand(6), torch.full((6,), 10.0)),
        lambda x: rank_distillation(x, torch.rand(6)),
        lambda x: rank_distillation(x[:1], torch.rand(1)),
        lambda x: difference(x.view(2, 3), torch.rand(2, 3)),
        lambda x: difference(x[:, None], torch.rand(6, 1)),
    ],
)
def test_constant_scores_have_a_finite_gradient(loss):
    scores = torch.full((6,), 0.7, requires_grad=True)
    value = loss(scores)
    value.backward()
    assert value.isfinite()
    assert scores.grad.abs().max() < 1e3


def test_total():
    terms = {"a": torch.tensor(2.0), "b": torch.tensor(3.0)}
    assert total({"a": 10.0, "b": 0.5}, terms).item() == 21.5
    assert total({"a": 10.0}, terms).item() == 23.0


def test_uncertainty_is_lowest_at_the_expected_residual():
    scores, mos = torch.zeros(4), torch.tensor([0.1, -0.1, 0.1, -0.1])
    known = torch.full((4,), 0.2)
    value = {
        std: uncertainty(scores, mos, known, torch.full((4,), std)).item()
        for std in (0.2, 0.05**0.5, 0.25)  # the root of .1 squared + .2 squared lies between
    }
    assert min(value, key=value.get) == 0.05**0.5
