"""The third reader: what it is shown, a fit, and the command."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_world import CONFIG, fresh_net, open_decoded, open_material

from qfm_metric import QFMScore
from qfm_metric.train import cli
from qfm_metric.train import distorted as distorted_module
from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.defects import CLEAN
from qfm_metric.train.distorted import Seen, store_distorted
from qfm_metric.train.falling import store_falling
from qfm_metric.train.invariances import grey
from qfm_metric.train.material.stored import read_batch, store
from qfm_metric.train.pseudo_labels import Labels
from qfm_metric.train.severity import target
from qfm_metric.train.spread_reader import (
    GREY,
    WIDTH,
    WORST_DEFECT,
    distorted,
    fit_reader,
    known,
    stored,
    whole,
    with_reader,
)


@pytest.fixture(scope="module")
def labels(world):
    """The teacher is a little kinder than people are."""
    found = Labels.of(open_decoded(world))
    return replace(found, teacher=found.mos + np.float32(0.05))


def test_photographs_are_seen_as_inference_sees_them(world, weights, labels):
    metric, decoded, said = QFMScore.from_pretrained(weights), open_decoded(world), []
    found = whole(metric, decoded, labels, workers=0, say=said.append)
    train = decoded.select("train")
    net = with_reader(metric.net, 8)
    for number, change in ((2, np.array), (GREY - 1, grey)):
        image = torch.from_numpy(change(decoded.pixels[train[number]])).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            readers = net.forward_readers(*_seen(net, image))
            told = net.spread(found.features[number : number + 1].float())
        torch.testing.assert_close(told, readers[:, 2:], rtol=0, atol=2e-3)
    torch.testing.assert_close(found.targets, torch.from_numpy(decoded.mos[train]))
    torch.testing.assert_close(found.teacher, found.targets + 0.05)
    assert found.subsets.tolist() == [int(decoded.rows[i].subset == "s1") for i in train]
    of_one = found.chances[found.subsets == 0].sum().item()
    assert of_one == pytest.approx(found.chances[found.subsets == 1].sum().item())


def _seen(net, image):
    cells = net.cells(net.pyramid(net.preprocess(image)))
    tokens = net.embed(cells, 1)
    return net.decoder(tokens), tokens, net.statistics(cells, 1)


def test_stored_batches_are_parts_of_photographs_and_versions(cells, labels):
    files = sorted(cells.glob("*.npz"))[:3]
    batches = [read_batch(path) for path in files]
    parts, series = stored(fresh_net(), files, labels)
    photos, versions = (
        np.concatenate([batch.targets[some(batch)] for batch in batches])
        for some in (lambda b: slice(b.photos), lambda b: slice(b.photos, None))
    )
    np.testing.assert_array_equal(parts.targets, photos)
    np.testing.assert_array_equal(series.targets, versions)
    np.testing.assert_array_equal(parts.weights, np.concatenate([b.weights[: b.photos] for b in batches]))
    sources = np.concatenate([batch.sources[: batch.photos] for batch in batches])
    np.testing.assert_array_equal(parts.teacher, labels.teacher[sources])


def test_two_distortions_keep_the_product(labels):
    costs = torch.tensor([[0.5, 0.2, 0.0], [0.0, 0.0, 0.0]])
    found = distorted(Seen(torch.zeros(2, 4), costs, torch.tensor([-1, CLEAN]), torch.tensor([3, 4])), labels)
    expected = target(labels.clean[[3, 4]], np.array([0.4, 1.0]))
    np.testing.assert_allclose(found.targets, expected, rtol=1e-5)
    assert torch.equal(found.targets, found.teacher)


def test_a_fit_orders_what_it_was_shown_and_leaves_the_others_as_they_are():
    net = with_reader(fresh_net(), 8)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items() if not name.startswith("spread.")}
    torch.manual_seed(0)
    features = torch.randn(300, net.spread[0].mean.numel())
    mos = torch.sigmoid(features[:, 0] + features[:, 1]).numpy()
    some = known(features.half(), mos)
    said = []
    shown = [(some, 32)] * 3
    worse = torch.zeros(5, 4, features.shape[1])
    worse[..., 2] = torch.arange(4.0)  # of which the photographs say nothing
    fit_reader(net, shown, worse, steps=300, say=said.append)
    with torch.no_grad():
        told = net.spread(features).squeeze(1).numpy()
    assert np.corrcoef(told, np.log(mos / (1 - mos)))[0, 1] > 0.9
    assert said[-1].startswith("step 300/300: loss ")
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())
    with torch.no_grad():
        assert (net.calibration(net.spread(worse[0])).diff(dim=0) < -0.003).all()
    again = with_reader(fresh_net(), 8)
    fit_reader(again, shown, worse, steps=300)
    assert torch.equal(again.spread[-1].weight, net.spread[-1].weight)


@pytest.fixture(scope="module")
def drawn(world, weights, tmp_path_factory):
    """What `distorted` writes with those weights."""
    folder = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distorted_module, "PIECE", 4)
        store_distorted(str(weights), world, world / "severity.csv", folder, count=4, workers=1)
    return folder


@pytest.fixture(scope="module")
def falling(world, weights, tmp_path_factory):
    """What `falling` writes with those weights."""
    folder = tmp_path_factory.mktemp("falling")
    store_falling(str(weights), world, folder, count=3, workers=1)
    return folder


def run(monkeypatch, *args):
    monkeypatch.setattr("sys.argv", ["train", "spread-reader", *map(str, args)])
    return cli.main()


def test_the_command_adds_a_reader(world, cells, drawn, falling, weights, tmp_path, monkeypatch, capsys):
    out = tmp_path / "reading.safetensors"
    given = "--data", world, "--cells", cells, "--drawn", drawn, "--falling", falling, "--workers", 1, "--steps", 3
    assert run(monkeypatch, "--weights", weights, *given, "--out", out) == 0
    assert "versions of pictures" in capsys.readouterr().err
    before, after = QFMScore.from_pretrained(weights), QFMScore.from_pretrained(out)
    assert after.net.config == replace(CONFIG, spread_width=WIDTH, worst_defect=WORST_DEFECT)
    images = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(after(images), before(images))
    assert torch.equal(after.assess(images).defects.severity, before.assess(images).defects.severity)
    again = tmp_path / "again.safetensors"
    assert run(monkeypatch, "--weights", out, *given, "--out", again) == 0  # in the place of the one before
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(("what", "says"), [("plain", "no mean tokens"), ("series", "cells of series")])
def test_what_cannot_be_fitted_is_said(what, says, world, cells, drawn, falling, tmp_path, monkeypatch, capsys):
    net = fresh_net(replace(CONFIG, mean_tokens=False, defects=())) if what == "plain" else fresh_net()
    if what == "series":
        cells = tmp_path / "cells"
        store(net, replace(open_material(world), series=None), cells, 1, seed=0, workers=1)
    write_weights(net, tmp_path / "some.safetensors")
    given = "--weights", tmp_path / "some.safetensors", "--cells", cells, "--out", tmp_path / "out.safetensors"
    assert run(monkeypatch, "--data", world, "--drawn", drawn, "--falling", falling, *given) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()
