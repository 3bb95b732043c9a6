"""The network in OpenVINO or ONNX Runtime, for folders: faster on the CPU. `pip install "qfm-metric[fast]"`.

Pictures are looked at as always; what is traced begins behind that. A whole file for other programs is
`qfm_metric.export`'s.
"""

import importlib.util
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .atomic import whole_file
from .backbone import Convolution
from .export import OPSET, ExportError, exportable_net, half_noise, import_onnxruntime
from .folder.options import RUNTIMES
from .geometry import CELL
from .images import Pixels
from .model import QFMNet
from .rating import Rating, note
from .score import QFMScore
from .torch_defaults import torch_defaults

TOLERANCE = 1e-5  # of a score, between a runtime and torch
PACKAGES = {"openvino": ("openvino", "onnx"), "onnx": ("onnxruntime", "onnx")}
"""What each of `RUNTIMES` needs."""
SHAPES = ((64, 64), (64, 320), (320, 96), (256, 384))  # height and width of views that are compared
BRIEFLY = SHAPES[:2]


class CompiledScore:
    """A metric for `score_files` whose network runs in another runtime, on the CPU, for pictures one by one.

    All numbers are within 1e-5 of torch's, which is checked whenever one is made. Can be pickled: the graph
    goes with it. It uses as many threads as torch does when it is first used.

    Args:
        metric: On the CPU. Later changes of its weights are not seen.
        runtime: A key of `RUNTIMES`.
        cache: Folder in which the graph of weights from a file is kept; it takes a second or two to make. None: it is
            not kept.

    Attributes:
        graph: The network as an ONNX file.
        difference: The largest difference to torch's numbers that was seen.

    Raises:
        ExportError: a package is missing, the network cannot be traced, or the scores differ by more than 1e-5.
        TypeError: the metric is no `QFMScore`.
        ValueError: the metric is not on the CPU; another runtime.

    Examples:
        >>> from qfm_metric import QFMScore, score_files
        >>> rows = score_files(["a.jpg"], CompiledScore(QFMScore()))  # doctest: +SKIP
    """

    device = torch.device("cpu")

    @torch_defaults()
    def __init__(self, metric: QFMScore, runtime: str = "onnx", cache: str | os.PathLike[str] | None = None) -> None:
        if not isinstance(metric, QFMScore):
            raise TypeError(f"metric: expected a QFMScore, got {type(metric).__name__}; others run in torch")
        if runtime not in RUNTIMES:
            raise ValueError(f"runtime: expected one of {', '.join(RUNTIMES)}, got {runtime!r}")
        if metric.device.type != "cpu":
            raise ValueError(f"expected a metric on the CPU, got one on {metric.device}; metric.to('cpu') moves it")
        if missing := missing_packages(runtime):
            raise ExportError(f"expected the packages {', '.join(missing)}; pip install {' '.join(missing)}")
        self.metric, self.runtime = metric, RUNTIMES[runtime]
        self._start: Callable[[bytes], Any] = STARTS[runtime]
        self._session: Any = None
        self.graph, self.difference = b"", float("inf")
        file = _cached(metric, cache)
        if file and os.path.isfile(file):  # of a folder that must not be looked into, `Path.is_file` raises
            with suppress(Exception):  # damaged, of another version of a runtime, or of another network
                self.graph = file.read_bytes()
                self.difference = self._largest_difference(BRIEFLY)
        if not self.difference <= TOLERANCE:
            self.graph, self._session = onnx_graph(metric), None
            self.difference = self._largest_difference(SHAPES)
            if not self.difference <= TOLERANCE:
                raise ExportError(f"expected scores within {TOLERANCE:g} of torch's, got {self.difference:g} off")
            if file:
                with suppress(OSError):  # a full disk, or a home that cannot be written: made again next time
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with whole_file(file, "wb") as written:
                        written.write(self.graph)
        self._session = None  # torch may be given other threads before this is used

    @property
    def signature(self) -> str:
        """What to state beside published scores: the metric's, and what ran it."""
        return f"{self.metric.signature}, {self.runtime}"

    @property
    def weights_sha256(self) -> str:
        """The metric's."""
        return self.metric.weights_sha256

    @property
    def defects(self) -> tuple[str, ...]:
        """The metric's."""
        return self.metric.defects

    def look(self, pixels: Pixels) -> Tensor:
        """Views `(1, V, 3, h, w)` of one picture, see `qfm_metric.rating.Metric`."""
        return self.metric.look(pixels)

    def rate(self, views: Sequence[Tensor], maps: bool = False, descriptors: bool = False) -> list[Rating]:
        """Ratings of pictures that were looked at, without maps, see `qfm_metric.rating.Metric`.

        Raises:
            ValueError: maps are asked for.
        """
        if maps:
            raise ValueError(
                f"maps: expected a metric that runs in torch, got one in {self.runtime}; leave one of the two out"
            )
        if self._session is None:
            self._session = self._start(self.graph)
        return [self._rating(self._session(looked[0].numpy())[0].tolist(), descriptors) for looked in views]

    def _rating(self, values: list[float], descriptors: bool) -> Rating:
        config = self.metric.net.config
        score, *rest = values
        std = rest.pop(0) if config.uncertainty else None
        told = note(rest.pop(0)) if config.photograph else None
        costs, shown = rest[: len(self.defects)], rest[len(self.defects) :]
        named = self.metric.named(costs) if self.defects else None
        return Rating(score, std, defects=named, note=told, descriptor=torch.tensor(shown) if descriptors else None)

    def show(self, views: Tensor, size: tuple[int, int]) -> Tensor:
        """The whole picture as it was looked at, see `qfm_metric.rating.Metric`."""
        return self.metric.show(views, size)

    def _largest_difference(self, shapes: Sequence[tuple[int, int]]) -> float:
        """Between what both tell, over one view and all, of several shapes."""
        net, noise, differences = self.metric.net, torch.Generator().manual_seed(0), []
        for height, width in shapes:
            for count in {1, 1 + net.config.native_views}:
                images = half_noise(count, height, width, noise)
                with torch.inference_mode():
                    views = (images[None] - net.mean) / net.std
                    (found,), (expected,) = (metric.rate([views], descriptors=True) for metric in (self, self.metric))
                    # Of a graph without descriptors, which an earlier version has kept, there are fewer numbers.
                    both = zip(_numbers(found), _numbers(expected), strict=True)
                    differences += [abs(one - other) for one, other in both]
        return max(differences)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_session": None}


