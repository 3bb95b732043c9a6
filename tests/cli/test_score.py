"""The command: what it reads, what it writes where, and how it ends; mostly with a metric that returns the mean."""

import csv
import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
from helpers.mean import Mean
from helpers.pictures import grey
from helpers.processes import NOT_TEXT
from PIL import Image

import qfm_metric
from qfm_metric import load_image, score_files
from qfm_metric.cli import main
from qfm_metric.cli.output import format_of, write_rows
from qfm_metric.cli.paths import Scan
from qfm_metric.folder.formats import FORMATS
from qfm_metric.folder.journal import RowFile, read_table
from qfm_metric.folder.row import COLUMNS, Row
from qfm_metric.weights import read_manifest

STREAMED = [None, *(name for name, form in FORMATS.items() if not form.convert)]


def feed(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def text_of(results, form=None):
    file = io.StringIO()
    write_rows(results, file.write, format_of(form), tuple(COLUMNS), Mean.signature)
    return file.getvalue()


def test_folder_is_its_pictures_in_order_of_name():
    for name in ("f/b.PNG", "f/a.jpg", "f/c.webp.gif", "f/deep/d.png", "f/folder.png/e.png"):
        grey(name)
    Path("f/notes.txt").write_text("no picture")
    Path("f/png").write_text("no suffix")
    top = [os.path.join("f", name) for name in ("a.jpg", "b.PNG", "c.webp.gif")]
    deep = [os.path.join("f", "deep", "d.png"), os.path.join("f", "folder.png", "e.png")]
    assert list(Scan(["f"])) == top
    assert list(Scan(["f"], recursive=True)) == top + deep
    assert list(Scan(["f/notes.txt"])) == ["f/notes.txt"]  # named, so it gets an error row


def test_globs_are_expanded_as_a_shell_would():
    for name in ("2.png", "10.png", "[1].png", "1.png", "trip-a/x.png", "trip-b/y.png"):
        grey(name)
    Path("trip-b/z.txt").touch()

    def found(*globs):
        return [Path(path).as_posix() for path in Scan(globs)]

    assert found("?.png") == ["1.png", "2.png"]
    assert found("*.png") == ["1.png", "10.png", "2.png", "[1].png"]
    assert found("[1].png") == ["[1].png"]  # a file of that name comes before the glob
    assert found("nothing*.png") == ["nothing*.png"]  # gets an error row that names it
    assert found("trip-*") == ["trip-a/x.png", "trip-b/y.png"]
    assert found("trip-b/**") == ["trip-b/y.png", "trip-b/z.txt"]  # each once
    assert found("**/?.png") == ["1.png", "2.png", "trip-a/x.png", "trip-b/y.png"]


def test_dash_is_a_path_per_line(monkeypatch):
    feed(monkeypatch, "b.png\r\n\r\n  \n sp ace.png\nkätzchen.png\nbad".encode() + b"\xff.png")
    names = ["b.png", " sp ace.png", "kätzchen.png", NOT_TEXT]
    assert list(Scan(["first.png", "-", "last.png"])) == ["first.png", *names, "last.png"]


def test_folder_that_cannot_be_read_costs_its_own_rows_only(monkeypatch, mean, capsys):
    grey("locked/a.png")
    grey("open/b.png")
    scandir = os.scandir

    def guarded(path):
        if os.path.basename(path) == "locked":  # chmod does not stop root
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    for arguments in (["locked", "open"], ["-r", "."]):
        assert main(arguments) == 1
        out, err = capsys.readouterr()
        first, second = out.splitlines()
        assert first.startswith("error\tlocked\t")
        assert second == f"0.2000\t{os.path.join('open', 'b.png')}"
        assert re.search("cannot look into .*locked: Permission denied", err)


def test_rows_come_in_the_order_given(mean, monkeypatch, capsys):
    for name, level in (("z.png", 51), ("f/b.png", 102), ("f/a.png", 153), ("line.png", 204), ("y.png", 255)):
        grey(name, level)
    feed(monkeypatch, b"line.png\r\n")
    assert main(["z.png", "f", "-", "y*.png", "z.png", "--batch-size", "2", "--runtime", "torch"]) == 0
    rows = ["0.2000\tz.png", "0.6000\tf/a.png", "0.4000\tf/b.png", "0.8000\tline.png", "1.0000\ty.png", "0.2000\tz.png"]
    out, err = capsys.readouterr()
    assert out.replace(os.sep, "/").splitlines() == rows
    assert err == ""


def test_a_bad_picture_costs_one_row():
    whole = Path(grey("whole.png")).read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    Path("text.png").write_text("no picture")
    paths = ["gone.png", "whole.png", "cut.png", "text.png", grey("white.png", 255)]
    results = list(score_files(paths, Mean()))
    assert [result.path for result in results] == paths
    assert [result.score for result in results] == [None, pytest.approx(0.2), None, None, 1.0]
    for result in results:
        assert (result.error is None) == (result.score is not None)
        assert result.error is None or result.path in result.error


def test_text():
    results = [Row("a b.png", 0.12344999), Row("c.png", error="'c.png': broken")]
    assert text_of(results) == "0.1234\ta b.png\nerror\tc.png\t'c.png': broken\n"


def test_a_name_is_never_more_than_its_part_of_a_line_of_text():
    name = "a\n0.9000\tgood.png\x1b[2J\r.png"
    lines = "0.1000\ta\\n0.9000\\tgood.png\\x1b[2J\\r.png\n", "error\ta\\n0.9000\\tgood.png\\x1b[2J\\r.png\tbroken\n"
    assert text_of([Row(name, 0.1), Row(name, error="broken")]) == "".join(lines)


def test_csv_reads_back():
    names = ["a,b.png", 'say "hi".png', "two\nlines.png", "größe 猫.png", "", " tab\t.png ", "old\rline.png"]
    results = [Row(name, 1 / 7) for name in names[:3]]
    results += [Row(name, error=f"{name!r} is {name}") for name in names[3:]]
    rows = list(csv.DictReader(io.StringIO(text_of(results, "csv"), newline="")))
    assert [list(row) for row in rows] == [["path", "score", "std", "width", "height", "error", "note"]] * len(names)
    assert [row["path"] for row in rows] == names
    assert [row["score"] for row in rows] == ["0.1429"] * 3 + [""] * 4
    assert [row["error"] for row in rows] == [result.error or "" for result in results]


def test_json_reads_back(mean, capsys):
    assert main(["--json", grey("größe.png"), "gone.png"]) == 1
    out = capsys.readouterr().out
    assert out.isascii()  # so that it is JSON whatever the encoding of stdout
    good, bad = json.loads(out)["results"]
    assert good == dict.fromkeys(COLUMNS) | {
        "path": "größe.png",
        "score": 0.2,
        "width": 8,
        "height": 8,
        "note": "blank",
    }
    assert bad == dict.fromkeys(COLUMNS) | {"path": "gone.png", "error": bad["error"]}
    assert "gone.png" in bad["error"]


@pytest.mark.parametrize("form", STREAMED)
def test_a_name_that_is_not_text_ends_no_run(mean, capsys, form):
    arguments = [f"--{form}"] * bool(form) + [NOT_TEXT, grey("good.png")]
    assert main(arguments) == main([*arguments, "-o", "out"]) == 1
    out = capsys.readouterr().out
    assert out == Path("out").read_text(encoding="utf-8")
    assert "0.2" in out
    if form in ("json", "jsonl"):
        assert json.loads(out.splitlines()[0] if form == "jsonl" else out)
        assert json.dumps(NOT_TEXT) in out
    else:
        assert r"bad\udcff.png" in out


@pytest.mark.parametrize("form", STREAMED)
def test_rows_before_a_failure_are_on_disk(form):
    def results():
        yield Row("first.png", 0.5)
        assert "first.png" in Path("out").read_text(encoding="utf-8")  # before the second is computed
        raise KeyboardInterrupt

    with RowFile("out") as file, pytest.raises(KeyboardInterrupt):
        write_rows(results(), file.write, format_of(form), tuple(COLUMNS))


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, OSError(28, "No space left on device", "page.html"), RuntimeError]
)
def test_a_document_has_its_end_whatever_ends_the_run(error):
    def results():
        yield Row("first.png", 0.5)
        raise error

    with RowFile("out.json") as file, pytest.raises(error if isinstance(error, type) else OSError):
        write_rows(results(), file.write, format_of("json"), tuple(COLUMNS))
    assert [row.path for row in read_table("out.json")[0]] == ["first.png"]


