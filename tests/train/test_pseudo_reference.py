"""The guess of a clean picture: what it learns, what is measured of it, the command, and what users get of it."""

import json

import numpy as np
import pytest
import torch
from helpers.small_world import fresh_net

from qfm_metric import QFMReference, QFMScore, WeightsError
from qfm_metric.train import cli, pseudo_reference
from qfm_metric.train.agreement import auc
from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.material import LENGTH
from qfm_metric.train.material.stored import stored_files
from qfm_metric.train.pseudo_reference import (
    Answers,
    PseudoReference,
    exchange,
    figures,
    find_gap,
    fit_guess,
    held_out,
    local_costs,
    mix,
    read_guess,
    series_left_out,
)
from qfm_metric.train.reference import fit_head, read_pairs, with_head


@pytest.fixture(scope="module")
def net(cells):
    """Standardises the world's cells, which no run has measured."""
    net = fresh_net()
    seen = read_pairs(net, cells).cells.float().flatten(0, 3)
    net.standardize.mean.copy_(seen.mean(dim=0))
    net.standardize.std.copy_(seen.std(dim=0) + 1e-3)
    return net


@pytest.fixture(scope="module")
def pairs(net, cells):
    return read_pairs(net, cells)


@pytest.fixture(scope="module")
def comparing(net, pairs):
    return with_head(net, fit_head(pairs, steps=100))


@pytest.fixture(scope="module")
def guess(pairs, comparing):
    return fit_guess(comparing.reference, pairs, steps=800)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Of the world's five clean pictures, two are left out."""
    monkeypatch.setattr(pseudo_reference, "HELD_OUT", 3)
    monkeypatch.setattr(pseudo_reference, "FEWEST", 2)


