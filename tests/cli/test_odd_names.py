"""Names that no locale, no encoding or no file system takes, and folders deeper than calls may nest."""

import os
import shutil
from pathlib import Path

import pytest
from helpers.pages import read_page
from helpers.pictures import grey
from helpers.processes import NOT_TEXT

from qfm_metric import QFMScore
from qfm_metric.cli import main
from qfm_metric.folder.formats import FORMATS

DEEP = 1200  # folders in folders; Python lets 1,000 calls nest


@pytest.fixture
def deep(tmp_path):
    """A folder in which pictures lie as deep as calls can nest, and deeper."""
    folder = os.path.join("deep", *["d"] * DEEP)
    grey("deep/a.png", 51)
    grey("deep/z.png", 153)
    for _ in range(DEEP):
        os.chdir("deep" if os.path.exists("deep") else "d")
        os.mkdir("d")
    os.chdir("d")
    grey("x.png", 102)
    os.chdir(tmp_path)
    yield os.path.join(folder, "x.png")
    os.chdir(tmp_path)  # shutil.rmtree nests as well, whatever the version of Python
    while not os.path.exists("x.png"):
        os.chdir("deep" if os.path.exists("deep") else "d")
    os.unlink("x.png")
    for _ in range(DEEP):
        os.chdir("..")
        os.rmdir("d")
    os.chdir(tmp_path)


def test_pictures_are_found_however_deep_they_lie(deep, mean, capsys):
    assert main(["deep", "-r"]) == 0
    assert [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()] == ["deep/a.png", deep, "deep/z.png"]
    os.remove("deep/a.png")
    os.remove("deep/z.png")
    assert main(["deep"]) == 1
    assert "no pictures found; 1 in the folders in it: add -r" in capsys.readouterr().err
    assert main(["deep/**"]) == 1
    assert "deep/**: the folders in it are too deep for **; give the folder itself, and -r" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "compare", "cull"])
def test_names_that_no_file_can_have_are_told_as_escapes(command, capsys):
    rows = [
        r'{"path": "\ud800.png", "score": 0.25}',
        r'{"path": "a\u0000b.png", "score": 0.5}',
        '{"path": "c", "score": 1}',
    ]
    Path("s.jsonl").write_text("\n".join(rows) + "\n")
    words = {
        "report": ["s.jsonl", "-o", "page.html"],
        "compare": ["s.jsonl", "s.jsonl", "--html", "page.html"],
        "cull": ["s.jsonl", "--html", "page.html"],
    }
    assert main([command, *words[command]]) == 0
    shown = {picture["path"] for card in read_page(Path("page.html"))[2] for picture in card["pictures"]}
    assert shown == {r"\ud800.png", r"a\x00b.png", "c"}
    if command == "cull":
        assert main(["cull", "--apply", "cull-plan.csv", "--to", "out", "--only", "reject", "--only", "look"]) == 1
        assert capsys.readouterr().err.count("it is gone") == 2


@pytest.mark.parametrize("form", FORMATS)
def test_what_has_a_name_that_is_no_text_is_moved_by_scores_of_every_format(mean, form):
    name = grey(f"f/{NOT_TEXT}", 10)
    assert main(["f", f"--{form}", "-o", f"s.{form}"]) == 0
    assert main(["cull", f"s.{form}"]) == 0
    assert main(["cull", "--apply", "cull-plan.csv", "--to", "out"]) == 0
    assert not os.path.lexists(name)
    assert os.path.exists(f"out/reject/{NOT_TEXT}")


def test_weights_of_any_name_are_known_by_it(tiny_files, mean, capsys):
    name = f"./{NOT_TEXT}.safetensors"
    shutil.copy(tiny_files[0], name)
    assert main(["weights", "path", name]) == 0
    assert main(["weights", "verify", name]) == 0
    assert [line.count(r"bad\udcff.png.safetensors") for line in capsys.readouterr().out.splitlines()] == [1, 1]
    assert r"bad\udcff.png.safetensors" in QFMScore(name).signature  # which goes into tables, pages and sidecars


EVIL = "a\x1b]0;owned\x07\x1b[2J\nb\x9b31m"  # sets a terminal's title, clears it, begins a line, makes it red


@pytest.mark.parametrize(
    "command",
    [
        "EVIL.png",
        "EVIL*.png",
        "f --EVIL",
        "f -o EVIL/out",
        "f --csv -o EVIL.json",
        "f --html EVIL.txt",
        "f --map EVIL.txt",
        "f --max-pixels EVIL",
        "f --projection EVIL",
        "f --require EVIL",
        "f --require score>.9",
        "f --weights EVIL",
        "f --weights ./EVIL.txt",
        "f --device EVIL",
        "f --stars EVIL --xmp",
        "f --xmp",
        "compare EVIL f",
        "compare EVIL.csv EVIL.csv",
        "compare g f",
        "compare f f -o EVIL/out",
        "cull EVIL",
        "cull f -o EVIL.txt",
        "cull --apply EVIL.csv --to out",
        "cull --undo EVIL.txt",
        "report EVIL.csv",
        "report EVIL.txt",
        "watch EVIL.txt",
        "watch f --every EVIL",
        "export --onnx EVIL/out",
        "export --onnx EVIL.txt",
        "weights EVIL",
        "weights path EVIL",
        "weights download ./EVIL.txt",
        "EVIL.mp4",
        "EVIL.mp4 --fps EVIL",
        "EVIL.mp4 EVIL",
    ],
)
def test_no_message_says_what_a_terminal_obeys(command, mean, capsys):
    """Whoever sends the pictures chooses their names."""
    grey(f"f/{EVIL}.png", 51)
    Path(f"f/{EVIL}.png.xmp").write_text("no XMP")
    grey("g/other.png", 51)
    Path(f"g/{EVIL}.png").write_text("no picture")
    Path(f"{EVIL}.txt").write_text("mine")
    Path(f"{EVIL}.csv").write_text(f'path,score\n"{EVIL}",7\n')
    try:
        status = main([word.replace("EVIL", EVIL) for word in command.split()])
    except SystemExit as ended:
        status = ended.code
    said = capsys.readouterr()
    assert said.err or said.out
    assert (status, command) == (0, command) or r"\x1b" in said.err + said.out
    for line in (said.err + said.out).splitlines():
        assert line.isprintable() or line.replace("\t", "").isprintable()
    assert "\x9b" not in said.err + said.out
