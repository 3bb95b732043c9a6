"""Files from end to end: where the time goes, pictures a second beside other metrics, and the memory of a large one.

    PYTHONPATH=. python benchmarks/folder.py stages PICTURES
    PYTHONPATH=. python benchmarks/folder.py workers PICTURES
    PYTHONPATH=. ~/peers/bin/python benchmarks/folder.py peers PICTURES
    PYTHONPATH=. python benchmarks/folder.py large --megapixels 100

Times are processor seconds of one thread: a busy machine changes them less than seconds by the clock. `stages` times
each step and each whole in every round, in shuffled order. In `peers` a round is some of the pictures, which every
metric scores, in shuffled order; benchmarks/README.md says what peers need. `large` is the peak for one large JPEG,
or TIFF of 32-bit floats.
"""

import argparse
import itertools
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from qfm_metric import QFMScore, load_image, score_files
from qfm_metric.compiled import CompiledScore
from qfm_metric.export import ExportError
from qfm_metric.folder.options import RUNTIMES
from qfm_metric.images import open_image, read_pixels

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def decode(path: str) -> Any:
    with open_image(path) as image:
        return read_pixels(image)


def stages(args: argparse.Namespace) -> None:
    """Processor time per picture of each stage and of the whole."""
    torch.set_num_threads(1)
    metric, paths = QFMScore.from_pretrained(args.weights), sorted(map(str, args.pictures))
    with torch.inference_mode():
        pixels = [decode(path) for path in paths]
        views = [metric.look(each) for each in pixels]
    steps: dict[str, Callable[[int], object]] = {
        "decode": lambda i: decode(paths[i]),
        "preprocess": lambda i: metric.look(pixels[i]),
        "network": lambda i: metric.rate([views[i]]),
        "score_files": lambda i: next(score_files([paths[i]], metric)),
        "load_image, QFMScore": lambda i: metric(load_image(paths[i])),
    }
    for runtime, title in RUNTIMES.items():
        with suppress(ExportError):  # its packages are missing
            started = time.process_time()
            compiled = CompiledScore(metric, runtime)
            print(f"{title}: made in {time.process_time() - started:.1f} s, scores within {compiled.difference:.0e}")
            steps |= {
                f"network, {title}": lambda i, compiled=compiled: compiled.rate([views[i]]),
                f"score_files, {title}": lambda i, compiled=compiled: next(score_files([paths[i]], compiled)),
            }
    times: dict[str, list[float]] = {name: [] for name in steps}
    with torch.inference_mode():
        for run in range(args.rounds + 1):  # the first warms up
            names = random.sample(list(steps), len(steps))
            for name in names:
                started = time.process_time()
                for i in range(len(paths)):
                    steps[name](i)
                if run:
                    times[name].append((time.process_time() - started) / len(paths))
    whole = times["score_files"]
    print(f"{len(paths)} pictures, {args.rounds} rounds, one thread, torch {torch.__version__}; {metric.signature}")
    rate = 1 / median(whole)
    print(f"score_files: {rate:.2f} pictures a second, {1e6 / rate / 3600:.1f} hours of a core for a million")
    print("| | ms a picture | of score_files |\n|---|--:|--:|")
    for name, found in times.items():
        share = median(one / all_ for one, all_ in zip(found, whole, strict=True))
        print(f"| {name} | {1e3 * median(found):.1f} | {share:.2f} |")


