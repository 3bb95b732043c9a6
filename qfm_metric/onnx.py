"""The network in ONNX Runtime, for folders: 0.4 of torch's time on the CPU. `pip install "qfm-metric[onnx]"`.

Pictures are looked at as always; what is traced begins behind that. A whole file for other programs is
`qfm_metric.export`'s.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .export import TOLERANCE, ExportError, exportable_net, half_noise, need_packages, to_onnx, trace
from .images import Pixels
from .model import CELL, QFMNet
from .score import QFMScore, Rating, note
from .torch_defaults import torch_defaults

RUNTIME = "ONNX Runtime"


class OnnxScore:
    """A metric for `score_files` whose network runs in ONNX Runtime, on the CPU, for pictures one by one.

    Made once, in about 45 s of processor time for released weights: the network is traced, and its scores are compared
    with torch's. Then it takes 0.4 of torch's time, with scores within 1e-4 (measured: 1e-5). Can be pickled: what was
    traced goes with it. It uses as many threads as torch does when it is first used.

    Args:
        metric: On the CPU. Later changes of its weights are not seen.

    Attributes:
        difference: The largest difference to torch's scores that was seen.

    Raises:
        ExportError: the packages of `qfm-metric[onnx]` are missing, the network cannot be traced, or the scores differ
            by more than 1e-4.
        ValueError: the metric is not on the CPU.

    Examples:
        >>> from qfm_metric import QFMScore, score_files
        >>> rows = score_files(["a.jpg"], OnnxScore(QFMScore()))  # doctest: +SKIP
    """

    runtime = RUNTIME
    device = torch.device("cpu")

    @torch_defaults()
    def __init__(self, metric: QFMScore) -> None:
        if metric.device.type != "cpu":
            raise ValueError(f"expected a metric on the CPU, got one on {metric.device}; metric.to('cpu') moves it")
        need_packages()
        self.metric = metric
        self.model: bytes = onnx_network(metric).SerializeToString()
        self._session: Any = None
        self.difference = self._largest_difference()
        if not self.difference <= TOLERANCE:
            raise ExportError(
                f"expected the network's scores within {TOLERANCE:g}, ONNX Runtime's differ by {self.difference:g}"
            )
        self._session = None  # torch may be given other threads before this is used

    @property
    def signature(self) -> str:
        """What to state beside published scores: the metric's, and what ran it."""
        return f"{self.metric.signature}, {self.runtime}"

    @property
    def weights_sha256(self) -> str:
        """The metric's."""
        return self.metric.weights_sha256

    def look(self, pixels: Pixels) -> Tensor:
        """Views `(1, V, 3, h, w)` of one picture, see `qfm_metric.score.Metric`."""
        return self.metric.look(pixels)

    def rate(self, views: Sequence[Tensor], maps: bool = False) -> list[Rating]:
        """Ratings of pictures that were looked at, without maps, see `qfm_metric.score.Metric`.

        Raises:
            ValueError: maps are asked for.
        """
        if maps:
            raise ValueError(
                f"maps: expected a metric that runs in torch, got one in {self.runtime}; leave one of the two out"
            )
        if self._session is None:
            self._session = _start(self.model)
        return [self._rating(self._session.run(None, {"views": looked[0].numpy()})[0][0].tolist()) for looked in views]

    def _rating(self, values: list[float]) -> Rating:
        config, (score, *others) = self.metric.net.config, values
        std = others.pop(0) if config.uncertainty else None
        return Rating(score, std, note=note(others[0]) if config.photograph else None)

    def show(self, views: Tensor, size: tuple[int, int]) -> Tensor:
        """The whole picture as it was looked at, see `qfm_metric.score.Metric`."""
        return self.metric.show(views, size)

    def _largest_difference(self) -> float:
        """Between the scores of both, over one view and all, of several shapes."""
        net, noise, differences = self.metric.net, torch.Generator().manual_seed(0), []
        for height, width in ((64, 64), (64, 320), (320, 96), (256, 384)):
            for count in {1, 1 + net.config.native_views}:
                images = half_noise(count, height, width, noise)
                with torch.inference_mode():
                    views = (images[None] - net.mean) / net.std
                    differences.append(abs(self.rate([views])[0].score - net.score_views(views).item()))
        return max(differences)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_session": None}


class _OneRating(nn.Module):
    """`QFMNet.judge_views` of one picture: `(V, 3, h, w)` to `(1, 1 to 3)`.

    These are the score, and where the network has them, the deviation and the logit of being a photograph.
    """

    def __init__(self, net: QFMNet) -> None:
        super().__init__()
        self.net = exportable_net(net)

    def forward(self, views: Tensor) -> Tensor:
        found = self.net.judge_views(views[None])
        known = (found.scores, found.stds, found.photographs)
        return torch.stack([values for values in known if values is not None], dim=1)


@torch_defaults()
def onnx_network(metric: QFMScore) -> Any:
    """The `onnx.ModelProto` that `OnnxScore` runs: `views` `(V, 3, h, w)` to `ratings` `(1, 1 to 3)`."""
    from torch.export import Dim

    example = torch.rand(2, 3, 2 * CELL, 3 * CELL, generator=torch.Generator().manual_seed(0))
    shapes = {0: Dim("V"), 2: CELL * Dim("rows"), 3: CELL * Dim("columns")}
    program = trace(_OneRating(metric.net), example, shapes, metric)
    return to_onnx(program, {"views": "VChw", "ratings": "NK"}, metric)


def _start(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # beside other workers, waiting costs
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
