"""QFMLoss: what it computes, from closed forms; the metric inside is small and random."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers.small import make_small_metric
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from qfm_metric import GuardedScore, QFMLoss
from qfm_metric.loss import look_through_windows


@pytest.fixture
def images(small_metric):
    """Three images, `(3, 3, 64, 96)`, of which the first scores lowest and the last highest."""
    found = (
        torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1, 0.6, 0.2])[:, None, None, None]
    )
    return found[small_metric(found).argsort()].requires_grad_()


@pytest.fixture(params=["alone", "held"])
def held_or_not(request, small_metric):
    return small_metric if request.param == "alone" else GuardedScore(small_metric, make_small_metric())


def test_it_is_one_minus_the_score(small_metric, images):
    scores = small_metric(images)
    assert scores.diff().min() > 0.001
    assert torch.equal(QFMLoss("none", metric=small_metric)(images), 1 - scores)
    assert torch.equal(QFMLoss(metric=small_metric)(images), (1 - scores).mean())
    assert torch.equal(QFMLoss("sum", metric=small_metric)(images), (1 - scores).sum())
    assert QFMLoss("none", metric=small_metric)(images[0]).shape == (1,)


def test_from_the_target_on_an_image_costs_nothing_and_is_left_alone(small_metric, images):
    low, middle, high = small_metric(images).tolist()
    target = (middle + high) / 2
    loss = QFMLoss("none", target, metric=small_metric)(images)
    torch.testing.assert_close(loss.detach(), torch.tensor([target - low, target - middle, 0]))
    loss.sum().backward()
    assert images.grad[:2].abs().amax(dim=(1, 2, 3)).min() > 0
    assert images.grad[2].abs().max() == 0


def test_the_margin_moves_the_target(small_metric, images):
    low, middle, high = small_metric(images).tolist()
    for margin in (0.01, -0.01):
        loss = QFMLoss("none", high, margin, metric=small_metric)(images)
        torch.testing.assert_close(loss, torch.tensor([high - low, high - middle, 0]).add(margin).relu())
    more = QFMLoss(margin=-0.2, metric=small_metric)(images)
    torch.testing.assert_close(more, (0.8 - small_metric(images)).relu().mean())


def test_targets_per_call_are_constants(small_metric, images):
    scores = small_metric(images)
    loss = QFMLoss("none", target=0.0, metric=small_metric)
    target = (scores.detach() + torch.tensor([0.1, -0.1, 0])).requires_grad_()
    torch.testing.assert_close(loss(images, target), torch.tensor([0.1, 0, 0]))
    loss(images, target).sum().backward()
    assert target.grad is None
    torch.testing.assert_close(loss(images, 0.9), (0.9 - scores).relu())
    torch.testing.assert_close(loss(images, torch.tensor(0.9)), (0.9 - scores).relu())
    assert torch.equal(loss(images), torch.zeros(3))
    with pytest.raises(ValueError, match=r"target: expected a number or \(3,\), got \(2,\)"):
        loss(images, torch.rand(2))


@pytest.mark.parametrize("number", [np.float32, np.float64, np.float16, Fraction])
def test_numbers_of_other_libraries_are_numbers(small_metric, images, number):
    half = number(0.5)
    expected = QFMLoss(target=0.5, margin=0.5, jitter=0.25, warmup_steps=2, checkpoint=2, metric=small_metric)
    steps = np.int64(2)
    loss = QFMLoss(target=half, margin=half, jitter=half / 2, warmup_steps=steps, checkpoint=steps, metric=small_metric)
    assert repr(loss) == repr(expected)
    assert torch.equal(loss.eval()(images, half), expected.eval()(images, 0.5))
    with pytest.raises(ValueError, match="target: expected a number from 0 to 1"):
        loss(images, number(1.5))


def test_the_weight_warms_up_over_training_calls(small_metric, images):
    loss = QFMLoss(warmup_steps=4, metric=small_metric)
    full = QFMLoss(metric=small_metric)(images)
    for step in range(1, 7):
        torch.testing.assert_close(loss(images), full * min(step / 4, 1))
        torch.testing.assert_close(loss.eval()(images), full)  # neither weighted nor counted
        loss.train()
    assert loss.step.item() == 6


def test_a_resumed_warm_up_goes_on(small_metric, images):
    loss, resumed = (QFMLoss(warmup_steps=4, metric=small_metric) for _ in range(2))
    for _ in range(2):
        loss(images)
    resumed.load_state_dict(loss.state_dict())
    torch.testing.assert_close(resumed(images), QFMLoss(metric=small_metric)(images) * 3 / 4)


def test_jitter_is_seeded_and_only_for_training(small_metric, images):
    loss = QFMLoss("none", jitter=0.2, metric=small_metric)
    plain = 1 - small_metric(images)
    torch.manual_seed(1)
    first, second = loss(images), loss(images)
    assert (first - plain).abs().min() > 0
    assert (first - second).abs().min() > 0
    torch.manual_seed(1)
    assert torch.equal(loss(images), first)
    state = torch.get_rng_state()
    assert torch.equal(loss.eval()(images), plain)
    assert torch.equal(torch.get_rng_state(), state)


def test_jitter_leaves_the_global_pattern_of_gradients(small_metric, images):
    loss = QFMLoss("none", jitter=0.1, metric=small_metric)
    loss(images).sum().backward()
    assert images.grad.isfinite().all()
    assert ((images.grad != 0).float().mean(dim=(1, 2, 3)) > 0.8).all()  # at most 19 % lie outside a window


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_jitter_of_a_metric_in_half_precision_is_in_single_precision(small_metric, dtype):
    """Torch's own gradient of such windows on the CPU corrupts memory."""
    leaf = torch.rand(2, 3, 64, 64, dtype=dtype).requires_grad_()
    assert look_through_windows(leaf, 0.05).dtype == torch.float32
    QFMLoss(jitter=0.05, metric=small_metric.to(dtype))(leaf).backward()
    assert leaf.grad.isfinite().all()
    assert leaf.grad.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_jitter_takes_what_the_metric_takes(small_metric, dtype):
    checker = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(3, 32, 32)  # bicubic leaves [0, 1] by more than 0.1
    images = (checker * (255 if dtype == torch.uint8 else 1)).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        assert 0 < QFMLoss(jitter=0.2, metric=small_metric)(images) < 1


