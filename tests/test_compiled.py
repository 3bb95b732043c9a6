"""Scoring in another runtime: the rows of torch's network within 1e-5, wherever it runs; else torch, and a line."""

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.generated_files import generate
from helpers.processes import environment
from helpers.torch_state import unusual_torch

from qfm_metric import QFMScore, cli, compiled, score_files
from qfm_metric.compiled import PACKAGES, CompiledScore, cache_folder, onnx_graph
from qfm_metric.config import QFMConfig
from qfm_metric.export import TELEMETRY, ExportError
from qfm_metric.folder.options import RUNTIMES
from qfm_metric.model import QFMNet
from qfm_metric.weights import save_weights

CONFIG = {"backbone": "test_efficientnet", "native_views": 1, "view_pixels": 20480, "dim": 16, "queries": 2, "heads": 2}
CONFIG |= {"mixers": 1, "context": 16, "uncertainty": True}
SIZES = [(64, 64), (96, 128), (128, 96), (160, 128), (200, 150), (64, 300), (400, 90), (97, 61), (640, 427)]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network of random weights whose scores differ from picture to picture."""
    torch.manual_seed(0)
    net = QFMNet(QFMConfig(**CONFIG))
    net.calibration.slope.fill_(5.0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path, CONFIG, net.state_dict(), torch.float32)
    return path


@pytest.fixture(scope="module")
def small(weights):
    return QFMScore.from_pretrained(weights)


@pytest.fixture(scope="module", params=RUNTIMES)
def network(small, request):
    for package in PACKAGES[request.param]:
        pytest.importorskip(package)
    with unusual_torch():  # is the same in any state of torch, as the tests show
        return CompiledScore(small, request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """30 files, a tenth of them broken."""
    return generate(tmp_path_factory.mktemp("generated"), 30, SIZES, broken=0.1)


@pytest.fixture(scope="module")
def expected(folder, small):
    return list(score_files(folder, small))


def assert_near(found, expected):
    assert [(row.path, row.error, row.width, row.height) for row in found] == [
        (row.path, row.error, row.width, row.height) for row in expected
    ]
    for of in (lambda row: row.score, lambda row: row.std, lambda row: row.extra.get("lowest")):
        assert [of(row) for row in found] == [
            None if of(row) is None else pytest.approx(of(row), abs=TOLERANCE) for row in expected
        ]


def test_our_backbone_is_padded_by_its_convolutions(folded_weights):
    """For nodes that pad, ONNX Runtime would change the layout of every map, and take a fifth longer."""
    for package in PACKAGES["onnx"]:
        pytest.importorskip(package)
    import onnx

    made = CompiledScore(QFMScore.from_pretrained(folded_weights), "onnx")
    kinds = {node.op_type for node in onnx.load_from_string(made.graph).graph.node}
    assert "Conv" in kinds
    assert "Pad" not in kinds
    assert made.difference <= TOLERANCE


def test_rows_are_those_of_torch(folder, small, network, expected):
    assert_near(list(score_files(folder, network)), expected)
    for values in ([row.score for row in expected if not row.error], [row.std for row in expected if not row.error]):
        assert len(values) == 27
        assert torch.tensor(values).std() > 100 * TOLERANCE  # pictures can be told apart


@pytest.mark.slow
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
    (found,) = CompiledScore(small).rate([views])
    assert found.std is None
    assert found.score == pytest.approx(small.rate([views])[0].score, abs=TOLERANCE)


@pytest.mark.parametrize(("uncertainty", "width"), [(False, 0), (True, 0), (True, 8)])
@pytest.mark.parametrize("size", [(96, 96), (300, 200), (900, 700)])
def test_defects_are_torchs(uncertainty, width, size):
    """Of networks with mean tokens, for pictures of one view, of two, and larger than the working size."""
    torch.manual_seed(0)
    names = ("blur", "noise", "dark")
    config = CONFIG | {"context": 0, "working_pixels": 2**18, "mean_tokens": True, "defects": names, "photograph": True}
    wide = {"defect_width": width, "spread_width": width, "worst_defect": 0.3 if width else 0.0}
    small = QFMScore(QFMNet(QFMConfig(**config | {"uncertainty": uncertainty} | wide)))
    compiled, pixels = CompiledScore(small), np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert compiled.defects == names
    (found,), (expected,) = (metric.rate([metric.look(pixels)]) for metric in (compiled, small))
    assert found.score == pytest.approx(expected.score, abs=1e-5)
    assert (found.std is None) == (not uncertainty)
    assert found.defects == pytest.approx(expected.defects, abs=1e-5)
    assert found.note == expected.note


def test_descriptors_are_torchs_where_they_are_asked_for(small, network):
    for count, (height, width) in ((1, (64, 64)), (2, (128, 160))):
        views = torch.randn(1, count, 3, height, width, generator=torch.Generator().manual_seed(count))
        (plain,), (found,) = network.rate([views]), network.rate([views], descriptors=True)
        with torch.inference_mode():
            (expected,) = small.rate([views], descriptors=True)
        assert plain.descriptor is None
        assert found._replace(descriptor=None) == plain
        torch.testing.assert_close(found.descriptor, expected.descriptor, rtol=0, atol=TOLERANCE)


def test_a_graph_without_descriptors_that_was_kept_is_made_again(small, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            compiled._OneRating,
            "forward",
            lambda self, views: torch.stack(self.net.judge_views(views[None])[:2], dim=1),
        )
        (tmp_path / "kept.onnx").write_bytes(onnx_graph(small))
    monkeypatch.setattr(compiled, "_cached", lambda metric, cache: tmp_path / "kept.onnx")
    views = torch.rand(1, 2, 3, 96, 128)
    assert len(CompiledScore(small, cache=tmp_path).rate([views], descriptors=True)[0].descriptor) > 0


def test_a_copy_for_another_process_scores_the_same(network):
    views = torch.rand(1, 2, 3, 96, 128)
    rating = network.rate([views])
    data = pickle.dumps(network)
    assert len(data) < 1.01 * len(network.graph) + len(pickle.dumps(network.metric))  # nothing of a session
    assert pickle.loads(data).rate([views]) == rating


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": "maps"}, "maps: expected a metric that runs in torch, got one in"),
        ({"dtype": torch.bfloat16}, "dtype: expected float32 of a metric that runs in .*, got bfloat16"),
    ],
)
def test_what_only_torch_does_is_refused(network, options, message):
    with pytest.raises(ValueError, match=message):
        score_files([], network, **options)
    with pytest.raises(ValueError, match="maps: expected a metric that runs in torch"):
        network.rate([], maps=True)


def test_a_metric_elsewhere_is_refused(weights, monkeypatch):
    elsewhere = QFMScore.from_pretrained(weights)
    monkeypatch.setattr(QFMScore, "device", torch.device("cuda"))
    with pytest.raises(ValueError, match="expected a metric on the CPU, got one on cuda"):
        CompiledScore(elsewhere)


@pytest.mark.parametrize(
    ("metric", "runtime", "error", "message"),
    [
        (torch.nn.Identity(), "onnx", TypeError, "metric: expected a QFMScore, got Identity"),
        (None, "onnx", TypeError, "metric: expected a QFMScore, got NoneType"),
        ("small", "tensorrt", ValueError, "runtime: expected one of openvino, onnx, got 'tensorrt'"),
    ],
)
def test_what_cannot_be_compiled_is_refused(small, metric, runtime, error, message):
    with pytest.raises(error, match=message):
        CompiledScore(small if metric == "small" else metric, runtime)


@pytest.fixture
def other(weights):
    """A metric of the same weights, as far as is known, and of other scores."""
    metric = QFMScore.from_pretrained(weights)
    metric.net.calibration.slope.mul_(0.9)
    return metric


def test_a_network_that_differs_is_refused(small, other, monkeypatch):
    graph = onnx_graph(small)
    monkeypatch.setattr("qfm_metric.compiled.onnx_graph", lambda metric: graph)
    with pytest.raises(ExportError, match=r"expected scores within 1e-05 of torch's, got 0\."):
        CompiledScore(other)


def test_a_graph_is_kept_and_made_again_if_it_does_not_fit(small, other, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("qfm_metric.compiled.onnx_graph", lambda metric: made.append(metric) or onnx_graph(metric))
    first = CompiledScore(small, cache=tmp_path / "new" / "cache")
    (file,) = (tmp_path / "new" / "cache").iterdir()
    assert small.weights_sha256 in file.name
    assert CompiledScore(small, cache=file.parent).graph == first.graph == file.read_bytes()
    assert made == [small]
    other_std = copy.deepcopy(small)
    other_std.net.uncertainty[1].bias.data += 1
    for damaged in (b"", first.graph[: len(first.graph) // 2], onnx_graph(other), onnx_graph(other_std)):
        file.write_bytes(damaged)
        assert CompiledScore(small, cache=file.parent).difference <= TOLERANCE
        assert file.read_bytes() == first.graph
    assert made == [small] * 5
    assert len(list(file.parent.iterdir())) == 1
    assert CompiledScore(QFMScore(small.net), cache=tmp_path / "none").difference <= TOLERANCE  # of no weights file
    assert not (tmp_path / "none").exists()
    (tmp_path / "taken").write_text("no folder")
    assert CompiledScore(small, cache=tmp_path / "taken").difference <= TOLERANCE  # cannot be kept


def test_no_package_but_the_runtime_and_onnx_is_needed(small, monkeypatch):
    """Of the two, a missing one is named."""
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert CompiledScore(small).difference <= TOLERANCE
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match="expected the packages onnx; pip install onnx"):
        CompiledScore(small)


@pytest.fixture
def few(monkeypatch):
    """Two pictures are worth it."""
    monkeypatch.setattr("qfm_metric.folder.cores.WORTH", 2)
    monkeypatch.setattr("qfm_metric.folder.cores.allowed_workers", lambda: 1)


def command(capsys, *arguments):
    """Exit status, the rows that were written, what they were scored with, and what was said."""
    try:
        status = cli.main(list(map(str, arguments)))
    except SystemExit as ended:
        status = ended.code
    rows = [json.loads(line) for line in Path("out").read_text().splitlines()] if Path("out").exists() else []
    record = json.loads(Path("out.run.json").read_text()) if Path("out.run.json").exists() else {}
    return status, rows, record, capsys.readouterr().err


@pytest.fixture
def arguments(folder, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return [*folder, "--weights", weights, "--jsonl", "-o", "out"]


def test_the_command_takes_the_fastest_that_is_installed(arguments, small, expected, few, capsys):
    """The rows are torch's; what was scored with one is gone on with by it alone."""
    for package in PACKAGES["openvino"]:
        pytest.importorskip(package)
    status, rows, record, said = command(capsys, *arguments)
    assert (status, said) == (1, "qfm-metric: 3 of 30 failed\n")
    assert (record["runtime"], record["signature"]) == ("OpenVINO", f"{small.signature}, OpenVINO")
    assert [row["score"] for row in rows] == [
        None if row.score is None else pytest.approx(row.score, abs=1e-4)  # four decimals
        for row in expected
    ]
    assert [file.suffix for file in cache_folder().iterdir()] == [".onnx"]
    assert command(capsys, *arguments, "--resume", "--runtime", "torch")[0] == 2
    assert command(capsys, *arguments, "--resume")[:2] == (1, rows)


