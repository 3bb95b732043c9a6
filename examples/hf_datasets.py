"""Score an image column of a Hugging Face data set, batch by batch.

    python examples/hf_datasets.py photos/            # a folder of pictures; writes scored.parquet

The same `score_batch` works on any data set with an image column, streamed ones included.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset

from qfm_metric import QFMScore, load_image


def score_batch(batch: dict[str, list[Any]], metric: QFMScore, column: str = "image") -> dict[str, list[float]]:
    """For `Dataset.map(..., batched=True)`: adds the column `qfm`."""
    with torch.inference_mode():
        return {"qfm": metric([load_image(image) for image in batch[column]]).tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("scored.parquet"))
    args = parser.parse_args()

    pictures = load_dataset("imagefolder", data_dir=str(args.folder), split="train")
    scored = pictures.map(score_batch, batched=True, batch_size=16, fn_kwargs={"metric": QFMScore()})
    scored = scored.sort("qfm", reverse=True)
    scored.to_parquet(args.out)
    print(f"{len(scored)} pictures, from {scored[0]['qfm']:.3f} to {scored[-1]['qfm']:.3f}: {args.out}")


if __name__ == "__main__":
    main()
