"""How right are the facts of `qfm_metric.facts`? Photographs whose history is known, and what is found out about them.

    python benchmarks/facts_study.py quality
    python benchmarks/facts_study.py recompressed --decoded DIR
    python benchmarks/facts_study.py enlarged --decoded DIR
    python benchmarks/facts_study.py tones --decoded DIR

DIR is what `python -m qfm_metric.train prepare` wrote for BIQ2021. Its validation photographs with a MOS of at least
.75 are taken; constants were chosen on those of its training part. They are JPEG files of quality 75 themselves: where
that matters, they are cut so that the blocks of the file lie elsewhere than the new ones, or reduced to half, which
also makes them sharp to the last pixel.
"""

import argparse
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from qfm_metric.facts import Encoding, file_facts, read_encoding
from qfm_metric.facts.enlargement import enlargement_factor
from qfm_metric.facts.tones import count_tones
from qfm_metric.images import open_image
from qfm_metric.train.datasets.table import Decoded

Edit = Callable[[Image.Image], Image.Image]

LEAST_MOS = 0.75
KERNELS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
FACTORS = (1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0)


def photographs(folder: str, split: str, count: int) -> list[Image.Image]:
    decoded = Decoded.open(Path(folder))
    clean = [i for i in decoded.select(split) if decoded.rows[i].mos >= LEAST_MOS]
    chosen = np.random.default_rng(0).permutation(clean)[:count]
    return [Image.fromarray(decoded.pixels[i]) for i in chosen]


def encoded(image: Image.Image, quality: int, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def compressed(image: Image.Image, quality: int | None) -> Image.Image:
    return image if quality is None else Image.open(io.BytesIO(encoded(image, quality))).convert("RGB")


def stored(data: bytes) -> Encoding:
    with open_image("a.jpg", data) as image:
        return read_encoding(image, data)


def cut(image: Image.Image) -> Image.Image:
    """The photograph without the edges, its own blocks beside those of a JPEG file that is made of it."""
    return image.crop((3, 5, image.width - 5, image.height - 3))


def half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def noisy(image: Image.Image, deviation: float) -> Image.Image:
    pixels = np.asarray(image)
    noise = np.random.default_rng(0).normal(0, deviation, pixels.shape)
    return Image.fromarray(np.rint(np.clip(pixels + noise, 0, 255)).astype(np.uint8))


def brightened(image: Image.Image, gain: float, offset: float = 0) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(np.asarray(image, float) * gain + offset, 0, 255)).astype(np.uint8))


EDITS: dict[str, Edit] = {
    "as it is": lambda image: image,
    "blurred, sigma 1": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "blurred, sigma 2": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "out of focus, 7 px": lambda image: image.filter(ImageFilter.BoxBlur(3)),
    "sharpened": lambda image: image.filter(ImageFilter.UnsharpMask(2, 150, 0)),
    "noise, sigma 5": lambda image: noisy(image, 5),
    "reduced to 0.6": lambda image: image.resize((302, 302), Image.Resampling.BICUBIC),
    "contrast x 1.6": lambda image: brightened(image, 1.6, -64),
    "a quarter as bright": lambda image: brightened(image, 0.25),
    "saturation x 1.8": lambda image: ImageEnhance.Color(image).enhance(1.8),
}


