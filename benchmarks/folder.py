"""A folder from end to end: images a second, where the time goes, and how much memory it takes.

    PYTHONPATH=. python benchmarks/folder.py stages PICTURES --peer topiq_nr
    PYTHONPATH=. python benchmarks/folder.py memory --count 10000 --largest 50
    PYTHONPATH=. python benchmarks/folder.py large --megapixels 100

`stages` times each step and each whole in every round, in shuffled order, as processor seconds of one thread: a busy
machine changes them less than seconds by the clock. `memory` scores generated files, of which 1 % are broken, and
prints the memory as it goes on. `large` is the peak for one large JPEG. benchmarks/README.md says what a peer needs.
"""

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image

from qfm_metric import QFMScore, load_image, score_files
from qfm_metric.images import open_image, read_pixels
from qfm_metric.strips import preprocess_pixels

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def decode(path: str) -> Any:
    with open_image(path) as image:
        return read_pixels(image)


def stages(args: argparse.Namespace) -> None:
    """Processor time per picture of each stage and of the whole."""
    torch.set_num_threads(1)
    metric, paths = QFMScore(), sorted(map(str, args.pictures))
    with torch.inference_mode():
        pixels = [decode(path) for path in paths]
        views = [preprocess_pixels(metric.net, each) for each in pixels]
    steps: dict[str, Callable[[int], object]] = {
        "decode": lambda i: decode(paths[i]),
        "preprocess": lambda i: preprocess_pixels(metric.net, pixels[i]),
        "network": lambda i: metric.net.score_views(views[i]),
        "score_files": lambda i: next(score_files([paths[i]], metric)),
        "load_image, QFMScore": lambda i: metric(load_image(paths[i])),
    }
    if args.peer:
        import speed

        peer = speed.build_peer(args.peer)
        steps[args.peer] = lambda i: peer(load_image(paths[i])[None])
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
    print(f"{len(paths)} pictures, {args.rounds} rounds, one thread, torch {torch.__version__}; {metric.report}")
    print("| | ms a picture | of score_files |\n|---|--:|--:|")
    for name, found in times.items():
        share = median(one / all_ for one, all_ in zip(found, whole, strict=True))
        print(f"| {name} | {1e3 * median(found):.1f} | {share:.2f} |")


def resident() -> dict[str, int]:
    """Resident memory of this process in MB: now, and at most."""
    status = Path("/proc/self/status").read_text()
    return {name: int(re.findall(rf"{name}:\s+(\d+)", status)[0]) // 1024 for name in ("VmRSS", "VmHWM")}


def memory(args: argparse.Namespace) -> None:
    """Memory while many generated files are scored, and whether the rows are as many as the files."""
    from generated_files import generate

    side = round((args.largest * 1e6 / 1.5) ** 0.5)
    small = [(64, 64), (96, 128), (200, 150), (320, 240), (64, 300), (512, 384)]
    with tempfile.TemporaryDirectory() as folder:
        paths = generate(Path(folder, "f"), args.count, [*small * 20, (side * 3 // 2, side)], 0.01)
        metric = QFMScore.from_pretrained(args.weights)
        print(json.dumps({"files": len(paths), "before": resident()}), flush=True)
        rows = failed = 0
        for path, row in zip(paths, score_files(iter(paths), metric, workers=args.workers), strict=True):
            rows, failed = rows + 1, failed + (row.score is None)
            if row.path != path:
                raise SystemExit(f"expected a row for {path}, got {row}")
            if rows % (args.count // 20) == 0:
                print(json.dumps({"rows": rows, "failed": failed, **resident()}), flush=True)


def large(args: argparse.Namespace) -> None:
    """Peak memory of one large picture."""
    from generated_files import picture

    metric = QFMScore()
    with tempfile.TemporaryDirectory() as folder:
        side = round((args.megapixels * 1e6 / 1.5) ** 0.5)
        path = Path(folder, "large.jpg")
        tile = picture(1024, 1024, 0)
        whole = Image.new("RGB", (side * 3 // 2, side))
        for left, top in grid(whole.size, 1024):
            whole.paste(tile, (left, top))
        whole.save(path, quality=90)
        del whole
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
        before = resident()
        row = next(score_files([path], metric))
        print(json.dumps({"row": row.__dict__ | {"path": "large.jpg"}, "before": before, "after": resident()}))
        if args.whole:
            Path("/proc/self/clear_refs").write_text("5")
            print(json.dumps({"load_image": metric(load_image(path)).item(), "after": resident()}))


def grid(size: tuple[int, int], side: int) -> Iterator[tuple[int, int]]:
    return ((left, top) for top in range(0, size[1], side) for left in range(0, size[0], side))


def main() -> None:
    Image.MAX_IMAGE_PIXELS = 2**28
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    sub = commands.add_parser("stages", help=stages.__doc__)
    sub.add_argument("pictures", nargs="+", type=Path)
    sub.add_argument("--rounds", type=int, default=9)
    sub.add_argument("--peer", help="a metric of pyiqa, without weights")
    sub.set_defaults(run=stages)
    sub = commands.add_parser("memory", help=memory.__doc__)
    sub.add_argument("--count", type=int, default=10_000)
    sub.add_argument("--largest", type=float, default=50, metavar="MP", help="one file in 121 has so many megapixels")
    sub.add_argument("--workers", type=int, default=1)
    sub.add_argument("--weights", help="default: the default")
    sub.set_defaults(run=memory)
    sub = commands.add_parser("large", help=large.__doc__)
    sub.add_argument("--megapixels", type=float, default=100)
    sub.add_argument("--whole", action="store_true", help="beside it the peak of QFMScore()(load_image(path))")
    sub.set_defaults(run=large)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
