"""Two commits on the same pictures: is the second slower, and does it score otherwise?

    python benchmarks/regression.py main~20 main
    python benchmarks/regression.py v0.1.0 HEAD --pictures photos/ --rounds 15 --most-ratio 1.05 --most-difference 1e-6

Each commit is checked out into a worktree of its own and runs in a process of its own, on one thread. Every round times
each step in both, the first now in one and now in the other; what is timed is processor time, which a busy machine
changes less than the clock's. Printed are the median over the rounds of the ratio (second to first commit, above 1 is
slower) with its quartiles and extremes, and by how much scores differ at most. Both run in this environment's Python:
commits that need other versions of torch cannot be compared so.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
STEPS = {"score": "QFMScore", "file": "load_image, QFMScore", "gradient": "QFMScore and gradient"}


def work(weights: str | None, paths: Sequence[str]) -> None:
    """One commit's process: prints its scores, then for each name of a step on standard input its processor seconds."""
    import torch

    from qfm_metric import QFMScore, load_image  # of the worktree, by PYTHONPATH

    torch.set_num_threads(1)
    metric = QFMScore.from_pretrained(weights) if weights else QFMScore()
    images = [load_image(path) for path in paths]

    def gradient() -> None:
        for image in images:
            metric(image.clone().requires_grad_()).sum().backward()

    def inferring(step: Callable[[], Any]) -> Callable[[], Any]:
        return torch.inference_mode()(step)

    score = inferring(lambda: [metric(image).item() for image in images])
    steps = {"score": score, "file": inferring(lambda: [metric(load_image(p)) for p in paths]), "gradient": gradient}
    for step in steps.values():  # the first time is slower
        step()
    signature = getattr(metric, "signature", None) or metric.report  # as earlier commits call it
    print(json.dumps({"scores": score(), "signature": signature}), flush=True)
    for line in sys.stdin:
        started = time.process_time()
        steps[line.strip()]()
        print(json.dumps(time.process_time() - started), flush=True)


@contextmanager
def worktree(repository: Path, commit: str, folder: Path) -> Iterator[Path]:
    """A checkout of a commit, gone at the end."""
    git = ["git", "-C", str(repository), "worktree"]
    done = subprocess.run([*git, "add", "--detach", str(folder), commit], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"regression: {commit}: expected a commit of {repository}: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


@contextmanager
def worker(tree: Path, weights: str | None, paths: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, __file__, "--worker", weights or "", *paths]
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=tree
    )
    with process:
        yield process
        assert process.stdin
        process.stdin.close()


def hold_ratios(tree: Path, parts: Sequence[str]) -> bool:
    """Whether the ratios that a commit promises are within its own limits; they are printed."""
    command = [sys.executable, str(tree / "benchmarks" / "ratios.py"), *parts]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(tree)}, cwd=tree).returncode == 0


def answer(process: "subprocess.Popen[str]", step: str | None = None) -> Any:
    """What the process says next, after it was given a step to time."""
    assert process.stdin
    assert process.stdout
    if step:
        print(step, file=process.stdin, flush=True)
    line = process.stdout.readline()
    if not line:
        raise SystemExit("regression: a commit's process ended; its error is above")
    return json.loads(line)


def measure(processes: Sequence["subprocess.Popen[str]"], rounds: int) -> dict[str, list[list[float]]]:
    """Processor seconds by step: a list per commit, a value per round."""
    seconds: dict[str, list[list[float]]] = {step: [[], []] for step in STEPS}
    for number in range(rounds):
        for step in STEPS:
            for which in (0, 1) if number % 2 == 0 else (1, 0):
                seconds[step][which].append(answer(processes[which], step))
    return seconds


