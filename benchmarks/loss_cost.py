"""What does a training step pay for its perceptual loss? QFMScore beside LPIPS, forward and backward, on the CPU.

    PYTHONPATH=. python benchmarks/loss_cost.py --rounds 5

The step: a batch of restored crops (and the true ones, which LPIPS compares with) to a loss, and its gradient to the
restored crops. The restoration network is left out. LPIPS is the `lpips` package's, with random weights: they change
the values, not the arithmetic, and nothing is downloaded.

Each loss lives in a process of its own, so that its peak memory is its own; the processes take turns, one step a round,
in shuffled order. CPU time is that of the process, so a busy machine disturbs less than by the clock. Peak memory is
Linux's VmHWM, less what the process held before its first step.
"""

import argparse
import ctypes
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

OURS = "QFMScore"
LOSSES = (OURS, "QFMLoss, checkpoint=1", "LPIPS-VGG", "LPIPS-AlexNet")
Loss = Callable[[Tensor, Tensor], Tensor]


def build(name: str) -> Loss:
    """The loss of restored and true crops in [0, 1]."""
    if name.startswith("QFM"):
        from qfm_metric import QFMLoss

        loss = QFMLoss(checkpoint=int(name.endswith("checkpoint=1")))
        return lambda restored, true: loss(restored)
    import lpips

    net = {"LPIPS-VGG": "vgg", "LPIPS-AlexNet": "alex"}[name]
    distance = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False).eval().requires_grad_(False)
    return lambda restored, true: distance(restored, true, normalize=True).mean()


def memory(field: str) -> float:
    """MiB of `VmRSS` (held now) or `VmHWM` (held at most)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def work(name: str, batch: int, side: int) -> None:
    """Do a step for each line that comes in, and answer with its times and the memory."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    loss = build(name)
    restored, true = torch.rand(2, batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    restored.requires_grad_()
    small = restored[:1, :, :64, :64].detach().requires_grad_()
    loss(small, true[:1, :, :64, :64]).backward()  # what is loaded at first use is not the step's
    del small
    ctypes.CDLL(None).malloc_trim(0)  # what was freed while building would hide what a step needs
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    print("ready", flush=True)
    for _ in sys.stdin:
        restored.grad = None
        cpu, clock = time.process_time(), time.perf_counter()
        loss(restored, true).backward()
        row = {"cpu": time.process_time() - cpu, "clock": time.perf_counter() - clock}
        if not restored.grad.isfinite().all() or not restored.grad.abs().max() > 0:  # type: ignore[attr-defined]
            raise ValueError(f"{name}: the gradient is not finite, or zero")
        print(json.dumps(row | {"peak": memory("VmHWM") - before, "before": before}), flush=True)


def measure(names: list[str], args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Rows of every round, per loss."""
    environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
    options = ["--batch", str(args.batch), "--side", str(args.side)]
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    workers = {}
    try:
        for name in names:
            command = [sys.executable, __file__, "--work", name, *options]
            workers[name] = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
            answer(name, workers[name])
        shuffle = random.Random(0).shuffle
        for turn in range(args.rounds):
            print(f"round {turn + 1} of {args.rounds}", file=sys.stderr)
            shuffle(names)
            for name in names:
                print("step", file=workers[name].stdin, flush=True)
                rows[name].append(json.loads(answer(name, workers[name])))
    finally:
        for worker in workers.values():
            worker.kill()
            worker.communicate()
    return rows


def answer(name: str, worker: "subprocess.Popen[str]") -> str:
    line = worker.stdout.readline() if worker.stdout else ""
    if not line:
        raise SystemExit(f"{name} stopped with status {worker.wait()}; see above")
    return line


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES), help=f"{OURS} is always there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every round, too")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.batch, args.side)
        return 0
    load = os.getloadavg()[0]
    rows = measure([OURS, *(name for name in args.losses if name != OURS)], args)
    print(f"{args.batch} x {args.side} x {args.side}, {args.threads} threads, {args.rounds} rounds, ", end="")
    print(f"{os.cpu_count()} cores with a load of {load:.1f} at the start, torch {torch.__version__}\n")
    print("| loss | CPU s | times as much as ours | peak memory, MiB | times as much as ours |\n|---|--:|--:|--:|--:|")
    peaks = {name: max(row["peak"] for row in rows[name]) for name in rows}
    for name in rows:
        ratio = median(row["cpu"] / ours["cpu"] for row, ours in zip(rows[name], rows[OURS], strict=True))
        cpu = median(row["cpu"] for row in rows[name])
        print(f"| {name} | {cpu:.2f} | {ratio:.2f} | {peaks[name]:.0f} | {peaks[name] / peaks[OURS]:.2f} |")
    if args.json:
        args.json.write_text(json.dumps({"load": load, "threads": args.threads, "rounds": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
