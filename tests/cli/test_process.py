"""The command as a process of its own, with the default weights."""

import os
import re
import struct
import threading

import pytest
from helpers.pictures import grey
from helpers.processes import NOT_TEXT, command

from qfm_metric import load_image


@pytest.mark.slow
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


@pytest.mark.slow
def test_process_shows_progress_on_a_terminal_only_there():
    fcntl, pty, termios = map(pytest.importorskip, ("fcntl", "pty", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # without columns nothing is drawn
    process = command(grey("a.png"), grey("b.png"), stdout=-1, stderr=theirs, text=True)
    os.close(theirs)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    told = os.read(ours, 4096).decode()
    assert re.search(r"\r\x1b\[K2 of 2 pictures, [\d.e+]+ a second, 0:00 left\r\n$", told), told
    assert told.startswith("\r\x1b[K0"), told  # from the first second, while torch is imported
    assert re.fullmatch(r"[01]\.\d{4}\ta\.png\n[01]\.\d{4}\tb\.png\n", out)
    os.close(ours)


@pytest.mark.slow
def test_process_streams_and_stops_quietly_when_the_reader_has_gone():
    grey("a.png")
    process = command("-", stdin=-1, stdout=-1, stderr=-1, text=True, bufsize=1)
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
