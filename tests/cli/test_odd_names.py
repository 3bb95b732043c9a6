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


def test_weights_of_any_name_are_known_by_it(tiny_files, mean, capsys):
    name = f"./{NOT_TEXT}.safetensors"
    shutil.copy(tiny_files[0], name)
    assert main(["weights", "path", name]) == 0
    assert main(["weights", "verify", name]) == 0
    assert [line.count(r"bad\udcff.png.safetensors") for line in capsys.readouterr().out.splitlines()] == [1, 1]
    assert r"bad\udcff.png.safetensors" in QFMScore(name).signature  # which goes into tables, pages and sidecars