def test_windows_lie_inside_and_keep_straight_ramps_straight():
    x, y = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 64), indexing="xy")
    images = torch.stack([x, y, torch.full_like(x, 0.3)]).repeat(200, 1, 1, 1)
    seen = look_through_windows(images, 0.25)
    assert seen.shape == images.shape
    torch.testing.assert_close(seen[:, 2], images[:, 2])
    inner = seen[..., 4:-4, 4:-4]  # away from borders, where bicubic weights fold
    across, along = inner[:, 0].diff(dim=-1) * 95, inner[:, 1].diff(dim=-2) * 63
    slopes = across.mean(dim=(1, 2))
    # PyTorch's bicubic (a = -0.75) bends a ramp by up to 11 %.
    torch.testing.assert_close(across, slopes[:, None, None].expand_as(across), rtol=0.12, atol=0)
    torch.testing.assert_close(along.mean(dim=(1, 2)), slopes.abs(), rtol=0, atol=0.01)  # the shape is kept
    assert 0.74 < slopes.abs().min() < 0.77
    assert 0.98 < slopes.abs().max() < 1.01
    assert 60 < (slopes < 0).sum() < 140  # mirrored
    left = inner[:, 0, :, 0].mean(dim=1)
    assert len(left.round(decimals=4).unique()) > 150  # shifts are no whole pixels, of 1 / 95
    assert seen[:, :2].min() > -0.01
    assert seen[:, :2].max() < 1.01


def test_checkpointing_changes_memory_alone(small_metric, images):
    def run(loss):
        held = []
        with saved_tensors_hooks(lambda tensor: held.append(tensor.nbytes) or tensor, lambda tensor: tensor):
            value = loss(images)
        return value, *torch.autograd.grad(value, images), sum(held)

    value, gradient, kept = run(QFMLoss(metric=small_metric))
    for parts in (1, 2, 8):
        again = run(QFMLoss(checkpoint=parts, metric=small_metric))
        torch.testing.assert_close(again[0], value)
        torch.testing.assert_close(again[1], gradient)
        assert again[2] < kept / 20


def test_the_target_is_reached(small_metric, images):
    """Gradient steps raise the scores to the target, and then stop."""
    target = small_metric(images).max().item() + 0.02
    loss = QFMLoss(target=target, metric=small_metric)
    moved = images.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=2e-3, betas=(0.0, 0.99))  # momentum would run past it
    for _ in range(30):
        optimizer.zero_grad()
        loss(moved).backward()
        optimizer.step()
    assert small_metric(moved).min() > target - 0.005
    assert small_metric(moved).max() < target + 0.05


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"reduction": "average"}, "one of none, mean, sum, got 'average'"),
        ({"reduction": torch.nn.Identity()}, "one of none, mean, sum, got Identity; is it `metric=`?"),
        ({"target": 1.5}, "target: expected a number from 0 to 1, got 1.5"),
        ({"target": float("nan")}, "target"),
        ({"target": True}, "target"),
        ({"margin": "0.1"}, "margin: expected a number from -1 to 1, got '0.1'"),
        ({"warmup_steps": -1}, "warmup_steps: expected an integer of at least 0, got -1"),
        ({"warmup_steps": 10.0}, "warmup_steps"),
        ({"jitter": 0.5}, "jitter: expected a number from 0 to 0.5, got 0.5"),
        ({"checkpoint": True}, "checkpoint"),
    ],
)
def test_bad_arguments_are_refused(small_metric, arguments, says):
    with pytest.raises(ValueError, match=says):
        QFMLoss(**arguments, metric=small_metric)


