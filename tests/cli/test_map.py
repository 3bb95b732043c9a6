"""`qfm-metric --map` and `score_files(maps=...)`: an overlay per picture, and the maps in the page."""

import base64
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.generated_files import generate
from helpers.mean import Mean
from helpers.pages import encoded, read_page
from PIL import Image

from qfm_metric import QFMScore, load_image, score_files
from qfm_metric.cli import main
from qfm_metric.folder import one_file
from qfm_metric.folder.one_file import OneFile
from qfm_metric.folder.pool import on_gpu
from qfm_metric.folder.row import Row
from qfm_metric.html.scores import ReportWriter
from qfm_metric.overlay import draw_overlay, encode_map, read_cells, read_map, save_overlay

QUARTERS = [[0.2, 0.4], [0.6, 0.8]]


@pytest.fixture(autouse=True)
def pictures(mean):
    """Two of one name, a third with another suffix, a broken one."""
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Image.fromarray(np.array(QUARTERS).repeat(32, 0).repeat(48, 1) * 255).convert("L").save(f"{folder}/cat.png")
    Image.new("L", (64, 64), 51).save("b/cat.jpg")
    Path("a/broken.png").write_text("no picture")


def found(folder="maps"):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def rows_in(path="out"):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_each_picture_has_its_overlay_and_its_row_says_where():
    before = {path: path.read_bytes() for path in Path().rglob("*.*") if path.is_file()}
    run = ["a", "b", "a/cat.png", "--map", "maps", "--jsonl", "-o", "out"]
    assert main(run) == 1
    assert found() == ["a/cat-map-2.png", "a/cat-map.png", "b/cat-map-2.png", "b/cat-map.png"]
    rows = rows_in()
    assert [(row["path"], row["map"]) for row in rows] == [
        ("a/broken.png", None),
        ("a/cat.png", "maps/a/cat-map.png"),
        ("b/cat.jpg", "maps/b/cat-map.png"),
        ("b/cat.png", "maps/b/cat-map-2.png"),
        ("a/cat.png", "maps/a/cat-map-2.png"),
    ]
    assert all(path.read_bytes() == content for path, content in before.items())
    torch.testing.assert_close(read_map("maps/a/cat-map.png"), torch.tensor([QUARTERS]), atol=1e-2, rtol=0)
    drawn = np.asarray(Image.open("maps/a/cat-map.png").convert("L"), float)
    assert drawn.shape[1] >= 96
    assert drawn[:16, :24].mean() < drawn[48:64, 72:96].mean() - 60
    scored = [row["score"] for row in rows]
    assert main([*run[:-1], "again"]) == 1
    assert [row["score"] for row in rows_in("again")] == scored
    assert len(found()) == 8  # nothing is overwritten


def test_paths_outside_the_current_folder(tmp_path):
    os.chdir("a")
    rows = list(score_files(["../b/cat.png", tmp_path / "b" / "cat.png"], Mean(), maps="maps"))
    assert [row.extra["map"] for row in rows] == ["maps/b/cat-map.png", f"maps{tmp_path.as_posix()}/b/cat-map.png"]
    assert all(Path(row.extra["map"]).is_file() for row in rows)


def test_nothing_is_decoded_or_run_twice(mean, monkeypatch):
    opened, looked, rated = [], [], []
    open_image, look, rate = one_file.open_image, mean.look, mean.rate
    monkeypatch.setattr(one_file, "open_image", lambda path, data: opened.append(path) or open_image(path, data))
    monkeypatch.setattr(mean, "look", lambda pixels: looked.append(pixels.shape) or look(pixels))
    monkeypatch.setattr(
        mean, "rate", lambda views, maps, **asked: rated.append((len(views), maps)) or rate(views, maps)
    )
    assert [row.score is None for row in score_files(["a/cat.png", "a/broken.png"], mean, maps="maps")] == [False, True]
    assert opened == ["a/cat.png", "a/broken.png"]
    assert looked == [(64, 96)]
    assert [seen for seen in rated if seen[0]] == [(1, True)]


