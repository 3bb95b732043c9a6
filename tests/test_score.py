"""The contract of QFMScore, over input forms, dtypes and the ways a metric is used inside other code."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from qfm_metric import ImageError, QFMScore, load_image
from qfm_metric.config import QFMConfig
from qfm_metric.guard import ROBUST
from qfm_metric.model import QFMNet, semantic_descriptor
from qfm_metric.weights import read_manifest

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
# Kernels differ by batch size on a GPU; on the CPU images pass one by one, so nothing differs.
TOLERANCE = {"cpu": 0.0, "cuda": 1e-4}


EMBEDDED = [name for name, entry in read_manifest()["weights"].items() if entry["file"]]


@pytest.fixture(scope="module", params=EMBEDDED)
def metric(request):
    """Every embedded id keeps the contract."""
    return QFMScore.from_pretrained(request.param)


@pytest.mark.parametrize("device", DEVICES)
def test_batch_equals_singles_in_any_order(metric, photo, device):
    metric = copy.deepcopy(metric).to(device)
    images = torch.stack([photo, photo.flip(-1), photo**2, photo / 2]).to(device)
    together = metric(images)
    assert together.shape == (4,)
    assert together.dtype == torch.float32
    assert ((together > 0) & (together < 1)).all()
    one_by_one = torch.cat([metric(image) for image in images])
    order = torch.tensor([2, 0, 3, 1])
    close = {"rtol": 0, "atol": TOLERANCE[device]}
    torch.testing.assert_close(together, one_by_one, **close)
    torch.testing.assert_close(metric(images[order]), together[order], **close)
    torch.testing.assert_close(metric(list(images)), together, **close)
    torch.testing.assert_close(metric(images), together, **close)
    assert len(set(together.tolist())) == 4  # a score per image, not one for all


def test_list_of_mixed_sizes_keeps_the_order(metric):
    generator = torch.Generator().manual_seed(0)
    sizes = [(64, 96), (120, 80), (64, 96), (700, 500), (33, 65), (1, 1)]
    images = [torch.rand(3, *size, generator=generator) for size in sizes]
    assert torch.equal(metric(images), torch.cat([metric(image[None]) for image in images]))
    assert torch.equal(metric(tuple(images)), metric(images))


def test_uint8_is_float_over_255(metric, photo):
    pixels = (photo * 255).round().byte()
    assert torch.equal(metric(pixels), metric(pixels.float() / 255))
    assert torch.equal(metric([pixels]), metric(pixels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_scored_in_the_networks_precision(metric, photo, dtype):
    before = {name: tensor.clone() for name, tensor in metric.state_dict().items()}
    score = metric(photo.to(dtype))
    assert score.dtype == torch.float32
    assert torch.equal(score, metric(photo.to(dtype).float()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in metric.state_dict().items())


def test_autocast_does_not_change_the_score(metric, photo):
    expected = metric(photo)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(metric(photo), expected)


def test_input_is_not_modified(metric, photo):
    noisy = photo * 1.2 - 0.1
    kept = noisy.clone()
    metric(noisy[None])
    metric([noisy])
    assert torch.equal(noisy, kept)


def test_gradient_reaches_every_image_and_no_parameter(metric, random_images):
    images = random_images.requires_grad_()
    metric(images).sum().backward()
    assert images.grad.isfinite().all()
    assert (images.grad.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in metric.parameters())


@pytest.mark.parametrize("fill", [0.0, 0.5, 1.0])
def test_gradient_is_finite_on_constant_images(metric, fill):
    image = torch.full((1, 3, 96, 96), fill, requires_grad=True)
    score = metric(image)
    score.sum().backward()
    assert score.isfinite().all()
    assert image.grad.isfinite().all()
    assert image.grad.abs().max() > 0


def test_a_training_parent_does_not_train_the_metric(metric, photo):
    parent = nn.Sequential(copy.deepcopy(metric))
    expected = metric(photo)
    parent.train()
    assert not any(module.training for module in parent[0].modules())
    assert torch.equal(parent[0](photo), expected)


def test_copies_score_alike(metric, photo):
    expected = metric(photo)
    reloaded = QFMScore.from_pretrained(metric.weights_id)
    reloaded.load_state_dict(metric.state_dict())
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), reloaded):
        assert torch.equal(other(photo), expected)
        assert other.weights_id == metric.weights_id


def test_file_and_tensor_take_one_path(metric, photo_path, photo):
    from PIL import Image

    with Image.open(photo_path) as image:
        assert torch.equal(metric(load_image(image)), metric(photo))


def test_descriptors_come_from_the_pass_that_gives_the_scores(small_metric, monkeypatch):
    views = [torch.randn(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    plain, passes, pyramid = small_metric.rate(views), [], small_metric.net.pyramid
    monkeypatch.setattr(small_metric.net, "pyramid", lambda views: passes.append(pyramid(views)) or passes[-1])
    found = small_metric.rate(views, descriptors=True)
    assert len(passes) == 2
    assert [rating._replace(descriptor=None) for rating in found] == plain
    for rating, maps in zip(found, passes, strict=True):
        torch.testing.assert_close(rating.descriptor, semantic_descriptor(maps[-1][:1])[0])  # of the whole view
        assert rating.descriptor.norm().item() == pytest.approx(1)


def test_nothing_global_is_touched(photo):
    before = (torch.random.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled())
    QFMScore()(photo)
    after = (torch.random.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled())
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_overshoot_is_clamped_and_can_be_moved_back(metric, photo):
    image = (photo[:, :96, :96] * 1.2 - 0.1).requires_grad_()
    score = metric(image)
    assert torch.equal(score, metric(image.detach().clamp(0, 1)))
    score.sum().backward()
    outside = (image < 0) | (image > 1)
    assert outside.any()
    assert image.grad[outside].abs().mean() > 0


@pytest.mark.parametrize(
    ("images", "error", "says"),
    [
        (torch.rand(8, 8), ValueError, r"\(N, 3, H, W\) or \(3, H, W\), got \(8, 8\)"),
        (torch.rand(1, 1, 3, 8, 8), ValueError, "got"),
        (torch.rand(8, 8), ValueError, r"grey.*expand\(3, -1, -1\)"),
        (torch.rand(1, 8, 8, 3), ValueError, r"got \(1, 8, 8, 3\); .*permute\(0, 3, 1, 2\)"),
        (torch.rand(8, 8, 3), ValueError, r"got \(8, 8, 3\); .*permute\(2, 0, 1\)"),
        (torch.rand(1, 8, 8, 4), ValueError, r"permute\(0, 3, 1, 2\) first, and then drop alpha"),
        (torch.rand(8, 8, 1), ValueError, r"permute\(2, 0, 1\) first, and then expand grey"),
        (torch.rand(1, 1, 8, 8), ValueError, r"3 channels.*grey.*expand\(-1, 3, -1, -1\)"),
        (torch.rand(1, 8, 8), ValueError, r"3 channels.*grey.*expand\(3, -1, -1\)"),
        (torch.rand(1, 4, 8, 8), ValueError, r"3 channels.*alpha.*over white.*images\[:, :3\]"),
        (torch.rand(4, 8, 8), ValueError, r"3 channels.*alpha.*over white.*images\[:3\]"),
        (torch.rand(1, 5, 8, 8), ValueError, "3 channels.*RGB is needed"),
        (torch.rand(0, 3, 8, 8), ValueError, "at least one image"),
        (torch.rand(1, 3, 0, 8), ValueError, "at least one image"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), TypeError, "uint8, got torch.int64"),
        (bytearray(b"a picture"), TypeError, "images: .*got bytearray"),
        (memoryview(b"a picture"), TypeError, "images: .*got memoryview"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.bool), TypeError, "uint8, got torch.bool"),
        (torch.zeros(1, 3, 8, 8).to(torch.float8_e5m2), TypeError, "uint8, got torch.float8_e5m2"),
        (torch.zeros(1, 3, 8, 8).to_sparse(), TypeError, r"dense.*to_dense\(\)"),
        ([torch.zeros(3, 8, 8).to_sparse()], TypeError, r"images\[0\]: expected a dense tensor"),
        (torch.nested.nested_tensor([torch.rand(3, 8, 8)], layout=torch.jagged), TypeError, r"nested.*unbind\(\)"),
        (torch.zeros(1, 3, 8, 8, device="meta"), ValueError, "device meta"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8, device="meta"), ValueError, "device meta"),
        (torch.full((1, 3, 8, 8), float("nan")), ValueError, "NaN or Inf"),
        (torch.full((1, 3, 8, 8), float("-inf")), ValueError, "NaN or Inf"),
        (torch.full((1, 3, 8, 8), 255.0), ValueError, "divide by 255"),
        (torch.full((1, 3, 8, 8), -1.0), ValueError, r"\(x \+ 1\) / 2"),
        (torch.full((1, 3, 8, 8), 1.2), ValueError, "rescale"),
        (5 * torch.rand(1, 3, 8, 8) - 2, ValueError, "undo their normalisation"),
        ([], ValueError, "empty list"),
        ([torch.rand(3, 8, 8), torch.rand(1, 3, 8, 8)], ValueError, r"images\[1\]"),
        ([torch.rand(3, 8, 8), torch.rand(4, 8, 8)], ValueError, r"images\[1\].*3 channels.*alpha"),
        ([torch.rand(3, 8, 8), torch.rand(1, 8, 8)], ValueError, r"images\[1\].*3 channels.*grey"),
        ([torch.rand(3, 8, 8), torch.full((3, 8, 8), -1.0)], ValueError, r"images\[1\].*\(x \+ 1\) / 2"),
        ([torch.rand(3, 8, 8), b"a.jpg"], TypeError, r"images\[1\].*got bytes; see load_image"),
        (b"a.jpg", TypeError, "got bytes; see load_image"),
        ("missing.jpg", ImageError, "'missing.jpg': expected a file, found none"),
        ([torch.rand(3, 8, 8), "missing.jpg"], ImageError, "'missing.jpg': expected a file, found none"),
        (np.full((8, 8, 3), 255.0), ImageError, "divide by 255"),
        (np.zeros((2, 8, 8, 3), np.uint8), ImageError, "pass one picture at a time"),
        (None, TypeError, "NoneType"),
    ],
)
def test_bad_input_is_refused(metric, images, error, says):
    with pytest.raises(error, match=says):
        metric(images)


@pytest.mark.parametrize("weights", ["cuda", "cuda:1", torch.device("cpu"), torch.nn.Identity()])
def test_what_is_no_weights_is_refused(weights):
    with pytest.raises(TypeError, match=r"weights: expected an id, a path or a QFMNet, got .*device='cuda'"):
        QFMScore(weights)


def test_values_are_not_checked_where_gradients_flow(metric):
    image = torch.full((1, 3, 64, 64), 1.5, requires_grad=True)  # a network's overshoot must not end its training
    assert metric(image).isfinite().all()


def test_attributes():
    assert QFMScore.score_range == (0.0, 1.0)
    assert QFMScore.higher_is_better is True
    assert QFMScore.is_differentiable is True
    metric = QFMScore(QFMNet(QFMConfig(dim=32, heads=2)))
    assert metric.weights_id == "custom"
    assert repr(metric) == "QFMScore('custom', device='cpu')"
    assert "custom" in metric.signature


@pytest.mark.slow
@pytest.mark.parametrize(
    "metric", [read_manifest()["default"], ROBUST], indirect=True
)  # with native views, and without
def test_compiled_scores_alike(metric, photo):
    compiled = torch.compile(metric, backend="eager", fullgraph=True, dynamic=False)
    # Without images passing one by one the convolutions' order of summation differs.
    torch.testing.assert_close(compiled(photo[None]), metric(photo), rtol=0, atol=1e-5)
