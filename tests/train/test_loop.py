"""The loop: it learns, resumes to the last bit, survives being killed, stops early, and several processes are one."""

import csv
import math
import os
import random
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
from helpers.small_world import CONFIG, FROZEN, LOOP, OBJECTIVE, fresh_net, gather, levels, open_decoded

from qfm_metric.train import loop, losses, material
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.frozen import freeze, keep_statistics, run_rest
from qfm_metric.train.matching import Memory
from qfm_metric.train.step import CachedForward, Labels, predict_cached, step_losses


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """An uninterrupted run: its folder and the best network."""
    folder = tmp_path_factory.mktemp("whole")
    best, _ = small_world.run(world, folder)
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


def test_statistics_standardise_the_tokens(world):
    net = fresh_net()
    views = gather(world, net, levels()).photos[0].views
    loop.measure_statistics(net, FROZEN, views)
    with torch.no_grad():
        found = run_rest(net, FROZEN, *views.batch(range(len(views))))
    standardised = net.standardize(found.flatten(2).transpose(1, 2)).flatten(0, 1)
    assert standardised.mean(dim=0).abs().max() < 1e-3
    # Channels that never vary keep the floor; the others have unit spread (of batches against all: 2 %).
    varying = found.std(dim=(0, 2, 3)) > 1e-2
    assert (standardised.std(dim=0)[varying] - 1).abs().max() < 0.02


def test_interrupted_and_resumed_equals_uninterrupted(whole, world, tmp_path):
    def stop(text):
        if text.startswith("step 4: validation"):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        small_world.run(world, tmp_path, say=stop)
    assert checkpoint(tmp_path)["step"] == 2
    best, _ = small_world.run(world, tmp_path)
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
    best, _ = small_world.run(world, tmp_path)
    assert equal(checkpoint(tmp_path), checkpoint(whole[0])), f"killed in step {number}"
    assert equal(best.state_dict(), whole[1].state_dict()), f"killed in step {number}"


def test_a_finished_run_trains_no_further(whole, world):
    before = (whole[0] / "checkpoint.pt").stat().st_mtime_ns
    best, _ = small_world.run(world, whole[0])
    assert (whole[0] / "checkpoint.pt").stat().st_mtime_ns == before
    assert equal(best.state_dict(), whole[1].state_dict())


def test_the_frozen_layers_stay_and_the_others_move(whole):
    before, after = fresh_net().state_dict(), whole[1].state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    blocks = {name.split(".")[2] for name in moved if name.startswith("backbone.blocks.")}
    assert blocks == {str(i) for i in range(FROZEN, len(fresh_net().backbone.blocks))}
    assert not any(name.startswith(("backbone.conv_stem", "backbone.bn1")) for name in moved)
    assert not any("running" in name or "calibration" in name for name in moved)
    assert {"project.weight", "decoder.queries", "head.1.weight", "standardize.mean"} <= moved


@pytest.mark.slow
def test_it_learns(world, tmp_path):
    config = replace(LOOP, steps=60, every=60, head_rate=3e-3)
    # The pictures differ in brightness alone, and the teacher is the MOS itself.
    weights = dict.fromkeys(OBJECTIVE.weights, 0.0) | {"regression": 10.0, "correlation": 0.5}
    best, _ = small_world.run(world, tmp_path, replace(OBJECTIVE, batch=8, series=0, weights=weights), config)
    decoded, drawn = open_decoded(world), gather(world, best, levels())
    scores, _ = predict_cached(best, FROZEN, drawn.validation)
    assert np.corrcoef(scores, decoded.mos[drawn.validation_indices])[0, 1] > 0.9


@pytest.mark.parametrize("noise", ["none", "random", "v1"])
def test_the_controls_run(noise, world, tmp_path):
    best, _ = small_world.run(world, tmp_path, replace(OBJECTIVE, noise=noise, series=0), replace(LOOP, steps=2))
    assert all(torch.isfinite(tensor).all() for tensor in best.state_dict().values())
    assert bool(checkpoint(tmp_path)["memory"]["fifos"]) == (noise != "none")


def figures(srcc):
    return {"srcc": srcc, "within_srcc": srcc}


@pytest.mark.parametrize(("patience", "ends", "best_is"), [(0, 6, 5), (1, 3, 2), (2, 4, 2)])
def test_it_stops_when_validation_gets_no_better(patience, ends, best_is, world, tmp_path, monkeypatch):
    """Of six validations the second is the best, until the fifth."""
    validations, averages = iter([0.1, 0.5, 0.4, 0.5, 0.6, 0.2]), []

    def validate(net, *_):
        averages.append({name: tensor.clone() for name, tensor in net.state_dict().items()})
        return figures(next(validations))

    monkeypatch.setattr(loop, "validate", validate)
    config = replace(LOOP, every=1, patience=patience)
    best, _ = small_world.run(world, tmp_path, replace(OBJECTIVE, series=0), config)
    assert checkpoint(tmp_path)["step"] == len(averages) == ends
    assert equal(best.state_dict(), averages[best_is - 1])


