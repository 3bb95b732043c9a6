"""Ctrl-C and the signals that end the command: what was scored is written, whole and once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.processes import environment, handling

from qfm_metric.cli import interrupts, main
from qfm_metric.cli import run as cli
from qfm_metric.folder.journal import RowFile
from qfm_metric.folder.row import Row

BEGUN = """
import os, signal

try:
    os.kill(os.getpid(), signal.SIGTERM)
    import colorsys as whole
except BaseException:
    whole = None
"""


EARLY = """
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "qfm_metric.cli.parser":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
runpy.run_module("qfm_metric", run_name="__main__")
"""


def test_an_interrupt_at_the_start_leaves_no_traceback():
    words = [sys.executable, "-c", EARLY, "--version"]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_an_interrupt_leaves_what_was_scored_in_order(mean, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        yield Row("a.png", 0.1)
        yield Row("b.png", 0.2)
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "score_files", interrupted)
    assert main(["--sort", "best", "x"]) == 130
    out, err = capsys.readouterr()
    assert out == "0.2000\tb.png\n0.1000\ta.png\n"
    assert err == "qfm-metric: interrupted; the rows so far are written\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_leaves_what_an_interrupt_leaves(mean, monkeypatch, capsys, number):
    def ended(*arguments, **options):
        yield Row("a.png", 0.1)
        os.kill(os.getpid(), number)
        yield from (Row("late.png", 0.05) for _ in range(100_000))

    monkeypatch.setattr(cli, "score_files", ended)
    with handling(number, signal.SIG_DFL):
        assert main(["--sort", "best", "x", "--top", "9", "--html", "page.html", "--json", "-o", "out.json"]) == 130
        assert signal.getsignal(number) is signal.SIG_DFL
    assert json.loads(Path("out.json").read_text())["results"][0]["path"] == "a.png"
    assert sorted(path.name for path in Path().iterdir()) == ["out.json", "page.html"]
    assert capsys.readouterr().err.startswith("qfm-metric: interrupted; the rows so far are written")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_is_sent_twice_disturbs_no_writing(mean, monkeypatch, capsys, number):
    """As `timeout` sends it, a terminal that closes, and who is in a hurry."""

    def scored(*arguments, **options):
        yield from (Row(f"{i}.png", i / 10) for i in range(5))
        os.kill(os.getpid(), number)
        time.sleep(10)

    def write(self, text, before=RowFile.write):
        if ".png" in text:  # a row, all of which come when the first signal has
            os.kill(os.getpid(), number)
        before(self, text)

    monkeypatch.setattr(cli, "score_files", scored)
    monkeypatch.setattr(RowFile, "write", write)
    monkeypatch.setattr(interrupts, "SAME", 600)  # however slow this machine is
    with handling(number, signal.default_int_handler):
        assert main(["--sort", "best", "x", "--json", "-o", "out.json"]) == 130
    assert [row["score"] for row in json.loads(Path("out.json").read_text())["results"]] == [0.4, 0.3, 0.2, 0.1, 0.0]


def test_an_interrupt_that_python_drops_comes_again(mean, monkeypatch, capsys):
    class Ending:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):  # the signal is handled in here, where nothing can be raised
                pass

    def scored(*arguments, **options):
        Ending()
        for i in range(1000):  # 20 s
            yield Row(f"{i}.png", 0.5)
            time.sleep(0.02)

    monkeypatch.setattr(cli, "score_files", scored)
    with handling(signal.SIGTERM, signal.SIG_DFL):
        assert main(["x"]) == 130
    assert capsys.readouterr().err == "qfm-metric: interrupted; the rows so far are written\n"


def test_an_interrupt_waits_for_the_end_of_an_import(mean, monkeypatch, capsys):
    """What is imported may take it for a package that is missing, and torch ends the process."""
    Path("begun.py").write_text(BEGUN)

    def scored(*arguments, **options):
        yield Row("a.png", float(__import__("begun").whole is not None))
        time.sleep(10)

    monkeypatch.syspath_prepend(".")
    monkeypatch.setattr(cli, "score_files", scored)
    with handling(signal.SIGTERM, signal.SIG_DFL):
        assert main(["x"]) == 130
    out, err = capsys.readouterr()
    assert (out, err) == ("1.0000\ta.png\n", "qfm-metric: interrupted; the rows so far are written\n")