def test_the_command_goes_on_with_what_a_run_began_with(arguments, few, capsys):
    assert command(capsys, *arguments, "--runtime", "torch")[2]["runtime"] == "torch"
    status, _, record, said = command(capsys, *arguments, "--resume")
    assert (status, record["runtime"]) == (1, "torch"), said


def test_few_pictures_are_not_worth_another_runtime(arguments, capsys):
    assert command(capsys, *arguments)[2]["runtime"] == "torch"
    assert not cache_folder().exists()


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as of a number that has no name
    assert cache_folder() is None


@pytest.mark.skipif(sys.platform == "win32", reason="its permissions are others")
def test_a_home_of_somebody_else_costs_the_kept_graph_alone(small, tmp_path, monkeypatch):
    """As in a container whose user has been changed and whose HOME has not."""

    def refuse(self, *arguments, stat=Path.stat, **options):
        if tmp_path in self.parents:
            raise PermissionError(13, "Permission denied", str(self))
        return stat(self, *arguments, **options)

    monkeypatch.setattr(Path, "stat", refuse)  # root, who may run this, may look into every folder
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert CompiledScore(small, "onnx", tmp_path / "theirs").graph


@pytest.mark.parametrize("option", ["auto", "onnx"])
def test_a_runtime_that_is_broken_is_replaced_by_torch_and_said_so(arguments, few, monkeypatch, capsys, option):
    def broken(graph):
        raise RuntimeError("no such instruction\nat 0x0")

    monkeypatch.setattr("qfm_metric.compiled.STARTS", {"openvino": broken, "onnx": broken})
    status, rows, record, said = command(capsys, *arguments, "--runtime", option)
    assert (status, len(rows), record["runtime"]) == (1, 30, "torch")
    lines = said.splitlines()
    assert lines[-2] == "qfm-metric: ONNX Runtime cannot be used (no such instruction)"
    assert len(lines) == (3 if option == "auto" else 2)