def read(path):
    with path.open(newline="") as file:
        return [(int(row["step"]), row["name"], float(row["value"])) for row in csv.DictReader(file)]


def test_every_step_is_in_the_metrics_and_on_the_board(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    written, validated = read(whole[0] / "losses.csv"), read(whole[0] / "validation.csv")
    assert {step for step, *_ in written} == set(range(1, 7))
    asked = {name for name, weight in OBJECTIVE.weights.items() if weight}
    absent = {"attacked", "adversarial", "uncertainty"}  # no attack, and no such head
    assert {name for _, name, _ in written} == asked - absent
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
    metrics = loop.Metrics(tmp_path)
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
    for other in ({"objective": replace(OBJECTIVE, memory=7)}, {"net": fresh_net(replace(CONFIG, uncertainty=True))}):
        with pytest.raises(DataError, match=r"checkpoint\.pt: a checkpoint of another recipe"):
            small_world.run(world, whole[0], **other)


def test_something_else_under_the_name_of_a_checkpoint_is_refused(world, tmp_path):
    torch.save({"step": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match=r"checkpoint\.pt: a checkpoint of another recipe"):
        small_world.run(world, tmp_path)


def test_the_rate_warms_up_and_falls_to_nothing():
    config = loop.LoopConfig(steps=20, warmup=4)
    rates = [loop._rate(config, step) for step in range(21)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1, 1]
    assert rates[12] == pytest.approx(0.5)
    assert rates[20] == pytest.approx(0)
    assert loop._rate(replace(config, warmup=0), 0) == 1


def test_training_against_attacks_reaches_every_layer(world, tmp_path):
    net, decoded = fresh_net(replace(CONFIG, uncertainty=True)), open_decoded(world)
    before = {name: parameter.clone() for name, parameter in net.named_parameters()}
    drawn = material.gather(net, 0, decoded, levels(), tmp_path, small_world.DRAWN, 0)
    objective, config = replace(OBJECTIVE, attack=2 / 255), replace(LOOP, steps=1, every=1, warmup=0)
    with pytest.raises(DataError, match=r"an attack must reach the views; set training\.frozen=0"):
        loop.train(net, FROZEN, drawn, decoded, Labels.of(decoded), objective, config, tmp_path, print)
    loop.train(net, 0, drawn, decoded, Labels.of(decoded), objective, config, tmp_path, lambda text: None)
    with (tmp_path / "losses.csv").open() as file:
        terms = {row["name"]: float(row["value"]) for row in csv.DictReader(file)}
    assert terms["attacked"] > 0
    assert math.isfinite(terms["uncertainty"])
    moved = {name for name, parameter in net.named_parameters() if not torch.equal(parameter, before[name])}
    assert {"backbone.conv_stem.weight", "project.weight", "uncertainty.1.weight"} <= moved


def gradients_of(world, rank):
    """What one rank's first step gives, computed alone."""
    net = fresh_net()
    drawn, decoded = gather(world, net, levels()), open_decoded(world)
    loop.measure_statistics(net, FROZEN, drawn.photos[0].views)
    freeze(net.to(memory_format=torch.channels_last), FROZEN)
    forward = CachedForward(net, FROZEN)
    torch.manual_seed(int(np.random.default_rng([LOOP.seed, 0, rank, 1]).integers(2**31)))
    keep_statistics(forward.train())
    memory = Memory(OBJECTIVE.memory)
    terms = step_losses(forward, drawn, Labels.of(decoded), OBJECTIVE, memory, (LOOP.seed, 0), rank)
    losses.total(OBJECTIVE.weights, terms).backward()
    return [parameter.grad for parameter in forward.parameters()]


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
    assert equal(first, second)  # weights, the best, the memory, the averaged gradients
    held = [len(entries["ids"]) for entries in first["memory"]["fifos"].values()]
    assert sum(held) >= OBJECTIVE.memory  # both ranks' pictures: 3 steps of 2 x 4 into queues of 6
    alone = [gradients_of(world, rank) for rank in range(2)]
    different = 0
    for together, *apart in zip(first["gradients"], *alone, strict=True):
        if together is None:
            assert apart == [None, None]
            continue
        different += not torch.equal(*apart)
        mean = torch.stack(apart).mean(dim=0)
        # Sums in another order: float32 keeps 24 bits.
        torch.testing.assert_close(together, mean, rtol=1e-4, atol=1e-5 * mean.abs().max().item() + 1e-8)
    assert different > 10
