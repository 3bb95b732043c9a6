"""What goes to a Mac's GPU and back: nothing of double precision, and nothing to be done that torch lacks there.

There is no such GPU here. Fake tensors stand for what is on it: they have its name, their types and their shapes, but
no values. They can be neither indexed nor differentiated, so the network as a whole is not run.
"""

from contextlib import nullcontext

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qfm_metric import QFMLoss
from qfm_metric.geometry import resize
from qfm_metric.loss import look_through_windows
from qfm_metric.torch_defaults import no_autocast

MPS = torch.device("mps", 0)


class Reached(TorchDispatchMode):
    """Notes which operations are run on MPS, and with tensors of which types."""

    def __init__(self):
        super().__init__()
        self.names, self.dtypes = set(), set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, found)):
            if isinstance(tensor, torch.Tensor) and tensor.device == MPS:
                self.names.add(func.overloadpacket.__name__)
                self.dtypes.add(tensor.dtype)
        return found


@pytest.fixture
def on_mps(small_metric):
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield small_metric.to(MPS)


def channels_last(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("grad", [False, True])
def test_images_arrive_in_single_precision_with_channels_first(on_mps, dtype, grad):
    images = torch.zeros(2, 10, 14, 3, dtype=dtype).permute(0, 3, 1, 2)
    images.requires_grad_(grad and dtype.is_floating_point)
    with Reached() as reached, torch.no_grad():
        arrived = on_mps.to_net(images)
    assert (arrived.device, arrived.dtype, arrived.shape) == (MPS, torch.float32, images.shape)
    assert not channels_last(arrived)
    assert torch.float64 not in reached.dtypes


def test_targets_arrive_in_single_precision(small_metric):
    loss = QFMLoss(metric=small_metric)
    with FakeTensorMode(allow_non_fake_inputs=True), Reached() as reached:
        target = loss._target(torch.zeros(2, dtype=torch.float64), torch.zeros(2, device=MPS))
    assert (target.device, target.dtype) == (MPS, torch.float32)
    assert reached.dtypes == {torch.float32}


@pytest.mark.parametrize("change", [lambda x: resize(x, (20, 30)), lambda x: look_through_windows(x, 0.1)])
def test_images_are_resampled_on_the_cpu(change):
    with FakeTensorMode(), Reached() as reached:
        changed = change(torch.zeros(2, 3, 40, 60, device=MPS))
        assert changed.device == MPS
        assert changed.shape == change(torch.zeros(2, 3, 40, 60)).shape
    assert reached.names - {"zeros", "device"} == {"_to_copy"}


def test_weights_lie_with_channels_first_there_and_last_elsewhere(small_metric):
    def last():
        return {channels_last(weight) for weight in small_metric.net.parameters() if weight.ndim == 4}

    assert True in last()
    with FakeTensorMode(allow_non_fake_inputs=True):
        small_metric.to(MPS)
        assert last() == {False}


def test_a_torch_without_autocast_for_mps_has_none_to_turn_off(monkeypatch):
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda kind: kind != "mps")
    assert isinstance(no_autocast(MPS), nullcontext)
    assert isinstance(no_autocast(torch.device("cpu")), torch.autocast)
