"""Damaged pictures, by the million: whatever is in a file, `load_image` reads it or raises ImageError.

    python tests/fuzz_images.py --minutes 60         # prints how many inputs it tried; exit status 1 after a find
    python tests/fuzz_images.py --write-corpus       # draws tests/corpus anew; needs the packages of the dev group

Each input is a file of tests/corpus with a few changes. An input is a find if anything but ImageError comes out, if it
takes longer than SECONDS of processor time or more than MEGABYTES of memory, or if the process dies. Finds are written
to tests/corpus as well, where `tests/test_fuzz_images.py` reads them for ever.
"""

import argparse
import hashlib
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from helpers.corpus import CORPUS, write_corpus
from PIL import Image

from qfm_metric.images import ImageError, load_image

PIXELS = 2**19  # twice as many are let through; a damaged header may say anything up to this
SECONDS = 20.0  # a picture of PIXELS takes well below 1 s; a busy machine several times that
MEGABYTES = 400  # a picture of PIXELS takes 20 bytes a pixel while it is decoded, and a decoder's own buffers
BATCH = 20_000  # inputs of one process; memory is measured as its peak

NUMBERS = [0, 1, 2, 3, 7, 8, 12, 16, 24, 32, 64, 127, 128, 255, 256, 257, 4096, 32767, 32768, 65535, 65536, 2**24]
NUMBERS += [2**31 - 1, 2**31, 2**32 - 1]
KINDS = ["byte", "bit", "16 bits", "32 bits", "zeros", "noise", "delete", "repeat", "insert", "cut", "splice"]


def mutate(data, changes, others):
    """`data` with a list of changes: (kind, where, how long, value), the latter three integers from 0."""
    data = bytearray(data)
    for kind, where, length, value in changes:
        if not data:
            break
        at, size = where % len(data), 1 + length % 64
        order = "big" if length % 2 else "little"
        number = NUMBERS[value % len(NUMBERS)]
        other = others[value % len(others)]
        if kind == "byte":
            data[at] = value % 256
        elif kind == "bit":
            data[at] ^= 1 << value % 8
        elif kind == "16 bits":
            data[at : at + 2] = (number % 2**16).to_bytes(2, order)
        elif kind == "32 bits":
            data[at : at + 4] = number.to_bytes(4, order)
        elif kind == "zeros":
            data[at : at + 8 * size] = bytes(len(data[at : at + 8 * size]))
        elif kind == "noise":
            data[at : at + size] = random.Random(value).randbytes(len(data[at : at + size]))
        elif kind == "delete":
            del data[at : at + size]
        elif kind == "repeat":
            data[at:at] = data[at : at + size] * (1 + value % 9)
        elif kind == "insert":
            data[at:at] = random.Random(value).randbytes(size)
        elif kind == "cut":
            del data[at:]
        else:
            data[at:] = other[min(at, len(other)) :]
    return bytes(data)


def draw_changes(rng, size):
    """A few changes, most of them near the beginning, where headers are."""
    return [
        (rng.choice(KINDS), int(size * rng.random() ** rng.choice([1, 2, 4])), rng.randrange(64), rng.randrange(2**16))
        for _ in range(rng.choice([1, 1, 2, 3, 5, 8]))
    ]


def try_input(path):
    """Read one file; what is wrong with how that went, or None."""
    started = time.process_time()
    try:
        tensor = load_image(path)
    except ImageError:
        pass
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    else:
        if not (tensor.ndim == 3 and len(tensor) == 3 and 0 <= tensor.min() <= tensor.max() <= 1.000001):
            return f"a tensor of shape {tuple(tensor.shape)}, {tensor.min()}..{tensor.max()}"
    took = time.process_time() - started
    return f"{took:.1f} s" if took > SECONDS else None


def peak_memory():
    """Bytes. What `resource` says begins with what the parent process held, so it is the second choice."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run_batch(seed, count, path):
    """What a child process does; the input that is being tried is in `path`."""
    Image.MAX_IMAGE_PIXELS = PIXELS
    warnings.simplefilter("ignore")
    files = [file.read_bytes() for file in sorted(CORPUS.iterdir())]
    rng = random.Random(seed)
    for file in sorted(CORPUS.iterdir()):  # what modules and decoders take once is not counted
        try_input(file)
    before = peak_memory()
    for i in range(count):
        data = rng.choice(files)
        Path(path).write_bytes(mutate(data, draw_changes(rng, len(data)), files))
        wrong = try_input(path)
        grown = (peak_memory() - before) // 2**20
        if wrong is None and grown > MEGABYTES:
            wrong = f"{grown} MB"
        if wrong is not None:
            print(f"input {i}: {wrong}", flush=True)
            sys.exit(3)


def fuzz(minutes, seed):
    """Try inputs in child processes, one after another, until the time is over; how many, and the finds."""
    tried, finds, end = 0, [], time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "input")
        while time.monotonic() < end:
            command = [sys.executable, __file__, "--batch", str(BATCH), "--seed", str(seed), "--input", str(path)]
            try:
                child = subprocess.run(command, capture_output=True, text=True, timeout=2 * BATCH, check=False)
                said, status = child.stdout.strip(), child.returncode
            except subprocess.TimeoutExpired:
                said, status = "it does not end", -1
            tried += BATCH
            if status:
                data = path.read_bytes()
                find = CORPUS / f"find-{hashlib.sha256(data).hexdigest()[:12]}"
                find.write_bytes(data)
                finds.append(find)
                print(f"{find}: {said or f'died with status {status}: {child.stderr[-500:]}'}", flush=True)
            seed += 1
            print(f"{tried} inputs, {len(finds)} finds", flush=True)
    return tried, finds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--write-corpus", action="store_true")
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--input", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write_corpus:
        write_corpus()
    elif args.batch:
        run_batch(args.seed, args.batch, args.input)
    else:
        tried, finds = fuzz(args.minutes, args.seed)
        print(f"{tried} inputs from seed {args.seed}, {len(finds)} finds")
        sys.exit(bool(finds))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