def compare_seconds(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    """The ratio of each round, second to first: median, quartiles, extremes; and the medians in seconds."""
    ratios = [after / before for before, after in zip(first, second, strict=True)]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    spread = {"quartile_low": low, "quartile_high": high, "lowest": min(ratios), "highest": max(ratios)}
    return {"ratio": median(ratios), **spread, "first_s": median(first), "second_s": median(second)}


def compare_scores(first: Sequence[float], second: Sequence[float], names: Sequence[str]) -> dict[str, Any]:
    """By how much scores differ: at most, where, on average, and in how many pictures at all."""
    differences = [abs(after - before) for before, after in zip(first, second, strict=True)]
    most = max(differences)
    where = names[differences.index(most)] if most else None
    changed = sum(difference > 0 for difference in differences)
    return {"most": most, "where": where, "mean": mean(differences), "changed": changed, "pictures": len(names)}


def find_pictures(paths: Sequence[Path]) -> list[str]:
    """Files, and the pictures in folders; by default scikit-image's photographs."""
    if not paths:
        import skimage

        data = Path(skimage.__path__[0]) / "data"
        paths = [next(data.glob(f"{name}.*")) for name in ("astronaut", "chelsea", "coffee", "rocket")]
    listed = [sorted(path.iterdir()) if path.is_dir() else [path] for path in paths]
    return [str(path.resolve()) for found in listed for path in found if path.suffix.lower() in SUFFIXES]


def table(result: dict[str, Any]) -> str:
    lines = [f"{'':24} {'first':>9} {'second':>9} {'ratio':>7}  quartiles      extremes"]
    for step, name in STEPS.items():
        found = result["speed"][step]
        quartiles, extremes = (
            f"{found[a]:.3f} to {found[b]:.3f}" for a, b in (("quartile_low", "quartile_high"), ("lowest", "highest"))
        )
        times = f"{found['first_s']:8.3f}s {found['second_s']:8.3f}s"
        lines.append(f"{name:24} {times} {found['ratio']:7.3f}  {quartiles} {extremes}")
    scores = result["scores"]
    where = f" ({scores['where']})" if scores["where"] else ""
    lines.append(f"scores: {scores['changed']} of {scores['pictures']} differ, by {scores['most']:.2g} at most{where}")
    return "\n".join(lines)


def failures(result: dict[str, Any], most_ratio: float | None, most_difference: float | None) -> list[str]:
    """What is over the limits."""
    slow = [
        f"{STEPS[step]}: ratio {found['ratio']:.3f} > {most_ratio}"
        for step, found in result["speed"].items()
        if most_ratio is not None and found["ratio"] > most_ratio
    ]
    most = result["scores"]["most"]
    off = most_difference is not None and most > most_difference
    return [*slow, *([f"scores: {most:.2g} > {most_difference}"] if off else [])]


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["--worker"]:
        work(argv[1] or None, argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs=2, metavar="COMMIT", help="the first is the one to compare with")
    parser.add_argument("--pictures", type=Path, nargs="+", default=[], help="files or folders")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--weights", help="id or file, the same for both; default: each commit's own default")
    parser.add_argument("--repository", type=Path, default=ROOT, help="whose commits; default: this one")
    parser.add_argument("--json", type=Path, help="also write all that was measured")
    parser.add_argument("--most-ratio", type=float, help="exit with 1 if a step's median ratio is higher")
    parser.add_argument("--ratios", nargs="+", metavar="PART", help="also the second commit's `ratios.py`, these parts")
    parser.add_argument("--most-difference", type=float, help="exit with 1 if a score differs by more")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {args.rounds}")
    paths = find_pictures(args.pictures)
    if not paths:
        parser.error("--pictures: none found")
    with tempfile.TemporaryDirectory() as folder:
        trees = [Path(folder) / name for name in ("first", "second")]
        with worktree(args.repository, args.commits[0], trees[0]), worktree(args.repository, args.commits[1], trees[1]):
            with (
                worker(trees[0], args.weights, paths) as first,
                worker(trees[1], args.weights, paths) as second,
            ):
                said = [answer(process) for process in (first, second)]
                seconds = measure((first, second), args.rounds)
            held = hold_ratios(trees[1], args.ratios) if args.ratios else True  # when both are silent again
    result = {
        "commits": args.commits,
        "signatures": [each["signature"] for each in said],
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "speed": {step: compare_seconds(*pair) for step, pair in seconds.items()},
        "scores": compare_scores(*(each["scores"] for each in said), [Path(path).name for path in paths]),
    }
    for commit, signature in zip(args.commits, result["signatures"], strict=True):
        print(f"{commit}: {signature}")
    print(table(result))
    if args.json:
        args.json.write_text(json.dumps(result | {"seconds": seconds}, indent=2) + "\n", encoding="utf-8")
    failed = failures(result, args.most_ratio, args.most_difference)
    if not held:
        failed.append("ratios: beyond their limits, see above")
    for line in failed:
        print(f"over the limit: {line}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
