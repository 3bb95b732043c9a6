"""What the tests of training share, and what runs in processes of its own: `python small_world.py WORLD OUT WHAT`.

WHAT is `step N` or `save N`: train, and die by SIGKILL in the middle of step N, or of writing its checkpoint; or
`ranks`: train as one of several processes, and write what each of them ends with.
"""

import io
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from qfm_metric.model import QFMConfig, QFMNet
from qfm_metric.train import loop, matching, material
from qfm_metric.train.datasets.table import Decoded, Row, write_table
from qfm_metric.train.severity import DistortionLevel
from qfm_metric.train.step import Labels, Objective

CONFIG = QFMConfig(depths=(0, 1, 2, 3), view_pixels=12288, native_views=1, dim=16, queries=2, heads=2)
FROZEN = 4
DRAWN = material.MaterialConfig(crops=1.0, series=2, resampled=4, composed=2, nothing=8)
OBJECTIVE = Objective(batch=4, series=1, memory=6)
LOOP = loop.LoopConfig(steps=6, warmup=2, every=2)
TYPES = (("KADID-10k", 1), ("KADID-10k", 10), ("TID2013", 1))


def fresh_net(config=CONFIG):
    torch.manual_seed(0)
    return QFMNet(config).eval()


def levels():
    """Blur, JPEG and noise: each level keeps less."""
    return [DistortionLevel(*kind, "", level, 0.0, quality=1 - 0.15 * level) for kind in TYPES for level in range(1, 6)]


def write_decoded(folder, count=24):
    """Pictures of 512 px, the brighter the better; every third is for validation."""
    (folder / "decoded").mkdir()
    rng = np.random.default_rng(0)
    level = np.linspace(20, 220, count)
    pixels = (level[:, None, None, None] + rng.integers(0, 30, (count, 512, 512, 3))).astype(np.uint8)
    pixels.tofile(folder / "decoded" / "pixels.u8")
    (folder / "decoded" / "shape.json").write_text(json.dumps(pixels.shape))
    rows = [
        Row(f"{i}.png", float(v / 255), f"g{i // 2}", f"s{i % 2}", "val" if i % 3 == 1 else "train")
        for i, v in enumerate(level)
    ]
    write_table(rows, folder / "decoded" / "table.csv")


def open_decoded(folder):
    return Decoded.open(folder / "decoded")


def gather(folder, net, severities, workers=0):
    return material.gather(net, FROZEN, open_decoded(folder), severities, folder / "material", DRAWN, workers)


def run(world, out, objective=OBJECTIVE, config=LOOP, say=lambda text: None, net=None):
    """Train on the material of the world; returns the best network and what it started as, trained in place."""
    net = net or fresh_net()
    out.mkdir(parents=True, exist_ok=True)
    decoded, drawn = open_decoded(world), gather(world, net, levels())
    loop.measure_statistics(net, FROZEN, drawn.photos[0].views)
    best = loop.train(net, FROZEN, drawn, decoded, Labels.of(decoded), objective, config, out, say)
    return best, net


def _die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def _die_in_step(number):
    clip = torch.nn.utils.clip_grad_norm_
    calls = iter(range(1, 10**6))
    torch.nn.utils.clip_grad_norm_ = lambda *args: _die() if next(calls) == number else clip(*args)


def _die_while_saving(number):
    save = torch.save

    def half(content, file):
        if content.get("step") != number:
            return save(content, file)
        whole = io.BytesIO()
        save(content, whole)
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
        _die()

    torch.save = half


def _as_a_rank(world, out):
    gradients, memories = [], []
    clip, memory = torch.nn.utils.clip_grad_norm_, matching.Memory

    def recorded(parameters, *args):
        parameters = list(parameters)
        gradients.append([None if p.grad is None else p.grad.clone() for p in parameters])
        return clip(parameters, *args)

    def remembered(capacity):
        memories.append(memory(capacity))
        return memories[-1]

    torch.nn.utils.clip_grad_norm_, matching.Memory = recorded, remembered
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    best, net = run(world, out, config=replace(LOOP, steps=3))
    content = {"weights": net.state_dict(), "best": best.state_dict(), "memory": memories[0].state_dict()}
    torch.save({**content, "gradients": gradients[0]}, out / f"rank{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def main(world, out, what, number=0):
    torch.set_num_threads(1)
    if what == "ranks":
        _as_a_rank(world, out)
        return
    {"step": _die_in_step, "save": _die_while_saving}[what](number)
    run(world, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:]))