@pytest.mark.parametrize("jitter", [0.0, 0.1])
@pytest.mark.parametrize(
    ("images", "error", "says"),
    [
        ([torch.rand(3, 64, 64)], TypeError, "expected a tensor, got list; call the loss once for each size"),
        ("a.jpg", TypeError, "expected a tensor, got str$"),
        (torch.rand(2, 64, 64, 3), ValueError, "permute"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.int32), TypeError, "uint8"),
        (torch.rand(2, 4, 64, 64), ValueError, "alpha"),
        (torch.rand(0, 3, 64, 64), ValueError, "at least one image"),
    ],
)
def test_bad_images_are_refused(small_metric, images, error, says, jitter):
    with pytest.raises(error, match=says):
        QFMLoss(jitter=jitter, metric=small_metric)(images)


def test_values_outside_are_clamped_alike_in_every_grad_mode(held_or_not, images):
    outside = images.detach() * 3 - 1
    expected = QFMLoss("none", metric=held_or_not)(outside.clamp(0, 1))
    leaf = outside.clone().requires_grad_()
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        for pixels, at_a_time in ((outside, 0), (leaf, 2), (2 * leaf.double() / 2, 0)):
            loss = QFMLoss("none", metric=held_or_not, checkpoint=at_a_time)
            with mode(), pytest.warns(UserWarning, match=r"images: expected values in \[0, 1\], got"):
                assert torch.equal(loss(pixels), expected)


def test_the_largest_numbers_are_clamped_too(small_metric, images):
    loss = QFMLoss(metric=small_metric)
    largest = torch.full((1, 3, 64, 64), torch.finfo(torch.float64).max, dtype=torch.float64, requires_grad=True)
    with pytest.warns(UserWarning, match="clamps"):
        found = loss(largest)
    assert torch.equal(found, loss(torch.ones(1, 3, 64, 64)))
    found.backward()
    assert largest.grad.isfinite().all()


@pytest.mark.parametrize("options", [{}, {"checkpoint": 1}, {"jitter": 0.1}])
def test_reentrant_checkpointing_gives_the_same_gradients(held_or_not, images, options):
    """Its first pass runs without gradients."""
    layer = torch.nn.Conv2d(3, 3, 1)
    loss = QFMLoss(metric=held_or_not, **options)

    def run(pixels):
        return loss(2 * layer(pixels) - 0.5)

    gradients = []
    for step in (run, lambda pixels: checkpoint(run, pixels, use_reentrant=True)):
        torch.manual_seed(0)
        layer.zero_grad()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what the next test is about
            step(images).backward()
        gradients.append(layer.weight.grad.clone())
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: 2 * x - 1, r"got \[-1, 1\]; map \[-1, 1\] to \[0, 1\] by \(x \+ 1\) / 2"),
        (lambda x: 255 * x, r"got \[[\d.]+, 255\]; divide by 255 or pass uint8"),
        (lambda x: (x - 0.45) / 0.22, r"got \[-2.\d+, 2.5\]; undo their normalisation"),
        (lambda x: x + torch.nan, "got NaN or Inf"),
    ],
)
@pytest.mark.parametrize("grad", [True, False])
def test_images_on_another_scale_are_warned_of_once(small_metric, images, change, says, grad):
    loss = QFMLoss(metric=small_metric)
    changed = change(images.detach()).requires_grad_(grad)
    with pytest.warns(UserWarning, match=says):
        loss(changed)
    for _ in range(4):
        loss(changed)  # warnings are errors


def test_a_small_overshoot_is_not_warned_of(small_metric, images):
    for _ in range(4):
        QFMLoss(metric=small_metric)(images * 1.2 - 0.1)


@pytest.mark.parametrize("grad", [True, False])
def test_values_are_looked_at_ever_more_rarely(held_or_not, images, grad):
    """On a GPU each look waits for all that was queued; other calls read no value back."""

    class Reads(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func is torch.ops.aten._local_scalar_dense.default)
            return func(*args, **(kwargs or {}))

    loss, reads = QFMLoss(metric=held_or_not), []
    pixels = images.detach().requires_grad_(grad)
    for _ in range(17):
        seen = []
        with Reads(), torch.set_grad_enabled(grad):
            loss(pixels)
        reads.append(sum(seen))
    assert [call for call, count in enumerate(reads, 1) if count] == [1, 2, 4, 8, 16]


def test_it_says_what_it_is(small_metric):
    shown = repr(QFMLoss("sum", 0.8, 0.05, warmup_steps=10, metric=small_metric))
    for part in ("reduction='sum'", "target=0.8", "margin=0.05", "warmup_steps=10", "jitter=0.0", "metric='custom'"):
        assert part in shown


def test_the_default_metric_is_the_packages():
    loss = QFMLoss()
    assert loss.metric.weights_sha256
    assert loss.metric.weights_id in repr(loss)
