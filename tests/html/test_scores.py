"""The page's data and how it is written; test_browser opens it."""

import base64
import io
import os
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pages import encoded, read_page
from PIL import Image

from qfm_metric import ImageError, QFMScore, load_image
from qfm_metric.cli import main
from qfm_metric.folder import row
from qfm_metric.html.document import BINS, bin_of, common_folder
from qfm_metric.html.scores import ReportWriter, write_report
from qfm_metric.html.thumbnails import thumbnail
from qfm_metric.overlay import draw_overlay, encode_map, save_overlay
from qfm_metric.scale import BANDS, band

NOT_TEXT = os.fsdecode(b"bad\xff.png")


Row = partial(row.Row, width=40, height=30)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "report.html"


def grey(path, level):
    Image.new("L", (40, 30), level).save(path)
    return str(path)


def names(cards):
    return [card["name"] for card in cards]


def test_bands_are_equal_fifths():
    assert [band(score) for score in (0, 0.199, 0.2, 0.4, 0.6, 0.799, 0.8, 1)] == [
        "bad", "bad", "poor", "fair", "good", "good", "excellent", "excellent",
    ]  # fmt: skip
    for score in (-0.01, 1.01, float("nan")):
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            band(score)


def test_bins_do_not_cross_the_edges_of_bands():
    for i, (_, end) in enumerate(BANDS[:-1], start=1):
        assert bin_of(end) == i * BINS // len(BANDS)
        assert bin_of(end - 1e-6) == bin_of(end) - 1
    assert (bin_of(0), bin_of(1)) == (0, BINS - 1)


def test_page_has_the_pictures_worst_first_then_errors(tmp_path, out):
    rows = [
        Row(grey(tmp_path / "fine.png", 200), 0.7),
        row.Row(str(tmp_path / "gone.png"), error="expected a file, found none"),
        Row(grey(tmp_path / "poor.png", 20), 0.25, 0.125, note="seen"),
    ]
    write_report(rows, out, title="Mine & yours", signature="qfm_metric <0.1>")
    text, page, cards = read_page(out)
    assert names(cards) == ["poor.png", "fine.png", "gone.png"]
    assert [card["value"] for card in cards] == [0.25, 0.7, None]
    assert [page["groups"][card["group"]]["name"] for card in cards] == ["poor", "good", "error"]
    assert cards[2]["pictures"][0]["error"] == "expected a file, found none"
    assert cards[1]["pictures"][0] | {"thumbnail": 0, "large": 0} == {
        "score": 0.7, "band": "good", "width": 40, "height": 30, "path": str(tmp_path / "fine.png"), "href": "fine.png",
        "thumbnail": 0, "large": 0,
    }  # fmt: skip
    assert {group["name"]: group["count"] for group in page["groups"]} == {
        "bad": 0, "poor": 1, "fair": 0, "good": 1, "excellent": 0, "error": 1,
    }  # fmt: skip
    assert np.sum(page["histogram"], axis=0).tolist() == [0, 1, 0, 1, 0, 0]
    assert "<td>0.475, from 0" in text
    assert "Mine &amp; yours" in text
    assert "<p>qfm_metric &lt;0.1&gt;</p>" in text
    assert {name: cards[0]["pictures"][0][name] for name in ("std", "note")} == {"std": 0.125, "note": "seen"}
    small = Image.open(io.BytesIO(base64.b64decode(cards[0]["pictures"][0]["thumbnail"])))
    assert (small.format, small.size) == ("JPEG", (40, 30))
    assert np.asarray(small).mean() == pytest.approx(20, abs=1)


def test_text_cannot_leave_its_place(tmp_path, out):
    hostile = "<script>alert(1)<!--.png"
    write_report(
        [Row(grey(tmp_path / hostile, 9), 0.5), Row("x", error="</script><script>alert(2)</script>")],
        out,
        title="</title><script>alert(3)</script>",
        signature="<script>alert(4)</script>",
    )
    text, _, cards = read_page(out)
    assert names(cards)[0].endswith(hostile)
    assert cards[1]["pictures"][0]["error"] == "</script><script>alert(2)</script>"
    assert text.count("<script") == 3  # two of data, one that runs
    assert "alert(" in text


def test_names_that_are_no_text_and_links(tmp_path, out):
    (tmp_path / "a b").mkdir()
    write_report([Row(grey(tmp_path / "a b" / NOT_TEXT, 9), 0.5), Row("s3://bucket/x.png", 0.6)], out)
    _, _, cards = read_page(out)
    assert cards[0]["name"].endswith("bad\\xff.png")
    assert cards[0]["pictures"][0]["href"] == "a%20b/bad%FF.png"
    assert cards[0]["pictures"][0]["path"] == str(tmp_path / "a b" / "bad\\xff.png")
    assert "href" not in cards[1]["pictures"][0]


