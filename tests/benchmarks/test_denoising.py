"""benchmarks/denoising.py: every variant trains behind stored cells, from the same start, and is measured."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.small_world import LOOP, OBJECTIVE, fresh_net, open_material, write_decoded, write_ladders

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import denoising

from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.evaluate import figures_to_choose_by
from qfm_metric.train.loop import predict
from qfm_metric.train.material.stored import StoredMaterial, store
from qfm_metric.train.recipe import Recipe


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    world = tmp_path_factory.mktemp("world")
    write_decoded(world)
    write_ladders(world)
    material = open_material(world)
    store(fresh_net(), material, world / "cells", 4, seed=0, workers=1)
    return StoredMaterial.open(world / "cells", fresh_net(), material.decoded, material.labels, joined=1)


@pytest.mark.parametrize("variant", denoising.VARIANTS)
def test_every_variant_trains_the_head_and_no_backbone(variant, stored):
    recipe = Recipe(objective=OBJECTIVE, loop=replace(LOOP, steps=2, every=2, backbone_rate=0.0))
    source = fresh_net()
    net = denoising.train(variant, 3, recipe, stored, source)
    before = denoising.start(variant, 3, source).state_dict()
    moved = {name for name, x in net.state_dict().items() if not torch.equal(x, before[name])}
    assert not [name for name in moved if name.startswith(("backbone.", "standardize"))]
    assert "decoder.queries" in moved
    assert ("denoiser.layers.2.weight" in moved) == (variant == "denoised")


def test_variants_start_alike_and_seeds_do_not():
    source = fresh_net()
    plain, denoised, other = (denoising.start(*how, source) for how in (("none", 0), ("denoised", 0), ("none", 1)))
    assert torch.equal(plain.decoder.queries, denoised.decoder.queries)
    assert not torch.equal(plain.decoder.queries, other.decoder.queries)
    for net in (plain, denoised, other):
        assert torch.equal(net.backbone.conv_stem.weight, source.backbone.conv_stem.weight)


def test_figures_are_those_of_the_pictures(stored):
    net, decoded = fresh_net(), stored.decoded
    found = denoising.checked(*denoising.validation(net, decoded))(net)
    rows = decoded.select("val")
    expected = figures_to_choose_by(predict(net, decoded, rows)[0], [decoded.rows[i] for i in rows])
    assert found.keys() == expected.keys()
    # Cells in half precision; eight pictures of unlike brightness, whose order they do not change.
    np.testing.assert_allclose([*found.values()], [*expected.values()], atol=1e-2)


def test_variants_get_steps_of_equal_cost(stored, monkeypatch):
    spent = {"none": 1.0, "random": 2.0, "matched": 2.0, "denoised": 4.0}
    clock = [0.0]
    monkeypatch.setattr(denoising.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(denoising, "train", lambda variant, *_: clock.__setitem__(0, clock[0] + spent[variant]))
    recipe = Recipe(objective=OBJECTIVE, loop=replace(LOOP, steps=30, decay_from=10))
    loops = {name: found.loop for name, found in denoising.of_equal_cost(recipe, stored, fresh_net(), 3).items()}
    assert {name: loop.steps for name, loop in loops.items()} == {
        "none": 120,
        "random": 60,
        "matched": 60,
        "denoised": 30,
    }
    assert {name: loop.decay_from for name, loop in loops.items()} == {
        "none": 40,
        "random": 20,
        "matched": 20,
        "denoised": 10,
    }


def test_the_command_prints_a_row_for_each_variant(stored, tmp_path, capsys):
    world, weights = stored.groups[0][0].parents[1], tmp_path / "net.safetensors"
    write_weights(fresh_net(), weights)
    files = ["--data", str(world), "--cells", str(world / "cells"), "--weights", str(weights)]
    smaller = ["--set", "loop.steps=1", "loop.every=1", "loop.decay_from=0", "loop.warmup=1", "objective.memory=8"]
    assert denoising.main([*files, *smaller, "--seeds", "0", "--joined", "1", "--timed", "1"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(denoising.VARIANTS)