@pytest.mark.parametrize("form", STREAMED)
def test_output_goes_to_the_file_alone(mean, capsys, form):
    before = text_of([Row("longer than what replaces it.png", 0.1, width=8, height=8)] * 9, form)
    Path("out").write_text(before)
    assert main([*[f"--{form}"] * bool(form), "-o", "out", grey("ä.png")]) == 0
    assert capsys.readouterr() == ("", "")
    assert Path("out").read_bytes().decode() == text_of([Row("ä.png", 0.2, width=8, height=8, note="blank")], form)


@pytest.mark.parametrize(
    "output", ["absent/out", ".", "/dev/full", "--parquet absent/out.parquet", "--parquet .", "--parquet /dev/full"]
)
def test_output_that_cannot_be_written(mean, monkeypatch, capsys, output):
    *options, output = output.split()
    scored = []
    monkeypatch.setattr(mean, "of", lambda view: scored.append(view) or 0.5)
    if output.startswith("/") and not os.path.exists(output):
        pytest.skip(f"no {output} on this system")
    assert main([*options, "-o", output, grey("a.png")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.match(rf"qfm-metric: cannot write {re.escape(output)}(\.jsonl)?: ", err)
    assert err.count("\n") == 1
    assert (output == "/dev/full" and not options) or scored == []  # known before any picture was scored
    assert [path.name for path in Path().iterdir()] == ["a.png"]


def test_nothing_found(mean, capsys):
    Path("empty").mkdir()
    assert main(["empty"]) == 1
    assert capsys.readouterr() == ("", "qfm-metric: no pictures found\n")
    assert main(["--json", "empty"]) == 1
    assert json.loads(capsys.readouterr().out) == {"signature": mean.signature, "results": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: PATH"),
        (["--map", __file__, "a.png"], f"--map: expected a folder, got a file: {__file__}"),
        (["--bogus", "a.png"], "--bogus"),
        (["--json", "--csv", "a.png"], "not allowed with"),
        (["--batch-size", "0", "a.png"], "--batch-size: expected at least 1, got 0"),
        (["--workers", "0", "a.png"], "--workers: expected at least 1, got 0"),
        (["--workers", "-1", "a.png"], "--workers: expected at least 1, got -1"),
        (["--fail-under", "-.5", "a.png"], "--fail-under: expected a score from 0 to 1, got -0.5"),
        (["--tile", "63", "a.png"], "--tile: expected at least 64, got 63"),
        (["--top", "0", "a.png"], "--top: expected at least 1, got 0"),
        (["--fail-under", "40", "a.png"], "--fail-under: expected a score from 0 to 1, got 40"),
        (["--parquet", "a.png"], "--parquet: expected -o FILE"),
        (["--sqlite", "a.png"], "--sqlite: expected -o FILE"),
        (["--resume", "--csv", "a.png"], "--resume: expected -o FILE and one of --jsonl, --csv, --parquet"),
        (["--resume", "--json", "-o", "x", "a.png"], "--resume: expected -o FILE and one of --jsonl, --csv, --parquet"),
        (["--resume", "--csv", "-o", "x", "--top", "3", "a.png"], "sort FILE afterwards"),
        (["--device", "nonsense", "a.png"], "--device nonsense: "),
        (["--device", "meta", "a.png"], "--device meta: "),  # can be moved to, cannot compute
        (["--device", "mtia", "a.png"], "--device mtia: "),  # AssertionError from torch
        (["--device", "privateuseone", "a.png"], "--device privateuseone: "),  # ModuleNotFoundError
        (["--weights", read_manifest()["default"] + "x", "a.png"], f"did you mean {read_manifest()['default']!r}?"),
        (["--csv", "compare", "a.png", "a.png"], "compare: expected this command before all options"),
        (["weights"], "required: COMMAND"),
        (["weights", "polish"], "polish"),
        (["export"], "expected --onnx FILE, --pt2 FILE or both"),
        (["export", "a.png"], "unrecognized arguments: a.png"),
        (["export", "--onnx", "a.onnx", "--weights", "nothing"], "nothing"),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    grey("a.png")
    grey("weights/a.png")
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    out, err = capsys.readouterr()
    assert exit.value.code == 2
    assert out == ""
    first, hint = err.splitlines()  # what is wrong, and no list of all options before it
    assert message in first
    assert hint.endswith("--help shows the options")


@pytest.mark.parametrize("form", FORMATS)
def test_the_deviation_that_the_network_expects_is_in_every_table(metric, photo_path, form):
    assert main([photo_path, "gone.png", f"--{form}", "-o", f"out.{form}"]) == 1
    (row, gone), signature = read_table(f"out.{form}")
    std = metric.assess(load_image(photo_path)).std.item()
    assert row.std == pytest.approx(std, abs=0.6e-4)  # half of the last decimal, and what threads make of a sum
    assert std > 0.01
    assert gone.std is None
    assert signature == metric.signature


def test_options_in_any_place_and_paths_that_look_like_something_else(mean, capsys):
    grey("a.png")
    grey("-b.png", 102)
    assert main(["a.png", "--csv", "./-b.png"]) == 0
    lines = ["path,score,std,width,height,error,note", "a.png,0.2000,,8,8,,blank", "./-b.png,0.4000,,8,8,,blank"]
    assert capsys.readouterr().out.splitlines() == lines
    assert main(["--quiet", "--", "-b.png", "a.png"]) == 0
    assert capsys.readouterr().out == "0.4000\t-b.png\n0.2000\ta.png\n"
    grey("weights/c.png", 153)
    assert main(["./weights"]) == 0
    assert capsys.readouterr().out == f"0.6000\t{os.path.join('weights', 'c.png')}\n"


def test_rows_in_order_of_score(mean, capsys):
    for name, level in (("b", 102), ("c", 51), ("a", 255), ("tie", 102)):
        grey(f"f/{name}.png", level)
    Path("f/bad.png").touch()

    def names(*options):
        assert main(["f", *options]) == 1  # a picture failed, whether or not it is shown
        return [Path(line.split("\t")[1]).stem for line in capsys.readouterr().out.splitlines()]

    assert names("--sort", "best") == ["a", "b", "tie", "c", "bad"]
    assert names("--sort", "worst") == ["c", "b", "tie", "a", "bad"]
    assert names("--top", "3") == ["a", "b", "tie"]
    assert names("--top", "2", "--sort", "worst") == ["c", "b"]
    assert names("--top", "9") == ["a", "b", "tie", "c"]


def test_fail_under_has_a_status_of_its_own(mean, capsys):
    pictures = [grey("a.png", 51), grey("b.png", 255)]
    assert main([*pictures, "--fail-under", "0.2"]) == 0  # as it is printed: 0.2000
    assert main([*pictures, "--fail-under", "0.21"]) == 3
    assert capsys.readouterr().err == "qfm-metric: the lowest score is 0.2000\n"
    assert main([*pictures, "gone.png", "--fail-under", "0.21"]) == 1


def test_tiles_have_a_lowest_score(mean, capsys):
    halves = Image.new("L", (256, 128), 255)
    halves.paste(51, (128, 0, 256, 128))
    halves.save("halves.png")
    assert main(["halves.png", "--tile", "128"]) == 0
    assert capsys.readouterr().out == "0.6000\t0.2000\thalves.png\n"
    assert main(["halves.png", "--tile", "128", "--jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["lowest"] == 0.2


def test_version(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr() == (f"qfm-metric {qfm_metric.__version__}\n", "")


def test_a_mistyped_command_is_answered_with_the_right_one(capsys):
    assert ended(["reprot", "scores.csv"]) == 2
    assert "did you mean `qfm-metric report`?" in capsys.readouterr().err


def test_a_folder_with_only_subfolders_says_where_the_pictures_are(mean, capsys):
    for name in ("top/a/one.png", "top/b/two.png"):
        grey(name)
    assert main(["top"]) == 1
    assert "no pictures found; 2 in the folders in it: add -r" in capsys.readouterr().err
    assert main(["top", "-r"]) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_limit_of_pixels_can_be_lifted_also_for_workers(workers, mean, monkeypatch, capsys):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    for name in ("a.png", "b.png"):
        grey(name)  # 64 pixels
    assert main(["a.png", "b.png", "--workers", workers]) == 1
    assert "--max-pixels" in capsys.readouterr().out
    assert main(["a.png", "b.png", "--workers", workers, "--max-pixels", "64"]) == 0
    assert main(["a.png", "b.png", "--workers", workers, "--max-pixels", "62"]) == 1
    assert ended(["a.png", "--max-pixels", "0"]) == 2


def ended(argv):
    with pytest.raises(SystemExit) as end:
        main(argv)
    return end.value.code
