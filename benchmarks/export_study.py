"""What do ONNX Runtime and 8-bit integers change: the scores, their agreement with people, and the time?

    OMP_NUM_THREADS=1 python benchmarks/export_study.py DATA/all.csv

DATA/all.csv is what `python -m qfm_metric.train prepare` wrote. Quantisation ranges come from its training part, SRCC
and PLCC from its validation part; the test part is never looked at. Time is the processor's, on one thread, for one
512 x 384 picture, in rounds that measure every variant once: the table gives the median over the rounds of the ratio to
QFMScore's time. The models are kept with `--keep DIR`.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
    shape_inference,
)
from torch import Tensor

from qfm_metric import QFMScore, load_image
from qfm_metric.export import export_onnx
from qfm_metric.train.agreement import plcc, srcc
from qfm_metric.train.datasets.table import read_table

Variant = Callable[[Tensor], float]
TORCH = "torch, fp32"
# What is quantised in static models: the layers that cost time; or those with what lies between them, so that fewer
# values are turned to float and back.
STATIC = {
    "ONNX Runtime, static int8: convolutions": ["Conv"],
    "ONNX Runtime, static int8: convolutions, products": ["Conv", "MatMul", "Gemm"],
    "ONNX Runtime, static int8: the same, sums, clips": ["Conv", "MatMul", "Gemm", "Add", "Clip"],
}


class Photographs(CalibrationDataReader):
    """Pictures as the exported model takes them."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.inputs: Iterator[dict[str, np.ndarray]] = ({"images": load_image(path)[None].numpy()} for path in paths)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.inputs, None)


def write_models(metric: QFMScore, folder: Path, calibration: Sequence[str]) -> dict[str, Path]:
    """The ONNX models that are compared, by name."""
    plain, prepared = folder / "fp32.onnx", folder / "prepared.onnx"
    export_onnx(metric, plain)
    shape_inference.quant_pre_process(plain, prepared, skip_symbolic_shape=True)
    models = {"ONNX Runtime, fp32": plain, "ONNX Runtime, dynamic int8": folder / "dynamic.onnx"}
    quantize_dynamic(prepared, folder / "dynamic.onnx", op_types_to_quantize=["MatMul", "Gemm"], per_channel=True)
    for i, (name, kinds) in enumerate(STATIC.items()):
        models[name] = folder / f"static-{i}.onnx"
        note(f"{name}: {len(calibration)} pictures for its ranges")
        quantize_static(
            prepared,
            models[name],
            Photographs(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=kinds,
            per_channel=True,
            reduce_range=True,  # products of 8 bits overflow the 16-bit sums of processors without VNNI
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    return models


def open_model(path: Path) -> Variant:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    return lambda image: float(session.run(None, {"images": image[None].numpy()})[0][0])


def score_all(variants: dict[str, Variant], paths: Sequence[str]) -> dict[str, np.ndarray]:
    scores = {name: np.zeros(len(paths)) for name in variants}
    for i, path in enumerate(paths):
        image = load_image(path)
        for name, variant in variants.items():
            scores[name][i] = variant(image)
        if i % 20 == 19:
            note(f"{i + 1} of {len(paths)} scored")
    return scores


def time_all(variants: dict[str, Variant], rounds: int) -> dict[str, list[float]]:
    """Ratios to torch's time, one for each round."""
    image = torch.rand(3, 384, 512, generator=torch.Generator().manual_seed(0))
    order, shuffle = list(variants), random.Random(0).shuffle
    ratios: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(-2, rounds):  # two to warm up
        shuffle(order)
        taken = {}
        for name in order:
            start = time.process_time()
            variants[name](image)
            taken[name] = time.process_time() - start
        if turn >= 0:
            for name in variants:
                ratios[name].append(taken[name] / taken[TORCH])
    return ratios


def table(
    scores: dict[str, np.ndarray], mos: np.ndarray, ratios: dict[str, list[float]], models: dict[str, Path]
) -> str:
    lines = [
        "| | MB | time | SRCC | PLCC | SRCC beside torch's | largest difference of a score | mean |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    base = srcc(scores[TORCH], mos)
    for name, found in scores.items():
        size = f"{models[name].stat().st_size / 1e6:.1f}" if name in models else ""
        agreed, apart = srcc(found, mos), np.abs(found - scores[TORCH])
        cells = [name, size, f"{median(ratios[name]):.2f}", f"{agreed:.4f}", f"{plcc(found, mos):.4f}"]
        cells += [f"{agreed - base:+.4f}", f"{apart.max():.1e}", f"{apart.mean():.1e}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path, metavar="DATA/all.csv")
    parser.add_argument("--weights", metavar="ID")
    parser.add_argument("--pictures", type=int, default=300, help="of the validation part (default: 300)")
    parser.add_argument("--calibration", type=int, default=64, help="of the training part (default: 64)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the models here")
    args = parser.parse_args()
    torch.set_num_threads(1)

    draw, rows = random.Random(0), read_table(args.labels)
    train, val = (
        draw.sample([row for row in rows if row.split == split], n)
        for split, n in (("train", args.calibration), ("val", args.pictures))
    )
    metric = QFMScore.from_pretrained(args.weights)
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode():
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        models = write_models(metric, folder, [row.image for row in train])
        variants: dict[str, Variant] = {TORCH: lambda image: metric(image).item()}
        variants |= {name: open_model(path) for name, path in models.items()}
        ratios = time_all(variants, args.rounds)
        note(" ".join(f"{name}: {median(found):.2f};" for name, found in ratios.items()))
        scores = score_all(variants, [row.image for row in val])
        mos = np.array([row.mos for row in val])
        print(f"{metric.signature}; onnxruntime {onnxruntime.__version__}, torch {torch.__version__}, ", end="")
        print(f"{torch.backends.cpu.get_cpu_capability()}, load {os.getloadavg()[0]:.1f}")
        print(table(scores, mos, ratios, models))


if __name__ == "__main__":
    main()
