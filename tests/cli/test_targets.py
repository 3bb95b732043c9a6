"""No command writes over a picture, over what it reads, or over somebody else's file; nothing is opened before."""

import sqlite3
from pathlib import Path

import pytest
from helpers.mean import Mean
from helpers.pictures import grey

from qfm_metric import QFMScore
from qfm_metric.cli import main
from qfm_metric.cli.targets import is_table
from qfm_metric.export import export_onnx, export_pt2
from qfm_metric.own_files import is_comparison, is_export, is_page

CSV = "path,score\na.png,0.5\n"


@pytest.fixture(autouse=True)
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("qfm_metric.cli.metric.QFMScore", Mean())
    for name in ("a.png", "b.png", "c.jpg"):
        grey(name, 100)
    Path("s.csv").write_text(CSV)
    Path("t.csv").write_text(CSV.replace("a.png", "b.png"))
    Path("notes.txt").write_text("my notes\n")
    Path("about.txt").write_text("what I think of qfm_metric\n")
    Path("mine.csv").write_text("name,age\nAnn,40\n")
    Path("remarks.csv").write_text("path,score,remark\na.png,0.5,for the wall\n")
    heading = "decision,path,score,std,why,width,height,error,note,name,mine\n"
    Path("plan.csv").write_text(f"{heading}keep,a.png,0.5,,,,,,,a.png,for the wall\n")
    Path("captions.jsonl").write_text('{"path": "a.png", "score": 0.5, "caption": "a cat"}\n')
    Path("mine.html").write_text("<!doctype html><title>my page</title>")
    sqlite3.connect("mine.db").execute("create table x (y)").connection.close()
    main(["a.png", "--sqlite", "-o", "both.sqlite"])
    sqlite3.connect("both.sqlite").execute("create table x (y)").connection.close()


@pytest.mark.parametrize(
    "command",
    [
        "--csv -o a.png b.png c.jpg",  # FILE forgotten
        "a.png -o a.png",
        "a.png -o new.png",
        "a.png -o.jpg",  # a shell's *.jpg, where a picture is called so
        "a.png -o notes.txt",
        "a.png --csv -o mine.csv",
        "a.png --jsonl -o mine.csv",
        "a.png --csv -o remarks.csv",  # scores, and what somebody says of them
        "a.png --jsonl -o captions.jsonl",
        "a.png --parquet -o mine.db",
        "a.png --sqlite -o mine.db",
        "a.png --sqlite -o notes.txt",
        "a.png --sqlite -o both.sqlite",  # scores of ours, and a table of somebody else's
        "a.png --sqlite -o both.sqlite --resume",
        "a.png --json -o mine.html",
        "a.png --html b.png",
        "a.png --html mine.html",
        "a.png --html notes.txt",
        "notes.txt --csv -o notes.txt",
        "report s.csv -o c.jpg",
        "report s.csv -o s.csv",
        "report s.csv -o mine.html",
        "compare s.csv t.csv -o t.csv",
        "compare s.csv t.csv -o notes.txt",
        "compare s.csv t.csv --html c.jpg",
        "compare s.csv t.csv --html mine.html",
        "export --onnx a.png",
        "export --onnx notes.txt",
        "export --pt2 mine.db",
        "export --onnx about.txt",  # our name alone says nothing
        "export --pt2 about.txt",
        "export --onnx new.onnx --pt2 new.onnx",
        "compare s.csv t.csv -o new.html --html new.html",
        "cull s.csv -o new.html --html new.html",
        "cull s.csv -o plan.csv",  # with a column of somebody's own
        "a.mp4 --csv -o new.html --html new.html",
    ],
)
def test_what_is_not_ours_is_never_written_over(command, capsys):
    before = {path: path.read_bytes() for path in Path().iterdir()}
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert ended.value.code == 2
    assert {path: path.read_bytes() for path in Path().iterdir()} == before
    first, hint, *rest = capsys.readouterr().err.splitlines()
    assert "expected" in first or "is no file of this kind" in first
    assert hint.endswith("--help shows the options")
    assert not rest


