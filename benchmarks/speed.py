"""How long does a score take? QFMScore beside the networks of other metrics, one image on the CPU.

    PYTHONPATH=. ~/peers/bin/python benchmarks/speed.py --json speed.json

The peers are pyiqa's own classes, called as `pyiqa.create_metric(name)(image)`; benchmarks/README.md sets up an
environment that has them. Their weights are random: they change the scores, not the arithmetic, and nothing is
downloaded. Whatever a metric does to the image counts, ours included: range checks, resizing, crops, several scales,
CLIP-IQA's encoding of its prompts.

Every round times each metric once, so that a noisy moment hits all alike. The table gives the median time, the ratio of
that median to QFMScore's, and the median of the ratios within a round. Tables go to stdout, progress to stderr.
"""

import argparse
import importlib.metadata
import json
import math
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from qfm_metric import QFMScore

OURS = "QFMScore"
WARM_UPS = 2

# pyiqa's names, and the options under which their constructors skip the file with their own weights.
PEERS: dict[str, dict[str, Any]] = {
    "topiq_nr": {"pretrained": False, "backbone_pretrain": False},
    "arniqa": {},
    "musiq": {"pretrained": False},
    "nima": {"pretrained": False},
    "nima-vgg16-ava": {"pretrained": False},
    "hyperiqa": {"pretrained": False},
    "dbcnn": {"pretrained": False},
    "cnniqa": {"pretrained": None},
    "clipiqa": {},
}

Size = tuple[int, int]  # width, height


def build_peer(name: str) -> nn.Module:
    """pyiqa's metric on the CPU, with random weights."""
    with ExitStack() as patches:
        for change in random_weights(name):
            patches.enter_context(change)
        import pyiqa

        metric: nn.Module = pyiqa.create_metric(name, device="cpu", **PEERS[name])
    return metric


def random_weights(name: str) -> list[Any]:
    """Patches for what a constructor downloads whatever its options say; none touches the network that is built."""
    # NIMA and HyperIQA (timm), ARNIQA and DBCNN (torchvision) start from ImageNet weights before they load their own.
    changes: list[Any] = [
        patch("timm.create_model", without_weights(timm.create_model)),
        patch("torchvision.models.resnet50", without_weights(torchvision.models.resnet50)),
        patch("torchvision.models.vgg16", without_weights(torchvision.models.vgg16)),
    ]
    if name == "dbcnn":  # loads its second branch, the SCNN, even with pretrained=False
        changes.append(patch("pyiqa.archs.dbcnn_arch.load_pretrained_network"))
    if name == "arniqa":  # has no option; its regressor is a TorchScript file that holds a linear layer
        changes += [
            patch("torch.hub.load_state_dict_from_url", arniqa_encoder),
            patch("pyiqa.archs.arniqa_arch.load_file_from_url"),
            patch("torch.jit.load", lambda *_, **__: nn.Linear(2 * 2048, 1)),
        ]
    if name == "clipiqa":  # reads the shape of CLIP from CLIP's weights
        changes.append(patch("pyiqa.archs.clipiqa_arch.load", clip_rn50))
    return changes


