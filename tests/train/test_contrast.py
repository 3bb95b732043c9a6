"""What is contrasted: views of one type and level are alike, photographs are not, and content tells no class."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_world import CONFIG, LADDER_TYPES, fresh_net, open_material

from qfm_metric.train.contrast import Contrast, ContrastLearner, ContrastMaterial
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.material import LENGTH, Material

SMALL = Contrast(types=2, ladders=3, photographs=3, side=64, width=8)


@pytest.fixture(scope="module")
def material(world):
    return ContrastMaterial.of(open_material(world), SMALL)


def test_every_type_of_the_ladders_is_there_and_no_pair_of_types(material):
    series = material.material.series.ladders.series
    types = [
        {step[:2] for number in numbers for steps in series[number].steps for step in steps}
        for numbers in material.by_type
    ]
    assert sorted(kind for found in types for kind in found) == sorted(LADDER_TYPES)


def test_pictures_of_one_class_have_one_type_and_level(material):
    """The small world's photographs differ in brightness alone, so only what was done to them can be named."""
    drawn = material.draw((0, 0))
    assert drawn.views.shape == (2 * 3 * LENGTH + 3, 2, 64, 64, 3)
    classes = drawn.classes[:-3].reshape(2, 3, LENGTH)
    clean, versions = classes[..., 0], classes[..., 1:]
    for ladder in versions.reshape(-1, LENGTH - 1):
        assert len(set(ladder.tolist())) == LENGTH - 1  # three levels
    assert not set(versions[0].ravel().tolist()) & set(versions[1].ravel().tolist())  # of two types
    assert not set(versions.ravel().tolist()) & (set(clean.ravel().tolist()) | set(drawn.classes[-3:].tolist()))
    assert all(len(set(of_type.ravel().tolist())) <= 5 for of_type in versions)  # of 9 pictures: levels come twice


def test_a_photograph_is_a_class_of_its_own(world):
    config = replace(SMALL, types=1, ladders=1, photographs=60)
    drawn = ContrastMaterial.of(open_material(world), config).draw((0, 0))
    brightness = drawn.views[-60:].mean(axis=(1, 2, 3, 4))
    classes = drawn.classes[-60:]
    assert len(set(classes.tolist())) > 8  # of 16 training pictures
    for number in set(classes.tolist()):
        # The pictures' means are 8.7 grey levels apart; noise of 30 levels over 64 x 64 px moves one by .2.
        assert np.ptp(brightness[classes == number]) < 2


def test_validation_pictures_are_never_seen(world):
    """Every third picture is for validation; its brightness would show."""
    material = open_material(world)
    means = material.decoded.pixels.mean(axis=(1, 2, 3))
    validation = means[material.decoded.select("val")]
    drawn = ContrastMaterial.of(material, replace(SMALL, types=1, ladders=1, photographs=60)).draw((0, 1))
    brightness = drawn.views[-60:].mean(axis=(1, 2, 3, 4))
    assert np.abs(brightness[:, None] - validation).min() > 4  # they are 8.7 apart


def test_all_versions_of_a_ladder_are_seen_in_one_place_at_two_scales(material):
    numbers = [numbers[0] for numbers in material.by_type]
    source = material.material.series
    marked = [np.arange(384 * 512 * 3, dtype=np.uint32).reshape(384, 512, 3) // 3 % 251 for _ in range(LENGTH)]
    views = material._views(np.random.default_rng(0), [picture.astype(np.uint8) for picture in marked])
    assert all(np.array_equal(view, views[0]) for view in views)
    assert len(source.ladders.pictures(numbers[0], source.decoded)) == LENGTH
    ramp = np.repeat(np.arange(512)[None, :, None] // 2, 384, 0).repeat(3, 2).astype(np.uint8)
    near, far = material._views(np.random.default_rng(1), [ramp])[0]
    slope = [abs(float(view[0, -1, 0]) - float(view[0, 0, 0])) for view in (near, far)]
    assert slope[1] == pytest.approx(2 * slope[0], abs=2)  # twice as much of the picture; grey levels are rounded


def test_equal_seeds_draw_equal_views_and_ranks_others(material):
    first, again, other = material.draw((0, 5)), material.draw((0, 5)), material.draw((0, 5), rank=1)
    np.testing.assert_array_equal(first.views, again.views)
    np.testing.assert_array_equal(first.classes, again.classes)
    assert first.views.shape == other.views.shape
    assert not np.array_equal(first.views, other.views)


def test_only_the_backbone_and_the_embedding_learn(material):
    learner = ContrastLearner(fresh_net(), SMALL.width)
    learner.loss(material.draw((0, 0)), 0.1).backward()
    learning = {name for name, parameter in learner.named_parameters() if parameter.grad is not None}
    assert {name.split(".")[1] if name.startswith("net.") else "embedding" for name in learning} == {
        "backbone",
        "embedding",
    }
    assert len(learning) == len([*learner.net.backbone.parameters(), *learner.embedding.parameters()])


def test_steps_on_one_draw_lower_its_loss(material):
    torch.manual_seed(0)
    learner, drawn = ContrastLearner(fresh_net(), 8).eval(), material.draw((0, 0))
    optimizer = torch.optim.Adam((p for p in learner.parameters() if p.requires_grad), 1e-3)
    found = []
    for _ in range(6):
        loss = learner.loss(drawn, 0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < 0.95 * found[0]


def test_embeddings_are_of_views_and_of_unit_length():
    learner = ContrastLearner(fresh_net(), 8).eval()
    with torch.no_grad():
        found = learner(torch.rand(3, 2, 3, 64, 64))
    assert found.shape == (6, 8)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(6))


def test_without_ladders_there_is_nothing_to_contrast(world):
    with pytest.raises(DataError, match=r"ladders rendered from them \(--severity, --ladders\), got none"):
        ContrastMaterial.of(Material.open(world), SMALL)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"types": 0}, "types: expected 1 or more, got 0"),
        ({"side": 100}, "side: expected a multiple of 32 of at most 192, got 100"),
        ({"side": 224}, "side: expected a multiple of 32 of at most 192, got 224"),
        ({"temperature": 0.0}, "temperature: expected a number above 0, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(setting, says):
    with pytest.raises(ValueError, match=says):
        Contrast(**setting)


def test_a_network_without_mean_tokens_can_be_pretrained(material):
    config = replace(CONFIG, mean_tokens=False, defects=(), uncertainty=False)
    assert ContrastLearner(fresh_net(config), 8).loss(material.draw((0, 0)), 0.1).isfinite()
