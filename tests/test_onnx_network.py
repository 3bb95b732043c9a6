"""Scoring in ONNX Runtime: the rows of torch's network within 1e-5, wherever it runs; else a clear refusal."""

import json
import pickle
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from helpers.generated_files import generate
from helpers.torch_state import unusual_torch

from qfm_metric import ImageError, QFMScore, cli, load_image, score_files
from qfm_metric.export import ExportError
from qfm_metric.model import QFMConfig, QFMNet
from qfm_metric.onnx import OnnxScore
from qfm_metric.weights import save_weights

CONFIG = {"backbone": "test_efficientnet", "native_views": 1, "view_pixels": 20480, "dim": 16, "queries": 2, "heads": 2}
CONFIG |= {"mixers": 1, "context": 16, "uncertainty": True, "mean_tokens": True, "photograph": True}
SIZES = [(64, 64), (96, 128), (128, 96), (160, 128), (200, 150), (64, 300), (400, 90), (97, 61), (640, 427)]
TOLERANCE = 1e-5
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(folder, tmp_path_factory):
    """A network of random weights whose scores differ from picture to picture."""
    torch.manual_seed(0)
    net = QFMNet(QFMConfig(**CONFIG))
    net.calibration.slope.fill_(5.0)
    logits = []
    with torch.no_grad():
        for file in folder:
            with suppress(ImageError):
                logits.append(net.eval().judge_views(net.distinct_views(load_image(file)[None])).photographs.item())
        net.photograph.bias.sub_(sum(sorted(logits)[12:14]) / 2)  # about half of 27 are noted, none of them narrowly
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path, CONFIG, net.state_dict(), torch.float32)
    return path


@pytest.fixture(scope="module")
def small(weights):
    return QFMScore.from_pretrained(weights)


@pytest.fixture(scope="module")
def network(small):
    with unusual_torch():  # is the same in any state of torch, as the tests show
        return OnnxScore(small)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """30 files, a tenth of them broken."""
    return generate(tmp_path_factory.mktemp("generated"), 30, SIZES, broken=0.1)


@pytest.fixture(scope="module")
def expected(folder, small):
    return list(score_files(folder, small))


def assert_near(found, expected):
    assert [(row.path, row.error, row.width, row.height, row.note) for row in found] == [
        (row.path, row.error, row.width, row.height, row.note) for row in expected
    ]
    for of in (lambda row: row.score, lambda row: row.std, lambda row: row.extra.get("lowest")):
        assert [of(row) for row in found] == [
            None if of(row) is None else pytest.approx(of(row), abs=TOLERANCE) for row in expected
        ]


def test_rows_are_those_of_torch(folder, small, network, expected):
    assert_near(list(score_files(folder, network)), expected)
    for values in ([row.score for row in expected if not row.error], [row.std for row in expected if not row.error]):
        assert len(values) == 27
        assert torch.tensor(values).std() > 100 * TOLERANCE  # pictures can be told apart
    assert {row.note for row in expected if not row.error} == {None, "not a photograph"}


def test_tiles_in_worker_processes(folder, small, network):
    found = list(score_files(folder, network, workers=2, tile=100))
    assert_near(found, list(score_files(folder, small, tile=100)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_views_of_any_shape(small, network, count):
    assert network.difference <= TOLERANCE
    for height, width in ((64, 64), (64, 320), (320, 64), (128, 160)):
        views = torch.randn(1, count, 3, height, width, generator=torch.Generator().manual_seed(count))
        (found,) = network.rate([views])
        with torch.inference_mode():
            (expected,) = small.rate([views])
        assert found.score == pytest.approx(expected.score, abs=TOLERANCE)
        assert found.std == pytest.approx(expected.std, abs=TOLERANCE)
        assert found.quality_map is None


def test_a_network_that_predicts_no_deviation_has_none():
    torch.manual_seed(0)
    small = QFMScore(QFMNet(QFMConfig(**CONFIG | {"uncertainty": False})))
    views = torch.rand(1, 2, 3, 96, 128)
    (found,) = OnnxScore(small).rate([views])
    assert found.std is None
    assert found.score == pytest.approx(small.rate([views])[0].score, abs=TOLERANCE)


def test_a_copy_for_another_process_scores_the_same(network):
    views = torch.rand(1, 2, 3, 96, 128)
    rating = network.rate([views])
    data = pickle.dumps(network)
    assert len(data) < 1.01 * len(network.model) + len(pickle.dumps(network.metric))  # nothing of a session
    assert pickle.loads(data).rate([views]) == rating


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": "maps"}, "maps: expected a metric that runs in torch, got one in ONNX Runtime"),
        (
            {"dtype": torch.bfloat16},
            r"dtype: expected torch\.float32 of a metric that runs in ONNX Runtime, got torch\.bfloat16",
        ),
    ],
)
def test_what_only_torch_does_is_refused(network, options, message):
    with pytest.raises(ValueError, match=message):
        score_files([], network, **options)
    with pytest.raises(ValueError, match="maps: expected a metric that runs in torch"):
        network.rate([], maps=True)


def test_a_metric_elsewhere_is_refused(weights):
    elsewhere = QFMScore.from_pretrained(weights).to("meta")
    with pytest.raises(ValueError, match="expected a metric on the CPU, got one on meta"):
        OnnxScore(elsewhere)


def test_a_network_that_differs_is_refused(weights, network, monkeypatch):
    class Model:
        SerializeToString = staticmethod(lambda: network.model)

    monkeypatch.setattr("qfm_metric.onnx.onnx_network", lambda metric: Model)
    other = QFMScore.from_pretrained(weights)
    other.net.calibration.slope.mul_(0.9)
    with pytest.raises(
        ExportError, match=r"expected the network's scores within 0\.0001, ONNX Runtime's differ by 0\."
    ):
        OnnxScore(other)


def test_command(folder, weights, small, network, expected, tmp_path, monkeypatch, capsys):
    """The rows are torch's; what was scored with one is not gone on with by the other."""
    made = []  # of which weights; the graph takes a while
    monkeypatch.setattr("qfm_metric.cli.score.OnnxScore", lambda metric: made.append(metric.weights_sha256) or network)
    out = tmp_path / "out.jsonl"
    arguments = [*folder, "--weights", str(weights), "--jsonl", "-o", str(out), "--quiet"]
    assert cli.main([*arguments, "--onnx"]) == 1
    assert made == [small.weights_sha256]
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["path"] for row in found] == [row.path for row in expected]
    assert [row["score"] for row in found] == [
        None if row.score is None else pytest.approx(row.score, abs=1e-4)
        for row in expected  # four decimals
    ]
    with pytest.raises(SystemExit, match="2"):
        cli.main([*arguments, "--resume"])
    assert "onnx was True, now None" in capsys.readouterr().err
    assert len(out.read_text().splitlines()) == len(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--map", "maps"], "--map: expected a metric that runs in torch, got one in ONNX Runtime"),
        (["--dtype", "bfloat16"], "--dtype: expected torch.float32 of a metric that runs in ONNX Runtime, got torch.b"),
        (["--device", "cuda:1"], "--onnx: expected --device cpu, got cuda:1"),
        (["--engine", "ray", "--device", "cuda"], "--onnx: expected --device cpu, got cuda"),
    ],
)
def test_command_refuses(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["gone.png", "--onnx", "-o", "out.csv", "--csv", *options])
    assert message in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_missing_packages(small, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match="expected the packages onnx, onnxruntime and onnxscript; pip install"):
        OnnxScore(small)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["gone.png", "--onnx"])
    assert "--onnx: expected the packages onnx, onnxruntime and onnxscript; pip install" in capsys.readouterr().err