def test_of_many_the_worst_are_kept_and_all_are_counted(out):
    scores = torch.rand(400, generator=torch.Generator().manual_seed(0)).tolist()
    write_report([Row(f"{i:03}", score) for i, score in enumerate(scores)], out, limit=50)
    text, page, cards = read_page(out)
    assert [card["value"] for card in cards] == sorted(scores)[:50]
    assert page["total"] == sum(group["count"] for group in page["groups"]) == 400
    assert np.sum(page["histogram"]) == 400
    assert "<td>400</td>" in text


def test_equal_scores_stay_in_order_and_the_first_are_kept(out):
    write_report([Row(f"{i}", 0.5) for i in range(9)], out, limit=4)
    assert names(read_page(out)[2]) == ["0", "1", "2", "3"]


def test_rows_pass_through_the_writer(out):
    rows = [Row("a", 0.1), Row("b", 0.2)]
    with ReportWriter(out) as report:
        assert list(map(report.add, rows)) == rows
        assert not out.exists()
    assert names(read_page(out)[2]) == ["a", "b"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("gone")])
def test_a_run_that_ends_early_leaves_its_rows(out, error):
    def rows():
        yield Row("a", 0.1)
        raise error

    with pytest.raises((KeyboardInterrupt, RuntimeError)):
        write_report(rows(), out)
    text, _, cards = read_page(out)
    assert names(cards) == ["a"]
    assert "ended early" in text


def test_a_page_that_cannot_be_written_is_known_before_anything_is_scored(tmp_path):
    def rows():
        raise AssertionError("scored for nothing")
        yield

    for path in (tmp_path / "none" / "report.html", tmp_path):
        with pytest.raises(OSError):  # noqa: PT011
            write_report(rows(), path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_fails_leaves_the_one_before(tmp_path, out, monkeypatch):
    write_report([Row("old", 0.5)], out)
    before = out.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qfm_metric.html.scores.write_page", full)
    with pytest.raises(OSError, match="No space"):
        write_report([Row("new", 0.5)], out)
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_pictures_that_come_with_the_row_and_maps_that_it_names_are_used(tmp_path, out):
    small, cells = encoded("JPEG"), torch.tensor([[[0.2, 0.4], [0.6, 0.8]]])
    overlay = save_overlay(draw_overlay(torch.rand(3, 40, 60), cells), "x.png", tmp_path)
    (tmp_path / "other.png").write_bytes(encoded("PNG"))
    with ReportWriter(out) as report:
        for name in (overlay, tmp_path / "other.png", tmp_path / "none.png"):  # the others: no map's, gone
            report.add(Row("gone", 0.5, extra={"map": str(name)}), small)
    pictures = [card["pictures"][0] for card in read_page(out)[2]]
    assert {base64.b64decode(picture["thumbnail"]) for picture in pictures} == {small}
    assert [base64.b64decode(picture.get("map", "")) for picture in pictures] == [
        encode_map(cells[0].numpy()),
        b"",
        b"",
    ]


def test_memory_holds_no_pictures(out):
    """600 pictures of 100 kB are 60 MB, and 80 in the page."""
    data = encoded("JPEG") + bytes(100_000)
    tracemalloc.start()
    try:
        with ReportWriter(out) as report:
            for i in range(600):
                report.add(Row(f"{i}", 0.5), data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()  # else all that comes after is slow
    assert out.stat().st_size > 80_000_000
    assert peak < 5_000_000


def test_only_the_worst_are_large(tmp_path, out):
    rows = [Row(grey(tmp_path / f"{i}.png", 10), i / 10) for i in range(5)]
    write_report(rows, out, large=2)
    assert ["large" in card["pictures"][0] for card in read_page(out)[2]] == [True, True, False, False, False]


def test_wrong_arguments(out):
    with pytest.raises(ValueError, match="limit: expected at least 1"):
        write_report([], out, limit=0)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        write_report([Row("a", 1.5)], out)


@pytest.mark.parametrize("name", ["photo.jpg", "PHOTO.TIFF", ".png"])
def test_a_page_takes_no_name_of_a_picture(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded("JPEG"))
    with pytest.raises(ValueError, match="expected the name of the file to write, got a picture's"):
        write_report([Row(str(path), 0.5)], path)
    assert path.read_bytes() == encoded("JPEG")


def test_a_page_replaces_a_page_or_what_is_empty_and_nothing_else(out):
    def rows():
        raise AssertionError("scored for nothing")
        yield

    out.write_text("<!doctype html><title>my page</title>")
    with pytest.raises(FileExistsError, match=r"it is there and is no file of this kind.*report\.html"):
        write_report(rows(), out)
    assert out.read_text() == "<!doctype html><title>my page</title>"
    out.write_text("")
    for name in ("first", "second"):
        write_report([Row(name, 0.5)], out)
        assert names(read_page(out)[2]) == [name]


def test_what_are_no_rows_is_refused(out):
    for rows in (["a.jpg"], [Row("a.jpg", 0.5), 0.5], 0.5):
        with pytest.raises(TypeError, match=r"rows: expected Rows, as score_files yields, got (str|float)"):
            write_report(rows, out)
    with ReportWriter(out) as report, pytest.raises(TypeError, match="row: expected a Row"):
        report.add("a.jpg")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"title": Path("a")}, "title: expected text, got PosixPath"),
        ({"title": None}, "title: expected text, got NoneType"),
        ({"signature": QFMScore}, "signature: expected text, got type"),
        ({"limit": 2.5}, "limit: expected an integer, got 2.5"),
        ({"large": None}, "large: expected an integer, got None"),
    ],
)
def test_what_a_page_cannot_have_is_known_before_anything_is_scored(out, options, says):
    def rows():
        raise AssertionError("scored for nothing")
        yield

    with pytest.raises(TypeError, match=says):
        write_report(rows(), out, **options)


