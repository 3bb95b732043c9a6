"""The metric as one graph, from images of any size to scores: an ONNX file, or a program of torch.export.

`QFMScore` looks at a picture's height and width in Python, and a graph cannot: here the size of the views is computed
by the graph itself, in double precision as Python does, so that the scores are the same.
"""

import copy
import importlib
import io
import json
import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .atomic import whole_file
from .backbone import EfficientNetLite
from .decoding.suffixes import check_no_picture
from .geometry import CELL, SHORTEST_SIDE
from .model import QFMNet
from .own_files import is_export
from .score import QFMScore
from .torch_defaults import torch_defaults

OPSET = 18  # the first whose Resize can reduce without aliasing
LONGEST = 2**16  # px of a side of an exported program's images
TOLERANCE = 1e-4  # of a score, between the metric and what was written
Made = tuple[bytes, Callable[[Tensor], Tensor]]  # a file's bytes, and what they compute
TELEMETRY = "ORT_DISABLE_TELEMETRY"
MISSING = 'expected the packages onnx, onnxruntime and onnxscript; pip install "qfm-metric[onnx]"'


class ExportError(RuntimeError):
    """The metric cannot be written in this form; the message says why."""


class ExportableScore(nn.Module):
    """`QFMScore`'s arithmetic without a decision in Python: `(N, 3, H, W)` in [0, 1] to scores `(N,)`.

    Args:
        net: A copy is made, on the CPU and in float32.

    Raises:
        ExportError: `net` has views whose sides are no multiples of 32.
    """

    def __init__(self, net: QFMNet) -> None:
        super().__init__()
        pixels = net.config.view_pixels
        if pixels % (CELL * SHORTEST_SIDE):
            raise ExportError(f"view_pixels: expected a multiple of {CELL * SHORTEST_SIDE} for an export, got {pixels}")
        self.net = exportable_net(net)

    def forward(self, images: Tensor) -> Tensor:
        """As `QFMScore.forward`, for a batch of float images; nothing is checked."""
        return self.net.score_views(self.views(images.clamp(0, 1)))

    def views(self, images: Tensor) -> Tensor:
        """As `QFMNet.preprocess`, but pictures that fit into a view have one: `(N, V, 3, h, w)`.

        Attention over tokens that are all there twice finds what it finds in one copy.
        """
        config = self.net.config
        if config.working_pixels:
            exact = [torch.scalar_tensor(side, dtype=torch.float64) for side in images.shape[-2:]]
            scale = (config.working_pixels / (exact[0] * exact[1])).sqrt().clamp(max=1)
            working = [_integer((side * scale).round().clamp(1, LONGEST), 1, LONGEST) for side in exact]
            images = F.interpolate(images, working, mode="bilinear", antialias=True, align_corners=False)
        sides = images.shape[-2:]
        exact = [torch.scalar_tensor(side, dtype=torch.float64) for side in sides]
        scale = (config.view_pixels / (exact[0] * exact[1])).sqrt().clamp(max=1)
        most = config.view_pixels // (SHORTEST_SIDE * CELL)
        cells = [(side * scale / CELL).round().clamp(SHORTEST_SIDE // CELL, most) for side in exact]
        size = [CELL * _integer(count, SHORTEST_SIDE // CELL, most) for count in cells]
        spare = [side - CELL * count for side, count in zip(exact, cells, strict=True)]

        views = [F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)]
        for i in range(config.native_views):
            place = (2 * i + 1) / (2 * config.native_views)
            rows, columns = (
                # Held inside the picture where it is smaller than the view: such a piece is not looked at, see below.
                ((room * place).floor().clamp(min=0).long() + torch.arange(want)).clamp(max=have - 1)
                for room, want, have in zip(spare, size, sides, strict=True)
            )
            views.append(images.index_select(2, rows).index_select(3, columns))
        has_pieces = (torch.minimum(*spare) >= 0) & (torch.maximum(*spare) > 0)
        number = _integer(1 + has_pieces * config.native_views, 1, 1 + config.native_views)
        return (torch.stack(views, dim=1)[:, :number] - self.net.mean) / self.net.std


def _integer(value: Tensor, least: int, most: int) -> int:
    """A number that the graph computes, as a size, with the bounds that the tracer cannot see."""
    size: int = value.long().item()  # type: ignore[assignment]
    torch._check(size >= least)
    torch._check(size <= most)
    return size


def exportable_net(net: QFMNet) -> QFMNet:
    """A copy that can be traced, on the CPU and in float32; the sides of its views must be multiples of 32."""
    net = copy.deepcopy(net).cpu().float().requires_grad_(False).eval()
    if not isinstance(net.backbone, EfficientNetLite):  # whose padding is fixed
        _fix_padding(net)
    return net


def _fix_padding(net: nn.Module) -> None:
    """Replace TensorFlow's padding, computed from each input's size, by what it is for sides that strides divide."""
    from timm.layers import Conv2dSame  # type: ignore[attr-defined]

    for parent in list(net.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, Conv2dSame):
                reach = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
                rows, columns = (max(r - s, 0) for r, s in zip(reach, layer.stride, strict=True))
                pad = nn.ZeroPad2d((columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
                plain = nn.Conv2d(
                    layer.in_channels,
                    layer.out_channels,
                    layer.kernel_size,  # type: ignore[arg-type]
                    layer.stride,  # type: ignore[arg-type]
                    dilation=layer.dilation,  # type: ignore[arg-type]
                    groups=layer.groups,
                    bias=layer.bias is not None,
                )
                plain.weight, plain.bias = layer.weight, layer.bias
                setattr(parent, name, nn.Sequential(pad, plain))


@torch_defaults()
def export_program(metric: QFMScore) -> torch.export.ExportedProgram:
    """Trace the metric for any number, height and width (up to 65,536 px) of images.

    Args:
        metric: Left as it is; the program is for the CPU.

    Returns:
        A program that takes `images`, `(N, 3, H, W)`, float32 in [0, 1], and gives scores `(N,)`.

    Raises:
        ExportError: torch cannot trace this network.
    """
    from torch.export import Dim

    example = torch.rand(2, 3, 300, 500, generator=torch.Generator().manual_seed(0))
    shapes = {0: Dim("N"), 2: Dim("H", max=LONGEST), 3: Dim("W", max=LONGEST)}
    return trace(ExportableScore(metric.net), example, shapes, metric)


def trace(module: nn.Module, example: Tensor, shapes: dict[int, Any], metric: QFMScore) -> torch.export.ExportedProgram:
    """`module`, made of `metric`, as a program; `shapes` are the dimensions of its one argument that are free.

    Raises:
        ExportError: torch cannot trace this network.
    """
    try:
        program = torch.export.export(module.eval(), (example,), dynamic_shapes=(shapes,), strict=False)
    except Exception as error:  # torch raises what it likes for what it cannot trace
        backbone = metric.net.config.backbone
        raise ExportError(f"torch {torch.__version__} cannot trace the backbone {backbone!r}: {error}") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names the folders of this machine
    return program


def export_pt2(metric: QFMScore, path: str | os.PathLike[str]) -> float:
    """Write a program for `torch.export.load`, once it has given the metric's own scores.

    Args:
        metric: What to write.
        path: Written at once or not at all.

    Returns:
        The largest difference to the metric's scores that was seen.

    Raises:
        ExportError: the network cannot be traced, or the scores differ by more than 1e-4.
        OSError: `path` cannot be written, or is there, not empty and no export of ours.
        TypeError: `metric` is no `QFMScore`.
        ValueError: `path` is named as a picture.
    """

    def make() -> Made:
        program = export_program(metric)
        with warnings.catch_warnings():
            # torch takes a channels_last tensor for a part of one; it is saved whole, as the comparison shows.
            warnings.filterwarnings("ignore", "No complete tensor found", UserWarning)
            # Into memory: torch ends the process if it cannot write a file, of a full disk for example.
            saved = io.BytesIO()
            torch.export.save(program, saved, extra_files={"qfm_metric.json": json.dumps(_about(metric))})
        return saved.getvalue(), torch.export.load(io.BytesIO(saved.getvalue())).module()

    return _write_verified(path, "pt2", make, metric)


def export_onnx(metric: QFMScore, path: str | os.PathLike[str]) -> float:
    """Write an ONNX model, opset 18, once onnxruntime has given the metric's own scores with it.

    Its input is `images`, `(N, 3, H, W)`, float32 in [0, 1], of any size; its output `scores`, `(N,)`. All
    preprocessing is in the graph. The metadata name the weights.

    Args:
        metric: What to write.
        path: Written at once or not at all.

    Returns:
        The largest difference to the metric's scores that was seen.

    Raises:
        ExportError: the packages of `qfm-metric[onnx]` are missing, the network cannot be traced, or the scores differ
            by more than 1e-4.
        OSError: `path` cannot be written, or is there, not empty and no export of ours.
        TypeError: `metric` is no `QFMScore`.
        ValueError: `path` is named as a picture.
    """
    need_packages()
    onnxruntime = import_onnxruntime()

    def make() -> Made:
        data = onnx_model(metric).SerializeToString()
        session = onnxruntime.InferenceSession(data)
        return data, lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    return _write_verified(path, "onnx", make, metric)


def need_packages() -> None:
    """Raises an ExportError unless the packages of `qfm-metric[onnx]` are there."""
    try:
        import_onnxruntime()
        for name in ("onnx", "onnxscript"):  # torch needs the last one
            importlib.import_module(name)
    except ImportError as error:
        raise ExportError(MISSING) from error


def import_onnxruntime() -> Any:
    """ONNX Runtime, which is not to tell its makers about the pictures' owner.

    Since 1.29 it sends what it runs and keeps a number of the machine in the user's cache, unless `TELEMETRY` is set
    while it is imported. A program that has imported it, or has set that itself, decides for itself.
    """
    before = os.environ.get(TELEMETRY)
    os.environ.setdefault(TELEMETRY, "1")
    try:
        return importlib.import_module("onnxruntime")
    finally:
        if before is None:
            del os.environ[TELEMETRY]


@torch_defaults()
def onnx_model(metric: QFMScore) -> Any:
    """The `onnx.ModelProto` that `export_onnx` writes."""
    return to_onnx(export_program(metric), {"images": "NCHW", "scores": "N"}, metric)


def to_onnx(program: torch.export.ExportedProgram, names: dict[str, str], metric: QFMScore) -> Any:
    """A program of `metric`, of one argument, as an `onnx.ModelProto`.

    Args:
        program: What `trace` gave.
        names: Of the input and of the output, each with a letter for every dimension.
        metric: Goes into the metadata.
    """
    import onnx

    source, result = names
    optimizer = logging.getLogger("onnxscript.optimizer")  # warns of what it does not make simpler
    level = optimizer.level
    optimizer.setLevel(logging.ERROR)
    try:
        written = torch.onnx.export(
            program,
            input_names=[source],
            output_names=[result],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    finally:
        optimizer.setLevel(level)
    assert written is not None
    model = written.model_proto
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]  # what the exporter remembers of its own steps
    del model.graph.value_info[:]
    for value in (model.graph.input[0], model.graph.output[0]):
        for dim, name in zip(value.type.tensor_type.shape.dim, names[value.name], strict=True):
            if not dim.HasField("dim_value"):
                dim.dim_param = name
    onnx.helper.set_model_props(model, _about(metric))
    onnx.checker.check_model(model)
    return model


def _about(metric: QFMScore) -> dict[str, str]:
    return {"signature": metric.signature, "weights_id": metric.weights_id, "weights_sha256": metric.weights_sha256}


@torch_defaults()
def _write_verified(path: str | os.PathLike[str], form: str, make: Callable[[], Made], metric: QFMScore) -> float:
    """Write what `make` gives if its scores are the metric's; whether `path` can be written is known before."""
    name = os.fspath(path)
    check_no_picture(name)
    if not isinstance(metric, QFMScore):
        raise TypeError(f"metric: expected a QFMScore, got {type(metric).__name__}; others cannot be exported")
    with whole_file(path, "wb", is_ours=is_export(form)) as file:
        data, exported = make()
        difference = largest_difference(exported, metric)
        if not difference <= TOLERANCE:
            raise ExportError(
                f"{name}: expected the metric's scores within {TOLERANCE:g}, they differ by {difference:g}"
            )
        file.write(data)
    return difference


def largest_difference(exported: Callable[[Tensor], Tensor], metric: QFMScore) -> float:
    """Between the scores of an export and of the metric, over pictures enlarged, kept, squeezed and reduced.

    Args:
        exported: `(N, 3, H, W)` float32 on the CPU to `(N,)`.
        metric: Whose scores are expected.
    """
    noise = torch.Generator().manual_seed(0)
    differences = []
    for n, height, width in ((1, 20, 50), (1, 96, 160), (1, 8, 700), (1, 600, 450), (2, 330, 480)):
        images = half_noise(n, height, width, noise)
        with torch.inference_mode():
            expected = metric(images).cpu()
        differences.append((exported(images) - expected).abs().max().item())
    return float(max(differences))


def half_noise(n: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Images `(n, 3, height, width)` in [0, 1]: noise on the left, on the right what is smooth."""
    coarse = torch.rand(n, 3, 8, 8, generator=generator)
    images = F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    images[..., : width // 2] = torch.rand(n, 3, height, width // 2, generator=generator)
    return images
