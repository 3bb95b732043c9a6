"""Scoring on a Ray cluster: the rows of `score_files`, each image once, whatever happens to workers."""

import json
import os
import shutil
import signal
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers.documents import ROOT, run_blocks
from helpers.generated_files import generate
from helpers.mean import FATAL, Fatal, Half, KilledOnce, Mean
from helpers.processes import handling
from helpers.published import TINY
from PIL import Image

from qfm_metric import QFMScore, file_facts, load_image, score_files
from qfm_metric.adapters.ray import ImageScorer, score_dataset
from qfm_metric.cli import main
from qfm_metric.config import QFMConfig
from qfm_metric.folder.one_file import facts_columns
from qfm_metric.folder.row import COLUMNS, FACT_COLUMNS
from qfm_metric.folder.uris import list_images
from qfm_metric.model import QFMNet
from qfm_metric.weights import save_weights

# Ray's own settings read those that it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:`use_.*` is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def cluster():
    """A cluster of this machine."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])  # workers import `mean`
    settings = {
        "PYTHONPATH": path,
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }
    # Ray puts a handler of its own in the place of the one there is, and leaves it there.
    with pytest.MonkeyPatch.context() as patch, handling(signal.SIGTERM, signal.SIG_DFL):
        for name, value in settings.items():
            patch.setenv(name, value)
        import ray

        ray.init(
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=100 * 2**20,
            logging_level="warning",
            _node_ip_address="127.0.0.1",
        )
        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a network that predicts deviations."""
    torch.manual_seed(0)
    config = TINY | {"uncertainty": True}
    path = tmp_path_factory.mktemp("weights") / "sure.safetensors"
    save_weights(path, config, QFMNet(QFMConfig(**config)).state_dict(), torch.float32)
    return path


@pytest.fixture(scope="module")
def tiny(weights):
    return QFMScore.from_pretrained(weights)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 files, a quarter of them broken."""
    path = tmp_path_factory.mktemp("generated")
    generate(path, 40, [(64, 64), (96, 128), (200, 150), (64, 300)], broken=0.25)
    return path


@pytest.fixture(scope="module")
def paths(folder):
    return sorted(map(str, folder.iterdir()))


@pytest.fixture(scope="module")
def expected(paths, tiny):
    """What one process says, with one thread as a worker has: sums depend on how they are shared out."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield [asdict(row) for row in score_files(paths, tiny)]
    torch.set_num_threads(before)


def same(found, rows):
    assert [{name: row[name] for name in COLUMNS} for row in found] == [
        {name: row[name] for name in COLUMNS} for row in rows
    ]


def grey(folder, widths):
    """Pictures of these widths; their places."""
    for i, width in enumerate(widths):
        Image.new("L", (width, 8), i).save(folder / f"{i:03d}.png")
    return [str(folder / f"{i:03d}.png") for i in range(len(widths))]


def encoded(paths, kind):
    """A table of files' bytes; what is no file, such as a folder, is null."""
    data = [Path(path).read_bytes() if Path(path).is_file() else None for path in paths]
    if kind == "struct":
        return pa.table({"image": [{"bytes": one, "path": path} for one, path in zip(data, paths, strict=True)]})
    return pa.table({"path": paths, "image": pa.array(data, pa.binary())})


@pytest.mark.slow
def test_scores_are_those_of_one_process(cluster, paths, tiny, expected):
    table = pa.table({"path": paths, "number": range(len(paths))})
    blocks = [table.slice(start, 7) for start in range(0, len(paths), 7)]
    scored = score_dataset(cluster.data.from_arrow(blocks), tiny, workers=2, batch_size=3).take_all()
    found = sorted(scored, key=lambda row: row["number"])
    assert [row["number"] for row in found] == list(range(len(paths)))
    same(found, expected)
    assert {row["error"] is None for row in found} == {True, False}
    assert {row["std"] is None for row in found} == {True, False}


