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

from qfm_metric.config import QFMConfig
from qfm_metric.defects import NAMES
from qfm_metric.model import QFMNet
from qfm_metric.train import loop
from qfm_metric.train.datasets.table import Decoded, Row, write_table
from qfm_metric.train.material import Material, MaterialConfig, ladders
from qfm_metric.train.step import Objective

CONFIG = QFMConfig(
    depths=(0, 1, 2, 3),
    view_pixels=12288,
    native_views=1,
    working_pixels=65536,
    dim=16,
    queries=2,
    heads=2,
    mean_tokens=True,
    uncertainty=True,
    defects=NAMES,
)
OBJECTIVE = Objective(memory=6)
LOOP = loop.LoopConfig(steps=6, joint_from=3, decay_from=4, warmup=1, every=2)
# Blur, defocus and noise, of which prices are made; what takes colour, and what goes either way.
LADDER_TYPES = (("KADID-10k", 1), ("KADID-10k", 2), ("KADID-10k", 11), ("KADID-10k", 7), ("TID2013", 16))
LADDERS = 16  # series of one type; two more are of two
MATERIAL = MaterialConfig(pixels=2e5, fewest_photos=4, fewest_joint=2, most_photos=6, most_series=2)


def fresh_net(config=CONFIG):
    torch.manual_seed(0)
    return QFMNet(config).eval()


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


def write_severity(path):
    """A table of human means: each level of `LADDER_TYPES` keeps less, each type less than the one before."""
    scale = {"KADID-10k": (1, 5), "TID2013": (0, 9)}
    lines = ["data_set,type,name,level,mean_score,scale"]
    for place, (name, number) in enumerate(LADDER_TYPES):
        low, high = scale[name]
        for level in range(1, 6):
            mean = low + (high - low) * (1 - 0.15 * level - 0.02 * place)
            lines.append(f"{name},{number},type {number},{level},{mean:.4f},MOS {low}..{high}")
    path.write_text("\n".join(lines) + "\n")


def write_ladders(folder):
    """Beside decoded pictures, a severity table and series rendered by it: what `open_material` needs."""
    write_severity(folder / "severity.csv")
    ladders.render(folder, folder / "severity.csv", folder / "ladders", LADDERS, workers=1)


def open_material(folder, config=MATERIAL, members=()):
    return Material.open(folder, folder / "severity.csv", folder / "ladders", members, config)


def open_decoded(folder):
    return Decoded.open(folder / "decoded")


def run(world, out, objective=OBJECTIVE, config=LOOP, say=lambda text: None, net=None, material=MATERIAL):
    """Train on the material of the world; returns the network, trained in place: the average of the run."""
    net = net or fresh_net()
    out.mkdir(parents=True, exist_ok=True)
    drawn = open_material(world, material)
    loop.measure_statistics(net, drawn, config.seed, batches=2)
    return loop.train(net, drawn, objective, config, out, say)


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
    clip, memory = torch.nn.utils.clip_grad_norm_, loop.Memory

    def recorded(parameters, *args):
        parameters = list(parameters)
        gradients.append([None if p.grad is None else p.grad.clone() for p in parameters])
        return clip(parameters, *args)

    def remembered(capacity):
        memories.append(memory(capacity))
        return memories[-1]

    torch.nn.utils.clip_grad_norm_, loop.Memory = recorded, remembered
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    net = run(world, out, config=replace(LOOP, steps=3))
    content = {"weights": net.state_dict(), "memory": memories[0].state_dict()}
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
