"""The network in ONNX Runtime, for `score_files`: 0.4 of torch's time on the CPU. `pip install "qfm-metric[onnx]"`.

Views are made as always, from pixels; what is traced begins behind them. A whole file for other programs is
`qfm_metric.export`'s.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .export import TOLERANCE, ExportError, exportable_net, half_noise, need_packages, to_onnx, trace
from .model import CELL, QFMNet
from .score import QFMScore
from .torch_defaults import torch_defaults


class OnnxNetwork:
    """`QFMNet.score_views` in ONNX Runtime, on the CPU, for pictures one by one.

    Made once, in about 45 s of processor time for released weights: the network is traced, and its scores are compared
    with torch's. Then it takes 0.4 of torch's time, with scores within 1e-4 (measured: 1e-5). Can be pickled: another
    process starts it in a tenth of a second. It uses as many threads as torch does when it is first called.

    Args:
        metric: On the CPU; score files with this one. Later changes of its weights are not seen.

    Attributes:
        difference: The largest difference to torch's scores that was seen.

    Raises:
        ExportError: the packages of `qfm-metric[onnx]` are missing, the network cannot be traced, or the scores differ
            by more than 1e-4.
        ValueError: the metric is not on the CPU.

    Examples:
        >>> from qfm_metric import QFMScore, score_files
        >>> rows = score_files(["a.jpg"], metric := QFMScore(), network=OnnxNetwork(metric))  # doctest: +SKIP
    """

    @torch_defaults()
    def __init__(self, metric: QFMScore) -> None:
        device = metric.device
        if device.type != "cpu":
            raise ValueError(f"expected a metric on the CPU, got one on {device}; metric.to('cpu') moves it")
        need_packages()
        self.model: bytes = onnx_network(metric).SerializeToString()
        self._session: Any = None
        self.difference = _largest_difference(self, metric)
        if not self.difference <= TOLERANCE:
            raise ExportError(
                f"expected the network's scores within {TOLERANCE:g}, ONNX Runtime's differ by {self.difference:g}"
            )
        self._session = None  # torch may be given other threads before this is used

    def __call__(self, views: Tensor) -> Tensor:
        """Score the views of one picture.

        Args:
            views: `(1, V, 3, h, w)`, float32, as `QFMNet.distinct_views` gives them.

        Returns:
            Calibrated score `(1,)` in (0, 1).
        """
        if self._session is None:
            self._session = _start(self.model)
        return torch.from_numpy(self._session.run(None, {"views": views[0].numpy()})[0])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_session": None}


class _OneScore(nn.Module):
    """`QFMNet.score_views` of one picture: `(V, 3, h, w)` to `(1,)`."""

    def __init__(self, net: QFMNet) -> None:
        super().__init__()
        self.net = exportable_net(net)

    def forward(self, views: Tensor) -> Tensor:
        return self.net.score_views(views[None])


@torch_defaults()
def onnx_network(metric: QFMScore) -> Any:
    """The `onnx.ModelProto` that `OnnxNetwork` runs: `views` `(V, 3, h, w)` to `scores` `(1,)`."""
    from torch.export import Dim

    example = torch.rand(2, 3, 2 * CELL, 3 * CELL, generator=torch.Generator().manual_seed(0))
    shapes = {0: Dim("V"), 2: CELL * Dim("rows"), 3: CELL * Dim("columns")}
    program = trace(_OneScore(metric.net), example, shapes, metric)
    return to_onnx(program, {"views": "VChw", "scores": "N"}, metric)


def _start(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # beside other workers, waiting costs
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _largest_difference(network: OnnxNetwork, metric: QFMScore) -> float:
    """Between the scores of both, over one view and all, of several shapes."""
    noise, differences = torch.Generator().manual_seed(0), []
    for height, width in ((64, 64), (64, 320), (320, 96), (256, 384)):
        for count in {1, 1 + metric.net.config.native_views}:
            images = half_noise(count, height, width, noise)
            with torch.inference_mode():
                views = metric.net.stack_views(images[:1], [view[None] for view in images[1:]])
                expected = metric.net.score_views(views)
                differences.append((network(views) - expected).abs().max().item())
    return float(max(differences))