@pytest.mark.slow
def test_a_killed_worker_costs_no_image(cluster, tmp_path):
    paths = grey(tmp_path, [8, 8, 8, 8, 8, FATAL, 8, 8, 8, 8] * 2)
    metric, marker = KilledOnce(tmp_path / "killed"), tmp_path / "killed"
    blocks = [pa.table({"path": paths[start : start + 5]}) for start in range(0, len(paths), 5)]
    scored = score_dataset(cluster.data.from_arrow(blocks), metric, workers=2, batch_size=5).take_all()
    assert marker.exists()
    assert sorted(row["path"] for row in scored) == paths
    assert {row["path"]: row["score"] for row in scored} == {
        path: pytest.approx(i / 255, abs=1e-6) for i, path in enumerate(paths)
    }


@pytest.mark.slow
def test_a_picture_that_kills_its_worker_gets_an_error(cluster, tmp_path):
    paths = grey(tmp_path, [8, 8, FATAL, 8])
    table = pa.table({"path": paths})
    scored = score_dataset(cluster.data.from_arrow(table), Fatal(), workers=1).take_all()
    assert sorted(row["path"] for row in scored) == paths
    failed = [row for row in scored if row["error"]]
    assert [row["path"] for row in failed] == [paths[2]]
    assert "its decoder crashed" in failed[0]["error"]


@pytest.mark.parametrize("kind", ["binary", "struct"])
def test_encoded_images_do_not_go_on(paths, tiny, expected, kind):
    files = [path for path in paths if Path(path).is_file()]
    scored = ImageScorer(tiny, column="image")(encoded(files, kind))
    assert "image" not in scored.column_names
    same(scored.to_pylist(), [row for row in expected if row["path"] in files])


def test_uris_are_read_through_file_systems(folder, tiny, expected):
    """file:// is read by Python; a file system that is given reads any path."""
    from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

    Image.new("RGB", (40, 30)).save(folder / "with space #1?.png")
    try:
        uris = list(list_images(folder.as_uri(), recursive=False))
        name = "with space #1?.png"
        assert uris[-1].endswith("/with%20space%20%231%3F.png")
        rows = ImageScorer(tiny)(pa.table({"path": uris[-3:]})).to_pylist()
        wanted = [*(row["score"] for row in expected if Path(row["path"]).name[:-4] in "".join(uris[-3:-1]))]
        wanted.append(tiny(load_image(folder / name)).item())
        assert [row["score"] for row in rows] == wanted
        inside = ImageScorer(tiny, filesystem=SubTreeFileSystem(str(folder), LocalFileSystem()))
        assert inside(pa.table({"path": [name]})).to_pylist()[0]["score"] == wanted[-1]
    finally:
        (folder / "with space #1?.png").unlink()


def test_unknown_stores_missing_files_and_nulls_are_error_rows(tiny, tmp_path):
    table = pa.table({"path": ["nowhere://a/b.png", (tmp_path / "gone.png").as_uri(), None]})
    rows = ImageScorer(tiny)(table).to_pylist()
    assert [row["score"] for row in rows] == [None] * 3
    assert "nowhere" in rows[0]["error"]
    assert "expected a file, found none" in rows[1]["error"]
    assert "got null" in rows[2]["error"]


