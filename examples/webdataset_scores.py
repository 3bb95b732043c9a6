"""Score the pictures of WebDataset shards (tar files), as they are read; nothing is unpacked to the disk.

    python examples/webdataset_scores.py "shards/{000000..000099}.tar" --workers 8 > scores.jsonl

Shards may be paths, a brace pattern, URLs or `pipe:` commands, as webdataset takes them. Give each machine of a cluster
shards of its own. A sample without a picture gets a row with an error, as a damaged picture does. If a shard is not
there or is cut off, standard error says so; the others are scored, and the exit status is 1.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import webdataset

from qfm_metric import EncodedImage, QFMScore, score_files
from qfm_metric.decoding.suffixes import IMAGE_SUFFIXES


def pictures(shards: str | list[str], failed: Callable[[Exception], bool]) -> Iterator[EncodedImage]:
    """The picture of each sample, called `shard#key`; in the order of the shards.

    Args:
        shards: As webdataset takes them.
        failed: Is told why a shard cannot be read; True: go on with the next.
    """
    samples = webdataset.WebDataset(shards, handler=failed, shardshuffle=False, nodesplitter=None, empty_check=False)
    for sample in samples:
        yield EncodedImage(f"{sample['__url__']}#{sample['__key__']}", picture_of(sample))


def picture_of(sample: dict[str, Any]) -> bytes:
    """The bytes of the first part that is called as a picture is; none if there is none."""
    # The name of a part begins behind the first dot: "photo.left.jpg" is a part "left.jpg".
    found = (data for name, data in sample.items() if f".{name.rsplit('.', 1)[-1].lower()}" in IMAGE_SUFFIXES)
    return next(found, b"")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()

    shards = args.shards[0] if len(args.shards) == 1 else args.shards
    failures: list[Exception] = []

    def failed(error: Exception) -> bool:
        sys.stderr.write(f"webdataset_scores.py: {error}\n")
        failures.append(error)
        return True

    for row in score_files(pictures(shards, failed), QFMScore(), workers=args.workers):
        sys.stdout.write(json.dumps(asdict(row)) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
