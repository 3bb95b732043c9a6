"""Metrics are the same whatever a program has set in torch: when they are built, and when they score."""

import threading

import pytest
import torch
from helpers.torch_state import STATES, default_dtype, unusual_torch
from torch._subclasses import FakeTensorMode

from qfm_metric import GuardedScore, QFMLoss, QFMReference, QFMScore
from qfm_metric.config import QFMConfig
from qfm_metric.model import QFMNet
from qfm_metric.torch_defaults import NothingDrawn, torch_defaults


@pytest.fixture(scope="module")
def images():
    """Of two sizes, one of them too large for a view of the robust network."""
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) for size in [(70, 100), (300, 280)]]


def tensors(module):
    return dict([*module.named_parameters(), *module.named_buffers()])


def gradient(metric, image):
    leaf = image.clone().requires_grad_()
    return torch.autograd.grad(metric(leaf).sum(), leaf)[0]


@pytest.fixture(scope="module")
def usual(images):
    """A metric that was built as torch starts, its scores and a gradient."""
    made = GuardedScore()
    return made, made(images), gradient(made, images[0])


@pytest.mark.parametrize("state", STATES)
def test_a_metric_is_the_same_in_every_state_of_torch(usual, images, state):
    metric, scores, expected = usual
    with STATES[state]():
        made = GuardedScore(QFMScore.from_pretrained(metric.accurate.weights_id))
        assert torch.equal(made(images), scores)
    others = tensors(made)
    for name, tensor in tensors(metric).items():
        other = others[name]
        assert (other.dtype, other.device, other.is_inference()) == (tensor.dtype, tensor.device, False)
        assert torch.equal(other, tensor)
    assert torch.equal(gradient(made, images[0]), expected)


@pytest.mark.parametrize("state", STATES)
def test_a_loss_is_the_same_in_every_state_of_torch(usual, images, state):
    """Jitter draws places, and warm-up a weight of 1/3, in single precision."""

    def losses(loss):
        torch.manual_seed(0)
        return [loss(images[1]) for _ in range(2)]

    expected = losses(QFMLoss("none", jitter=0.2, warmup_steps=3, metric=usual[0].accurate))
    with STATES[state]():
        loss = QFMLoss("none", jitter=0.2, warmup_steps=3)
        found = losses(loss)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    loss.load_state_dict({"step": torch.tensor(0)})
    leaf = images[1].clone().requires_grad_()
    loss(leaf).sum().backward()
    assert leaf.grad.isfinite().all()


def test_what_is_moved_in_inference_mode_can_be_trained_through(small_metric, images):
    """Lightning validates in it, and callbacks move their metrics there."""
    expected = gradient(small_metric, images[0])
    loss = QFMLoss("sum", metric=small_metric)
    with torch.inference_mode():
        small_metric.double().float()
        loss.to("cpu", torch.float64)
    assert torch.equal(gradient(small_metric, images[0]), expected)
    assert torch.equal(gradient(loss, images[0]), -expected)


@pytest.mark.parametrize("build", [QFMScore, GuardedScore, QFMReference])
def test_a_metric_keeps_its_values_where_a_module_is_emptied(build):
    """As sharded training begins: a module that holds one moves to the meta device, gets memory, then a checkpoint."""
    module = torch.nn.ModuleDict({"quality": build(), "net": torch.nn.Linear(2, 2)})
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for empty in (lambda: module.to_empty(device="cpu"), lambda: module.to("meta")) * 2:
        empty()
        kept = module["quality"].state_dict()
        assert all(torch.equal(tensor, state[f"quality.{name}"]) for name, tensor in kept.items())
    module.to_empty(device="cpu")
    module.load_state_dict(state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_metric_in_half_precision_scores_on_the_cpu(small_metric, images, dtype):
    expected = small_metric(images)
    found = small_metric.to(dtype)(images)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)  # bfloat16 has steps of .004 at 1, layer by layer


@pytest.mark.parametrize("metric", [QFMScore, QFMLoss, GuardedScore, QFMReference])
def test_where_no_plain_tensors_can_be_made_that_is_said_and_nothing_of_weights(metric):
    """Networks of such places would fail later, or be wrong."""

    def within(image):
        with pytest.raises(RuntimeError, match="build the metric before, and call it here"):
            metric()
        return image.sum()

    image = torch.rand(3)
    torch.func.grad(within)(image)
    torch.func.vmap(within)(image[None])
    torch.func.vjp(within, image)
    with FakeTensorMode():
        within(torch.rand(3))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of attention, under vmap
def test_a_metric_that_was_built_before_is_called_inside_transforms(small_metric, images):
    loss = QFMLoss("sum", metric=small_metric)
    found, expected = torch.func.grad(loss)(images[0]), gradient(loss, images[0])
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()  # transforms add up in another order
    pair = torch.stack([images[0], images[0].flip(-1)])
    found = torch.func.vmap(lambda image: small_metric(image)[0])(pair)
    torch.testing.assert_close(found, small_metric(pair), atol=1e-5, rtol=0)  # kernels of batches round differently


def test_building_leaves_torch_to_other_threads():
    def refuse(*args):
        raise AssertionError("changes every thread")

    found = []
    with unusual_torch():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "set_default_dtype", refuse)
            patch.setattr(torch, "set_default_device", refuse)
            QFMScore()
        with torch_defaults():
            thread = threading.Thread(target=lambda: found.append(torch.zeros(1).dtype))
            thread.start()
            thread.join()
        made = torch.zeros(1)
        assert (made.dtype, made.device.type, made.is_inference()) == (torch.bfloat16, "meta", True)
        assert torch.is_autocast_enabled("cpu")
    assert found == [torch.bfloat16]


def test_numbers_are_not_rounded_on_the_way():
    with default_dtype(torch.bfloat16), torch_defaults():
        made = [torch.tensor(0.1), torch.full((1,), 0.1), torch.linspace(0, 0.1, 3), torch.arange(0, 0.3, 0.1)]
        kept = [torch.tensor(1), torch.arange(3), torch.zeros(1, dtype=torch.float64), torch.tensor([True])]
        kept.append(torch.as_tensor(torch.zeros(1, dtype=torch.bfloat16)))
        linear = torch.nn.Linear(2, 2)
    assert [x.dtype for x in kept] == [torch.int64, torch.int64, torch.float64, torch.bool, torch.bfloat16]
    assert linear.weight.dtype == torch.float32
    usual = [torch.tensor(0.1), torch.full((1,), 0.1), torch.linspace(0, 0.1, 3), torch.arange(0, 0.3, 0.1)]
    assert all(torch.equal(one, other) for one, other in zip(made, usual, strict=True))


def test_networks_for_stored_values_are_built_without_drawing():
    before = torch.get_rng_state()
    with NothingDrawn():
        net = QFMNet(QFMConfig(backbone="efficientnet_lite0", dim=32, heads=2, context=16, uncertainty=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert net.project.weight.shape[0] == 32