@pytest.mark.parametrize(
    ("batch", "options", "message"),
    [
        ({"path": ["a.png"]}, {}, "batch_format='pyarrow'"),
        (pa.table({"file": ["a.png"]}), {}, "expected a column 'path'"),
        (pa.table({"path": [1.5]}), {}, "got double"),
        (pa.table({"image": [b"1"]}), {"column": "image"}, "names the images"),
        (pa.table({"path": ["a.png"], "width": [3]}), {}, "without the columns"),
    ],
)
def test_what_cannot_be_scored_is_refused(tiny, batch, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ImageScorer(tiny, **options)(batch)


def test_a_prefix_keeps_columns_apart(tiny, paths):
    scored = ImageScorer(tiny, prefix="qfm_", tile=64)(pa.table({"path": paths[:1], "width": [3]}))
    assert scored.column_names == ["path", "width", *(f"qfm_{name}" for name in [*COLUMNS, "lowest"] if name != "path")]


def test_facts_are_columns_of_every_format_of_images(tiny, tmp_path):
    Image.effect_noise((96, 64), 60).save(path := str(tmp_path / "a.jpg"), quality=83)
    facts = facts_columns(file_facts(path))
    assert facts["jpeg_quality"] == 83
    for table, column in ((pa.table({"path": [path]}), "path"), (encoded([path], "binary"), "image")):
        [row] = ImageScorer(tiny, column=column, facts=True)(table).to_pylist()
        assert {name: row[name] for name in FACT_COLUMNS} == facts


@pytest.mark.slow
def test_command_writes_what_the_local_engine_writes(cluster, folder, paths, weights, tmp_path, capsys):
    paths = [path for path in paths if not os.path.isdir(path)]  # on the command line, a folder is what is in it
    table, images = tmp_path / "paths.parquet", tmp_path / "images.parquet"
    pq.write_table(pa.table({"where": paths}), table)
    pq.write_table(encoded([path for path in paths if Path(path).is_file()], "binary"), images)
    options = ["--weights", str(weights), "--jsonl", "--quiet"]
    torch.set_num_threads(1)

    def run(*more):
        return main([*options, "-o", str(tmp_path / "out.jsonl"), *more]), (tmp_path / "out.jsonl").read_text()

    def scores(lines):
        found = map(json.loads, lines)
        return {Path(row["path"]).name: row["score"] for row in found if row["score"] is not None}

    status, text = run(*paths)
    lines = text.splitlines(keepends=True)
    assert {(row := json.loads(line))["std"] is None: row["score"] is None for line in lines} == {
        True: True,
        False: False,
    }
    on_ray = ["--engine", "ray", "--batch-size", "4"]
    found = run(*paths, folder.as_uri(), *on_ray, "--workers", "2")
    assert (found[0], found[1][: len(text)]) == (status, text)
    assert scores(found[1][len(text) :].splitlines()) == scores(lines)

    (tmp_path / "out.jsonl").write_text("".join(lines[:30]) + lines[30][:9])  # was cut off while it wrote
    assert run(str(table), *on_ray, "--column", "where", "--resume") == (status, text)

    files = [json.loads(line) for line in lines if os.path.isfile(json.loads(line)["path"])]
    status, text = run(str(images), *on_ray, "--column", "image")
    assert (status, [json.loads(line) for line in text.splitlines()]) == (1, files)
    capsys.readouterr()


@pytest.mark.slow
def test_command_hands_its_metric_to_the_workers(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("qfm_metric.cli.metric.QFMScore", Mean())
    monkeypatch.setattr("qfm_metric.cli.run.CompiledScore", lambda *arguments: Half())
    paths = grey(tmp_path, [8] * 6)
    assert main([*paths, "--engine", "ray", "--runtime", "onnx", "--jsonl", "-o", str(tmp_path / "out")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [row["path"] for row in rows] == paths
    assert [row["score"] for row in rows] == [round(i / 510, 4) for i in range(6)]


@pytest.mark.slow
def test_a_table_that_lacks_paths_has_rows_with_errors(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("qfm_metric.cli.metric.QFMScore", Mean())
    [path] = grey(tmp_path, [8])
    table, out = tmp_path / "paths.parquet", tmp_path / "out"
    pq.write_table(pa.table({"path": pa.array([None, path, ""])}), table)
    assert main([str(table), "--engine", "ray", "--jsonl", "-o", str(out)]) == 1
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["path"], row["score"]) for row in rows] == [(f"{table}[0]", None), (path, 0.0), (f"{table}[2]", None)]
    assert all("expected a path or an encoded image, got null" in row["error"] for row in rows[::2])


class OnCpu(Mean):
    runtime = "ONNX Runtime"


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        (OnCpu(), {"num_gpus": 1}, "num_gpus: expected 0 of a metric that runs in ONNX Runtime, got 1"),
        (OnCpu(), {"dtype": torch.bfloat16}, "dtype: expected float32 of a metric that runs in ONNX Runtime"),
        (Mean(), {"tile": 63}, "tile: expected at least 64, got 63"),
        (Mean(), {"num_gpus": -1}, "num_gpus: expected 0 or more, got -1"),
        (Mean(), {"workers": (3, 2)}, "workers: expected at least 1"),
        (torch.nn.Identity(), {}, "metric: expected a QFMScore or another metric"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused_before_it_is_asked(metric, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        score_dataset(None, metric, **{"workers": 1} | options)


@pytest.mark.slow
def test_document_prints_what_it_claims(cluster, tmp_path, monkeypatch, photo_path):
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo_path, "photo.png")
    assert run_blocks(ROOT / "docs" / "clusters.md") == (2, [])
