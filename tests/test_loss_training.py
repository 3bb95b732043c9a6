"""The metric and its loss inside of training code: optimizers, checkpoints, copies, processes, function transforms."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from qfm_metric import QFMLoss, QFMScore


class Restorer(nn.Module):
    """As people write it: the network and its losses in one module, and an optimizer over all `parameters()`."""

    def __init__(self, **parts):
        super().__init__()
        self.net = nn.Conv2d(3, 3, 3, padding=1)
        for name, part in parts.items():
            setattr(self, name, part)


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def snapshot(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(before, after):
    return all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.filterwarnings("ignore:images. expected values in")  # a network of random weights overshoots
@pytest.mark.parametrize("wrap", [QFMScore.__call__, lambda metric, x: QFMLoss(metric=metric)(x)])
def test_an_optimizer_over_all_parameters_moves_the_network_alone(small_metric, images, wrap):
    module = Restorer(metric=small_metric).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=0.5)
    before, net = snapshot(small_metric), snapshot(module.net)
    for _ in range(2):
        optimizer.zero_grad()
        wrap(small_metric, module.net(images)).mean().backward()
        optimizer.step()
    assert same(before, snapshot(small_metric))
    assert not any(torch.equal(net[name], tensor) for name, tensor in module.net.state_dict().items())


def test_a_parent_does_not_see_the_metric_of_a_loss(small_metric, images):
    module = Restorer(quality=QFMLoss(metric=small_metric))
    before, expected = snapshot(small_metric), small_metric(images)
    assert [name for name, _ in module.named_parameters()] == ["net.weight", "net.bias"]
    assert set(module.state_dict()) == {"net.weight", "net.bias", "quality.step"}
    module.requires_grad_(True)
    for change in (module.half, module.bfloat16, module.double, lambda: module.to(torch.float16)):
        change()
    module.train()
    assert not any(parameter.requires_grad for parameter in small_metric.parameters())
    assert same(before, snapshot(small_metric))
    assert {tensor.dtype for tensor in small_metric.parameters()} == {torch.float32}
    assert torch.equal(module.quality.metric(images), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("move", [lambda module: module.cuda(), lambda module: module.to_empty(device="cuda")])
def test_the_metric_of_a_loss_moves_with_it(small_metric, images, move):
    module = Restorer(quality=QFMLoss(metric=small_metric))
    expected = module.quality(images)
    move(module)
    assert {tensor.device.type for tensor in small_metric.state_dict().values()} == {"cuda"}
    assert module.quality.step.device.type == "cuda"
    torch.testing.assert_close(module.quality(images).cpu(), expected, atol=1e-4, rtol=0)  # as kernels differ


def test_the_metric_of_a_loss_goes_where_the_module_goes(small_metric, monkeypatch):
    """Told by what it is asked, because this machine may have one device alone."""
    asked = []
    module = Restorer(quality=QFMLoss(warmup_steps=2, metric=small_metric))
    monkeypatch.setattr(small_metric, "to", asked.append)
    for change in (module.half, lambda: module.to("cpu"), lambda: module.to("meta")):
        change()
    module.to_empty(device="cpu")
    assert asked == [torch.device("cpu")] * 4  # never to the meta device, which holds no values


@pytest.mark.parametrize("built", ["cpu", "meta"])
def test_empty_tensors_are_not_given_to_the_metric_of_a_loss(small_metric, images, built):
    """As FullyShardedDataParallel and others begin: a module without values, then memory, then a checkpoint."""
    expected, state = QFMLoss(metric=small_metric)(images), Restorer(quality=QFMLoss(metric=small_metric)).state_dict()
    before = snapshot(small_metric)
    with torch.device(built):
        module = Restorer(quality=QFMLoss(warmup_steps=4, metric=small_metric), default=QFMLoss())
    module.quality.step.fill_(3)
    for _ in range(2):
        module.to("meta")
        module.to_empty(device="cpu")
        assert module.quality.step.item() == 3
    module.load_state_dict({**state, "default.step": torch.tensor(0)})
    assert same(before, snapshot(small_metric))
    torch.testing.assert_close(module.quality(images), expected / 4)
    assert same(snapshot(QFMScore()), snapshot(module.default.metric))


def test_parameters_are_reset_as_fully_sharded_training_asks(small_metric):
    module = Restorer(quality=QFMLoss(warmup_steps=4, metric=small_metric))
    module.quality.step.fill_(3)
    before = snapshot(small_metric)
    for part in module.modules():
        if [*part.parameters(recurse=False), *part.buffers(recurse=False)]:
            part.to_empty(device="cpu", recurse=False)
            part.reset_parameters()
    assert module.quality.step.item() == 0
    assert same(before, snapshot(small_metric))


def test_a_checkpoint_with_the_loss_loads_strictly(small_metric, images):
    saved = Restorer(quality=QFMLoss(warmup_steps=4, metric=small_metric))
    saved.quality(images)
    # Another version of the metric does not matter: its weights are in no checkpoint.
    loaded = Restorer(quality=QFMLoss(warmup_steps=4, metric=copy.deepcopy(small_metric)))
    loaded.quality.metric.net.calibration.offset.fill_(0.5)
    loaded.load_state_dict(saved.state_dict(), strict=True)
    assert loaded.quality.step.item() == 1
    assert loaded.quality.metric.net.calibration.offset.item() == 0.5


def test_a_checkpoint_with_the_metric_loads_strictly(small_metric, images):
    saved = Restorer(metric=small_metric)
    loaded = Restorer(metric=copy.deepcopy(small_metric))
    loaded.metric.net.calibration.offset.fill_(0.5)
    loaded.load_state_dict(saved.state_dict(), strict=True)
    assert torch.equal(loaded.metric(images), small_metric(images))


def test_released_weights_are_not_replaced_under_their_name(metric):
    module = Restorer(metric=copy.deepcopy(metric))
    state = snapshot(module)
    module.load_state_dict(state, strict=True)
    state["metric.net.calibration.offset"] += 0.01
    with pytest.raises(RuntimeError, match=f"metric.: .*other weights than '{metric.weights_id}'.*from_pretrained"):
        module.load_state_dict(state)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_copies_are_alike_and_apart(small_metric, images, copied):
    loss = QFMLoss("none", 0.9, 0.05, warmup_steps=5, metric=small_metric)
    loss(images)
    other = copied(loss)
    assert torch.equal(other(images), loss(images))
    other.metric.net.calibration.offset.fill_(0.5)
    assert not torch.equal(other(images), loss(images))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # attention has no batching rule in PyTorch yet
def test_function_transforms(small_metric, images):
    loss = QFMLoss("sum", metric=small_metric)
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(images), expected)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(images), expected)
    value, pullback = torch.func.vjp(small_metric, images)
    torch.testing.assert_close(pullback(-torch.ones_like(value))[0], expected)
    torch.testing.assert_close(torch.func.vmap(small_metric)(images).flatten(), value)


RANK = """
import sys
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from helpers.small import make_small_metric
from qfm_metric import QFMLoss

