"""Gradients of the score on hard images, in every precision, on every device, compiled or not."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.utils import counters

from qfm_metric import QFMLoss
from qfm_metric.geometry import view_size


def checker(side):
    return ((torch.arange(side)[:, None] + torch.arange(side)) % 2).float().expand(3, side, side)


def hard_images(side=96):
    """Names and `(3, side, side)` images."""
    grey = torch.full((3, side, side), 0.5)
    red = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, side, side)
    noise = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    return {
        "constant": grey,
        "black": torch.zeros_like(grey),
        "white": torch.ones_like(grey),
        "saturated": red,
        "checker": checker(side),
        "random": noise,
        "far outside": 2000 * noise - 1000,
    }


@pytest.mark.filterwarnings("ignore:images. expected values in")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gradients_of_hard_images(metric, dtype):
    """Of the shipped weights, by the largest and the mean over pixels; half precision as autocast gives it."""
    weights = copy.deepcopy(metric.state_dict())
    images = torch.stack(list(hard_images().values())).to(dtype).requires_grad_()
    loss = QFMLoss("sum", metric=metric)
    with torch.autograd.set_detect_anomaly(True), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        value = loss(images)
        (2**10 * value).backward()  # as a GradScaler does: a pixel's part is too small for float16
    assert value.dtype == torch.float32
    assert images.grad.isfinite().all()
    assert all((gradient != 0).float().mean() > 0.5 for gradient in images.grad)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in metric.state_dict().items())


@pytest.mark.parametrize("side", [96, 800])
def test_half_precision_gradients_are_those_of_single_precision(metric, photo, side):
    """The loss itself is computed in single precision, so only the last rounding differs."""
    image = F.interpolate(photo[None], (side, side), mode="bilinear")
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        # Both start from values that bfloat16 has.
        leaf = image.bfloat16().to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            gradients += torch.autograd.grad(metric(leaf).sum(), leaf)
    torch.testing.assert_close(gradients[1], gradients[0].bfloat16(), rtol=0, atol=0)


@pytest.mark.parametrize("size", [(64, 64), (80, 100), (50, 70)])
def test_gradient_check_in_double_precision(small_metric, size):
    """The whole way, resizing and native view included, along random directions."""
    metric = small_metric.double()
    images = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    assert torch.autograd.gradcheck(
        lambda x: metric.net(metric.to_net(x)), (images.requires_grad_(),), fast_mode=True, atol=1e-7, rtol=1e-4
    )


def test_far_outside_the_gradient_is_the_one_at_the_edge(small_metric, random_images):
    outside = (random_images * 2000 - 1000).requires_grad_()
    edge = outside.detach().clamp(0, 1).requires_grad_()
    torch.testing.assert_close(*(torch.autograd.grad(small_metric(x).sum(), x)[0] for x in (outside, edge)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_and_cpu_agree(metric, photo):
    images = torch.stack([photo, photo**2])
    found = []
    for device in ("cpu", "cuda"):
        loss = QFMLoss("none", metric=copy.deepcopy(metric)).to(device)
        leaf = images.to(device).requires_grad_()
        value = loss(leaf)
        found.append((value.detach().cpu(), *(x.cpu() for x in torch.autograd.grad(value.sum(), leaf))))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=1e-4)
    scale = found[0][1].abs().max().item()
    torch.testing.assert_close(found[1][1], found[0][1], rtol=0, atol=1e-2 * scale)
    assert F.cosine_similarity(found[0][1].flatten(1), found[1][1].flatten(1)).min() > 0.999


def reference_view_size(height, width, pixels):
    """As the weights were trained: rounded as `round` does, a tie to the even multiple of 32."""
    scale = min(1.0, (pixels / (height * width)) ** 0.5)
    return tuple(min(max(round(side * scale / 32) * 32, 64), pixels // 64) for side in (height, width))


@pytest.mark.parametrize("pixels", [320 * 320, 384 * 384, 64 * 64])
def test_view_sizes_stay_what_they_were(pixels):
    sides = torch.randint(1, 3001, (3000, 2), generator=torch.Generator().manual_seed(0)).tolist()
    sides += [(side, 300) for side in range(1, 3001)]
    sides += [(16 + 32 * i, 16 + 32 * j) for i in range(12) for j in range(12)]  # ties without reduction
    sides += [(400 * i, 441 * i) for i in range(1, 7)]  # and with: 320^2 gives 10.5 multiples of 32
    for height, width in sides:
        size = view_size(height, width, pixels)
        assert size == reference_view_size(height, width, pixels)
        assert {type(side) for side in size} == {int}


def test_ties_go_to_the_even_multiple():
    assert [view_size(side, 64, 320 * 320)[0] for side in (80, 112, 144, 176)] == [64, 128, 128, 192]


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()
    counters.clear()


SIZES = [(2, 96, 90), (3, 101, 89), (5, 99, 98), (2, 200, 150), (3, 400, 290), (2, 97, 97)]


@pytest.mark.slow
@pytest.mark.parametrize("options", [None, {"jitter": 0.1, "warmup_steps": 3}, {"checkpoint": 2}])
def test_compiled_for_dynamic_sizes(small_metric, fresh_compiler, options):
    """One graph without breaks for a shape of view, 64 x 64 here, whatever the pictures' sizes and number."""
    module = small_metric if options is None else QFMLoss("none", metric=small_metric, **options)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=True)
    for n, height, width in SIZES:
        n = 2 if options and "checkpoint" in options else n  # its loop over parts is unrolled
        images = torch.rand(n, 3, height, width, requires_grad=True)
        values, gradients = [], []
        for function in (module, compiled):
            torch.manual_seed(0)
            if options:
                module.step.zero_()
            values.append(function(images))
            gradients += torch.autograd.grad(values[-1].sum(), images)
        assert counters["stats"]["unique_graphs"] == 1
        torch.testing.assert_close(values[1], values[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-3 * gradients[0].abs().max().item())