def without_weights(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def built(*args: Any, **kwargs: Any) -> nn.Module:
        return build(*args, **{k: v for k, v in kwargs.items() if k not in ("pretrained", "weights")})

    return built


def arniqa_encoder(*_: Any, **__: Any) -> dict[str, Tensor]:
    """Random weights under the names that ARNIQA's file has."""
    encoder = nn.Sequential(*list(torchvision.models.resnet50().children())[:-1])
    return {f"model.{name}": tensor for name, tensor in encoder.state_dict().items()}


def clip_rn50(*_: Any, **__: Any) -> nn.Module:
    """CLIP RN50 with the sizes that OpenAI published."""
    from pyiqa.archs.clip_model import CLIP

    clip: nn.Module = CLIP(
        embed_dim=1024,
        image_resolution=224,
        vision_layers=(3, 4, 6, 3),
        vision_width=64,
        vision_patch_size=None,
        context_length=77,
        vocab_size=49408,
        transformer_width=512,
        transformer_heads=8,
        transformer_layers=12,
    )
    return clip.eval()


def count_parameters(metric: nn.Module) -> int:
    # CLIP-IQA keeps CLIP in a list, out of sight of .parameters().
    modules = [metric, *getattr(getattr(metric, "net", None), "clip_model", [])]
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def count_macs(metric: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of convolutions, linear layers and attention in one call, which is checked on the way.

    Raises:
        ValueError: the score is not one finite number.
    """
    with FlopCounterMode(display=False) as counter:
        score = metric(image)
    if score.numel() != 1 or not math.isfinite(score.item()):
        raise ValueError(f"expected one finite number, got {score.tolist()}")
    return int(counter.get_total_flops()) // 2


def time_rounds(metrics: dict[str, nn.Module], image: Tensor, repeats: int, label: str) -> dict[str, list[float]]:
    """Milliseconds of each metric in each round, after the warm-ups."""
    times: dict[str, list[float]] = {name: [] for name in metrics}
    order = list(metrics)
    shuffle = random.Random(0).shuffle
    for turn in range(-WARM_UPS, repeats):
        print(f"\r{label}: round {max(turn + 1, 0)} of {repeats}", end="", file=sys.stderr, flush=True)
        shuffle(order)  # a fixed order would leave each metric the same neighbour's caches every time
        for name in order:
            start = time.perf_counter()
            metrics[name](image)
            elapsed = time.perf_counter() - start
            if turn >= 0:
                times[name].append(1000 * elapsed)
    print(file=sys.stderr)
    return times


def measure(metrics: dict[str, nn.Module | str], size: Size, repeats: int) -> dict[str, dict[str, Any]]:
    """A row for each metric; a string in place of a metric says why it was not built."""
    width, height = size
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    rows: dict[str, dict[str, Any]] = {}
    ready: dict[str, nn.Module] = {}
    for name, metric in metrics.items():
        if isinstance(metric, str):
            rows[name] = {"absent": f"not built: {metric}"}
            continue
        try:
            rows[name] = {"parameters": count_parameters(metric), "macs": count_macs(metric, image)}
            ready[name] = metric
        except Exception as error:  # a peer may refuse a size; the others are measured all the same
            if name == OURS:
                raise
            rows[name] = {"absent": f"not run: {one_line(error)}"}

    times = time_rounds(ready, image, repeats, f"{width}x{height}")
    for name, ms in times.items():
        rows[name] |= {
            "median_ms": median(ms),
            "ratio_of_medians": median(ms) / median(times[OURS]),
            "median_of_ratios": median(t / ours for t, ours in zip(ms, times[OURS], strict=True)),
            "ms": ms,
        }
    return rows


def one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).replace("|", "/")


def describe_machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = models[0] if models else cpu
    try:
        pyiqa = importlib.metadata.version("pyiqa")
    except importlib.metadata.PackageNotFoundError:
        pyiqa = "none"
    return {
        "cpu": cpu,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "pyiqa": pyiqa,
    }


def markdown(
    machine: dict[str, Any], signature: str, repeats: int, tables: dict[str, dict[str, dict[str, Any]]]
) -> str:
    heading = [
        f"{machine['cpu']} ({machine['instructions']}, {machine['cores']} cores, load {machine['load']} at the start)",
        f"threads: {machine['threads']}",
        *(f"{package} {machine[package]}" for package in ("torch", "timm", "pyiqa")),
        f"one float32 image, {repeats} rounds",
    ]
    lines = [f"{', '.join(heading)}; {signature}."]
    for size, rows in tables.items():
        lines += [
            "",
            f"| {size} | parameters, M | GMAC | ms | ratio of medians | median ratio in a round |",
            "|---|--:|--:|--:|--:|--:|",
        ]
        for name, row in rows.items():
            if "absent" in row:
                lines.append(f"| {name} | {row['absent']} | | | | |")
                continue
            lines.append(
                f"| {name} | {row['parameters'] / 1e6:.1f} | {row['macs'] / 1e9:.2f} | {row['median_ms']:.1f} "
                f"| {row['ratio_of_medians']:.2f} | {row['median_of_ratios']:.2f} |"
            )
    return "\n".join(lines)


def shortfalls(tables: dict[str, dict[str, dict[str, Any]]], floors: dict[str, float]) -> list[str]:
    """What `--assert` asked for and some size did not give."""
    missed = []
    for size, rows in tables.items():
        for name, floor in floors.items():
            ratio = rows[name].get("median_of_ratios")
            if ratio is None or ratio < floor:
                got = rows[name]["absent"] if ratio is None else f"takes {ratio:.2f} times as long as {OURS}"
                missed.append(f"{size}: {name} {got}, expected at least {floor:g} times")
    return missed


def parse_size(text: str) -> Size:
    width, _, height = text.partition("x")
    return int(width), int(height)


def parse_peers(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; known are {', '.join(PEERS)}")
    return names


def parse_floors(text: str) -> dict[str, float]:
    return {name: float(floor) for name, floor in (pair.split("=") for pair in text.split(","))}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", type=parse_size, nargs="+", metavar="WxH", default=[(512, 384), (224, 224), (1024, 768)]
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15, help="rounds per size, after the warm-ups")
    parser.add_argument("--peers", type=parse_peers, default=list(PEERS), metavar="NAME,...")
    parser.add_argument("--also", nargs="*", default=[], metavar="ID", help="other weights of ours beside the default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every single time, too")
    parser.add_argument(
        "--assert",
        dest="floors",
        type=parse_floors,
        default={},
        metavar="NAME=RATIO,...",
        help="exit with 1 where a peer's median ratio in a round is lower, at any of the sizes",
    )
    args = parser.parse_args(argv)
    if unmeasured := [name for name in args.floors if name not in args.peers]:
        parser.error(f"--assert names what --peers leaves out: {', '.join(unmeasured)}")

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    machine = describe_machine()
    score = QFMScore()
    metrics: dict[str, nn.Module | str] = {OURS: score, **{name: QFMScore.from_pretrained(name) for name in args.also}}
    for name in args.peers:
        try:
            metrics[name] = build_peer(name)
        except Exception as error:  # whatever an installation of pyiqa lacks costs its row, not the table
            metrics[name] = one_line(error)

    tables = {f"{width}x{height}": measure(metrics, (width, height), args.repeats) for width, height in args.sizes}
    print(markdown(machine, score.signature, args.repeats, tables))
    if args.json:
        args.json.write_text(
            json.dumps({"machine": machine, "signature": score.signature, "sizes": tables}, indent=1) + "\n"
        )
    missed = shortfalls(tables, args.floors)
    for line in missed:
        print(line, file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
