"""`qfm-metric watch`: pictures are scored as they arrive; a run that is killed is gone on with."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from helpers.pictures import grey
from helpers.processes import command

from qfm_metric.cli import main
from qfm_metric.cli import watch as cli
from qfm_metric.folder.arrivals import arrivals


@pytest.fixture
def looks(monkeypatch):
    """Ctrl-C after some looks; nobody waits between them."""

    def stop_after(number):
        def sleep(seconds):
            nonlocal number
            number -= 1
            if not number:
                raise KeyboardInterrupt

        clock = iter(range(10**6))
        monkeypatch.setattr(
            cli, "arrivals", lambda *a, **k: arrivals(*a, **k | {"sleep": sleep, "clock": lambda: next(clock) * 10.0})
        )

    return stop_after


def paths(file="out"):
    return [json.loads(line)["path"] for line in Path(file).read_text().splitlines()]


def test_rows_come_as_those_of_the_scoring_command(mean, looks, capsys):
    grey("f/a.png")
    grey("f/g/b.png")
    Path("f/notes.txt").touch()
    main(["f"])
    alone = capsys.readouterr().out
    looks(3)
    assert main(["watch", "f"]) == 130
    said = capsys.readouterr()
    assert said.out == alone
    assert said.err == "qfm-metric: interrupted\n"
    looks(3)
    assert main(["watch", "f", "-r", "--csv", "-o", "out"]) == 130
    assert [line.split(",")[0] for line in Path("out").read_text().splitlines()] == ["path", "f/a.png", "f/g/b.png"]


def test_the_next_run_goes_on_and_so_does_the_scoring_command(mean, looks):
    grey("f/a.png")
    run = ["watch", "f", "--jsonl", "-o", "out"]
    looks(3)
    main(run)
    grey("f/b.png")
    Path("out").write_text(Path("out").read_text() + '{"path": "f/b')  # a row that was cut off
    looks(3)
    main(run)
    assert paths() == ["f/a.png", "f/b.png"]
    grey("f/c.png")
    assert main(["f", "--jsonl", "-o", "out", "--resume"]) == 0
    grey("f/d.png")
    looks(3)
    main(run)
    assert paths() == [f"f/{name}.png" for name in "abcd"]


def test_a_folder_that_is_missing_is_waited_for(mean, looks, capsys):
    looks(3)
    grey("f/a.png")
    assert main(["watch", "nowhere", "f"]) == 130
    out, err = capsys.readouterr()
    assert out.splitlines()[0].endswith("\tf/a.png")
    assert err == ("qfm-metric: nowhere: there is no such folder; waiting for it\nqfm-metric: interrupted\n")


def test_a_folder_that_goes_is_told_again(capsys):
    look = cli._Folders(["f"], False)
    grey("f/a.png")
    for there in (True, False, False, True, False):
        (Path("g").rename if there and Path("g").exists() else Path)("f")
        if not there and Path("f").exists():
            Path("f").rename("g")
        assert list(look()) == ["f/a.png"] * there
    assert capsys.readouterr().err == "qfm-metric: f: there is no such folder; waiting for it\n" * 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["f", "--every", "0"], "--every: expected more than 0 and at most 1,000,000,000 seconds, got 0"),
        (["f", "--every", "1e300"], "--every: expected more than 0 and at most 1,000,000,000 seconds, got 1e+300"),
        (["f", "--patience", "nan"], "--patience: expected more than 0 and at most 1,000,000,000 seconds, got nan"),
        (["f", "-o", "out"], "-o: expected one of --jsonl, --csv"),
        (["f/a.png"], "f/a.png: expected a folder, got a file"),
        (["f", "--csv", "-o", "notes.txt"], "notes.txt: it is there and is no file of this kind"),
    ],
)
def test_wrong_usage_is_told(mean, capsys, words, says):
    grey("f/a.png")
    Path("notes.txt").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main(["watch", *words])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_a_process_survives_half_written_files_and_being_killed(photo_path):
    data = Path(photo_path).read_bytes()
    Path("f").mkdir()
    run = ["watch", "f", "--jsonl", "-o", "out", "--every", "0.2", "--patience", "600"]
    process = command(*run, stderr=-1)
    Path("f/half.png").write_bytes(data[: len(data) // 2])
    Path("f/a.png").write_bytes(data)
    wait_for(["f/a.png"], process)
    process.kill()
    process.communicate()
    process = command(*run, stderr=-1)
    time.sleep(1)
    with open("f/half.png", "ab") as file:
        file.write(data[len(data) // 2 :])
    Path("f/b.png").write_bytes(data)
    wait_for(["f/a.png", "f/b.png", "f/half.png"], process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b"qfm-metric: interrupted\n"
    scores = {json.loads(line)["score"] for line in Path("out").read_text().splitlines()}
    assert len(scores) == 1
    assert scores != {None}


def wait_for(wanted, process, seconds=300):
    for _ in range(seconds * 10):
        if os.path.exists("out") and sorted(paths()) == wanted:
            return
        assert process.poll() is None
        time.sleep(0.1)
    raise AssertionError(paths())