def _numbers(rating: Rating) -> list[float]:
    """All that is told of a picture."""
    assert rating.descriptor is not None
    std = 0.0 if rating.std is None else rating.std
    costs = (rating.defects or {}).values()
    return [rating.score, std, float(rating.note is not None), *costs, *rating.descriptor.tolist()]


def missing_packages(runtime: str) -> list[str]:
    """What a runtime needs and is not there, as far as can be said without importing it."""
    missing = []
    for name in PACKAGES[runtime]:
        try:
            found = importlib.util.find_spec(name)
        except ValueError:  # None in sys.modules
            found = None
        if found is None:
            missing.append(name)
    return missing


def cache_folder() -> Path | None:
    """Where programs of this user keep what they can make again; None if no home is known, as in some containers."""
    named = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME")
    usual = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")
    base = os.environ.get(named) or os.path.expanduser(f"~/{usual}")
    return None if base.startswith("~") else Path(base, "qfm-metric")


def _cached(metric: QFMScore, cache: str | os.PathLike[str] | None) -> Path | None:
    from . import __version__

    if cache is None or not metric.weights_sha256:
        return None
    return Path(cache, f"{metric.weights_sha256}-{__version__}.onnx")


class _OneRating(nn.Module):
    """`QFMNet.judge_views` of one picture: `(V, 3, h, w)` to what is known of it, side by side, `(1, 1 to 3 + K + C)`.

    These are the score, and where the network has them, the deviation, the logit of being a photograph, and what each
    defect costs; then the descriptor.
    """

    def __init__(self, net: QFMNet) -> None:
        super().__init__()
        self.net = exportable_net(net)
        self.net.decoder.attention = _Attention(self.net.decoder.attention)  # type: ignore[assignment]
        for parent in list(self.net.backbone.modules()):
            for name, layer in parent.named_children():
                if isinstance(layer, Convolution) and layer.around:
                    setattr(parent, name, _Padded(layer))

    def forward(self, views: Tensor) -> Tensor:
        found = self.net.judge_views(views[None], descriptors=True)
        known = (found.scores, found.stds, found.photographs)
        columns = [values[:, None] for values in known if values is not None]
        costs = [] if found.defects is None else [found.defects[..., 0]]
        assert found.descriptors is not None
        return torch.cat([*columns, *costs, found.descriptors], dim=1)


