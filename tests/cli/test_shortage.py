"""What is short: room for results and messages, a reader or a terminal that has gone, memory to begin with."""

import errno
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.pictures import grey
from helpers.processes import environment

from qfm_metric.atomic import _Part
from qfm_metric.cli import main
from qfm_metric.folder import one_file

SCORES = '{"path": "a.png", "score": 0.5}\n{"path": "b.png", "score": 0.25}\n'
COMMANDS = [
    ["report", "--help"],
    ["--version"],
    ["weights", "list"],
    ["compare", "s.jsonl", "s.jsonl"],
    ["cull", "s.jsonl"],
]


@pytest.fixture
def full():
    """A device that is always full."""
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    return "/dev/full"


@contextmanager
def stream_to(name, target, monkeypatch):
    """Standard output or error as Python makes it of a file or its number: it writes when it is full, or flushed."""
    with (
        open(target, "w", encoding="utf-8", buffering=1 if name == "stderr" else -1) as stream,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, name, stream)
        yield


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_results_that_do_not_fit_are_told_when_they_are_printed(words, full, monkeypatch, capsys):
    Path("s.jsonl").write_text(SCORES)
    with stream_to("stdout", full, monkeypatch):  # closing it would fail if it still held something
        try:
            status = main(words)
        except SystemExit as ended:
            status = ended.code
    assert status == 1
    assert "qfm-metric: cannot write standard output: No space left on device\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "found"),
    [(["cull", "s.jsonl"], "look\t0.5000\ta.png"), (["compare", "s.jsonl", "s.jsonl"], "mean 0.375")],
)
def test_results_that_do_not_fit_into_their_file_are_printed(words, found, monkeypatch, capsys):
    Path("s.jsonl").write_text(SCORES)

    def fill(part, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_Part, "write", fill)
    assert main([*words, "-o", "out"]) == 1
    out, err = capsys.readouterr()
    assert found in out
    assert "qfm-metric: cannot write out: " in err
    assert os.listdir() == ["s.jsonl"]


@pytest.mark.parametrize("order", [["--sort", "worst"], ["--top", "2"], ["--group"], ["--csv", "--sort", "best"]])
def test_what_ends_a_run_loses_no_rows_that_wait_for_their_order(order, mean, monkeypatch, capsys):
    """Such as maps that do not fit on the disk."""
    save = one_file.save_overlay

    def fill(overlay, path, folder):
        if path == "c.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        return save(overlay, path, folder)

    monkeypatch.setattr(one_file, "save_overlay", fill)
    assert main([*order, "--map", "maps", *(grey(name, 40) for name in ("a.png", "b.png", "c.png"))]) == 1
    out, err = capsys.readouterr()
    assert sorted(re.findall(r"[abc]\.png", out.replace("-map.png", ""))) == ["a.png", "b.png"]
    assert err.endswith("qfm-metric: cannot write maps: No space left on device\n")


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_reader_that_has_gone_is_not_complained_of(words, monkeypatch, capsys):
    Path("s.jsonl").write_text(SCORES)
    ours, theirs = os.pipe()
    os.close(ours)
    with stream_to("stdout", theirs, monkeypatch):
        assert main(words) == 1
    assert "write" not in capsys.readouterr().err


def test_messages_that_cannot_be_written_end_no_run(full, mean, monkeypatch, capsys):
    with stream_to("stderr", full, monkeypatch):
        assert main(["gone.png", grey("a.png"), "--csv", "-o", "s.csv", "--require", "score >= 1"]) == 1
    assert [line.split(",")[0] for line in Path("s.csv").read_text().splitlines()] == ["path", "gone.png", "a.png"]
    ours, theirs = os.pipe()
    os.close(ours)
    with stream_to("stderr", theirs, monkeypatch):
        assert main(["gone.png", grey("a.png")]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no room"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("a fault of ours"),
    ],
)
def test_too_little_memory_to_begin_with_is_told(mean, error, monkeypatch, capsys):
    def fail(source):
        raise error

    monkeypatch.setattr(mean, "from_pretrained", fail)
    if "ours" in str(error):
        with pytest.raises(RuntimeError, match="of ours"):
            main([grey("a.png")])
    else:
        assert main([grey("a.png")]) == 1
        assert capsys.readouterr().err.endswith(
            f"qfm-metric: too little memory is left ({error}); free some, or take fewer --workers\n"
        )


@pytest.mark.slow
def test_a_process_ends_with_its_own_status_whatever_cannot_be_written(full):
    def ended(*words, **streams):
        env = environment() | {"PYTHONUNBUFFERED": ""}
        return subprocess.run([sys.executable, "-m", "qfm_metric", "weights", *words], env=env, text=True, **streams)

    with open(full, "w") as nowhere:
        done = ended("list", stdout=nowhere, stderr=subprocess.PIPE)
        says = "qfm-metric: cannot write standard output: No space left on device\n"
        assert (done.returncode, done.stderr) == (1, says)
        done = ended("path", "nothing", stdout=subprocess.PIPE, stderr=nowhere)
        assert (done.returncode, done.stdout) == (1, "")
