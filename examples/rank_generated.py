"""Score generated images, pick the best of N per prompt, and give each prompt its mean score as a reward.

    python examples/rank_generated.py                                # stand-ins, made here
    python examples/rank_generated.py out/fox/ out/castle/ --best 2 --copy-to best/ --csv scores.csv
    python examples/rank_generated.py --prompt "a red fox" --model org/name --count 8 --keep out/    # needs diffusers

A folder stands for a prompt. In your own program, `score_images(metric, pipe(prompt).images)` is all that is needed,
whatever `output_type` is ("pil", "np" or "pt"); the reward is its mean. The scores are of technical quality on
photographs' scale: they do not know the prompt (docs/generated.md).
"""

import argparse
import csv
import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from qfm_metric import QFMScore, WeightsError, load_image, score_files
from qfm_metric.cli.paths import Scan
from qfm_metric.cli.targets import check_target
from qfm_metric.own_files import head

COLUMNS = ["prompt", "rank", "image", "score", "reward"]
STAND_INS = {"a portrait": "astronaut", "a cat": "chelsea", "a cup of coffee": "coffee"}


@dataclass(frozen=True)
class Ranked:
    """The images of one prompt, best first, and their mean score."""

    prompt: str
    reward: float
    images: list[tuple[str, float]]


def score_images(metric: QFMScore, images: Tensor | np.ndarray | Sequence[Any]) -> list[float]:
    """A score in [0, 1] per generated image, higher is better.

    Args:
        metric: On any device; the images are moved to it.
        images: A pipeline's `.images`: a list of PIL images ("pil"), an array `(N, H, W, 3)` in [0, 1] ("np"), or a
            tensor `(N, 3, H, W)` in [0, 1] ("pt") of any floating type. Sizes may differ in a list.
    """
    with torch.inference_mode():
        if isinstance(images, Tensor):
            return metric(images).tolist()
        tensors = [image if isinstance(image, Tensor) else load_image(image) for image in images]
        return metric(tensors).tolist()


def rank(prompt: str, names: Sequence[str], scores: Sequence[float]) -> Ranked:
    """Best first; images with equal scores stay in their order."""
    images = sorted(zip(names, scores, strict=True), key=lambda item: -item[1])
    return Ranked(prompt, float(np.mean(scores)), images)


def rank_folder(metric: QFMScore, folder: Path) -> Ranked | None:
    """A folder's pictures; those that cannot be read are named and left out. None if there are none."""
    scored = []
    for result in score_files(Scan([str(folder)]), metric):
        if result.score is None:
            print(f"left out: {result.error}", file=sys.stderr)
        else:
            scored.append((result.path, result.score))
    return rank(folder.resolve().name, *zip(*scored, strict=True)) if scored else None


def generate(model: str, prompts: Sequence[str], count: int, seed: int, device: str) -> Iterator[tuple[str, Tensor]]:
    """`count` images `(N, 3, H, W)` in [0, 1] per prompt, from a text-to-image pipeline of diffusers."""
    try:
        from diffusers import AutoPipelineForText2Image
    except ImportError:
        sys.exit("rank_generated.py: --prompt needs diffusers: pip install diffusers transformers accelerate")
    pipeline = AutoPipelineForText2Image.from_pretrained(model).to(device)
    for prompt in prompts:
        generator = torch.Generator().manual_seed(seed)
        yield prompt, pipeline(prompt, num_images_per_prompt=count, output_type="pt", generator=generator).images


def make_stand_ins(count: int, seed: int) -> Iterator[tuple[str, list[Image.Image]]]:
    """What stands for a pipeline's output where there is none: photographs, damaged by different amounts."""
    from rank_photos import load_photos

    from qfm_metric.train.distortions.simple import KINDS, degrade

    rng = np.random.default_rng(seed)
    for prompt, name in STAND_INS.items():
        pixels = load_photos([name])[name]
        draws = [(rng.choice(list(KINDS)), rng.uniform()) for _ in range(count)]
        yield prompt, [Image.fromarray(degrade(pixels, kind, strength)) for kind, strength in draws]


