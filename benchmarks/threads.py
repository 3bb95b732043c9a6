"""Threads and processes of the command where cores are not its own: idle, beside a spinning job, one core, a quota.

    PYTHONPATH=. python benchmarks/threads.py PICTURES --rounds 5

Beside the command as it is runs what it was: one process with all cores' threads, which wait by spinning. Printed are
seconds by the clock and processor seconds, medians over the rounds, and the first's share of the second's in a round.
`quota` fakes the files in which a container's quota is read: it shows what the command makes of them, and throttles
nothing.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

NOW = "as it is"
BEFORE = "one process, all threads"
FAKED = """
import sys
from functools import partial
from pathlib import Path
from qfm_metric.folder import cores
cores.allowed_workers = partial(cores.allowed_workers, Path(sys.argv.pop(1)))
from qfm_metric.cli import main
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def spinning() -> Iterator[None]:
    """A process that takes what it can get of a core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def fake_quota(root: Path, cores: float) -> Path:
    """The files of cgroup v2 as a container with a quota sees them."""
    for name, content in (("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", f"{cores * 1e5:.0f} 100000\n")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def run(command: list[str]) -> tuple[float, float]:
    """Seconds by the clock, and processor seconds of the process and of its workers."""
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    took, after = time.perf_counter() - started, os.times()
    if done.returncode not in (0, 1):
        raise SystemExit(f"threads: {done.stderr}")
    return took, after[2] + after[3] - before[2] - before[3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quota", type=float, default=1.0, help="cores, of the faked file")
    args = parser.parse_args()
    for name in [name for name in os.environ if name.startswith(("OMP_", "GOMP_", "MKL_"))]:
        del os.environ[name]
    cores = len(os.sched_getaffinity(0))
    score = ["-m", "qfm_metric", "--runtime", "torch", "--quiet", "--jsonl", *args.pictures]
    old = ["-c", "import torch; from qfm_metric.cli import main; main()", *score[2:]]
    commands = {NOW: score, BEFORE: [*old, "--workers", "1", "--threads", str(cores)]}
    one = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    seconds: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        faked = ["-c", FAKED, str(fake_quota(Path(folder), args.quota)), *score[2:]]
        for _ in range(args.rounds):
            for where in ("idle", "a spinning job", "one core", "quota"):
                for way in random.sample(list(commands), len(commands)):
                    words = faked if where == "quota" and way == NOW else commands[way]
                    command = [*(one if where == "one core" else []), sys.executable, *words]
                    if where == "a spinning job":
                        with spinning():
                            found = run(command)
                    else:
                        found = run(command)
                    seconds.setdefault((where, way), []).append(found)
    print(f"{len(args.pictures)} paths, {args.rounds} rounds, {cores} cores")
    print(f"| | {NOW}, s | processor s | {BEFORE}, s | processor s | share |\n|---|--:|--:|--:|--:|--:|")
    for where in dict.fromkeys(where for where, _ in seconds):
        pairs = [seconds[where, way] for way in (NOW, BEFORE)]
        figures = [f"{median(each[i] for each in found):.1f}" for found in pairs for i in (0, 1)]
        share = median(new[0] / old[0] for new, old in zip(*pairs, strict=True))
        print(f"| {where} |", " | ".join(figures), f"| {share:.2f} |")


if __name__ == "__main__":
    main()