def print_table(corner: str, columns: Iterable[object], rows: Iterable[tuple[object, Iterable[str]]]) -> None:
    names = [str(column) for column in columns]
    print(f"\n| {corner} | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    for name, cells in rows:
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def study_quality() -> None:
    """Largest deviation from the quality that a file was written with."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    colour = Image.fromarray(noise)
    files: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "4:4:4": (colour, {"subsampling": 0}),
        "4:2:2": (colour, {"subsampling": 1}),
        "4:2:0": (colour, {"subsampling": 2}),
        "progressive": (colour, {"progressive": True}),
        "optimised": (colour, {"optimize": True}),
        "RGB kept": (colour, {"keep_rgb": True}),
        "grey": (colour.convert("L"), {}),
        "CMYK": (colour.convert("CMYK"), {}),
    }

    def worst(image: Image.Image, options: dict[str, object]) -> str:
        found = [(q, file_facts(encoded(image, q, **options)).jpeg_quality) for q in range(1, 101)]
        return str(max(999 if value is None else abs(value - q) for q, value in found))

    print_table(
        "files of quality 1 to 100", ["largest error"], ((name, [worst(*file)]) for name, file in files.items())
    )


def study_recompressed(images: Sequence[Image.Image], all_images: Sequence[Image.Image]) -> None:
    """Share of files in which a compression before is seen; in which its quality is named; of those, within 2."""
    seconds = (98, 95, 90, 85, 75, 60, 40)
    firsts = (98, 95, 90, 85, 80, 75, 65, 50, 30)

    def seen(first: int, second: int) -> str:
        if first == second:
            return "-"
        found = [stored(encoded(compressed(cut(image), first), second)) for image in images]
        named = [facts.earlier_quality for facts in found if facts.earlier_quality is not None]
        right = f"{np.mean([abs(quality - first) <= 2 for quality in named]):.2f}" if named else "-"
        return f"{np.mean([facts.recompressed is True for facts in found]):.2f}; {len(named) / len(found):.2f}; {right}"

    print_table("first \\ second", seconds, ((first, [seen(first, second) for second in seconds]) for first in firsts))

    def wrong(edit: Edit, second: int) -> str:
        found = [stored(encoded(edit(cut(image)), second)).recompressed for image in all_images]
        return f"{np.mean([bool(value) for value in found]):.3f}"

    rows = ((name, [wrong(edit, second) for second in seconds]) for name, edit in EDITS.items())
    print_table("compressed once \\ quality", seconds, rows)


def study_enlarged(images: Sequence[Image.Image], all_images: Sequence[Image.Image]) -> None:
    """Share of pictures of which the factor is right within 20 %, and of not enlarged ones that are flagged."""
    qualities = (None, 95, 85, 75)

    def right(name: str, factor: float, quality: int | None, edit: Edit = EDITS["as it is"]) -> float:
        side = round(256 * factor)
        enlarged = (edit(half(image).resize((side, side), KERNELS[name])) for image in images)
        found = [enlargement_factor(np.asarray(compressed(image, quality))) for image in enlarged]
        return float(np.mean([value is not None and abs(value / factor - 1) <= 0.2 for value in found]))

    for quality in qualities:
        rows = ((name, [f"{right(name, factor, quality):.2f}" for factor in FACTORS]) for name in KERNELS)
        print_table(f"enlarged, then {'PNG' if quality is None else f'JPEG {quality}'}", FACTORS, rows)
    for edit in ("blurred, sigma 1", "noise, sigma 5", "sharpened"):
        rows = ((name, [f"{right(name, factor, None, EDITS[edit]):.2f}" for factor in FACTORS]) for name in KERNELS)
        print_table(f"enlarged, then {edit}", FACTORS, rows)

    def flagged(edit: Edit, quality: int | None) -> str:
        found = [enlargement_factor(np.asarray(compressed(edit(image), quality))) for image in all_images]
        return f"{np.mean([value != 1 for value in found]):.3f}"

    several = {**EDITS, "reduced to 0.75": lambda image: image.resize((384, 384), Image.Resampling.BILINEAR)}
    several |= {"reduced to half": half}
    rows = ((name, [flagged(edit, quality) for quality in qualities]) for name, edit in several.items())
    print_table("not enlarged", ("PNG", *qualities[1:]), rows)


def study_tones(images: Sequence[Image.Image]) -> None:
    """Mean error of clipped percentages after compression, and the bits found in pictures of known bits."""
    exposures = {"x 1.3": (1.3, 0), "x 1.8": (1.8, 0), "- 40": (1, -40), "x 1.2 - 60": (1.2, -60)}

    def clipping(gain: float, offset: float) -> list[str]:
        exposed = [brightened(half(image), gain, offset) for image in images]
        pixels = [np.asarray(image) for image in exposed]
        true = [100 * np.mean((p.min(-1) == 255) | (p.max(-1) == 0)) for p in pixels]
        cells = [f"{np.mean(true):.1f}"]
        for quality in (None, 95, 85, 75, 50):
            found = [count_tones(np.asarray(compressed(image, quality))) for image in exposed]
            errors = [abs(f.shadows + f.highlights - t) for f, t in zip(found, true, strict=True)]
            cells.append(f"{np.mean(errors):.1f}")
        return cells

    columns = ("clipped, %", "error: PNG", 95, 85, 75, 50)
    print_table("exposure", columns, ((name, clipping(*way)) for name, way in exposures.items()))

    grey = [np.asarray(image.convert("L")).astype(int) for image in images]
    ways: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
        "as it is": (lambda p: p.astype(np.uint8), 8),
        **{f"{b} bits, cut off": (lambda p, b=b: (p >> (8 - b) << (8 - b)).astype(np.uint8), b) for b in (2, 4, 6, 7)},
        **{f"{b} bits, scaled": (lambda p, b=b: scaled(p >> (8 - b), b).astype(np.uint8), b) for b in (2, 4, 6, 7)},
        "8 in 16, x 257": (lambda p: (p * 257).astype(np.uint16), 8),
        "8 in 16, x 256": (lambda p: (p * 256).astype(np.uint16), 8),
        "8 in 16, curve": (lambda p: np.rint((p / 255) ** 0.8 * 65535).astype(np.uint16), 8),
        "contrast x 2": (lambda p: np.clip(p * 2 - 128, 0, 255).astype(np.uint8), 7),
    }

    def bits(make: Callable[[np.ndarray], np.ndarray], true: int) -> list[str]:
        found = np.array([count_tones(make(pixels)).bits for pixels in grey])
        return [str(true), f"{np.mean(found == true):.3f}", f"{found.min()} to {found.max()}"]

    print_table("levels", ("bits", "right", "found"), ((name, bits(*way)) for name, way in ways.items()))


def scaled(levels: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(levels * 255 / (2**bits - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fact", choices=("quality", "recompressed", "enlarged", "tones"))
    parser.add_argument("--decoded", help="what `prepare` wrote; for all but quality")
    parser.add_argument("--split", choices=("train", "val"), default="val")
    parser.add_argument(
        "--images", type=int, default=100, help="for each cell of a table; false alarms: five times that"
    )
    args = parser.parse_args()
    if args.fact == "quality":
        study_quality()
        return
    if not args.decoded:
        parser.error("--decoded: expected the folder that `prepare` wrote for BIQ2021")
    images = photographs(args.decoded, args.split, 5 * args.images)
    few = images[: args.images]
    if args.fact == "recompressed":
        study_recompressed(few, images)
    elif args.fact == "enlarged":
        study_enlarged(few, images)
    else:
        study_tones(few)


if __name__ == "__main__":
    main()
