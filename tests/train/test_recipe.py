"""Recipes: the shipped ones read and build, a mistake is named with its file, a setting changes one value."""

from pathlib import Path

import pytest
import torch
from helpers.small_world import fresh_net
from helpers.tokens import tokens_of

from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.recipe import FOLDER, Recipe, read_recipe, start
from qfm_metric.train.start import build

SHIPPED = sorted(path.stem for path in FOLDER.glob("*.toml"))
EARLIER = sorted((Path(__file__).parents[2] / "benchmarks" / "recipes").glob("*.toml"))  # to compare with


def test_the_shipped_recipes_are_there():
    assert SHIPPED == ["default", "fine_tune", "finish", "head", "paper", "pretrain", "quick", "robust"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_reads_and_trains_more_than_nothing(name):
    found = read_recipe(name)
    assert found == read_recipe(str(FOLDER / f"{name}.toml"))
    assert found != Recipe()
    assert (found.network is None) == (name in ("fine_tune", "finish", "head"))
    assert set(found.objective.weights) == set(Recipe().objective.weights)


@pytest.mark.parametrize("path", EARLIER, ids=lambda path: path.stem)
def test_an_earlier_recipe_names_no_defects_and_keeps_its_views(path):
    net = build(read_recipe(str(path)).network, "none")
    assert net.config.view_pixels > read_recipe("default").network.view_pixels
    assert not net.config.defects


def test_what_is_left_out_keeps_its_default(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[loop]\nclip = 5\n[objective]\nweights = { consistency = 3.0 }\n[network]\ndepths = [0, 1]\n")
    found, default = read_recipe(str(path)), Recipe()
    assert (found.material, found.training) == (default.material, default.training)
    assert found.loop.clip == 5.0
    assert isinstance(found.loop.clip, float)
    assert found.network.depths == (0, 1)
    assert found.objective.weights == default.objective.weights | {"consistency": 3.0}
    path.write_text("")
    assert read_recipe(str(path)) == default


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[loop", r"mine\.toml: not TOML"),
        ("[lop]\nsteps = 1", r"mine\.toml: unknown section lop; expected .*loop"),
        ("loop = 3", r"mine\.toml \[loop\]: expected a section, got 3"),
        ("[loop]\nstep = 1", r"mine\.toml \[loop\]: unknown step; expected steps"),
        ("[loop]\nsteps = 1.5", r"mine\.toml \[loop\]: steps: expected int, got 1.5"),
        ("[loop]\nsteps = true", r"mine\.toml \[loop\]: steps: expected int, got True"),
        ("[loop]\nclip = '5'", r"mine\.toml \[loop\]: clip: expected float, got '5'"),
        ("[loop]\nsteps = 0", r"mine\.toml \[loop\]: steps: expected 1 or more, got 0"),
        ("[loop]\nevery = 0", r"mine\.toml \[loop\]: every: expected 1 or more, got 0"),
        ("[loop]\nhead_rate = nan", r"mine\.toml \[loop\]: head_rate: expected a number from 0, got nan"),
        ("[loop]\nema = 1.5", r"mine\.toml \[loop\]: ema: expected a number from 0 to 1, got 1.5"),
        ("[network]\ndepths = 3", r"mine\.toml \[network\]: depths: expected tuple, got 3"),
        ("[network]\ndim = 30", r"mine\.toml \[network\]: heads: expected a divisor of dim 30"),
        ("[network]\nview_pixels = 3", r"mine\.toml \[network\]: view_pixels: expected an integer from"),
        ("[network]\nbackbone = '../x'", r"mine\.toml \[network\]: backbone: expected a timm model name"),
        ("[contrast]\nside = 100", r"mine\.toml \[contrast\]: side: expected a multiple of 32 of at most 192, got 100"),
        ("[objective]\nweights = 3", r"mine\.toml \[objective\]: weights: expected dict, got 3"),
        ("[objective]\nweights = { regresion = 1.0 }", r"mine\.toml \[objective\]: weights: unknown regresion"),
        ("[objective]\nweights = { regression = 'x' }", r"mine\.toml \[objective\]: weights: expected numbers"),
        ("[material]\nown = { smear = 1.5 }", r"mine\.toml \[material\]: own: expected shares whose sum is 1"),
        ("[objective]\nnoise = 'machted'", r"mine\.toml \[objective\]: noise: expected none, random, matched or v1"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path, content, says):
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(DataError, match=says):
        read_recipe(str(path))


def test_an_unknown_recipe_lists_the_shipped_ones(tmp_path):
    with pytest.raises(DataError, match=r"none: no such recipe; expected a TOML file or one of .*paper, .*robust"):
        read_recipe("none")


def test_settings_change_one_value_each():
    settings = [
        "loop.seed=3",
        "objective.noise=random",
        "network.backbone='tf_efficientnet_lite2'",
        "network.depths=[0, 1]",
        "objective.weights.consistency=0",
        "training.init=/tmp/imagenet.safetensors",
    ]
    found, plain = read_recipe("default", settings), read_recipe("default")
    assert (found.loop.seed, found.loop.steps) == (3, plain.loop.steps)
    assert found.objective.noise == "random"
    assert found.objective.weights == plain.objective.weights | {"consistency": 0}
    assert found.network.backbone == "tf_efficientnet_lite2"
    assert found.network.depths == (0, 1)
    assert found.training.init == "/tmp/imagenet.safetensors"


def test_a_network_comes_from_the_recipe_or_from_weights(tmp_path):
    known = fresh_net()
    write_weights(known, tmp_path / "known.safetensors")
    net = start(read_recipe("fine_tune"), str(tmp_path / "known.safetensors"))
    assert net.config == known.config
    assert torch.equal(net.project.weight, known.project.weight.half().float())
    with pytest.raises(DataError, match=r"section \[network\], or weights to go on from; got neither"):
        start(read_recipe("fine_tune"))
    with pytest.raises(ValueError, match=r"backbone: expected a model of timm, got 'x': Unknown model"):
        start(read_recipe("quick", ["network.backbone=x"]))
    with pytest.raises(ValueError, match=r"backbone: expected a model of timm, .*: Invalid pretrained tag \(x\)"):
        start(read_recipe("quick", ["network.backbone=efficientnet_lite0.x"]))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("loop.seed", r"loop.seed: expected SECTION.KEY=VALUE"),
        ("seed=3", r"seed=3: expected SECTION.KEY=VALUE"),
        ("loop.sead=3", r"\[loop\]: unknown sead"),
        ("lop.seed=3", r"unknown section lop"),
        ("loop.seed=three", r"\[loop\]: seed: expected int, got 'three'"),
        ("loop.seed.x=3", r"\[loop\]: seed: expected int"),
        ("objective.weights.none=3", r"\[objective\]: weights: unknown none"),
    ],
)
def test_a_setting_that_is_wrong_is_named(setting, says):
    with pytest.raises(DataError, match=says):
        read_recipe("quick", [setting])


def test_the_papers_network_scores_pictures_of_its_shape_and_others():
    found = read_recipe("paper")
    torch.manual_seed(0)
    net = build(found.network, "none").eval()
    with torch.inference_mode():
        for size, tokens in (((224, 224), 14 * 14), ((224, 320), 12 * 16)):
            images = torch.rand(1, 3, *size)
            assert tokens_of(net, net.preprocess(images)).shape == (1, tokens, 384)
            assert 0 < net(images).item() < 1