def workers(args: argparse.Namespace) -> None:
    """Pictures a second by the clock, by the number of worker processes, once all of them are at work."""
    torch.set_num_threads(1)
    metric, paths = QFMScore.from_pretrained(args.weights), sorted(map(str, args.pictures))
    rates: dict[int, list[float]] = {number: [] for number in args.workers}
    for _ in range(args.rounds):
        for number in random.sample(args.workers, len(args.workers)):
            found, began = score_files(itertools.cycle(paths), metric, workers=number), time.perf_counter()
            while time.perf_counter() - began < args.warm_up:
                next(found)
            started, count = time.perf_counter(), sum(1 for _ in itertools.islice(found, 3 * len(paths)))
            rates[number].append(count / (time.perf_counter() - started))
            del found  # ends the processes
    print(f"{len(paths)} pictures, {args.rounds} rounds, {len(os.sched_getaffinity(0))} cores; {metric.signature}")
    print(f"| workers | pictures a second | times as many as with {args.workers[0]} |\n|--:|--:|--:|")
    for number, found_rates in rates.items():
        ratio = median(one / base for one, base in zip(found_rates, rates[args.workers[0]], strict=True))
        print(f"| {number} | {median(found_rates):.2f} | {ratio:.2f} |")


def build_way(name: str) -> Callable[[list[str]], object]:
    """What scores files, by the name of a peer: one of `WAYS`, else a network of pyiqa with random weights."""
    if name in WAYS:
        return WAYS[name]()
    import speed

    peer = speed.build_peer(name)
    return lambda part: [peer(load_image(path)[None]).item() for path in part]


def laplacian() -> Callable[[list[str]], object]:
    """OpenCV's: the variance of the Laplacian, which many use for focus."""
    import cv2

    cv2.setNumThreads(1)
    return lambda part: [cv2.Laplacian(cv2.imread(path, cv2.IMREAD_GRAYSCALE), cv2.CV_64F).var() for path in part]


def brisque() -> Callable[[list[str]], object]:
    """The package `brisque`."""
    from brisque import BRISQUE

    found = BRISQUE(url=False)
    return lambda part: [found.score(np.asarray(Image.open(path).convert("RGB"))) for path in part]


def cleanvision() -> Callable[[list[str]], object]:
    """cleanvision's checks of single pictures: all but those for duplicates and odd sizes within a set."""
    from cleanvision import Imagelab

    checks = ("dark", "light", "blurry", "low_information", "odd_aspect_ratio", "grayscale")
    return lambda part: Imagelab(filepaths=part).find_issues({key: {} for key in checks}, n_jobs=1, verbose=False)


WAYS = {
    "decode": lambda: lambda part: [decode(path).shape for path in part],
    "laplacian": laplacian,
    "brisque": brisque,
    "cleanvision": cleanvision,
}


