"""ONNX and torch.export: the same scores as the metric's, for pictures of every size."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from helpers.documents import run_blocks
from helpers.torch_state import unusual_torch

import qfm_metric
from qfm_metric import QFMScore, cli, export, load_image
from qfm_metric.config import QFMConfig
from qfm_metric.export import ExportableScore, ExportError, export_onnx, export_pt2
from qfm_metric.geometry import view_size
from qfm_metric.model import QFMNet
from qfm_metric.weights import save_weights

DOCUMENT = Path(__file__).parent.parent / "docs" / "export.md"
TOLERANCE = 1e-4
# TensorFlow's padding, as in the released weights, and views of about 140 px: quick, and sizes need not be large.
SMALL = {"backbone": "tf_mobilenetv3_small_minimal_100", "native_views": 2, "view_pixels": 20480, "dim": 32, "heads": 2}
SMALL |= {"mixers": 1, "context": 16, "uncertainty": True}
# Height and width. For views of at most 20,480 px: thumbnails, exact fits, one more or less, what is as large as the
# view along one side only, strips beyond the longest side (320), photographs.
SIZES = [
    *[(1, 1), (1, 2), (2, 1), (3, 64), (31, 33), (48, 48), (63, 64), (64, 63), (64, 64), (65, 64), (79, 81), (80, 80)],
    *[
        (96, 96),
        (96, 160),
        (128, 128),
        (128, 160),
        (160, 128),
        (64, 320),
        (320, 64),
        (129, 160),
        (127, 160),
        (143, 143),
    ],
    *[(144, 144), (143, 144), (160, 160), (159, 161), (200, 100), (100, 204), (101, 205), (112, 176), (176, 112)],
    *[(10, 900), (900, 10), (1, 1500), (1500, 1), (40, 700), (64, 321), (65, 400), (400, 63), (33, 1000), (1000, 33)],
    *[(300, 200), (333, 500), (500, 333), (512, 512), (384, 512), (640, 427), (720, 1280), (1500, 900), (900, 1500)],
]


@pytest.fixture(scope="module")
def small():
    """A metric whose scores differ as widely from picture to picture as those of released weights."""
    torch.manual_seed(0)
    metric = QFMScore(QFMNet(QFMConfig(**SMALL)))
    logits = torch.logit(torch.cat([metric(picture(size, i)) for i, size in enumerate(SIZES)]), eps=1e-7)
    metric.net.calibration.slope.fill_(2 / logits.std().item())
    metric.net.calibration.offset.fill_(-2 * (logits.mean() / logits.std()).item())
    assert metric([picture(size, i)[0] for i, size in enumerate(SIZES)]).std() > 0.1
    return metric


@pytest.fixture(scope="module")
def small_onnx(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    with unusual_torch():  # is the same in any state of torch, as tests of these files show
        assert export_onnx(small, path) <= TOLERANCE
    return path


@pytest.fixture(scope="module")
def small_pt2(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("pt2") / "small.pt2"
    with unusual_torch():
        assert export_pt2(small, path) <= TOLERANCE
    return path


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_does_not_end_the_process(small, tmp_path, monkeypatch):
    layer = torch.nn.Linear(64, 64)
    monkeypatch.setattr(export, "export_program", lambda metric: torch.export.export(layer, (torch.rand(1, 64),)))
    monkeypatch.setattr(export, "largest_difference", lambda exported, metric: 0.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            export_pt2(small, tmp_path / "small.pt2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def picture(size, seed, n=1):
    """A colour gradient that ends in noise, `(n, 3, *size)`."""
    generator = torch.Generator().manual_seed(seed)
    smooth = F.interpolate(torch.rand(n, 3, 4, 4, generator=generator), size, mode="bilinear")
    return (smooth + 0.6 * (torch.rand(n, 3, *size, generator=generator) - 0.5) * (seed % 5) / 4).clamp(0, 1)


def run_onnx(path):
    session = onnxruntime.InferenceSession(path)
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def assert_same(exported, metric, images):
    scores = exported(images)
    assert scores.shape == (len(images),)
    torch.testing.assert_close(scores, metric(images), atol=TOLERANCE, rtol=0)


def test_sizes_are_of_every_kind():
    views = [view_size(*size, SMALL["view_pixels"]) for size in SIZES]
    pairs = list(zip(SIZES, views, strict=True))
    assert len(set(SIZES)) == 50
    assert sum(size == view for size, view in pairs) >= 5
    assert sum(size[0] >= view[0] and size[1] >= view[1] and size != view for size, view in pairs) >= 10
    assert sum((size[0] < view[0]) != (size[1] < view[1]) for size, view in pairs) >= 5
    assert sum(size[0] < view[0] and size[1] < view[1] for size, view in pairs) >= 5
    assert sum(max(view) == SMALL["view_pixels"] // 64 for view in views) >= 5


@pytest.mark.parametrize("native_views", [0, 1, 2])
def test_views_are_the_metrics(native_views):
    """Those that are there; pictures without pieces have the whole once, where the metric repeats it."""
    net = QFMNet(QFMConfig(**SMALL | {"native_views": native_views}))
    exportable = ExportableScore(net)
    for size in SIZES:
        images = picture(size, 3, n=2)
        expected, views = net.preprocess(images), exportable.views(images)
        torch.testing.assert_close(views, expected[:, : views.shape[1]], atol=1e-6, rtol=0)
        if views.shape[1] < 1 + native_views:
            assert views.shape[1] == 1
            assert all(torch.equal(view, expected[:, 0]) for view in expected.unbind(1))


@pytest.mark.slow
def test_onnx_gives_the_metrics_scores_for_every_size(small, small_onnx):
    exported = run_onnx(small_onnx)
    for i, size in enumerate(SIZES):
        assert_same(exported, small, picture(size, i))


@pytest.mark.slow
def test_onnx_takes_batches_and_overshoot(small, small_onnx):
    exported = run_onnx(small_onnx)
    for i, size in enumerate([(30, 40), (80, 80), (96, 160), (300, 200)]):
        assert_same(exported, small, picture(size, i, n=3))
        assert_same(exported, small, picture(size, i) * 1.15 - 0.07)


@pytest.mark.slow
def test_onnx_says_what_it_is(small, small_onnx):
    model = onnx.load(small_onnx)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 18}
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "signature": small.signature,
        "weights_id": "custom",
        "weights_sha256": "",
    }
    shapes = [[dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in ends(model)]
    assert [value.name for value in ends(model)] == ["images", "scores"]
    assert shapes == [["N", 3, "H", "W"], ["N"]]
    content = small_onnx.read_bytes()
    assert not any(str(place).encode() in content for place in (Path(qfm_metric.__file__).parent, sys.prefix))


def ends(model):
    return [*model.graph.input, *model.graph.output]


@pytest.mark.slow
def test_pt2_gives_the_metrics_scores_without_the_package(small, small_pt2, tmp_path):
    chosen = [(1, 1), (10, 900), (64, 64), (128, 160), (160, 128), (300, 200), (1500, 900)]
    images = [picture(size, i, n=1 + i % 2) for i, size in enumerate(chosen)]
    torch.save(images, tmp_path / "images.pt")
    script = (
        "import json, sys, torch\n"
        "program = torch.export.load(sys.argv[1], extra_files=(about := {'qfm_metric.json': ''})).module()\n"
        "scores = [program(images).tolist() for images in torch.load(sys.argv[2])]\n"
        "print(json.dumps([scores, json.loads(about['qfm_metric.json']), 'qfm_metric' in sys.modules]))"
    )
    command = [sys.executable, "-c", script, small_pt2, tmp_path / "images.pt"]
    scores, about, imported = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=600).stdout)
    assert not imported
    assert about["signature"] == small.signature
    for found, expected in zip(scores, map(small, images), strict=True):
        torch.testing.assert_close(torch.tensor(found), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.slow
def test_released_weights_as_onnx(metric, released_onnx, photo_path):
    """Photographs reduced, cut and enlarged, among them a pair of which one fits into a view."""
    exported, photo = run_onnx(released_onnx), load_image(photo_path)[None]
    large = F.interpolate(photo, (900, 1500), mode="bicubic").clamp(0, 1)
    images = [
        photo,
        large,
        photo[..., 100:420, 50:370],
        photo[..., 200:230, :],
        photo[..., 7:38, 9:42],
        photo[..., :1, :1],
    ]
    for image in images:
        assert_same(exported, metric, image)
    assert_same(exported, metric, torch.cat([photo, 1 - photo]))
    assert onnx.load(released_onnx).metadata_props[1].value == metric.weights_id


@pytest.mark.slow
def test_document(released_onnx, small_pt2, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.onnx").symlink_to(released_onnx)
    Path("model.pt2").symlink_to(small_pt2)
    assert run_blocks(DOCUMENT) == (2, [])


@pytest.mark.slow
def test_command(tmp_path, capsys):
    """Symmetric padding, squeeze and excitation, no native views; both files at once."""
    config, weights = (
        {"backbone": "test_efficientnet", "dim": 16, "queries": 2, "heads": 2},
        tmp_path / "tiny.safetensors",
    )
    torch.manual_seed(0)
    save_weights(weights, config, QFMNet(QFMConfig(**config)).state_dict(), torch.float32)
    paths = [tmp_path / "tiny.onnx", tmp_path / "tiny.pt2"]
    arguments = ["export", "--onnx", str(paths[0]), "--pt2", str(paths[1]), "--weights", str(weights)]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == list(map(str, paths))
    assert all(0 <= float(row[1]) <= TOLERANCE for row in rows)
    assert [line for line in err.splitlines() if " torch/" not in line] == []  # torch.export logs what it likes
    metric = QFMScore.from_pretrained(weights)
    assert metric.net.config.native_views == 0
    for exported in (run_onnx(paths[0]), torch.export.load(paths[1]).module()):
        assert_same(exported, metric, picture((500, 333), 2, n=2))


def test_missing_packages(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.main(["export", "--onnx", str(tmp_path / "a.onnx")]) == 1
    assert capsys.readouterr() == (
        "",
        'qfm-metric: expected the packages onnx, onnxruntime and onnxscript; pip install "qfm-metric[onnx]"\n',
    )


@pytest.mark.slow
def test_a_file_that_differs_is_not_left_behind(small, small_onnx, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("qfm_metric.export.onnx_model", lambda metric: onnx.load(small_onnx))
    path = tmp_path / "a.onnx"
    before = Path(small_onnx).read_bytes()  # an export of ours, or it would be refused
    path.write_bytes(before)
    small_scores = small.net.calibration.slope.clone()
    small.net.calibration.slope.mul_(0.9)
    try:
        with pytest.raises(
            ExportError, match=r"a\.onnx: expected the metric's scores within 0\.0001, they differ by 0\."
        ):
            export_onnx(small, path)
    finally:
        small.net.calibration.slope.copy_(small_scores)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_a_folder_that_is_not_there(form, tmp_path, capsys):
    path = str(tmp_path / "nowhere" / "file")
    assert cli.main(["export", f"--{form}", path]) == 1
    assert capsys.readouterr() == ("", f"qfm-metric: cannot write {path}: No such file or directory\n")


@pytest.fixture
def no_tracing(monkeypatch):
    """Exports are refused before the network is traced, which takes a while."""

    def trace(metric):
        raise AssertionError("traced for nothing")

    monkeypatch.setattr(export, "export_program", trace)
    monkeypatch.setattr(export, "onnx_model", trace)


@pytest.mark.parametrize("write", [export_onnx, export_pt2])
def test_what_cannot_be_exported_or_written_is_refused(small, tmp_path, no_tracing, write):
    photo, folder = tmp_path / "photo.jpg", tmp_path / "folder"
    photo.write_bytes(b"a photograph")
    folder.mkdir()
    with pytest.raises(ValueError, match="expected the name of the file to write, got a picture's"):
        write(small, photo)
    with pytest.raises(OSError, match="got a folder, a pipe or a device"):
        write(small, folder)
    with pytest.raises(TypeError, match="metric: expected a QFMScore, got QFMNet"):
        write(small.net, tmp_path / "a")
    assert photo.read_bytes() == b"a photograph"
    assert sorted(tmp_path.iterdir()) == [folder, photo]


@pytest.mark.slow
def test_an_export_writes_what_a_link_leads_to_whatever_the_length_of_its_name(
    small, small_onnx, tmp_path, monkeypatch
):
    monkeypatch.setattr(export, "onnx_model", lambda metric: onnx.load(small_onnx))
    link, target = tmp_path / "link.onnx", tmp_path / f"{'a' * 250}.onnx"
    link.symlink_to(target)
    export_onnx(small, link)
    assert link.is_symlink()
    assert target.read_bytes() == onnx.load(small_onnx).SerializeToString()
    assert sorted(tmp_path.iterdir()) == [target, link]


def test_networks_that_cannot_be_exported():
    with pytest.raises(ExportError, match="view_pixels: expected a multiple of 2048 for an export, got 20000"):
        ExportableScore(QFMNet(QFMConfig(**SMALL | {"view_pixels": 20000})))


@pytest.mark.parametrize("before", [None, "0"])
def test_importing_onnx_runtime_leaves_the_environment_as_it_is(before, monkeypatch):
    if before is None:
        monkeypatch.delenv(export.TELEMETRY, raising=False)
    else:
        monkeypatch.setenv(export.TELEMETRY, before)
    assert export.import_onnxruntime().__name__ == "onnxruntime"
    assert os.environ.get(export.TELEMETRY) == before
