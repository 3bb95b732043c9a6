"""Every ratio that is promised, in one run: how long people wait, beside what they know.

    PYTHONPATH=. python benchmarks/ratios.py
    PYTHONPATH=. python benchmarks/ratios.py start network --rounds 3
    PYTHONPATH=. python benchmarks/ratios.py peers --small 20 --large 3

`start`: processor time of processes, beside an empty Python and beside `import torch`. `network`: a score of 512 x 384
px beside the weights and the runtime of before. `folder`: pictures a second of all workers beside those of one, by the
clock. `peers`: from files to results, on generated JPEGs of 1024 x 768 and of 12 megapixels, ours in the runtime that
the command takes. Each is the median of the ratios within a round. Exit status 1: a ratio is beyond its limit; what is
not installed has none. Leave the machine alone meanwhile.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import folder
import torch

from qfm_metric import QFMScore, score_files
from qfm_metric.compiled import CompiledScore, missing_packages
from qfm_metric.folder.cores import allowed_workers
from qfm_metric.folder.options import RUNTIMES
from qfm_metric.rating import Metric

ROOT = Path(__file__).resolve().parent.parent
BEFORE = "qfm-lite0-v4"  # the weights that the network's limits were set beside, in torch
LEAST = {"all workers, of so many times one": 0.85}
MOST = {
    "--help, of an empty Python": 10.0,
    "--version, of an empty Python": 10.0,
    "weights list, of an empty Python": 10.0,
    "report, of an empty Python": 10.0,
    "compare, of an empty Python": 10.0,
    "one picture, of import torch": 1.25,
    "rank_photos.py's first line, of import torch": 2.0,
    f"a score in torch, of {BEFORE}": 0.6,
    f"a score in ONNX Runtime, of {BEFORE}": 0.35,
    "1024 x 768, of cleanvision": 1.0,
    "12 megapixels, of decode": 2.5,
}
Ratios = dict[str, float]


def processor_seconds(command: list[str], lines: int | None = None) -> float:
    """Of a process, until it ends, or until it has printed so many lines."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled; a checkout is in the first round
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout
        if lines is None:
            process.stdout.read()
            usage = os.wait4(process.pid, 0)[2]
            process.returncode = 0
            return usage.ru_utime + usage.ru_stime
        for _ in range(lines):
            process.stdout.readline()
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        process.kill()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ratios_of(seconds: dict[str, list[float]], base: str) -> Ratios:
    """Medians over the rounds of each beside `base`."""
    return {
        name: median(one / other for one, other in zip(found, seconds[base], strict=True))
        for name, found in seconds.items()
        if name != base
    }