def time_ways(ways: dict[str, Callable[[list[str]], object]], paths: list[str], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each way in each round, which is some of the paths; the order is shuffled.

    The first way is ours; another that fails is said and left out.
    """
    parts, ours = [paths[start::rounds] for start in range(min(rounds, len(paths)))], next(iter(ways))
    with torch.inference_mode():
        for name in list(ways):
            try:
                ways[name](paths[:1])  # the first time is slower
            except Exception as error:
                if name == ours:
                    raise
                print(f"{name}: {error}", file=sys.stderr)
                del ways[name]
        times: dict[str, list[float]] = {name: [] for name in ways}
        for part in parts:
            for name in random.sample(list(ways), len(ways)):
                started = time.process_time()
                ways[name](part)
                times[name].append(time.process_time() - started)
    return times


def ours(weights: str | None) -> Callable[[list[str]], object]:
    metric = QFMScore.from_pretrained(weights)
    return lambda part: [row.score for row in score_files(part, metric)]


def peers(args: argparse.Namespace) -> None:
    """Pictures a second, from files to scores, and ratios to each of our weights within a round."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    paths, mine = sorted(map(str, args.pictures)), [weights or "default" for weights in args.weights or [None]]
    ways = {name: ours(None if name == "default" else name) for name in mine}
    for name in args.peers:
        try:
            ways[name] = build_way(name)
        except Exception as error:  # whatever an installation lacks costs its row, not the table
            print(f"{name}: not built: {error}", file=sys.stderr)
    times = time_ways(ways, paths, args.rounds)
    print(f"{len(paths)} pictures in {args.rounds} rounds, one thread, float32, torch {torch.__version__}")
    print("| | pictures a second |", " | ".join(f"times as long as {name}" for name in mine), "|")
    print("|---" + "|--:" * (1 + len(mine)) + "|")
    for name, found in times.items():
        ratios = [median(one / own for one, own in zip(found, times[other], strict=True)) for other in mine]
        print(f"| {name} | {len(paths) / sum(found):.2f} |", " | ".join(f"{ratio:.2f}" for ratio in ratios), "|")


def resident() -> dict[str, int]:
    """Resident memory of this process in MB: now, and at most."""
    status = Path("/proc/self/status").read_text()
    return {name: int(re.findall(rf"{name}:\s+(\d+)", status)[0]) // 1024 for name in ("VmRSS", "VmHWM")}


def large(args: argparse.Namespace) -> None:
    """Peak memory of one large picture."""
    metric = QFMScore()
    with tempfile.TemporaryDirectory() as folder:
        side = round((args.megapixels * 1e6 / 1.5) ** 0.5)
        path = Path(folder, "large.tif" if args.float else "large.jpg")
        write_picture(path, side * 3 // 2, side, 0, floats=args.float)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
        before = resident()
        row = next(score_files([path], metric))
        print(json.dumps({"row": row.__dict__ | {"path": path.name}, "before": before, "after": resident()}))
        if args.whole:
            Path("/proc/self/clear_refs").write_text("5")
            print(json.dumps({"load_image": metric(load_image(path)).item(), "after": resident()}))


def write_picture(path: Path, width: int, height: int, seed: int, *, floats: bool = False) -> None:
    """A generated picture: the same square again and again; with `floats` grey, in floating point."""
    from helpers.generated_files import picture

    tile, whole = picture(1024, 1024, seed), Image.new("RGB", (width, height))
    for left, top in grid(whole.size, 1024):
        whole.paste(tile, (left, top))
    if floats:
        whole = Image.fromarray(np.asarray(whole.convert("L"), dtype=np.float32) / 255)
    whole.save(path, quality=90)


def grid(size: tuple[int, int], side: int) -> Iterator[tuple[int, int]]:
    return ((left, top) for top in range(0, size[1], side) for left in range(0, size[0], side))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    timed = {}
    for run, rounds in ((stages, 9), (workers, 5)):
        timed[run] = sub = commands.add_parser(run.__name__, help=run.__doc__)
        sub.add_argument("pictures", nargs="+", type=Path)
        sub.add_argument("--rounds", type=int, default=rounds)
        sub.add_argument("--weights", help="id, file or saved folder (default: the default)")
        sub.set_defaults(run=run)
    timed[workers].add_argument("--workers", type=int, nargs="+", default=[1, 2], metavar="N")
    timed[workers].add_argument("--warm-up", type=float, default=20, metavar="SECONDS", help="for processes to start")
    sub = commands.add_parser("peers", help=peers.__doc__)
    sub.add_argument("pictures", nargs="+", type=Path)
    sub.add_argument("--rounds", type=int, default=10, help="parts that the pictures are shared out to, as in a deck")
    sub.add_argument("--weights", action="append", help="id, file or saved folder; repeatable (default: the default)")
    sub.add_argument(
        "--peers",
        nargs="+",
        metavar="NAME",
        default=[*WAYS, "topiq_nr", "arniqa", "musiq", "nima"],
        help=f"{', '.join(WAYS)}, or a network of pyiqa",
    )
    sub.set_defaults(run=peers)
    sub = commands.add_parser("large", help=large.__doc__)
    sub.add_argument("--megapixels", type=float, default=100)
    sub.add_argument("--float", action="store_true", help="a grey TIFF of floats in the place of a JPEG")
    sub.add_argument("--whole", action="store_true", help="beside it the peak of QFMScore()(load_image(path))")
    sub.set_defaults(run=large)
    args = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = 2**28  # the large picture
    args.run(args)


if __name__ == "__main__":
    main()