class Restorer(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 3, 3, padding=1)
        self.metric = make_small_metric()
        self.quality = QFMLoss(warmup_steps=2, metric=make_small_metric())

    def forward(self, images):
        restored = self.net(images)
        return self.quality(restored) + (1 - self.metric(restored)).mean()

def train(wrap, images):
    torch.manual_seed(0)
    module = Restorer().train()
    metrics = [module.metric, module.quality.metric]
    before = [{k: v.clone() for k, v in metric.state_dict().items()} for metric in metrics]
    step = wrap(module)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        step(images).backward()
        optimizer.step()
    for metric, kept in zip(metrics, before):
        assert all(torch.equal(v, kept[k]) for k, v in metric.state_dict().items())
    assert module.quality.step.item() == 3
    return module.net.weight.detach()

def outside(module):
    net = DistributedDataParallel(module.net)
    def step(images):
        restored = net(images)
        return module.quality(restored) + (1 - module.metric(restored)).mean()
    return step

rank, init = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
images = torch.rand(4, 3, 64, 96, generator=torch.Generator().manual_seed(0))
alone = train(lambda module: module, images)
for wrap in (outside, DistributedDataParallel):
    found = train(wrap, images[2 * rank : 2 * rank + 2])
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-4)
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without torch.distributed")
def test_two_processes_train_as_one(tmp_path):
    """The loss outside DistributedDataParallel, and inside as a part of the module."""
    here = Path(__file__).parent
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(here.parent), str(here)])}
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"  # the host's own name need not resolve
    arguments = [sys.executable, "-c", RANK]
    ranks = [
        subprocess.Popen([*arguments, str(rank), (tmp_path / "init").as_uri()], env=environment, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        errors = [rank.communicate(timeout=600)[1].decode() for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)
