"""What is left out of a run is really not there, and is what gets measured."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.small_world import LADDER_TYPES, MATERIAL, open_material

from qfm_metric.train.cli import main
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.left_out import left_out
from qfm_metric.train.recipe import read_recipe

STEPS = ["loop.steps=1", "loop.every=1", "loop.validated=2"]


def test_a_source_that_is_left_out_is_never_drawn(world):
    material = open_material(world, replace(MATERIAL, subsets={"s1": 1.0}))
    subset = np.array([row.subset for row in material.decoded.rows])
    for step in range(6):
        sources = material.draw((0, step), 0, joint=step % 2 == 1).sources
        assert set(subset[sources[sources >= 0]]) == {"s1"}


def test_types_that_are_left_out_are_in_no_ladder(world):
    everything = open_material(world).series.ladders
    of = {i: {step[:2] for steps in everything.series[i].steps for step in steps} for i in everything.drawn}
    blur = {i for i, types in of.items() if ("KADID-10k", 1) in types}
    kept = open_material(world, replace(MATERIAL, without=("KADID-10k/1",))).series.ladders
    assert blur
    assert set(kept.drawn) == set(everything.drawn) - blur


def test_what_cannot_be_left_out_is_named(world):
    with pytest.raises(DataError, match="without: expected types of the ladders, got KADID-10k/99"):
        open_material(world, replace(MATERIAL, without=("KADID-10k/99",)))
    every = tuple(f"{name}/{number}" for name, number in LADDER_TYPES)
    with pytest.raises(DataError, match="expected ladders of the pictures and types that are left"):
        open_material(world, replace(MATERIAL, without=every))


@pytest.mark.slow
def test_each_source_and_each_type_is_measured_by_who_has_not_seen_it(world, tmp_path):
    files = {"severity": world / "severity.csv", "ladders": world / "ladders"}
    said, how = [], {**files, "folds": 2, "pictures": 1, "workers": 0}
    figures = left_out(read_recipe("quick", STEPS), world, tmp_path, **how, say=said.append)
    names = {f"{name}, left out: srcc" for name in ("s0", "s1", "sources")}
    assert figures.keys() == names | {f"{name}, types left out: srcc" for name in ("KADID-10k", "TID2013")}
    assert all(-1 <= value <= 1 for value in figures.values())
    runs = {path.parent.name for path in tmp_path.glob("*/student.safetensors")}
    assert runs == {"without-s0", "without-s1", "fold-0", "fold-1"}
    assert {text.split(":")[0] for text in said} == runs
    again = left_out(read_recipe("quick", STEPS), world, tmp_path, **how, say=pytest.fail)
    assert again == figures  # nothing is trained twice


def test_the_command_asks_for_what_it_needs(world, tmp_path, monkeypatch, capsys):
    words = ["train", "travel", "--recipe", "quick", "--data", str(world), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    assert main() == 1
    assert "--recipe: expected --severity, too" in capsys.readouterr().err
