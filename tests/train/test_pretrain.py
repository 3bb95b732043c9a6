"""Pretraining: a stopped run goes on exactly, and what it writes is where a student starts."""

import pytest
import torch

from qfm_metric.hub import load_weights
from qfm_metric.train.cli import main
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.pretrain import pretrain
from qfm_metric.train.recipe import read_recipe, start


def run(world, out, settings=(), say=lambda text: None):
    recipe = read_recipe("quick", settings)
    return pretrain(recipe, world, out, severity=world / "severity.csv", ladders=world / "ladders", say=say)


@pytest.fixture(scope="module")
def written(world, tmp_path_factory):
    return run(world, tmp_path_factory.mktemp("pretrained"))


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(written, world, tmp_path):
    def stop(text):
        if text.startswith("step 6: validation"):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(world, tmp_path, say=stop)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3
    assert run(world, tmp_path).read_bytes() == written.read_bytes()


def test_the_backbone_moves_and_its_cells_are_measured_anew(written):
    before, after = start(read_recipe("quick")).state_dict(), load_weights(str(written)).tensors
    moved = {name for name, x in after.items() if not torch.equal(x, before[name].half().float())}
    assert {name.split(".")[0] for name in moved} == {"backbone", "standardize", "standardize_means"}
    assert "backbone.conv_stem.weight" in moved


def test_a_student_starts_from_it_by_weights_and_by_init(written, world, tmp_path, monkeypatch, capsys):
    for way in ("--weights", "--init"):
        words = ["student", "quick", "--data", world, "--out", tmp_path / way, way, written, "--set", "loop.steps=1"]
        monkeypatch.setattr("sys.argv", ["train", *map(str, words)])
        assert main() == 0, capsys.readouterr().err
        found = load_weights(str(tmp_path / way / "student.safetensors")).tensors
        known = load_weights(str(written)).tensors
        # In its first step a backbone still waits; half precision is stored twice.
        torch.testing.assert_close(
            found["backbone.conv_stem.weight"], known["backbone.conv_stem.weight"], rtol=0, atol=0
        )


def test_a_student_of_the_default_recipe_can_start_from_the_recipe():
    assert read_recipe("pretrain").network == read_recipe("default").network


def test_another_recipes_checkpoint_is_refused(written, world):
    with pytest.raises(DataError, match=r"checkpoint\.pt: a checkpoint of another recipe"):
        run(world, written.parent, ["contrast.width=4"])
