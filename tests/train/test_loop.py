"""The loop: it learns, resumes to the last bit, survives being killed, and several processes are one."""

import csv
import math
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import small_world
from helpers.hub_server import free_port
from helpers.processes import environment
from helpers.small_world import CONFIG, LOOP, MATERIAL, OBJECTIVE, fresh_net, open_decoded, open_material

from qfm_metric.score import QFMScore
from qfm_metric.train import loop, losses
from qfm_metric.train.batchnorm import run_folded
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.defects import TYPES
from qfm_metric.train.matching import Memory
from qfm_metric.train.metrics import Metrics
from qfm_metric.train.step import Student, step_losses


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """An uninterrupted run: its folder and the average network."""
    folder = tmp_path_factory.mktemp("whole")
    best = small_world.run(world, folder)
    return folder, best


def equal(a, b):
    """Whether two nested states are the same to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(*pair) for pair in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def checkpoint(folder, name="checkpoint"):
    return torch.load(folder / f"{name}.pt", weights_only=True)


def start(world, out, *what, **variables):
    """What `small_world` does in a process of its own."""
    command = [sys.executable, small_world.__file__, world, out, *map(str, what)]
    return subprocess.Popen(command, env=environment() | variables, stderr=subprocess.PIPE)


def test_statistics_standardise_cells_and_their_means(world):
    net, material = fresh_net(), open_material(world)
    loop.measure_statistics(net, material, seed=0, batches=2)
    cells, means = [], []
    for i in range(2):
        views = torch.from_numpy(material.draw((0, 10**6 + i), 0).views).permute(0, 1, 4, 2, 3) / 255
        with torch.no_grad():
            found = net.cells(net.pyramid((views - net.mean) / net.std)).flatten(2).transpose(1, 2)
        cells.append(found.flatten(0, 1)[::4])
        means.append(found.mean(dim=1))
    for layer, rows in ((net.standardize, torch.cat(cells)), (net.standardize_means, torch.cat(means))):
        standardised = layer(rows)
        assert standardised.mean(dim=0).abs().max() < 1e-3
        # Channels that never vary keep the floor; the others have unit spread.
        varying = rows.std(dim=0) > 1e-2
        assert (standardised.std(dim=0)[varying] - 1).abs().max() < 0.02


def test_interrupted_and_resumed_equals_uninterrupted(whole, world, tmp_path):
    def stop(text):
        if text.startswith("step 4: validation"):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        small_world.run(world, tmp_path, say=stop)
    assert checkpoint(tmp_path)["step"] == 2
    best = small_world.run(world, tmp_path)
    assert equal(checkpoint(tmp_path), checkpoint(whole[0]))  # network, average, optimizer, schedule, memory
    assert len(checkpoint(tmp_path)["memory"]["fifos"]) >= 1
    assert equal(best.state_dict(), whole[1].state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("what", ["step", "save"])
def test_killed_and_resumed_equals_uninterrupted(what, whole, world, tmp_path):
    """SIGKILL in the middle of a step, and in the middle of writing a checkpoint."""
    number = random.randint(3, 6) if what == "step" else 4
    killed = start(world, tmp_path, what, number)
    error = killed.communicate(timeout=600)[1].decode()
    assert killed.returncode == -signal.SIGKILL, error
    # Step `number` was not completed; the checkpoint before it is whole.
    assert checkpoint(tmp_path)["step"] == (number - 1) // LOOP.every * LOOP.every, f"killed in step {number}"
    best = small_world.run(world, tmp_path)
    assert equal(checkpoint(tmp_path), checkpoint(whole[0])), f"killed in step {number}"
    assert equal(best.state_dict(), whole[1].state_dict()), f"killed in step {number}"


def test_a_finished_run_trains_no_further(whole, world):
    before = (whole[0] / "checkpoint.pt").stat().st_mtime_ns
    best = small_world.run(world, whole[0])
    assert (whole[0] / "checkpoint.pt").stat().st_mtime_ns == before
    assert equal(best.state_dict(), whole[1].state_dict())


def test_every_layer_moves_and_no_statistic_does(whole):
    before, after = fresh_net().state_dict(), whole[1].state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    weights = {name for name, _ in fresh_net().named_parameters()}
    # A bias of the keys moves every logit of a softmax alike; it has no gradient but rounding.
    assert {name for name in weights - moved if "in_proj_bias" not in name} == set()
    assert moved - weights == {f"standardize{which}.{part}" for which in ("", "_means") for part in ("mean", "std")}


def test_averages_along_the_way_are_weights_that_load(whole, random_images):
    names = sorted(path.name for path in whole[0].glob("step-*.safetensors"))
    assert names == ["step-2.safetensors", "step-4.safetensors", "step-6.safetensors"]
    last = QFMScore.from_pretrained(whole[0] / names[-1])
    with torch.no_grad():
        expected = whole[1](random_images)
    torch.testing.assert_close(last(random_images), expected, rtol=0, atol=1e-3)  # stored in half precision


@pytest.mark.slow
def test_it_learns(world, tmp_path):
    config = replace(LOOP, steps=60, every=60, head_rate=3e-3, joint_from=30, decay_from=40)
    # The pictures differ in brightness alone, and the teacher is the MOS itself.
    weights = dict.fromkeys(OBJECTIVE.weights, 0.0) | {"regression": 10.0, "ranking": 0.5}
    found = small_world.run(world, tmp_path, replace(OBJECTIVE, weights=weights), config)
    assert loop.validate(found, open_decoded(world))["plcc"] > 0.9


@pytest.mark.parametrize("noise", ["none", "random", "v1"])
def test_the_controls_run(noise, world, tmp_path):
    best = small_world.run(world, tmp_path, replace(OBJECTIVE, noise=noise), replace(LOOP, steps=2))
    assert all(torch.isfinite(tensor).all() for tensor in best.state_dict().values())
    assert bool(checkpoint(tmp_path)["memory"]["fifos"]) == (noise != "none")


def read(path):
    with path.open(newline="") as file:
        return [(int(row["step"]), row["name"], float(row["value"])) for row in csv.DictReader(file)]


def test_every_step_is_in_the_metrics_and_on_the_board(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    written, validated = read(whole[0] / "losses.csv"), read(whole[0] / "validation.csv")
    assert {step for step, *_ in written} == set(range(1, 7))
    asked = {name for name, weight in OBJECTIVE.weights.items() if weight}
    absent = {"attacked", "adversarial"}  # no attack
    assert {name for _, name, _ in written} == asked - absent | {"norm"}
    assert sorted({step for step, *_ in validated}) == [2, 4, 6]
    assert {name for _, name, _ in validated} == {"srcc", "plcc", "within_srcc", "s0", "s1"}
    assert all(math.isfinite(value) for *_, value in written + validated)
    board = EventAccumulator(str(whole[0])).Reload()
    for file, rows in (("losses", written), ("validation", validated)):
        for name in {name for _, name, _ in rows}:
            on_board = [(event.step, event.value) for event in board.Scalars(f"{file}/{name}")]
            in_file = [(step, value) for step, known, value in rows if known == name]
            assert [step for step, _ in on_board] == [step for step, _ in in_file]
            # The file holds five decimals.
            np.testing.assert_allclose([v for _, v in on_board], [v for _, v in in_file], rtol=1e-6, atol=1e-5)


def test_without_tensorboard_the_files_are_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    metrics = Metrics(tmp_path)
    metrics.write("losses", 3, {"regression": 0.25})
    metrics.write("losses", 4, {"regression": 0.125})
    metrics.close()
    assert read(tmp_path / "losses.csv") == [(3, "regression", 0.25), (4, "regression", 0.125)]
    assert [path.name for path in tmp_path.iterdir()] == ["losses.csv"]


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused_by_name(share, whole, world, tmp_path):
    content = (whole[0] / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"checkpoint\.pt: no checkpoint that can be read; delete it"):
        small_world.run(world, tmp_path)


@pytest.mark.parametrize("content", [b"\0" * 5000, b"not a checkpoint\n" * 99, b"\x80\x02K\x05.", b"PK\x03\x04" * 50])
def test_what_is_no_checkpoint_is_refused_by_name(content, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"checkpoint\.pt: no checkpoint that can be read"):
        loop.load_checkpoint(tmp_path / "checkpoint.pt")


def test_a_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "evil"),))

    torch.save(Evil(), tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match=r"checkpoint\.pt"):
        loop.load_checkpoint(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "evil").exists()


def test_a_checkpoint_of_another_recipe_is_refused_by_name(whole, world):
    for other in ({"objective": replace(OBJECTIVE, memory=7)}, {"net": fresh_net(replace(CONFIG, uncertainty=False))}):
        with pytest.raises(DataError, match=r"checkpoint\.pt: a checkpoint of another recipe"):
            small_world.run(world, whole[0], **other)


def test_a_run_on_other_ratings_is_not_gone_on_with(whole, world, tmp_path):
    """Who prepares a longer table and trains again would get the old weights, and test on what they saw."""
    shutil.copytree(world, tmp_path / "moved")
    small_world.run(tmp_path / "moved", whole[0])  # the same, elsewhere
    table = tmp_path / "moved/decoded/table.csv"
    table.write_text(table.read_text().replace(",val", ",train", 1))
    with pytest.raises(DataError, match=r"checkpoint\.pt: a checkpoint of a run on other pictures, ratings or parts"):
        small_world.run(tmp_path / "moved", whole[0])


def test_something_else_under_the_name_of_a_checkpoint_is_refused(world, tmp_path):
    torch.save({"step": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match=r"checkpoint\.pt: a checkpoint of another recipe"):
        small_world.run(world, tmp_path)


def test_rates_warm_up_stay_and_fall_and_early_blocks_learn_slowly():
    config = loop.LoopConfig(steps=20, warmup=4, decay_from=12, head_rate=1.0, backbone_rate=0.5, early=0.25)
    optimizer = loop._optimizer(Student(fresh_net(), 1), config)
    rates = []
    for step in range(21):
        loop._set_rates(optimizer, config, step)
        rates.append({(group["base"], group["lr"]) for group in optimizer.param_groups})
    head = [lr for found in rates for base, lr in found if base == 1.0]
    assert head[:5] == [0.25, 0.5, 0.75, 1, 1]
    assert head[12] == 1
    assert head[16] == pytest.approx(0.5)
    assert head[20] == 0
    # The stem and two groups of blocks, two more, the rest; all wait for the head's warm-up and take twice as long.
    assert {base for base, _ in rates[0]} == {1.0, 0.125, 0.25, 0.5}
    assert {lr for base, lr in rates[3] if base < 1} == {0.0}
    assert {lr / base for base, lr in rates[7] if base < 1} == {0.5}
    assert {lr / base for base, lr in rates[12]} == {1.0}


def test_weights_decay_and_biases_norms_and_queries_do_not():
    student = Student(fresh_net(), 1)
    groups = loop._optimizer(student, loop.LoopConfig()).param_groups
    decayed = {id(p) for group in groups for p in group["params"] if group["weight_decay"]}
    names = {name for name, parameter in student.named_parameters() if id(parameter) not in decayed}
    assert {"net.decoder.queries", "net.head.1.bias", "net.backbone.bn1.weight"} <= names
    assert not any(name.endswith("conv_stem.weight") or name == "net.project.weight" for name in names)


def test_training_against_attacks_reaches_every_layer(world, tmp_path):
    net = fresh_net()
    before = {name: parameter.clone() for name, parameter in net.named_parameters()}
    objective, config = replace(OBJECTIVE, attack=2 / 255), replace(LOOP, steps=3, every=3)
    small_world.run(world, tmp_path, objective, config, net=net)
    terms = {name: value for step, name, value in read(tmp_path / "losses.csv") if step == 3}
    assert terms["attacked"] > 0
    assert math.isfinite(terms["uncertainty"])
    moved = {name for name, parameter in net.named_parameters() if not torch.equal(parameter, before[name])}
    assert {"backbone.conv_stem.weight", "project.weight", "uncertainty.1.weight"} <= moved


def test_without_series_photographs_alone_are_learned_from(world, tmp_path):
    net, material = fresh_net(), loop.Material.open(world, config=MATERIAL)
    loop.train(net, material, OBJECTIVE, replace(LOOP, steps=2), tmp_path, print)
    names = {name for _, name, _ in read(tmp_path / "losses.csv")}
    assert names & {"severity", "difference", "defects", "types"} == set()
    assert {"regression", "ranking"} <= names


def gradients_of(world, rank):
    """What one rank's first step gives, computed alone."""
    net, material = fresh_net(), open_material(world)
    loop.measure_statistics(net, material, LOOP.seed, batches=2)
    loop._drop_paths(net, LOOP.drop_path)
    student = Student(net.to(memory_format=torch.channels_last), len(TYPES))
    run_folded(net.backbone)
    torch.manual_seed(int(np.random.default_rng([LOOP.seed, 0, rank, 1]).integers(2**31)))
    loop.keep_statistics(student.train())
    drawn = torch.Generator().manual_seed(0)
    batch = material.draw((LOOP.seed, 0), rank)
    terms = step_losses(student, batch, material.labels, OBJECTIVE, Memory(OBJECTIVE.memory), drawn)
    losses.total(OBJECTIVE.weights, terms).backward()
    return [parameter.grad for parameter in student.parameters()]


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without torch.distributed")
def test_two_processes_train_as_one(world, tmp_path):
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    if sys.platform == "linux":
        variables["GLOO_SOCKET_IFNAME"] = "lo"  # the host's own name need not resolve
    ranks = [start(world, tmp_path, "ranks", **variables, RANK=str(rank)) for rank in range(2)]
    try:
        errors = [rank.communicate(timeout=600)[1].decode() for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)
    first, second = (checkpoint(tmp_path, f"rank{rank}") for rank in range(2))
    assert equal(first, second)  # weights, the average, the memory, the averaged gradients
    held = [len(entries["ids"]) for entries in first["memory"]["fifos"].values()]
    assert sum(held) >= OBJECTIVE.memory  # both ranks' pictures: 3 steps of 2 x 4 into queues of 6
    alone = [gradients_of(world, rank) for rank in range(2)]
    different = 0
    for together, *apart in zip(first["gradients"], *alone, strict=True):
        apart = [torch.zeros_like(together) if one is None else one for one in apart]
        different += not torch.equal(*apart)
        mean = torch.stack(apart).mean(dim=0)
        # Sums in another order: float32 keeps 24 bits.
        torch.testing.assert_close(together, mean, rtol=1e-4, atol=1e-5 * mean.abs().max().item() + 1e-8)
    assert different > 10
