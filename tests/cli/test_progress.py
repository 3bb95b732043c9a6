"""How far a run is: on a terminal in one line, beside rows and with every option; in a log once a minute."""

import re
import sys
import time
from pathlib import Path

import pytest
from helpers.pictures import grey

from qfm_metric.cli import main, progress
from qfm_metric.cli.progress import CLEAR, Progress
from qfm_metric.folder.row import Row

LINE = re.compile(
    r"(?P<done>[\d,]+)( of (?P<total>[\d,]+)( or more)?)? pictures(, starting|, [\d.e+]+ a second(, [\d:]+ left)?)?"
)


@pytest.fixture
def terminal(monkeypatch):
    """Standard error is a terminal, standard output one if it is asked to be."""

    def make(out):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: out)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    return make


@pytest.mark.parametrize("out", [False, True])
@pytest.mark.parametrize(
    "options", [[], ["--sort", "best"], ["--top", "1"], ["--csv", "-o", "out"], ["--html", "page.html"]]
)
def test_a_terminal_shows_count_total_rate_and_time_left(mean, terminal, capsys, options, out):
    names = [grey("a.png"), grey("b.png")]
    terminal(out)
    assert main([*options, *names]) == 0
    printed = capsys.readouterr()
    shown = printed.err.split(CLEAR)[1:]
    assert LINE.fullmatch([line.rstrip() for line in shown if line][-1])["done"] == "2", shown
    assert (shown[-1] == "") == (out and "-o" not in options)  # rows on the screen are left alone at the end
    assert all(not line or LINE.fullmatch(line.rstrip()) for line in shown), shown
    assert CLEAR not in printed.out
    assert len(printed.out.splitlines()) == (0 if "-o" in options else 1 if "--top" in options else 2)


@pytest.mark.parametrize(("options", "terminals"), [(["--quiet"], True), ([], False)])
def test_nothing_is_shown_if_nobody_looks(mean, monkeypatch, capsys, options, terminals):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminals)
    assert main([*options, grey("a.png")]) == 0
    assert capsys.readouterr().err == ""


def test_a_log_gets_a_line_now_and_then(mean, monkeypatch, capsys):
    """Once a minute; here fifty times a second."""
    monkeypatch.setattr(progress, "LOG_TICK", 0.02)
    rows = (Row(str(i)) for i in range(20))
    with Progress(range(20)) as shown:
        for _ in shown.counted(rows):
            time.sleep(0.02)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 3
    assert all(line.startswith("qfm-metric: ") for line in lines)
    assert LINE.fullmatch(lines[-1].removeprefix("qfm-metric: "))["total"] == "20"
    counts = [int(LINE.fullmatch(line.removeprefix("qfm-metric: "))["done"]) for line in lines]
    assert counts == sorted(counts)


def test_figures_are_of_the_last_while():
    shown = Progress(None)
    shown._listed, shown._total = 1_100, True
    list(shown.counted(map(Row, "abcd"), before=100))
    shown._seen.clear()
    shown._seen.extend([(10.0, 0), (11.0, 3)])
    assert shown.line(12.0) == "4 of 1,000 pictures, 2 a second, 8:18 left"
    shown._total = False  # folders are still being listed
    assert shown.line(12.0) == "4 of 1,000 or more pictures, 2 a second"
    shown._listed = 0  # a list on standard input
    assert shown.line(12.0) == "4 pictures, 2 a second"
    shown._what = "frames"
    assert shown.line(12.0) == "4 frames, 2 a second"
    assert progress._clock(7 * 3600 + 62) == "7:01:02"


def test_what_is_passed_over_while_counting_is_not_said_twice(mean, terminal, capsys):
    Path("f").mkdir()
    grey("f/a.png")
    grey("f/._a.png")
    terminal(False)
    assert main(["f"]) == 0
    assert capsys.readouterr().err.count("passed over") == 1


def test_a_refusal_takes_the_line_away(terminal, capsys):
    terminal(False)
    with pytest.raises(SystemExit):
        main(["a.png", "--weights", "nothing"])
    told = capsys.readouterr().err
    assert f"{CLEAR}qfm-metric: unknown weights 'nothing'" in told
