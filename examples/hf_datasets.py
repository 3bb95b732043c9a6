"""Score an image column of a Hugging Face data set, batch by batch.

    python examples/hf_datasets.py photos/            # a folder of pictures; writes scored.parquet

The same `score_batch` works on any data set with an image column, streamed ones included. A picture that cannot be read
has no score, and its error in a column of its own.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Image, load_dataset

from qfm_metric import EncodedImage, QFMScore, load_image, score_files
from qfm_metric.cli.targets import check_target


def score_batch(batch: dict[str, list[Any]], metric: QFMScore, column: str = "image") -> dict[str, list[Any]]:
    """For `Dataset.map(..., batched=True)`: adds the columns `qfm` and `error`.

    `datasets` ends at a damaged picture when it decodes the column; with `Image(decode=False)` it is decoded here.
    """
    images = batch[column]
    if not isinstance(images[0], dict):
        with torch.inference_mode():
            scores = metric([load_image(image) for image in images]).tolist()
        return {"qfm": scores, "error": [None] * len(scores)}
    files = [
        image["path"] if image["bytes"] is None else EncodedImage(image["path"] or "picture", image["bytes"])
        for image in images
    ]
    rows = list(score_files(files, metric))
    return {"qfm": [row.score for row in rows], "error": [row.error for row in rows]}


def is_scored(path: Path) -> bool:
    """Whether a file is a table that an earlier run wrote."""
    data = path.read_bytes()
    return data.startswith(b"PAR1") and b'"qfm": ' in data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("scored.parquet"))
    args = parser.parse_args()
    check_target("--out", str(args.out), is_scored, [str(args.folder)], parser.error, suffixes=("parquet",))

    pictures = load_dataset("imagefolder", data_dir=str(args.folder), split="train")
    pictures = pictures.cast_column("image", Image(decode=False))
    scored = pictures.map(score_batch, batched=True, batch_size=16, fn_kwargs={"metric": QFMScore()})
    scored = scored.sort("qfm", reverse=True, null_placement="at_end").cast_column("image", Image())
    scored.to_parquet(args.out)
    for error in filter(None, scored["error"]):
        print(error, file=sys.stderr)
    scores = [score for score in scored["qfm"] if score is not None]
    if not scores:
        sys.exit("hf_datasets.py: no picture could be read")
    print(f"{len(scores)} pictures, from {scores[0]:.3f} to {scores[-1]:.3f}: {args.out}")


if __name__ == "__main__":
    main()