class _Attention(nn.Module):
    """What `nn.MultiheadAttention` computes, for any number of tokens: torch's own would be traced for one."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False) -> tuple[Tensor, None]:
        own = self.attention
        weights, biases = own.in_proj_weight.chunk(3), own.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, w, b).unflatten(-1, (own.num_heads, own.head_dim)).transpose(1, 2)  # type: ignore[no-untyped-call]
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
        found = (q @ k.transpose(-1, -2) * own.head_dim**-0.5).softmax(-1) @ v
        return own.out_proj(found.transpose(1, 2).flatten(2)), None


class _Padded(nn.Module):
    """A `Convolution` that is padded, as one node: ONNX Runtime changes the layout of all maps for padding apart."""

    def __init__(self, layer: Convolution) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        own = self.layer
        found: Tensor = _PaddedConvolution.apply(x, own.weight, own.bias, own.around, own.stride, own.groups)  # type: ignore[no-untyped-call]
        return found if own.linear else F.relu6(found)


class _PaddedConvolution(torch.autograd.Function):
    """What torch would write as a Pad and a Conv; `around` is left, right, top, bottom."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, around: Any, stride: Any, groups: int) -> Tensor:
        return F.conv2d(F.pad(x, around), weight, bias, stride, groups=groups)

    @staticmethod
    def symbolic(graph: Any, x: Any, weight: Any, bias: Any, around: Any, stride: Any, groups: int) -> Any:
        left, right, top, bottom = around
        return graph.op("Conv", x, weight, bias, strides_i=stride, pads_i=[top, left, bottom, right], group_i=groups)


@torch_defaults()
def onnx_graph(metric: QFMScore) -> bytes:
    """An ONNX file of `views` `(V, 3, h, w)` to `ratings`, see `_OneRating`.

    Raises:
        ExportError: torch cannot trace this network.
    """
    example = torch.rand(2, 3, 2 * CELL, 3 * CELL, generator=torch.Generator().manual_seed(0))
    written, free = io.BytesIO(), {"views": {0: "V", 2: "h", 3: "w"}}
    names = {"input_names": ["views"], "output_names": ["ratings"], "dynamic_axes": free, "opset_version": OPSET}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The tracer warns of every number that it takes as fixed; the comparison says whether one was not. The
            # exporter that needs no onnxscript warns of its age.
            warnings.simplefilter("ignore")
            torch.onnx.export(_OneRating(metric.net).eval(), (example,), written, dynamo=False, **names)  # type: ignore[arg-type]
    except Exception as error:  # torch raises what it likes for what it cannot trace
        backbone = metric.net.config.backbone
        raise ExportError(f"torch {torch.__version__} cannot trace the backbone {backbone!r}: {error}") from error
    return written.getvalue()


def _start_onnx(graph: bytes) -> Callable[[Any], Any]:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # beside other workers, waiting costs
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda views: session.run(None, {"views": views})[0]


def _start_openvino(graph: bytes) -> Callable[[Any], Any]:
    import openvino

    core = openvino.Core()
    # Pinned, all workers would share the first core.
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    settings |= {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(io.BytesIO(graph)), "CPU", settings)
    return lambda views: compiled(views)[0]


STARTS = {"openvino": _start_openvino, "onnx": _start_onnx}