@pytest.mark.slow
def test_maps_and_scores_are_those_of_assess(tiny_files):
    """In this process, in worker processes, and in batches as on a GPU."""
    metric = QFMScore.from_pretrained(tiny_files[0])
    paths = generate("f", 12, [(64, 64), (96, 128), (200, 150), (40, 300)], broken=0.2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batches = OneFile(metric, maps="batches")
    ways = {
        "alone": list(score_files(paths, metric, maps="alone")),
        "workers": list(score_files(paths, metric, workers=2, maps="workers")),
        "batches": list(on_gpu(iter(paths), batches, 2, 5, 2**20)),
    }
    plain = list(score_files(paths, metric))
    assert any(row.score is None for row in plain)
    for folder, rows in ways.items():
        assert [row.score for row in rows] == [row.score for row in plain]
        maps = [row.extra["map"] for row in rows if row.extra]
        assert len(set(maps)) == len(maps) == sum(row.score is not None for row in plain) == len(found(folder))
        for row in rows:
            assert (row.value("map") is None) == (row.score is None)
            if row.extra:
                expected = metric.assess(load_image(row.path)).quality_map[0]
                torch.testing.assert_close(read_map(row.extra["map"]), expected, atol=1e-4, rtol=0)
                with Image.open(row.extra["map"]) as overlay:
                    assert overlay.width >= 64
    torch.set_num_threads(threads)


def test_overlay_has_the_shape_of_the_picture_not_of_its_view(small_metric, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        one_file, "draw_overlay", lambda image, *rest: drawn.append(image) or draw_overlay(image, *rest)
    )
    Image.new("RGB", (1000, 380), (204, 102, 51)).save("wide.png")  # its view is 64 x 64
    Image.new("L", (8, 2)).save("small.png")
    assert all(row.extra["map"] for row in score_files(["wide.png", "small.png"], small_metric, maps="maps"))
    assert [tuple(image.shape) for image in drawn] == [(3, 24, 64), (3, 16, 64)]
    torch.testing.assert_close(drawn[0].mean(dim=(1, 2)), torch.tensor([0.8, 0.4, 0.2]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_page_shows_the_maps_also_of_rows_that_were_there(form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    run = ["--map", "maps", "--html", "page.html", f"--{form}", "-o", f"out.{form}", "--resume"]
    assert main(["a", *run]) == 1
    assert main(["a", "b", *run]) == 1
    cards = read_page(Path("page.html"))[2]
    maps = {card["name"]: card["pictures"][0].get("map") for card in cards}
    assert [name for name, data in maps.items() if data is None] == ["a/broken.png"]
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(maps["a/cat.png"]))))
    assert drawn.shape == (2, 2, 3)  # a pixel per cell, without legend
    assert drawn[0, 0, 2] > drawn[0, 0, 1]  # dark violet
    assert drawn[1, 1, 1] > drawn[1, 1, 2]  # to yellow
    assert main(["report", f"out.{form}", "-o", "later.html"]) == 0
    assert {card["name"]: card["pictures"][0].get("map") for card in read_page(Path("later.html"))[2]} == maps
    Path("maps/a/cat-map.png").unlink()
    assert main(["report", f"out.{form}", "-o", "later.html"]) == 0
    assert "map" not in {c["name"]: c for c in read_page(Path("later.html"))[2]}["a/cat.png"]["pictures"][0]


def test_maps_are_no_pictures_to_score():
    for _ in range(2):
        assert main([".", "-r", "--map", "maps", "--jsonl", "-o", "out"]) == 1
        assert [row["path"] for row in rows_in()] == ["a/broken.png", "a/cat.png", "b/cat.jpg", "b/cat.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--map", "maps", "--tile", "64"], "--map: expected whole pictures, got tiles"),
        (["a", "--map", "./a/"], "--map: expected another folder than the pictures', got ./a/"),
    ],
)
def test_what_maps_cannot_be_drawn_of_or_into(capsys, arguments, message):
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
    assert not Path("maps").exists()
    with pytest.raises(ValueError, match="maps: expected whole pictures, got tiles"):
        score_files(["a/cat.png"], Mean(), tile=64, maps="maps")


def test_other_maps_are_other_settings(capsys):
    run = ["a", "--jsonl", "-o", "out", "--resume"]
    assert main(run) == 1
    with pytest.raises(SystemExit):
        main([*run, "--map", "maps"])
    assert "map was None, now 'maps'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_costs_nothing(mean, monkeypatch, capsys):
    monkeypatch.setattr(mean, "rate", None)
    Path("out").write_text("path,score\n")
    with pytest.raises(SystemExit, match="2"):
        main(["b", "--map", "a/cat.png", "--csv", "-o", "out"])
    assert "--map: expected a folder, got a file: a/cat.png" in capsys.readouterr().err
    assert main(["b", "--map", "a/cat.png/maps", "--csv", "-o", "out"]) == 1
    assert capsys.readouterr().err.startswith("qfm-metric: cannot write a/cat.png/maps: ")
    assert Path("out").read_text() == "path,score\n"


def test_an_overlay_that_does_not_fit_is_taken_back(capsys):
    resource = pytest.importorskip("resource")
    Image.effect_noise((300, 300), 90).save("a/noise.png")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, limits[1]))
    try:
        assert main(["a", "--map", "maps", "--csv", "-o", "out"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"cannot write {Path('maps/a/noise-map.png')}: File too large" in capsys.readouterr().err
    assert found() == ["a/cat-map.png"]
    assert [line.split(",")[0] for line in Path("out").read_text().splitlines()] == [
        "path",
        "a/broken.png",
        "a/cat.png",
    ]


def test_long_names_and_names_that_are_no_text():
    names = ["x" * 250 + ".png", os.fsdecode(b"bad\xff.png")]
    for name in names:
        Image.new("L", (8, 8)).save(name)
    assert main([*names, "--map", "maps", "--jsonl", "-o", "out"]) == 0
    assert [row["map"] for row in rows_in()] == [f"maps/{'x' * 200}-map.png", "maps/bad-map.png"]


def test_values_come_back_from_the_overlay_alone(tmp_path):
    cells = torch.rand(1, 3, 5)
    path = save_overlay(draw_overlay(torch.rand(3, 60, 100), cells), "cat.jpg", "maps")
    torch.testing.assert_close(read_map(path), cells, atol=1e-4, rtol=0)
    Image.new("RGB", (4, 4)).save("other.png")
    assert read_map("other.png") is None
    with ReportWriter("page.html") as report:
        report.add(Row("x", 0.5, extra={"map": str(path)}), encoded("JPEG"))
    shown = read_page(Path("page.html"))[2][0]["pictures"][0]["map"]
    assert base64.b64decode(shown) == encode_map(read_cells(path))


def test_a_map_that_is_a_pipe_is_not_waited_for():
    os.mkfifo("map.png")
    Path("s.jsonl").write_text('{"path": "gone.png", "score": 0.5, "map": "map.png"}\n')
    assert main(["report", "s.jsonl", "-o", "page.html"]) == 0
    assert "map" not in read_page(Path("page.html"))[2][0]["pictures"][0]