def test_nothing_is_guessed_before_a_fit():
    cells = torch.rand(1, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(PseudoReference(7)(cells), cells)


def test_a_guess_comes_nearer_to_the_clean_picture(pairs, comparing, guess):
    versions, clean = pairs.cells[:, 1:].float(), pairs.cells[:, :1].float().expand(-1, LENGTH - 1, -1, -1, -1)
    with torch.inference_mode():
        guessed = guess(versions.flatten(0, 1)).view_as(versions)
        said, true = (
            comparing.reference(versions.flatten(0, 1), other.flatten(0, 1)).numpy() for other in (guessed, clean)
        )
    assert (guessed - clean).square().sum() < 0.95 * (versions - clean).square().sum()  # measured: .89
    assert np.corrcoef(said, true)[0, 1] > 0.9  # measured: .99


def test_half_of_the_pictures_keep_some_of_their_damage_and_the_others_all():
    cells, clean = torch.ones(400, 2, 50, 3), torch.zeros(400, 2, 50, 3)
    mixed = mix(cells, clean, (0, 1))
    assert torch.equal(mixed[..., 0], mixed[..., 2])  # a cell is exchanged as a whole
    shares = mixed.mean(dim=(1, 2, 3))
    assert 0.4 < (shares == 1).float().mean() < 0.6
    assert shares[shares < 1].std() > 0.2  # of any size; evenly drawn: .29
    assert torch.equal(mixed, mix(cells, clean, (0, 1)))
    assert not torch.equal(mixed, mix(cells, clean, (0, 2)))


def test_a_guess_tells_damaged_cells_from_others_of_the_picture(pairs, comparing, guess):
    versions, clean = pairs.cells[:, -1].float(), pairs.cells[:, 0].float()
    damaged = versions.clone()
    damaged[:, :, ::2] = clean[:, :, ::2]
    with torch.inference_mode():
        costs = local_costs(comparing.reference, damaged, guess(damaged))
    inside = np.arange(costs.shape[1]) % 2 == 1
    assert np.mean([auc(row.numpy(), inside) for row in costs]) > 0.8


def test_equal_seeds_fit_equal_guesses(pairs, comparing):
    one, other, third = (fit_guess(comparing.reference, pairs, steps=3, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["see.weight"], third["see.weight"])


def test_measured_series_are_of_pictures_that_were_not_learned_from(cells, pairs):
    left = held_out(pairs.sources)
    found = list(series_left_out(stored_files(cells, fresh_net())))
    assert 0 < len(found) <= left.sum() < len(left)
    assert not set(pairs.sources[left].tolist()) & set(pairs.sources[~left].tolist())
    for series in found:
        assert len(series.cells) in (LENGTH, 2 * LENGTH)
        assert (np.diff(series.targets[[0, -1]]) < 0).all()


def test_one_quadrant_is_exchanged_for_the_last_version():
    cells = torch.arange(2.0 * LENGTH).view(-1, 1, 1, 1).expand(-1, 3, 4, 6)  # each view's value is its place
    damaged, inside = exchange(cells)
    assert damaged.shape == (2, 3, 4, 6)
    assert (damaged[0, :, :2, :3] == 2 * LENGTH - 2).all()
    assert (damaged[0] == 2 * LENGTH - 2).sum() == 3 * inside.sum()
    assert (damaged[1] == 1).all()
    assert inside.reshape(4, 6)[:2, :3].all()


def test_the_area_under_the_curve_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    values, inside = rng.integers(0, 9, 50).astype(float), rng.random(50) < 0.3
    assert auc(values, inside) == pytest.approx(roc_auc_score(inside, values))


def answers_of(guessed, true, logits, targets):
    return Answers(1.0, 4.0, *map(np.array, (guessed, true, logits, targets)), 0.75, 0.5)


def test_figures_are_of_all_versions_and_a_gap_that_tells_more_than_the_score_is_worth_it():
    rng = np.random.default_rng(0)
    kept, other = rng.uniform(0.1, 1, (40, 3)), rng.normal(size=(40, 3))
    found = figures(
        [answers_of(row, row**2, noise, np.log(row) + noise) for row, noise in zip(kept, other, strict=True)]
    )
    assert found["series"] == 40
    assert found["explained"] == 0.75
    assert found["gap"] == pytest.approx(1)
    assert found["score_with_gap"] == pytest.approx(1)  # the targets are a weighted sum of both
    assert found["score"] < 0.95
    assert abs(found["score_for_gap"]) < 0.3
    assert (found["map_auc"], found["quality_map_auc"]) == (0.75, 0.5)


def run(monkeypatch, *args):
    monkeypatch.setattr("sys.argv", ["train", *map(str, args)])
    return cli.main()


def test_the_command_writes_a_guess_and_measures_it(cells, comparing, tmp_path, monkeypatch, capsys):
    weights, out = tmp_path / "comparing.safetensors", tmp_path / "guess.safetensors"
    write_weights(comparing, weights)
    given = ("--weights", weights, "--cells", cells, "--out", out, "--steps", 100)
    assert run(monkeypatch, "pseudo-reference", *given) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["series"] == 2
    assert -0.5 < found["explained"] < 0.5  # of noise of other pictures nothing can be guessed
    assert 0 <= found["map_auc"] <= 1
    image = torch.rand(3, 120, 150, generator=torch.Generator().manual_seed(0))
    compare = QFMReference(QFMScore.from_pretrained(weights))
    gap = find_gap(compare, read_guess(out), image)
    assert 0 < gap.kept < 1
    assert gap.map.shape == compare.metric.quality_map(image).shape[-2:]
    assert (gap.map >= 0).all()
    with pytest.raises(ValueError, match="expected one picture, got 2"):
        find_gap(compare, read_guess(out), image.expand(2, -1, -1, -1))


def test_weights_without_a_head_for_references_are_refused(cells, tmp_path):
    write_weights(fresh_net(), tmp_path / "plain.safetensors")
    with pytest.raises(WeightsError, match="expected weights that compare with a reference"):
        pseudo_reference.train_guess(str(tmp_path / "plain.safetensors"), cells, tmp_path / "guess.safetensors")


def test_too_few_series_to_measure_on_are_refused(cells, comparing, tmp_path, monkeypatch):
    monkeypatch.setattr(pseudo_reference, "FEWEST", 1000)
    write_weights(comparing, tmp_path / "comparing.safetensors")
    with pytest.raises(ValueError, match="expected 1000 series of pictures that are left out, got"):
        pseudo_reference.train_guess(
            str(tmp_path / "comparing.safetensors"), cells, tmp_path / "guess.safetensors", steps=1
        )


def test_a_cell_without_a_difference_costs_nothing(comparing):
    rng = torch.Generator().manual_seed(0)
    cells = torch.rand(2, 2, 6, comparing.standardize.mean.numel(), generator=rng)
    others = cells.clone()
    others[1, 0, 2] += 1
    costs = local_costs(comparing.reference, cells, others)
    assert (costs > 0).nonzero().tolist() == [[1, 2]]