def test_nothing_makes_a_page(out):
    write_report([], out)
    _, page, cards = read_page(out)
    assert (cards, page["total"]) == ([], 0)


def test_common_folder():
    assert common_folder([]) == common_folder(["a"]) == common_folder(["a/x", "b/y"]) == ""
    assert common_folder([os.path.join("a", "x"), os.path.join("a", "b", "y")]) == os.path.join("a", "")
    assert common_folder(["./a//x", "./a//b/x"]) == "./a//"  # as it is written
    assert common_folder(["a/x", "/a/y"]) == common_folder(["./a/x", "a/y"]) == ""


def sample(name):
    ramp = np.linspace(0, 255, 400 * 300).reshape(300, 400)
    if name == "grey16.png":
        return Image.fromarray((ramp * 257).astype(np.uint16))
    if name == "alpha.png":
        return Image.fromarray(np.dstack([ramp, ramp, 255 - ramp, ramp]).astype(np.uint8))
    if name == "palette.png":
        return Image.fromarray(np.dstack([ramp] * 3).astype(np.uint8)).quantize(16)
    if name == "float.tiff":
        return Image.fromarray((ramp / 255).astype(np.float32))
    return Image.fromarray(np.dstack([ramp, 255 - ramp, ramp]).astype(np.uint8))


@pytest.mark.parametrize("name", ["grey16.png", "alpha.png", "palette.png", "float.tiff", "rgb.jpg", "turned.jpg"])
def test_thumbnails_look_like_the_picture(tmp_path, name):
    exif = Image.Exif()
    exif[274] = 6 if name == "turned.jpg" else 1
    sample(name).save(tmp_path / name, **({"exif": exif} if name.endswith("jpg") else {}))
    small = load_image(Image.open(io.BytesIO(thumbnail(tmp_path / name, side=80, quality=95))))
    assert tuple(small.shape) == ((3, 80, 60) if name == "turned.jpg" else (3, 60, 80))
    whole = load_image(tmp_path / name)[None]
    expected = torch.nn.functional.interpolate(whole, small.shape[1:], mode="bilinear", antialias=True)[0]
    assert (small - expected).abs().mean() < 0.02


def test_thumbnail_of_no_picture(tmp_path):
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"x\.png"):
        thumbnail(tmp_path / "x.png", side=80, quality=60)


SCORES = """{"signature": "by me", "results": [
{"path": "x.png", "score": 0.5, "error": null, "width": 40}, {"path": "y,.png", "score": null, "error": "broken"}]}"""


def test_report_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    grey("x.png", 100)
    (tmp_path / "scores.json").write_text(SCORES)
    assert main(["report", "scores.json"]) == 0
    text, _, cards = read_page(tmp_path / "report.html")
    assert names(cards) == ["x.png", "y,.png"]
    assert "thumbnail" in cards[0]["pictures"][0]
    assert "<h1>scores.json</h1>" in text
    assert "by me" in text
    assert main(["report", "scores.json", "-o", "none/report.html"]) == 1
    assert "cannot write none/report.html" in capsys.readouterr().err
    for wrong in (["none.csv"], ["x.png"], ["scores.json", "--limit", "0"]):
        with pytest.raises(SystemExit):
            main(["report", *wrong])
