"""Closed-form values and gradients of the loss terms."""

import math

import pytest
import torch

from qfm_metric.train.losses import (
    consistency,
    defects,
    difference,
    falling,
    named_defects,
    ranking,
    regression,
    supervised_contrast,
    total,
    uncertainty,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_regression_is_quadratic_within_the_knee_and_linear_beyond():
    assert regression(torch.tensor([0.55]), torch.tensor([0.5])).item() == pytest.approx(0.05**2 / 0.2)
    assert regression(torch.tensor([0.9]), torch.tensor([0.5])).item() == pytest.approx(0.4 - 0.05)


def test_regression_counts_by_weight_whatever_their_scale():
    scores, mos = torch.tensor([0.9, 0.7]), torch.tensor([0.5, 0.5])
    for scale in (1.0, 10.0):
        found = regression(scores, mos, weight=scale * torch.tensor([3.0, 1.0]))
        assert found.item() == pytest.approx((1.5 * 0.35 + 0.5 * 0.15) / 2)
    assert regression(scores, mos, weight=torch.ones(2)).item() == pytest.approx(regression(scores, mos).item())


def test_consistency_moves_the_perturbed_score_alone():
    perturbed, clean = torch.tensor([0.2, 0.6], requires_grad=True), torch.tensor([0.5, 0.5], requires_grad=True)
    loss = consistency(perturbed, clean)
    assert loss.item() == pytest.approx(0.2)
    loss.backward()
    assert perturbed.grad.tolist() == [-0.5, 0.5]
    assert clean.grad is None
    assert consistency(clean, clean).item() == 0


ONE = torch.zeros(8, dtype=torch.long)  # all of one source


def test_ranking_is_a_divergence_between_preferences():
    scores, mos = torch.tensor([0.5, 0.5]), torch.tensor([0.55, 0.5])
    p = 1 / (1 + math.exp(-1))
    expected = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    assert ranking(scores, mos, ONE[:2]).item() == pytest.approx(expected, abs=1e-6)
    assert ranking(scores, mos, ONE[:2], scale=0.1).item() < expected / 2


def test_ranking_is_least_at_the_mos_up_to_an_offset_per_source(generator):
    mos, noise = torch.rand(2, 8, generator=generator)
    sources = torch.tensor([0, 1] * 4)
    scores = (mos + 0.1 + 0.3 * sources).requires_grad_()
    loss = ranking(scores, mos, sources)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)  # rounding of a difference of two entropies below 1
    assert scores.grad.abs().max() < 1e-5
    worse, worst = ranking(mos + 0.1 * noise, mos, ONE), ranking(1 - mos, mos, ONE)
    assert 0.001 < worse < worst
    order = torch.randperm(8, generator=generator)
    assert ranking(noise[order], mos[order], ONE).item() == pytest.approx(ranking(noise, mos, ONE).item(), rel=1e-5)


def test_ranking_raises_what_people_prefer():
    scores = torch.full((3,), 0.5, requires_grad=True)
    ranking(scores, torch.tensor([0.9, 0.5, 0.1]), ONE[:3]).backward()
    assert scores.grad[0] < 0 < scores.grad[2]


def test_ranking_without_pairs_is_nothing():
    assert ranking(torch.rand(3), torch.rand(3), torch.arange(3)).item() == 0


def test_defects_cost_their_square_and_deviations_follow_the_error():
    costs = torch.tensor([[0.5, 0.0]])
    found = torch.tensor([[[0.3, 0.2], [0.0, 0.2]]], requires_grad=True)
    loss = defects(found, costs)
    assert loss.item() == pytest.approx(0.04 + 0.1 * 0.2**2, abs=1e-6)
    loss.backward()
    assert found.grad[0, 0, 0].item() == pytest.approx(-0.4)  # the deviation buys nothing
    assert abs(found.grad[0, 0, 1]) < 1e-6  # its error is as large as it says
    assert found.grad[0, 1, 1] > 0  # sure of too little


