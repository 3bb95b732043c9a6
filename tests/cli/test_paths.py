"""Which pictures paths stand for: a bad entry costs itself, companions are passed over, NUL parts what stdin lists."""

import codecs
import errno
import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.mean import Mean
from helpers.pictures import grey
from helpers.processes import NOT_TEXT

from qfm_metric.cli import main
from qfm_metric.cli.paths import Scan


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("qfm_metric.cli.metric.QFMScore", Mean())


def listed(monkeypatch, data, **options):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    return list(Scan(["-"], **options))


def test_a_link_to_itself_gets_its_own_row_and_the_rest_is_scored(capsys):
    Path("f").mkdir()
    grey("f/a.png", 100)
    os.symlink("loop.jpg", "f/loop.jpg")
    os.symlink("gone.png", "f/dangling.png")
    grey("f/z.png", 200)
    assert main(["f"]) == 1
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[1] for row in rows] == ["f/a.png", "f/dangling.png", "f/loop.jpg", "f/z.png"]
    assert [row[0] for row in rows] == ["0.3922", "error", "error", "0.7843"]
    assert "link" in rows[2][2]


@pytest.mark.skipif(os.name != "posix", reason="FIFOs are POSIX's")
def test_a_pipe_among_pictures_gets_an_error_row(capsys):
    Path("f").mkdir()
    os.mkfifo("f/b.jpg")
    grey("f/a.png", 100)
    assert main(["f"]) == 1
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["0.3922", "error"]
    assert "pipe" in rows[1][2]


@pytest.mark.parametrize("words", ["report s.csv", "cull s.csv", "compare s.csv s.csv --html page.html"])
def test_a_table_that_is_read_from_another_folder_than_it_was_written_in_is_told(monkeypatch, capsys, words):
    grey("a.png", 100)
    grey("b.png", 100)
    assert main(["a.png", "b.png", "--csv", "-o", "s.csv"]) == 0
    Path("elsewhere").mkdir()
    Path("s.csv").rename("elsewhere/s.csv")
    monkeypatch.chdir("elsewhere")
    grey("b.png", 100)
    assert main(words.split()) == 0
    said = capsys.readouterr().err
    assert said.count(" pictures are not found from here, such as a.png; the paths in a table count from the") == 1
    grey("a.png", 100)
    assert main(words.split()) == 0
    assert "not found" not in capsys.readouterr().err


def test_maps_of_an_earlier_run_are_no_pictures_of_the_next(capsys):
    grey("f/sub/a.png", 100)
    grey("f/b-map.png", 100)  # somebody's picture, of a name as ours have
    for _ in range(2):
        assert main(["f", "-r", "--map", "f/maps"]) == 0
        capsys.readouterr()
    assert sorted(os.listdir("f/maps/f/sub")) == ["a-map-2.png", "a-map.png"]
    assert main(["f", "-r"]) == 0
    told = capsys.readouterr()
    assert [line.split("\t")[1] for line in told.out.splitlines()] == ["f/b-map.png", "f/sub/a.png"]
    assert told.err == "qfm-metric: 4 maps passed over that --map drew\n"
    assert main(["f/maps/f/sub/a-map.png"]) == 0  # named, it is wanted


def test_companions_are_passed_over_and_counted(capsys):
    for folder in ("f", "f/__MACOSX", "f/@eaDir"):
        Path(folder).mkdir()
    grey("f/IMG.png", 100)
    for name in ("f/._IMG.png", "f/.DS_Store", "f/Thumbs.db", "f/._b.jpg", "f/__MACOSX/x.png", "f/@eaDir/y.png"):
        Path(name).write_bytes(b"no picture")
    assert main(["f", "-r"]) == 0
    told = capsys.readouterr()
    assert told.out == "0.3922\tf/IMG.png\n"
    assert told.err == "qfm-metric: 2 files passed over that belong to others (such as ._IMG.JPG)\n"
    assert main(["f/._IMG.png"]) == 1  # named, it is scored


