"""What all commands have in common: threads, and errors without a traceback."""

import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from qfm_metric.train import cli

COMMANDS = [
    "prepare table none.csv --out OUT",
    "ladders --data OUT --severity none.csv --out OUT/ladders",
    "teacher quick --data OUT --out OUT.csv",
    "label --data OUT --out OUT/member.csv",
    "pretrain quick --data OUT --severity none.csv --ladders OUT --out OUT",
    "student quick --data OUT --out OUT",
    "photograph --data OUT --out OUT.safetensors",
    "defect-head --weights none --cells OUT --out OUT.safetensors",
    "spread-reader --weights none --data OUT --cells OUT --drawn OUT --falling OUT --out OUT.safetensors",
    "fit none.csv -o OUT.safetensors",
    "probe quick --data OUT",
    "evaluate none.csv",
    "severity none.csv --data OUT",
    "defects none.csv --data OUT",
    "gate none",
    "export none.safetensors",
]


@pytest.mark.parametrize("words", COMMANDS)
def test_threads_are_set_and_what_is_missing_is_named(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", *words.split(), "--threads", "3"])
    assert cli.main() == 1
    assert torch.get_num_threads() == 3
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "none" in said or "OUT" in said
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "words",
    [
        "fit mine.csv -o mine.csv",
        "fit mine.csv -o link.csv",
        "fit mine.csv -o a.jpg",
        "fit mine.csv -o notes.txt",
        "photograph a.safetensors --data D --out a.safetensors",
        "defect-head --weights a.safetensors --cells C --out a.safetensors",
        "spread-reader --weights a.safetensors --data D --cells C --drawn E --falling F --out a.safetensors",
        "reference --weights a.safetensors --cells C --out a.safetensors",
        "average a.safetensors b.safetensors --out b.safetensors",
        "calibrate --weights a.safetensors --data D --out a.safetensors",
        "fold --weights a.safetensors --out a.safetensors",
        "golden a.jpg --weights a.safetensors --out a.jpg",
        "golden a.jpg --out a.jpg",
        "label --data D --out mine.csv",
        "teacher quick --data D --out mine.csv",
        "evaluate mine.csv --scores mine.csv",
        "evaluate mine.csv --plot a.jpg",
        "prepare table all.csv --out .",
        "prepare table mine.csv --groups all.csv --out sub/..",
        "student quick --data D --weights a.safetensors --out . --id a",
        "severity levels.csv --data D --out .",
        "fit mine.csv -o b.safetensors",
        "student quick --data D --out . --id b",
        "prepare table mine.csv --out .",
        "prepare table mine.csv --out sub",
        "severity mine.csv --data D --out .",
        "travel --data D --out sub",
        "travel --data D --out pictures",
        "severity none.csv --data D --out pictures",
        "export a.safetensors --figures test=figures.json --card figures.json",
    ],
)
def test_nothing_is_written_over_what_is_read_or_is_of_another_kind(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = {"mine.csv": b"image,mos\n", "a.jpg": b"\xff\xd8", "notes.txt": b"notes", "figures.json": b"{}"}
    for name, data in (files | {f"{name}.safetensors": b"\2" + bytes(7) + b'{"a":0}' for name in "ab"}).items():
        Path(name).write_bytes(data)
    for name in ("all.csv", "levels.csv"):
        Path(name).write_bytes(files["mine.csv"])
    Path("link.csv").symlink_to("mine.csv")
    Path("sub").mkdir()
    Path("pictures").mkdir()
    for name in ("travel.png", "severity.png"):
        Image.new("L", (8, 8)).save(Path("pictures", name))
    for name in ("scale.json", "travel.json"):
        Path("sub", name).write_bytes(b"{}")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    monkeypatch.setattr(sys, "argv", ["train", *words.split()])
    assert cli.main() == 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    said = capsys.readouterr().err
    assert (
        "expected another file than what is read" in said
        or "a picture's" in said
        or "no file of this kind" in said
        or "never replaced" in said
    )


def test_a_drawing_of_an_earlier_run_is_replaced(tmp_path, monkeypatch, capsys):
    Figure().savefig(tmp_path / "travel.png")
    monkeypatch.setattr(sys, "argv", ["train", "travel", "--data", "nowhere", "--out", str(tmp_path)])
    assert cli.main() == 1
    assert "nowhere" in capsys.readouterr().err


def test_weights_of_an_earlier_run_are_replaced_and_a_missing_folder_is_told_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("old.safetensors").write_bytes(b"\2" + bytes(7) + b'{"__metadata__":{"qfm_config":"{}"}}')
    for out, says in (("old.safetensors", "none.csv"), ("none/new.safetensors", "none/new.safetensors")):
        monkeypatch.setattr(sys, "argv", ["train", "fit", "none.csv", "-o", out])
        assert cli.main() == 1
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (KeyboardInterrupt, 130, "interrupted"),
        (BrokenProcessPool, 1, "a worker process ended, for want of memory"),
        (
            RuntimeError("operator torchvision::nms does not exist"),
            1,
            "operator torchvision::nms does not exist: expected",
        ),
    ],
)
def test_what_is_no_fault_of_the_program_ends_without_a_traceback(error, status, says, monkeypatch, capsys):
    def fails(args):
        raise error

    monkeypatch.setattr(cli.options, "check_outputs", fails)
    monkeypatch.setattr(sys, "argv", ["train", "fit", "none.csv", "-o", "new.safetensors"])
    assert cli.main() == status
    assert capsys.readouterr().err.startswith(f"error: {says}")


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    def fails(args):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(cli.options, "check_outputs", fails)
    monkeypatch.setattr(sys, "argv", ["train", "fit", "none.csv", "-o", "new.safetensors"])
    with pytest.raises(RuntimeError, match="shapes differ"):
        cli.main()


@pytest.mark.parametrize("count", ["0", "1000000"])
def test_numbers_of_threads_that_would_end_the_process_are_refused(count, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "evaluate", "none.csv", "--threads", count])
    assert cli.main() == 1
    assert capsys.readouterr().err.startswith("error: threads: expected at ")


@pytest.mark.parametrize("words", ["", "fit", "studnet", "fit none.csv --weigts a"])
def test_what_is_wrong_with_options_is_told_in_a_line_and_a_hint(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", *words.split()])
    with pytest.raises(SystemExit):
        cli.main()
    wrong, hint = capsys.readouterr().err.splitlines()
    assert wrong.startswith("python -m qfm_metric.train")
    assert hint.endswith("--help shows the options")


def test_weights_do_not_get_the_suffix_of_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "fit", "none.csv", "-o", "fitted.csv"])
    assert cli.main() == 1
    assert "-o: expected a name that ends with .safetensors, got fitted.csv" in capsys.readouterr().err