def test_a_deviation_far_too_small_does_not_drown_the_other_losses():
    found = torch.tensor([[[0.9, 1e-4]]], requires_grad=True)
    defects(found, torch.tensor([[0.0]])).backward()
    cost, deviation = found.grad[0, 0].abs()
    assert deviation < 0.2 * cost  # it was ninety times as much by a Gaussian's likelihood


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
        lambda x: ranking(x, torch.rand(6), ONE[:6]),
        lambda x: ranking(x[:1], torch.rand(1), ONE[:1]),
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


def test_named_defects_cost_least_where_the_costs_are_right():
    costs = torch.tensor([[0.5, 0.2, 0.0], [0.0, 0.0, 0.0]])
    right = torch.stack([costs.clamp(1e-4, 1 - 1e-4).logit(), torch.full((2, 3), -4.0)], dim=2)
    found = {
        move: named_defects(right + torch.tensor([move, 0.0]), costs, most=0.0).item() for move in (-0.2, 0.0, 0.2)
    }
    assert min(found, key=found.get) == 0.0
    swapped = right[:, [1, 0, 2]]
    # Of one picture with defects: odds of 1 and of 1 to 4 are exchanged.
    gap = named_defects(swapped, costs, most=1.0) - named_defects(swapped, costs, most=0.0)
    kept = named_defects(right, costs, most=1.0) - named_defects(right, costs, most=0.0)
    assert (gap - kept).item() == pytest.approx((0.8 - 0.2) * math.log(4), abs=1e-4)


def test_the_names_of_a_picture_with_two_defects_pull_at_neither_where_its_costs_are_right():
    costs = torch.tensor([[0.5, 0.2, 0.0]])
    logits = torch.stack([costs.clamp(1e-6).logit(), torch.full((1, 3), -4.0)], dim=2).requires_grad_()
    named_defects(logits, costs, most=10.0).backward()
    assert logits.grad[..., 0].abs().max().item() < 1e-4  # what the smallest odds leave


def test_named_defects_of_clean_pictures_alone_have_a_finite_loss():
    assert named_defects(torch.zeros(2, 3, 2), torch.zeros(2, 3)).isfinite()


def test_the_deviation_of_a_named_defect_is_fitted_to_its_error():
    costs, logits = torch.tensor([[0.4]]), torch.zeros(1, 1, 2, requires_grad=True)
    with torch.no_grad():
        logits[..., 1] = torch.tensor(0.1).logit()  # the size of the error
    named_defects(logits, costs).backward()
    assert logits.grad[0, 0, 1].item() == pytest.approx(0, abs=1e-6)


def test_contrast_is_what_its_equation_says(generator):
    embeddings = torch.nn.functional.normalize(torch.randn(7, 5, generator=generator), dim=1)
    classes = torch.tensor([4, 1, 4, 1, 4, 2, 9])  # two classes of one row each, which are others' negatives alone
    found, rows = [], range(7)
    for i in rows:
        alike = [p for p in rows if p != i and classes[p] == classes[i]]
        below = sum(math.exp(embeddings[i] @ embeddings[a] / 0.2) for a in rows if a != i)
        if alike:
            terms = [math.log(math.exp(embeddings[i] @ embeddings[p] / 0.2) / below) for p in alike]
            found.append(-sum(terms) / len(terms))
    assert len(found) == 5
    # float32 sums of seven terms
    assert supervised_contrast(embeddings, classes, 0.2).item() == pytest.approx(sum(found) / 5, rel=1e-5)


def test_contrast_of_classes_of_one_row_is_nothing(generator):
    embeddings = torch.randn(4, 3, generator=generator, requires_grad=True)
    loss = supervised_contrast(embeddings, torch.arange(4))
    loss.backward()
    assert loss.item() == 0
    assert (embeddings.grad == 0).all()


def test_falling_counts_steps_that_fall_by_less_than_the_margin():
    scores = torch.tensor([[0.9, 0.5, 0.4], [0.5, 0.495, 0.6]])
    assert falling(scores).item() == pytest.approx((0.005 + 0.115) / 4, abs=1e-6)
    assert falling(scores[:1]).item() == 0