def test_paths_on_stdin_end_with_lines_or_nul(monkeypatch):
    assert listed(monkeypatch, b"a b.png\r\n\nc.png") == ["a b.png", "c.png"]
    assert listed(monkeypatch, codecs.BOM_UTF8 + b"a.png\n") == ["a.png"]  # as editors of Windows write
    names = ["two\nlines.png", " space.png ", NOT_TEXT]
    data = b"\0".join(map(os.fsencode, names))
    assert listed(monkeypatch, data, null=True) == names
    assert listed(monkeypatch, data + b"\0\0", null=True) == names
    assert listed(monkeypatch, b"", null=True) == []


def test_the_option_reads_what_find_prints(monkeypatch, capsys):
    grey("two\nlines.png", 100)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"two\nlines.png\0")))
    assert main(["-0", "-", "--jsonl"]) == 0
    assert '"path": "two\\nlines.png", "score": 0.3922' in capsys.readouterr().out


def test_a_file_whose_name_looks_like_an_option_is_told_how_to_be_written(capsys):
    grey("-rf.png", 100)
    with pytest.raises(SystemExit):
        main(["-rf.png"])
    assert "; for the file of that name write ./-rf.png\n" in capsys.readouterr().err
    assert main(["./-rf.png"]) == 0


@pytest.mark.parametrize("words", ["a.png -o", "a.png --html", "a.png --map", "compare a b -o", "report s.csv --title"])
def test_an_empty_value_is_refused_as_that_of_a_variable_that_is_not_set(words, capsys):
    grey("a.png", 100)
    *words, option = words.split()
    with pytest.raises(SystemExit):
        main([*words, option, ""])
    assert f"{option}: expected a value, got an empty text" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["a.png"]


def test_standard_input_that_cannot_be_read_is_told_after_the_rows_that_came(mean, monkeypatch, capsys):
    class Lost(io.BytesIO):
        def read1(self, size=-1):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Lost(), encoding="utf-8"))
    with pytest.raises(SystemExit) as ended:
        main([grey("a.png"), "-"])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == "0.2000\ta.png\n"
    assert "qfm-metric: -: cannot read standard input: Input/output error\n" in err


def test_what_is_not_found_by_a_package_is_not_told_of_standard_output(mean, monkeypatch, capsys):
    def look(*_):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(mean, "from_pretrained", look)
    assert main([grey("a.png")]) == 1
    assert capsys.readouterr().err == "qfm-metric: No usable temporary directory found in ['/tmp']\n"


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"a.png\0b.png\0", "a.png\n".encode("utf-16")])
def test_what_is_no_list_of_paths_is_refused(monkeypatch, capsys, data):
    """A picture that was piped; what `find -print0` lists, without -0; what PowerShell writes."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    with pytest.raises(SystemExit) as ended:
        main(["-"])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "expected a path per line on standard input" in err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize(
    "words", ["report s.csv", "compare s.csv s.csv", "cull s.csv", "cull --apply s.csv --to d", "report s.parquet"]
)
def test_a_pipe_in_the_place_of_scores_or_a_plan_is_refused_and_not_waited_for(words, capsys):
    for name in ("s.csv", "s.parquet"):
        os.mkfifo(name)
    with pytest.raises(SystemExit):
        main(words.split())
    assert "expected a file, got a folder, a pipe or a device" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="there the current folder cannot be deleted")
@pytest.mark.parametrize("words", ["a.png --csv -o out.csv", "{}/a.png", "compare {} {}"])
def test_a_current_folder_that_is_gone_is_told(tmp_path, monkeypatch, capsys, words):
    """Also with paths that do not hang on it: there the libraries of torch end the process with a false word."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    grey(tmp_path / "a.png")
    assert main(words.format(tmp_path, tmp_path).split()) == 1
    assert capsys.readouterr().err == "qfm-metric: the current folder is gone; go to one that is there\n"