def keep_images(images: Tensor | Sequence[Image.Image], folder: Path) -> list[str]:
    """Write PNG files; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:03d}.png" for i in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        if isinstance(image, Tensor):
            pixels = (image.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            image = Image.fromarray(pixels)
        image.save(path)
    return [str(path) for path in paths]


def rank_all(metric: QFMScore, args: argparse.Namespace) -> Iterator[Ranked | None]:
    """A ranking per folder or prompt, as soon as it is known; None, after a message, for what cannot be scored."""
    if args.folders:
        for folder in args.folders:
            found = rank_folder(metric, folder)
            if not found:
                print(f"{folder}: no picture that can be read", file=sys.stderr)
            yield found
        return
    if args.prompt:
        made: Iterator[tuple[str, Any]] = generate(args.model, args.prompt, args.count, args.seed, args.device)
    else:
        made = make_stand_ins(args.count, args.seed)
    for i, (prompt, images) in enumerate(made):
        names = [f"{i:03d}" for i in range(len(images))]
        if args.keep:
            names = keep_images(images, args.keep / folder_name(prompt, i))
        try:
            yield rank(prompt, names, score_images(metric, images))
        except ValueError as error:  # NaN, as half precision makes; the other prompts are scored
            print(f"{prompt}: {error}", file=sys.stderr)
            yield None


def folder_name(prompt: str, index: int) -> str:
    """A prompt as the name of a folder; the index keeps apart what is cut or lost of two prompts."""
    return f"{index:03d}-{re.sub(r'[^a-z0-9]+', '-', prompt.lower())[:40].strip('-')}"


def report(ranked: Ranked, index: int, best: int, copy_to: Path | None) -> None:
    """Print the best images of a prompt, and copy them."""
    print(f"{ranked.prompt}: reward {ranked.reward:.3f} (mean of {len(ranked.images)})")
    for place, (name, score) in enumerate(ranked.images[:best], start=1):
        print(f"  {score:.3f}  {name}")
        if copy_to:
            folder = copy_to / folder_name(ranked.prompt, index)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, folder / f"{place:02d}-{Path(name).name}")


def write_csv(rankings: Sequence[Ranked], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for ranked in rankings:
            for place, (name, score) in enumerate(ranked.images, start=1):
                rows.writerow([ranked.prompt, place, name, f"{score:.4f}", f"{ranked.reward:.4f}"])


def write_json(rankings: Sequence[Ranked], metric: QFMScore, path: Path) -> None:
    prompts = [
        asdict(ranked) | {"images": [{"image": name, "score": score} for name, score in ranked.images]}
        for ranked in rankings
    ]
    path.write_text(json.dumps({"signature": metric.signature, "prompts": prompts}, indent=1), encoding="utf-8")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="a folder of images per prompt; default: stand-ins")
    parser.add_argument("--prompt", nargs="+", help="generate images (needs diffusers and --model)")
    parser.add_argument("--model", help="text-to-image pipeline for diffusers: a folder or org/name")
    parser.add_argument("--count", type=int, default=4, help="images per prompt (default: 4)")
    parser.add_argument("--keep", type=Path, help="folder for the generated images, a folder per prompt below it")
    parser.add_argument("--best", type=int, default=1, metavar="K", help="images picked per prompt (default: 1)")
    parser.add_argument("--copy-to", type=Path, help="folder for copies of the picked images")
    parser.add_argument("--csv", type=Path, help="write prompt,rank,image,score,reward")
    parser.add_argument("--json", type=Path, help="write the same and the metric's signature as JSON")
    parser.add_argument("--weights-id", help="weights of the metric; default: the package's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.folders and args.prompt:
        parser.error("expected folders or --prompt, not both")
    if args.prompt and not args.model:
        parser.error("--prompt needs --model, a text-to-image pipeline for diffusers")
    if args.count < 1 or args.best < 1:
        parser.error("--count and --best: expected at least 1")
    if args.copy_to and not (args.folders or args.keep):
        parser.error("--copy-to needs files to copy; add --keep FOLDER")
    if missing := [str(folder) for folder in args.folders if not folder.is_dir()]:
        parser.error(f"no such folder: {', '.join(missing)}")
    check_outputs(args, parser)
    return args


def begins_with(begin: bytes, path: Path) -> bool:
    """Whether a file is one of an earlier run."""
    return head(path).startswith(begin)


def check_outputs(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse, before anything is scored, to write over pictures, also those of an earlier run, or somebody's file."""
    begins = {"csv": ",".join(COLUMNS).encode(), "json": b'{\n "signature": "qfm_metric'}
    for name, begin in begins.items():
        is_ours = partial(begins_with, begin)
        path, inputs = getattr(args, name), map(str, args.folders)
        check_target(f"--{name}", path and str(path), is_ours, inputs, parser.error, suffixes=(name,))
    for option, folder in (("--keep", args.keep), ("--copy-to", args.copy_to)):
        if folder and folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            parser.error(f"{option}: expected a new or an empty folder, got {folder}; name another")


def main() -> int:
    args = parse()
    try:
        metric = QFMScore.from_pretrained(args.weights_id).to(args.device)
    except WeightsError as error:
        sys.exit(f"rank_generated.py: {error}")
    rankings: list[Ranked] = []
    failed = 0
    for ranked in rank_all(metric, args):
        if not ranked:
            failed += 1
            continue
        report(ranked, len(rankings), args.best, args.copy_to)
        rankings.append(ranked)
        # After every prompt: what was generated for hours survives an interruption.
        if args.csv:
            write_csv(rankings, args.csv)
        if args.json:
            write_json(rankings, metric, args.json)
    if len(rankings) > 1:
        print(f"reward over {len(rankings)} prompts: {np.mean([ranked.reward for ranked in rankings]):.3f}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