def in_rounds(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each gives in each round; a first round warms up."""
    found = [{name: way() for name, way in ways.items()} for _ in range(rounds + 1)][1:]
    return {name: [each[name] for each in found] for name in ways}


def start(args: argparse.Namespace) -> Ratios:
    with tempfile.TemporaryDirectory() as here:
        table, picture = Path(here, "scores.csv"), Path(here, "picture.jpg")
        rows = (f"{i}.jpg,{0.3 + i / 1000:.4f},,300,200,," for i in range(100))
        table.write_text("\n".join(["path,score,std,width,height,error,note", *rows]) + "\n")
        folder.write_picture(picture, 512, 384, 0)
        python, page = [sys.executable], str(Path(here, "page.html"))
        light = {
            "--help": ["--help"],
            "--version": ["--version"],
            "weights list": ["weights", "list"],
            "report": ["report", str(table), "-o", page],
            "compare": ["compare", str(table), str(table)],
        }
        ways: dict[str, Callable[[], float]] = {"empty": lambda: processor_seconds([*python, "-c", "pass"])}
        for name, words in light.items():
            ways[name] = lambda words=words: processor_seconds([*python, "-m", "qfm_metric", *words])  # type: ignore[misc]
        found = ratios_of(in_rounds(ways, 3 * args.rounds), "empty")
        result = {f"{name}, of an empty Python": ratio for name, ratio in found.items()}
        example = [str(ROOT / "examples" / "rank_photos.py"), "--figure", str(Path(here, "figure.png"))]
        ways = {
            "torch": lambda: processor_seconds([*python, "-c", "import torch"]),
            "one picture": lambda: processor_seconds([*python, "-m", "qfm_metric", str(picture)]),
            "rank_photos.py's first line": lambda: processor_seconds([*python, *example], 1),
        }
        found = ratios_of(in_rounds(ways, args.rounds), "torch")
        return result | {f"{name}, of import torch": ratio for name, ratio in found.items()}


def network(args: argparse.Namespace) -> Ratios:
    pixels = (torch.rand(384, 512, 3, generator=torch.Generator().manual_seed(0)) * 255).byte().numpy()
    metric, metrics = QFMScore(), {}
    metrics[BEFORE] = QFMScore.from_pretrained(BEFORE)
    metrics["a score in torch"] = metric
    for runtime, title in RUNTIMES.items():
        try:
            metrics[f"a score in {title}"] = CompiledScore(metric, runtime)  # type: ignore[assignment]
        except Exception as error:  # not installed
            print(f"{title}: {error}", file=sys.stderr)

    def seconds(each: QFMScore) -> float:
        started = time.process_time()
        with torch.inference_mode():
            for _ in range(5):
                each.rate([each.look(pixels)])
        return time.process_time() - started

    ways = {name: lambda each=each: seconds(each) for name, each in metrics.items()}
    return {f"{name}, of {BEFORE}": ratio for name, ratio in ratios_of(in_rounds(ways, args.rounds), BEFORE).items()}


def workers(args: argparse.Namespace) -> Ratios:
    number = allowed_workers()
    if number == 1:
        print("folder: expected more than one core", file=sys.stderr)
        return {}
    metric, rates = QFMScore(), {1: 0.0, number: 0.0}
    with tempfile.TemporaryDirectory() as here:
        paths = write_jpegs(Path(here), args.small, 512, 384)
        for count in rates:
            rows = score_files(itertools.cycle(paths), metric, workers=count)
            for _ in range(8 * count):  # all are at work
                next(rows)
            started = time.perf_counter()
            for _ in range(args.small * count):
                next(rows)
            rates[count] = args.small * count / (time.perf_counter() - started)
            del rows  # ends the processes
    return {"all workers, of so many times one": rates[number] / (number * rates[1])}


def write_jpegs(here: Path, count: int, width: int, height: int) -> list[str]:
    paths = [here / f"{width}-{i}.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        folder.write_picture(path, width, height, i)
    return list(map(str, paths))


def as_the_command(metric: QFMScore) -> Metric:
    """In the runtime in which the command scores a folder."""
    for runtime in RUNTIMES:
        if not missing_packages(runtime):
            return CompiledScore(metric, runtime)
    return metric


def peers(args: argparse.Namespace) -> Ratios:
    metric, result = as_the_command(QFMScore()), {}
    print(f"peers: {metric.signature}", file=sys.stderr)
    ways: dict[str, Callable[[list[str]], object]] = {
        "ours": lambda part: [row.score for row in score_files(part, metric)]
    }
    for name in folder.WAYS:
        try:
            ways[name] = folder.build_way(name)
        except Exception as error:  # not installed
            print(f"{name}: {error}", file=sys.stderr)
    sizes = {"1024 x 768": (args.small, 1024, 768), "12 megapixels": (args.large, 4000, 3000)}
    for title, (count, width, height) in sizes.items():
        with tempfile.TemporaryDirectory() as here:
            times = folder.time_ways(ways, write_jpegs(Path(here), count, width, height), args.rounds)
        for name in times.keys() - {"ours"}:
            result[f"{title}, of {name}"] = median(a / b for a, b in zip(times["ours"], times[name], strict=True))
    return result


PARTS = {"start": start, "network": network, "folder": workers, "peers": peers}


def beyond(ratios: Ratios) -> list[str]:
    """Names of the ratios that are beyond their limit."""
    return [
        name for name, ratio in ratios.items() if ratio > MOST.get(name, float("inf")) or ratio < LEAST.get(name, 0)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--small", type=int, default=1000, help="pictures of `folder`, and of 1024 x 768 px")
    parser.add_argument("--large", type=int, default=100, help="pictures of 12 megapixels")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"expected {', '.join(PARTS)}, got {', '.join(unknown)}")
    torch.set_num_threads(1)
    ratios: Ratios = {}
    for part in args.parts or PARTS:
        ratios |= PARTS[part](args)
    print("| | ratio | limit |\n|---|--:|--:|")
    for name, ratio in ratios.items():
        limit = f"at least {LEAST[name]}" if name in LEAST else MOST.get(name, "")
        print(f"| {name} | {ratio:.2f} | {limit} |")
    for name in beyond(ratios):
        print(f"beyond its limit: {name}", file=sys.stderr)
    return int(bool(beyond(ratios)))


if __name__ == "__main__":
    sys.exit(main())