def test_a_runtime_that_is_missing_is_replaced_by_torch(arguments, few, monkeypatch, capsys):
    """It is said where it was asked for."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert command(capsys, *arguments)[2:] == (
        json.loads(Path("out.run.json").read_text()),
        "qfm-metric: 3 of 30 failed\n",
    )
    assert json.loads(Path("out.run.json").read_text())["runtime"] == "torch"
    said = command(capsys, *arguments, "--runtime", "onnx")[3]
    assert said.startswith("qfm-metric: ONNX Runtime cannot be used (expected the packages onnx; pip install onnx)\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--map", "maps"], "--map: expected a metric that runs in torch, got one in ONNX Runtime"),
        (["--dtype", "bfloat16"], "--dtype: expected float32 of a metric that runs in ONNX Runtime, got bfloat16"),
        (["--device", "cuda:1"], "--runtime onnx: expected --device cpu, got cuda:1"),
        (["--engine", "ray", "--device", "cuda"], "--runtime onnx: expected --device cpu, got cuda"),
    ],
)
def test_command_refuses(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["gone.png", "--runtime", "onnx", "-o", "out.csv", "--csv", *options])
    assert message in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_onnx_runtime_keeps_no_number_of_the_machine(tmp_path):
    """It does with what it sends to its makers."""
    program = """
from qfm_metric import QFMScore
from qfm_metric.compiled import CompiledScore
print(CompiledScore(QFMScore(), "onnx", cache=None).runtime)
"""
    unasked = {name: value for name, value in environment().items() if name not in (TELEMETRY, "CI")}  # CI has it off
    unasked |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    run = subprocess.run([sys.executable, "-c", program], env=unasked, check=True, capture_output=True, text=True)
    assert run.stdout == "ONNX Runtime\n"
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in str(path)]
