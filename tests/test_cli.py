"""The command: what it reads, what it writes where, and how it ends; mostly with a metric that returns the mean."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

import qfm_metric
from qfm_metric import cli, load_image
from qfm_metric.cli import Result, find_pictures, main, score_paths, write
from qfm_metric.weights import read_manifest

NOT_TEXT = os.fsdecode(b"bad\xff.png")  # a legal file name on Linux, with a lone surrogate in Python
FORMATS = [None, "csv", "json"]


class Mean:
    """Stands in for QFMScore: the score of a grey picture is its level, so rows can be told apart."""

    report = 'the "mean" of ünicode'

    def __init__(self):
        self.seen = []
        self.from_pretrained = self.to = lambda source_or_device: self

    def __call__(self, images):
        self.seen += images
        return torch.stack([image.mean() for image in images])


@pytest.fixture
def mean(monkeypatch):
    fake = Mean()
    monkeypatch.setattr(cli, "QFMScore", fake)
    return fake


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    """Work in an empty folder, so that paths are short and rows can be compared whole."""
    monkeypatch.chdir(tmp_path)


def grey(path, level=51):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), level).save(path)
    return str(path)


def feed(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def command(*args, **options):
    """The command as a process of its own (seconds, to import torch), on the copy of the package that is tested."""
    environment = os.environ | {"PYTHONPATH": str(Path(qfm_metric.__file__).parents[1]), **options.pop("env", {})}
    return subprocess.Popen([sys.executable, "-m", "qfm_metric", *args], env=environment, **options)


def text_of(results, form=None):
    file = io.StringIO()
    write(results, file, form, Mean.report)
    return file.getvalue()


def test_folder_is_its_pictures_in_order_of_name():
    for name in ("f/b.PNG", "f/a.jpg", "f/c.webp.gif", "f/deep/d.png", "f/folder.png/e.png"):
        grey(name)
    Path("f/notes.txt").write_text("no picture")
    Path("f/png").write_text("no suffix")
    top = [os.path.join("f", name) for name in ("a.jpg", "b.PNG", "c.webp.gif")]
    deep = [os.path.join("f", "deep", "d.png"), os.path.join("f", "folder.png", "e.png")]
    assert list(find_pictures(["f"], recursive=False)) == top
    assert list(find_pictures(["f"], recursive=True)) == top + deep
    assert list(find_pictures(["f/notes.txt"], recursive=False)) == ["f/notes.txt"]  # named, so it gets an error row


def test_globs_are_expanded_as_a_shell_would():
    for name in ("2.png", "10.png", "[1].png", "1.png", "trip-a/x.png", "trip-b/y.png"):
        grey(name)
    Path("trip-b/z.txt").touch()

    def found(*globs):
        return [Path(path).as_posix() for path in find_pictures(globs, recursive=False)]

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
    assert list(find_pictures(["first.png", "-", "last.png"], recursive=False)) == ["first.png", *names, "last.png"]


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
    assert main(["z.png", "f", "-", "y*.png", "z.png", "--batch-size", "2"]) == 0
    rows = ["0.2000\tz.png", "0.6000\tf/a.png", "0.4000\tf/b.png", "0.8000\tline.png", "1.0000\ty.png", "0.2000\tz.png"]
    out, err = capsys.readouterr()
    assert out.replace(os.sep, "/").splitlines() == rows
    assert err == ""


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_bad_picture_costs_one_row(batch_size):
    whole = Path(grey("whole.png")).read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    Path("text.png").write_text("no picture")
    paths = ["gone.png", "whole.png", "cut.png", "text.png", grey("white.png", 255)]
    results = list(score_paths(Mean(), paths, batch_size))
    assert [result.path for result in results] == paths
    assert [result.score for result in results] == [None, pytest.approx(0.2), None, None, 1.0]
    for result in results:
        assert (result.error is None) == (result.score is not None)
        assert result.error is None or result.path in result.error


def test_batch_size_does_not_change_the_text(metric, photo):
    sizes = [(96, 128), (128, 96), (96, 128), (70, 70)]
    for i, (height, width) in enumerate(sizes):
        pixels = (photo[:, 50 * i : 50 * i + height, 100 : 100 + width] * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(f"{i}.png")
    paths = ["0.png", "1.png", "gone.png", "2.png", "3.png"]
    texts = [text_of(score_paths(metric, paths, batch_size)) for batch_size in (1, 3, 100)]
    assert texts[0] == texts[1] == texts[2]
    assert len({line.split("\t")[0] for line in texts[0].splitlines()}) == 5  # four scores, and an error


def test_text():
    results = [Result("a b.png", 0.12344999, None), Result("c.png", None, "'c.png': broken")]
    assert text_of(results) == "0.1234\ta b.png\nerror\tc.png\t'c.png': broken\n"


def test_csv_reads_back():
    names = ["a,b.png", 'say "hi".png', "two\nlines.png", "größe 猫.png", "", " tab\t.png "]
    results = [Result(name, 1 / 7, None) for name in names[:3]]
    results += [Result(name, None, f"{name!r} is {name}") for name in names[3:]]
    rows = list(csv.DictReader(io.StringIO(text_of(results, "csv"), newline="")))
    assert [list(row) for row in rows] == [["path", "score", "error"]] * len(names)
    assert [row["path"] for row in rows] == names
    assert [row["score"] for row in rows] == ["0.1429"] * 3 + [""] * 3
    assert [row["error"] for row in rows] == [result.error or "" for result in results]


def test_json_reads_back(mean, capsys):
    assert main(["--json", grey("größe.png"), "gone.png"]) == 1
    out = capsys.readouterr().out
    assert out.isascii()  # so that it is JSON whatever the encoding of stdout
    good, bad = json.loads(out)["results"]
    assert good == {"path": "größe.png", "score": 0.2, "error": None}
    assert bad == {"path": "gone.png", "score": None, "error": bad["error"]}
    assert "gone.png" in bad["error"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_name_that_is_not_text_ends_no_run(mean, capsys, form):
    arguments = [f"--{form}"] * bool(form) + [NOT_TEXT, grey("good.png")]
    assert main(arguments) == main([*arguments, "-o", "out"]) == 1
    out = capsys.readouterr().out
    assert out == Path("out").read_text(encoding="utf-8")
    assert "0.2" in out
    if form == "json":
        assert json.loads(out)["results"][0]["path"] == NOT_TEXT
    else:
        assert r"bad\udcff.png" in out


@pytest.mark.parametrize("form", FORMATS)
def test_rows_before_a_failure_are_on_disk(form):
    def results():
        yield Result("first.png", 0.5, None)
        assert "first.png" in Path("out").read_text(encoding="utf-8")  # before the second is computed
        raise KeyboardInterrupt

    with open("out", "w", encoding="utf-8") as file, pytest.raises(KeyboardInterrupt):
        write(results(), file, form, Mean.report)


@pytest.mark.parametrize("form", FORMATS)
def test_output_goes_to_the_file_alone(mean, capsys, form):
    Path("out").write_text("what was there before, longer than what replaces it\n" * 9)
    assert main([*[f"--{form}"] * bool(form), "-o", "out", grey("ä.png")]) == 0
    assert capsys.readouterr() == ("", "")
    assert Path("out").read_bytes().decode() == text_of([Result("ä.png", 0.2, None)], form)


@pytest.mark.parametrize("output", ["absent/out.csv", ".", "/dev/full"])
def test_output_that_cannot_be_written(mean, capsys, output):
    if output.startswith("/") and not os.path.exists(output):
        pytest.skip(f"no {output} on this system")
    assert main(["-o", output, grey("a.png")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"qfm-metric: cannot write {output}: ")
    assert err.count("\n") == 1
    assert output == "/dev/full" or mean.seen == []  # known before any picture was scored


def test_nothing_found(mean, capsys):
    Path("empty").mkdir()
    assert main(["empty"]) == 1
    assert capsys.readouterr() == ("", "qfm-metric: no pictures found\n")
    assert main(["--json", "empty"]) == 1
    assert json.loads(capsys.readouterr().out) == {"report": mean.report, "results": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: PATH"),
        (["--bogus", "a.png"], "--bogus"),
        (["--json", "--csv", "a.png"], "not allowed with"),
        (["--batch-size", "0", "a.png"], "--batch-size: expected at least 1, got 0"),
        (["--device", "nonsense", "a.png"], "--device nonsense: "),
        (["--device", "meta", "a.png"], "--device meta: "),  # can be moved to, cannot compute
        (["--device", "mtia", "a.png"], "--device mtia: "),  # AssertionError from torch
        (["--device", "privateuseone", "a.png"], "--device privateuseone: "),  # ModuleNotFoundError
        (["--weights", read_manifest()["default"] + "x", "a.png"], f"did you mean {read_manifest()['default']!r}?"),
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
    assert message in err.splitlines()[-1]


def test_options_in_any_place_and_paths_that_look_like_something_else(mean, capsys):
    grey("a.png")
    grey("-b.png", 102)
    assert main(["a.png", "--csv", "./-b.png"]) == 0
    assert capsys.readouterr().out == "path,score,error\na.png,0.2000,\n./-b.png,0.4000,\n"
    assert main(["--quiet", "--", "-b.png", "a.png"]) == 0
    assert capsys.readouterr().out == "0.4000\t-b.png\n0.2000\ta.png\n"
    grey("weights/c.png", 153)
    assert main(["./weights"]) == 0
    assert capsys.readouterr().out == f"0.6000\t{os.path.join('weights', 'c.png')}\n"


def test_version(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr() == (f"qfm-metric {qfm_metric.__version__}\n", "")


@pytest.mark.parametrize(
    ("options", "out_is_tty", "err_is_tty", "shown"),
    [
        ([], False, True, True),
        (["-o", "out"], True, True, True),
        ([], True, True, False),  # the rows would share their line with it
        (["--quiet"], False, True, False),
    ],
)
def test_when_progress_is_shown(mean, monkeypatch, capsys, options, out_is_tty, err_is_tty, shown):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: out_is_tty)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: err_is_tty)
    assert main([*options, grey("a.png"), grey("b.png")]) == 0
    out, err = capsys.readouterr()
    assert err == ("\r1 scored\r2 scored\n" if shown else "")
    assert out == ("" if "-o" in options else "0.2000\ta.png\n0.2000\tb.png\n")


def test_process_scores_what_the_library_scores(metric, photo_path):
    arguments = [photo_path, "gone.png", NOT_TEXT, grey("a.png", 0)]
    process = command(*arguments, env={"PYTHONIOENCODING": "utf-8:strict"}, stdout=-1, stderr=-1, text=True)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert err == "qfm-metric: 2 of 4 failed\n"
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[:2] for row in rows[1:3]] == [["error", "gone.png"], ["error", r"bad\udcff.png"]]
    for score, path in (rows[0], rows[3]):
        assert re.fullmatch(r"[01]\.\d{4}", score)
        # Rounding moves a score by half the last decimal; another process may share sums out to other threads.
        assert float(score) == pytest.approx(metric(load_image(path)).item(), abs=0.6e-4)


def test_process_shows_progress_on_a_terminal_only_there():
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    process = command(grey("a.png"), grey("b.png"), stdout=-1, stderr=theirs, text=True)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert os.read(ours, 4096) == b"\r1 scored\r2 scored\r\n"
    assert re.fullmatch(r"[01]\.\d{4}\ta\.png\n[01]\.\d{4}\tb\.png\n", out)
    os.close(ours)
    os.close(theirs)


def test_process_streams_and_stops_quietly_when_the_reader_has_gone():
    grey("a.png")
    process = command("-", "--batch-size", "1", stdin=-1, stdout=-1, stderr=-1, text=True, bufsize=1)
    stop = threading.Timer(300, process.kill)  # a row that never comes would block readline
    stop.daemon = True
    stop.start()
    process.stdin.write("a.png\n")
    assert process.stdout.readline().endswith("\ta.png\n")  # while the second path is still to come
    process.stdout.close()
    process.stdin.write("a.png\n" * 2)
    process.stdin.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=300) == 1
    stop.cancel()
