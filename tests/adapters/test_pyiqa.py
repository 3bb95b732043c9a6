"""pyiqa.create_metric("qfm") and ("qfm-fr") with the real pyiqa."""

import pytest
import torch
from PIL import Image

from qfm_metric import QFMScore, load_image
from qfm_metric.adapters.pyiqa import register

# Not in the dev group, for what it pulls in: docs/adapters.md says how to install it.
pyiqa = pytest.importorskip("pyiqa")


@pytest.fixture(scope="module", autouse=True)
def registered():
    register()
    register()  # a second time is harmless


@pytest.fixture
def create(tiny_files):
    return lambda **options: pyiqa.create_metric("qfm", device="cpu", source=str(tiny_files[0]), **options)


def test_is_listed_and_describes_itself(create):
    assert "qfm" in pyiqa.list_models()
    assert "qfm" in pyiqa.list_models("NR")
    assert "qfm" not in pyiqa.list_models("FR")
    metric = create()
    assert (metric.lower_better, metric.metric_mode, metric.score_range) == (False, "NR", "0, 1")


def test_scores_tensors_as_the_metric_does(create, images, scores):
    found = create()(images)
    assert found.shape == (5, 1)
    assert not found.requires_grad
    assert torch.equal(found[:, 0], scores)


def test_grey_is_rgb_of_three_equal_channels(create, images, tiny):
    grey = images[:, :1]
    assert torch.equal(create()(grey)[:, 0], tiny(grey.expand(-1, 3, -1, -1)))


def test_scores_files_and_pil_images(create, tiny, photo_path):
    expected = tiny(load_image(photo_path))[0].item()
    assert create()(photo_path).item() == pytest.approx(expected, abs=1e-6)
    with Image.open(photo_path) as picture:
        assert create()(picture).item() == pytest.approx(expected, abs=1e-6)


def test_as_a_loss(create, images, scores):
    inputs = images.clone().requires_grad_()
    loss = create(as_loss=True)(inputs)
    assert loss.shape == ()
    torch.testing.assert_close(loss, scores.mean())
    (1 - loss).backward()
    assert inputs.grad.abs().sum() > 0


def test_a_weighted_loss(create, images, scores):
    weights = torch.tensor([1.0, 0, 0, 0, 1]).view(5, 1)
    loss = create(as_loss=True, loss_weight=weights)(images)
    torch.testing.assert_close(loss, (scores[0] + scores[4]) / 2)


def test_default_weights_are_those_of_the_package(metric, photo):
    created = pyiqa.create_metric("qfm", device="cpu")
    assert isinstance(created.net.score, QFMScore)
    assert torch.equal(created(photo.unsqueeze(0))[0], metric(photo))


def test_with_a_reference_it_is_a_full_reference_metric(comparing, compare, images):
    assert "qfm-fr" in pyiqa.list_models("FR")
    metric = pyiqa.create_metric("qfm-fr", device="cpu", source=str(comparing))
    assert (metric.lower_better, metric.metric_mode, metric.score_range) == (False, "FR", "0, 1")
    found = metric(images, images.flip(3))
    assert found.shape == (5, 1)
    assert torch.equal(found[:, 0], compare(images, images.flip(3)))
    assert metric(images[:, :1], images[:, :1]).tolist() == [[1.0]] * 5


def test_with_a_reference_it_is_a_loss(comparing, images):
    loss = pyiqa.create_metric("qfm-fr", device="cpu", source=str(comparing), as_loss=True)
    inputs = images.clone().requires_grad_()
    (1 - loss(inputs, images.flip(3))).backward()
    assert inputs.grad.abs().sum() > 0
