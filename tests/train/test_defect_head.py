"""The head that names defects: what it sees, how often it is shown what, a fit, and the command."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_world import CONFIG, fresh_net, open_material

from qfm_metric import QFMScore
from qfm_metric.defects import NAMES
from qfm_metric.train import cli
from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.defect_head import (
    MIXED,
    SHARES,
    WIDTH,
    Changes,
    Seen,
    changes_of,
    fit_head,
    how_often,
    mix,
    see,
    with_head,
)
from qfm_metric.train.defects import CLEAN, type_of
from qfm_metric.train.material.stored import SINGLE, read_batch, store


@pytest.fixture(scope="module")
def seen(cells):
    net = with_head(fresh_net(), 16)
    read = [see(net, read_batch(path))[0] for path in sorted(cells.glob("*.npz"))]
    return Seen(*map(torch.cat, zip(*read, strict=True)))


def test_the_head_sees_what_inference_sees(world, cells):
    net, drawn = with_head(fresh_net(), 16), open_material(world).draw((1, 0), 0, joint=True)
    known = ~np.isnan(drawn.defects[:, 0])
    views = torch.from_numpy(drawn.views).permute(0, 1, 4, 2, 3) / 255
    found, changes = see(net, read_batch(cells / "000000.npz"))
    with torch.inference_mode():
        expected = net.judge_views((views - net.mean) / net.std).defects[known]
        told = net.forward_defects(torch.empty(0), found.features.float())
    torch.testing.assert_close(told, expected, rtol=0, atol=2e-3)  # half precision
    np.testing.assert_array_equal(found.costs, drawn.defects[known])
    np.testing.assert_array_equal(found.types, drawn.types[known])
    assert len(changes.types) == ((drawn.types >= 0) & (drawn.types != CLEAN)).sum() > 0


def test_a_batch_of_single_views_repeats_them(cells):
    found = see(with_head(fresh_net(), 16), read_batch(cells / f"{SINGLE - 1:06d}.npz"))[0].features
    one, two = found.chunk(2, dim=1)
    assert torch.equal(one, two)


def test_types_are_shown_alike_often_and_rare_defects_of_several_more_often():
    jpeg, noise, own = type_of("KADID-10k", 10), type_of("KADID-10k", 11), type_of("own", "grain")
    types = torch.tensor([jpeg] * 4 + [noise, own] + [-1] * 3 + [CLEAN] * 2)
    costs = torch.zeros(len(types), len(NAMES))
    costs[types >= 0, 3] = 0.2
    costs[types < 0] = torch.eye(len(NAMES))[[1, 1, 1]]
    costs[8, 2] = 0.1  # the third of those has a defect that no other has
    often = how_often(Seen(torch.zeros(len(types), 1), costs, types, torch.zeros(len(types))))
    assert often[:4].sum().item() == pytest.approx(often[4].item())
    assert often[5].item() == pytest.approx(often[4].item())
    assert often[8].item() == pytest.approx(3 * often[6].item())
    shares = often[:6].sum(), often[6:9].sum(), often[9:].sum()
    assert [share.item() for share in shares] == pytest.approx(SHARES)


def test_what_versions_of_one_type_change_is_taken_from_their_clean_picture():
    jpeg = type_of("KADID-10k", 10)
    features = torch.tensor([[5.0], [6.0], [8.0], [1.0]]).repeat(3, 1, 2)
    costs = torch.arange(12.0).view(3, 4, 1)
    types = torch.tensor([[CLEAN, jpeg, -1, jpeg], [CLEAN, CLEAN, CLEAN, CLEAN], [-1, jpeg, jpeg, jpeg]])
    found = changes_of(features, costs, types)
    assert found.differences.tolist() == [[1, 1], [-4, -4]]
    assert found.costs.tolist() == [[1], [3]]
    assert found.types.tolist() == [jpeg, jpeg]


def test_a_share_of_the_pictures_gets_another_distortion_and_what_the_worse_costs():
    torch.manual_seed(0)
    changes = Changes(
        torch.tensor([[1.0, 0.0]] * 9 + [[0.0, 1.0]]),
        torch.tensor([[0.5, 0.0]] * 9 + [[0.0, 0.7]]),
        torch.tensor([3] * 9 + [4]),
    )
    features, costs = mix(torch.zeros(4000, 2), torch.tensor([[0.6, 0.1]]).repeat(4000, 1), changes)
    first, second = features.unbind(1)
    assert (first + second).mean().item() == pytest.approx(MIXED, abs=0.03)
    assert second.sum().item() == pytest.approx(first.sum().item(), rel=0.2)  # each type as often
    assert torch.equal(costs[second == 0].unique(dim=0), torch.tensor([[0.6, 0.1]]))
    assert torch.equal(costs[second > 0].unique(dim=0), torch.tensor([[0.6, 0.7]]))


def test_a_fit_tells_the_defects_it_was_shown(seen):
    head, said = with_head(fresh_net(), 16).defects, []
    fit_head(head, seen, steps=400, say=said.append)
    with torch.no_grad():
        costs = torch.sigmoid(head(seen.features.float())).view(len(seen.types), -1, 2)[..., 0]
    minded = (seen.types >= 0) & (seen.costs.amax(dim=1) > 0.3)
    right = costs[minded].argmax(dim=1) == seen.costs[minded].argmax(dim=1)
    assert right.float().mean() > 0.9
    assert costs[seen.types == CLEAN].amax(dim=1).mean() < 0.5 * costs[minded].amax(dim=1).mean()
    assert said[-1].startswith("step 400/400: loss ")


def test_equal_seeds_fit_equal_heads(seen):
    heads = [with_head(fresh_net(), 16).defects for _ in range(3)]
    for head, seed in zip(heads, (3, 3, 4), strict=True):
        fit_head(head, seen, steps=3, seed=seed)
    one, other, third = (head[-1].weight for head in heads)
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def run(monkeypatch, *args):
    monkeypatch.setattr("sys.argv", ["train", "defect-head", *map(str, args)])
    return cli.main()


def test_the_command_replaces_the_head_and_moves_no_score(cells, weights, tmp_path, monkeypatch, capsys):
    out = tmp_path / "naming.safetensors"
    assert run(monkeypatch, "--weights", weights, "--cells", cells, "--out", out, "--steps", 5) == 0
    before, after = QFMScore.from_pretrained(weights), QFMScore.from_pretrained(out)
    assert after.net.config == replace(CONFIG, defect_width=WIDTH)
    images = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    assert torch.equal(after(images), before(images))
    assert after.assess(images).defects.names == NAMES
    pictures = int(capsys.readouterr().err.split()[0])
    again = tmp_path / "again.safetensors"
    assert run(monkeypatch, "--weights", out, "--cells", cells, "--out", again, "--steps", 5) == 0
    assert again.read_bytes() == out.read_bytes()
    capsys.readouterr()
    fewer = "--weights", weights, "--cells", cells, "--out", again, "--steps", 1, "--without", "KADID-10k/1"
    assert run(monkeypatch, *fewer) == 0
    assert int(capsys.readouterr().err.split()[0]) < pictures


@pytest.mark.parametrize(
    ("what", "says"), [("plain", "have mean tokens"), ("series", "cells of series"), ("other", "another backbone")]
)
def test_what_cannot_be_fitted_is_said(what, says, world, cells, tmp_path, monkeypatch, capsys):
    net = fresh_net(replace(CONFIG, mean_tokens=False, defects=())) if what == "plain" else fresh_net()
    if what == "series":
        material = replace(open_material(world), series=None)
        cells = tmp_path / "cells"
        store(net, material, cells, 1, seed=0, workers=1)
    if what == "other":
        with torch.no_grad():
            next(net.backbone.parameters()).mul_(2)
    write_weights(net, tmp_path / "some.safetensors")
    given = "--weights", tmp_path / "some.safetensors", "--cells", cells, "--out", tmp_path / "out.safetensors"
    assert run(monkeypatch, *given) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()