@pytest.mark.parametrize("name", ["none/out", "folder"])
@pytest.mark.parametrize(
    "command",
    [
        *("compare a b -o OUT", "compare a b --html OUT", "cull a -o OUT", "cull a --html OUT", "a.mp4 --html OUT"),
        *("export --onnx OUT", "export --pt2 OUT"),
    ],
)
def test_what_cannot_be_written_in_the_end_is_known_before_anything_is_scored(command, name, monkeypatch, capsys):
    for folder in ("a", "b", "folder"):
        Path(folder).mkdir()
    for module in ("cli.metric", "score"):
        monkeypatch.setattr(f"qfm_metric.{module}.QFMScore", None)
    assert main(command.replace("OUT", name).split()) == 1
    assert capsys.readouterr().err.startswith(f"qfm-metric: cannot write {name}: ")
    assert not list(Path("folder").iterdir())


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("a.png -o new.csv", "-o: expected --csv, too, got new.csv"),
        ("a.png --csv -o new.JSON", "-o: expected a name that ends with .csv, got new.JSON"),
        ("a.png --jsonl -o new.json", "-o: expected a name that ends with .jsonl, got new.json"),
        ("a.mp4 --jsonl -o new.csv", "-o: expected a name that ends with .jsonl, got new.csv"),
        ("watch . --jsonl -o new.csv", "-o: expected a name that ends with .jsonl, got new.csv"),
        ("a.png --csv -o new.csv.gz", "-o: expected a name that ends with .csv, got new.csv.gz"),
        ("a.png -o new.xlsx", "-o: expected a name that ends with .txt, got new.xlsx"),
        ("a.png --jsonl -o new.html", "-o: expected a name that ends with .jsonl, got new.html"),
        ("a.png --html new.pdf", "--html: expected a name that ends with .html, got new.pdf"),
        ("report s.csv -o new.csv", "-o: expected a name that ends with .html, got new.csv"),
        ("cull s.csv -o new.html", "-o: expected a name that ends with .csv, got new.html"),
        ("cull s.csv --html new.csv", "--html: expected a name that ends with .html, got new.csv"),
        ("compare s.csv t.csv -o new.csv", "-o: expected a name that ends with .txt, got new.csv"),
        ("compare s.csv t.csv --json -o new.html", "-o: expected a name that ends with .json, got new.html"),
        ("export --onnx new.pt2", "--onnx: expected a name that ends with .onnx, got new.pt2"),
    ],
)
def test_a_file_does_not_get_the_suffix_of_another_kind(command, says, capsys):
    with pytest.raises(SystemExit):
        main(command.split())
    assert says in capsys.readouterr().err


def test_the_name_of_an_input_may_be_another_one():
    Path("link.csv").symlink_to("s.csv")
    Path("sub").mkdir()
    for other in ("link.csv", "./s.csv", "sub/../s.csv"):
        with pytest.raises(SystemExit):
            main(["report", "s.csv", "-o", other])
    assert Path("s.csv").read_text() == CSV


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("a.png b.png -o out", "out"),
        ("a.png --csv -o out.csv", "out.csv"),
        ("a.png --jsonl -o out.jsonl", "out.jsonl"),
        ("a.png --json -o out.json", "out.json"),
        ("a.png --parquet -o out.parquet", "out.parquet"),
        ("a.png --sqlite -o out.sqlite", "out.sqlite"),
        ("a.png --html out.html", "out.html"),
        ("report s.csv -o out.html", "out.html"),
        ("compare s.csv t.csv -o out", "out"),
        ("compare s.csv t.csv --json -o out", "out"),
        ("compare s.csv t.csv --html out.html", "out.html"),
    ],
)
def test_what_a_command_wrote_it_writes_again(command, name):
    assert main(command.split()) == 0
    assert Path(name).stat().st_size
    assert main(command.split()) == 0


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_may_be_named(capsys, name):
    for command in (["a.png", "--csv"], ["compare", "s.csv", "t.csv"]):
        assert main(command) == 0
        expected = capsys.readouterr()
        assert main([*command, "-o", name]) == 0
        assert capsys.readouterr() == expected


@pytest.mark.parametrize("target", ["there.html", "absent.html"])
def test_what_a_link_leads_to_is_written_and_the_link_stays(target):
    Path("there.html").touch()
    Path("link.html").symlink_to(target)
    assert main(["report", "s.csv", "-o", "link.html"]) == 0
    assert Path("link.html").is_symlink()
    assert is_page(Path(target))


@pytest.mark.parametrize(
    "command", ["cull . -o -", "report s.csv -o -", "a.png --html -", "compare s.csv t.csv --html -"]
)
def test_what_cannot_go_to_standard_output_makes_no_file_of_that_name(command, capsys):
    with pytest.raises(SystemExit) as end:
        main(command.split())
    assert end.value.code == 2
    assert "expected the name of a file, got -" in capsys.readouterr().err
    assert not Path("-").exists()


def test_an_empty_file_and_a_device_are_written():
    Path("empty.csv").touch()
    assert main(["a.png", "--csv", "-o", "empty.csv"]) == 0
    assert main(["a.png", "--csv", "-o", "/dev/null"]) == 0


@pytest.mark.parametrize("export", [export_onnx, export_pt2])
def test_an_export_of_python_replaces_an_export_alone(export, tiny_files):
    with pytest.raises(FileExistsError, match="is no file of this kind"):
        export(QFMScore.from_pretrained(tiny_files[0]), "notes.txt")
    assert Path("notes.txt").read_text() == "my notes\n"


def test_files_of_ours_are_known():
    for check in (
        is_page,
        is_comparison,
        is_export("onnx"),
        is_export("pt2"),
        is_table(None),
        is_table("json"),
        is_table("csv"),
    ):
        assert not check(Path("notes.txt"))
    Path("cut.json").write_text('{"signature": "x", "results": [\n  {"path": "a", "sc')
    assert is_table("json")(Path("cut.json"))
