"""Streams that the shell has closed, and one file that two runs want."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.mean import Mean
from helpers.pictures import grey
from helpers.processes import environment

from qfm_metric.cli import main
from qfm_metric.folder import journal
from qfm_metric.folder.formats import FORMATS
from qfm_metric.folder.journal import RowFile, UsageError
from qfm_metric.folder.row import read_row


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def shell(text):
    command = f"{shlex.quote(sys.executable)} -m qfm_metric"
    return subprocess.run(
        ["bash", "-c", text.replace("qfm-metric", command)], env=environment(), capture_output=True, timeout=300
    )


@pytest.mark.slow
def test_closed_streams_lose_nothing_else(tiny_files):
    grey("a.png", 100)
    command = f"qfm-metric a.png gone.png --weights {tiny_files[0]}"
    done = shell(f"{command} >&-")
    assert (done.returncode, done.stderr) == (1, b"qfm-metric: cannot write standard output: it is closed\n")
    done = shell(f"{command} --csv -o rows.csv >&- 2>&- <&-")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert [line.split(",")[0] for line in Path("rows.csv").read_text().splitlines()] == ["path", "a.png", "gone.png"]
    done = shell(f"{command} 2>&-")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].endswith(b"\ta.png")
    assert b"failed" not in done.stdout  # messages do not wander into the results
    done = shell(f"qfm-metric - --weights {tiny_files[0]} <&-")
    assert (done.returncode, done.stderr) == (1, b"qfm-metric: no pictures found\n")


@pytest.mark.parametrize("buffering", ["", "1"])
@pytest.mark.parametrize("words", ["--help", "--version", "weights download --help", "watch --help", "a.mp4 --help"])
def test_help_that_cannot_be_written_is_told(words, buffering):
    for to, says in ((">/dev/full", "No space left on device"), (">&-", "it is closed")):
        done = shell(f"PYTHONUNBUFFERED={buffering} qfm-metric {words} {to}")
        assert (done.returncode, done.stderr.decode()) == (1, f"qfm-metric: cannot write standard output: {says}\n")


def test_a_file_has_one_writer(monkeypatch, capsys):
    monkeypatch.setattr("qfm_metric.cli.metric.QFMScore", Mean())
    grey("a.png", 100)
    with RowFile("out.jsonl") as first:
        first.write('{"path": "a.png", "score": 0.5}\n')
        with pytest.raises(UsageError, match="another run is writing it"):
            RowFile("out.jsonl")
        for more in ([], ["--resume"]):
            Path("out.jsonl.run.json").write_text("{}")
            with pytest.raises(SystemExit):
                main(["a.png", "--jsonl", "-o", "out.jsonl", *more])
        assert "another run is writing it" in capsys.readouterr().err
        first.write('{"path": "b.png", "score": 0.5}\n')
    assert len(Path("out.jsonl").read_text().splitlines()) == 2
    assert main(["a.png", "--jsonl", "-o", "out.jsonl"]) == 0
    assert [json.loads(line)["path"] for line in Path("out.jsonl").read_text().splitlines()] == ["a.png"]


def test_a_file_has_one_writer_until_it_is_converted(mean, monkeypatch):
    form = FORMATS["sqlite"]

    def convert(grown, path, columns):
        with pytest.raises(UsageError, match="another run is writing it"):
            RowFile(grown)
        form.convert(grown, path, columns)

    monkeypatch.setitem(FORMATS, "sqlite", replace(form, convert=convert))
    assert main([grey("a.png", 100), "--sqlite", "-o", "out.sqlite"]) == 0
    assert [row["path"] for row in form.restore(Path("out.sqlite"))] == ["a.png"]


def test_what_is_gone_on_with_is_read_when_nobody_else_writes_it(mean, monkeypatch):
    def reading(values):
        with pytest.raises(UsageError, match="another run is writing it"):
            RowFile("out.jsonl")
        return read_row(values)

    options = [grey("a.png", 100), "--jsonl", "-o", "out.jsonl", "--resume"]
    assert main(options) == 0
    monkeypatch.setattr(journal, "read_row", reading)
    assert main(options) == 0


def test_a_file_that_its_writer_deletes_as_another_run_opens_it_is_not_written_to(monkeypatch):
    def lock(file):
        os.unlink("out")
        return True

    monkeypatch.setattr(journal, "lock_file", lock)
    with pytest.raises(UsageError, match="another run is writing it"):
        RowFile("out")


@pytest.mark.slow
def test_names_beyond_the_locale_get_their_map(tiny_files):
    os.mkdir("f")
    grey(os.fsdecode("f/größe.png".encode()), 100)
    done = shell(
        f"LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0 qfm-metric f --weights {tiny_files[0]} --map maps --jsonl"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.listdir(b"maps/f") == ["größe-map.png".encode()]


def test_names_that_a_spreadsheet_would_compute_are_text(monkeypatch, capsys):
    monkeypatch.setattr("qfm_metric.cli.metric.QFMScore", Mean())
    names = ["=HYPERLINK(1).png", "+1.png", "-1.png", "@x.png", "'=y.png", "'z.png", "plain.png"]
    for name in names:
        grey(name, 100)
    assert main(["--csv", "-o", "s.csv", "--", *names]) == 0
    firsts = [line.split(",")[0] for line in Path("s.csv").read_text().splitlines()[1:]]
    assert firsts == ["'=HYPERLINK(1).png", "'+1.png", "'-1.png", "'@x.png", "''=y.png", "'z.png", "plain.png"]
    assert main(["--csv", "-o", "s.csv", "--resume", "--", *names]) == 0
    assert len(Path("s.csv").read_text().splitlines()) == 1 + len(names)  # they were known again
    assert main(["compare", "s.csv", "s.csv", "--json"]) == 0
    assert {pair["name_a"] for pair in json.loads(capsys.readouterr().out)["pairs"]} == set(names)
