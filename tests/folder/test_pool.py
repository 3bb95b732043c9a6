"""Workers: one that dies costs a row at most, none is waited for in vain, and they share the room."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.mean import FATAL, Fatal, Mean
from helpers.pictures import grey
from helpers.processes import environment
from PIL import Image

from qfm_metric import EncodedImage, score_files
from qfm_metric.atomic import whole_file
from qfm_metric.cli import main
from qfm_metric.folder import pool
from qfm_metric.folder.cores import WorkersError
from qfm_metric.folder.one_file import OneFile
from qfm_metric.folder.pool import Room, on_gpu
from qfm_metric.folder.stream import _rows_first

UNGUARDED = """
from qfm_metric import score_files

print([row.score for row in score_files(["a.png", "b.png", "c.png"], workers=2)])
"""
# Kills one worker .25 s after it was started: it is importing then, and has read nothing that it was handed.
KILLED = """
import multiprocessing.util as util, os, signal, sys, threading
from qfm_metric import score_files

spawn, started = util.spawnv_passfds, []

def spawn_and_kill(path, arguments, passed):
    process = spawn(path, arguments, passed)
    if b"--multiprocessing-fork" in map(os.fsencode, arguments):
        started.append(process)
        if len(started) == int(sys.argv[1]):
            threading.Timer(0.25, os.kill, (process, signal.SIGKILL)).start()
    return process

if __name__ == "__main__":
    util.spawnv_passfds = spawn_and_kill
    print([row.score is not None for row in score_files([f"{i % 3}.png" for i in range(9)], workers=2)])
"""
UNFINISHED = """
from qfm_metric import score_files

if __name__ == "__main__":
    rows = score_files(["a.png"] * 30, workers=2)
    print(next(rows).score is not None)
"""
# Is interrupted while a worker imports this script, for ten minutes.
INTERRUPTED = """
import multiprocessing.util as util, os, signal, threading, time
from qfm_metric import score_files

spawn = util.spawnv_passfds

def spawn_and_interrupt(path, arguments, passed):
    if b"--multiprocessing-fork" in map(os.fsencode, arguments):
        threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    return spawn(path, arguments, passed)

if __name__ == "__mp_main__":
    time.sleep(600)
if __name__ == "__main__":
    util.spawnv_passfds = spawn_and_interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what is begun in the background ignores it
    try:
        list(score_files(["0.png"], workers=2))
    except KeyboardInterrupt:
        print("interrupted")
"""


def ended(*arguments, text=""):
    """What a Python process says and how it ends; one that hangs fails."""
    run = [sys.executable, *arguments]
    return subprocess.run(run, input=text, env=environment(), capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("way", ["standard input", "a script"])
def test_workers_that_cannot_import_the_script_end_the_run(tmp_path, monkeypatch, way):
    """The metric has megabytes: more than a pipe takes whose reader has gone."""
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        grey(f"{name}.png")
    (tmp_path / "script.py").write_text(UNGUARDED)
    done = ended("-", text=UNGUARDED) if way == "standard input" else ended("script.py")
    assert done.returncode == 1
    assert "WorkersError: worker processes end before they have begun" in done.stderr
    advice = "save the program" if way == "standard input" else "call score_files under `if __name__ == '__main__':`"
    assert advice in done.stderr
    assert "or score with workers=1" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize("worker", [1, 2])
def test_a_worker_killed_as_it_starts_is_not_waited_for(tmp_path, monkeypatch, worker):
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        grey(f"{i}.png", 50 * i)
    (tmp_path / "script.py").write_text(KILLED)
    done = ended("script.py", str(worker))
    if worker == 1:
        assert "WorkersError: worker processes end before they have begun" in done.stderr
    else:
        assert (done.returncode, done.stdout) == (0, f"{[True] * 9}\n"), done.stderr


def test_a_worker_that_dies_costs_one_row(tmp_path, capfd):
    paths = []
    for i in range(14):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.new("L", (FATAL if i == 5 else 8, 8), 10 * i).save(paths[-1])
    rows = list(score_files(paths, Fatal(), workers=2))
    assert [row.path for row in rows] == paths
    assert [row.score for row in rows if row.path != paths[5]] == pytest.approx(
        [10 * i / 255 for i in range(14) if i != 5], abs=1e-6
    )
    assert rows[5].score is None
    assert "crashed" in rows[5].error
    assert paths[5] in rows[5].error


def test_an_image_that_cannot_be_handed_to_a_worker_costs_its_own_row(tmp_path):
    data = Path(grey(tmp_path / "a.png")).read_bytes()
    sources = [EncodedImage("1", lambda: data), EncodedImage("2", memoryview(data)), EncodedImage("3", data)]
    rows = list(score_files(sources, Mean(), workers=2))
    assert [row.path for row in rows] == ["1", "2", "3"]
    for row in rows[:2]:
        assert "a function that can be pickled for a worker process" in row.error
    assert rows[2].score == pytest.approx(0.2)


@pytest.mark.parametrize("way", ["processes", "beside a GPU"])
def test_a_list_that_breaks_off_loses_no_row_before(tmp_path, way):
    paths = [grey(tmp_path / f"{i}.png") for i in range(3)]

    def listed():
        yield from paths
        raise ConnectionError("the bucket is gone")

    if way == "processes":
        rows = score_files(listed(), Mean(), workers=2)
    else:  # walked on the CPU
        rows = _rows_first(listed(), lambda given: on_gpu(given, OneFile(Mean()), 2, 64, 2**20))
    assert [next(rows).path for _ in paths] == paths
    with pytest.raises(ConnectionError, match="the bucket is gone"):
        next(rows)


def test_a_metric_that_cannot_be_handed_to_workers_is_told(tmp_path):
    metric = Mean()
    metric.scale = lambda score: score
    with pytest.raises(WorkersError, match=r"metric, which cannot be pickled .*; score with workers=1"):
        list(score_files([grey(tmp_path / "a.png")], metric, workers=2))


def test_workers_that_cannot_start_end_the_run(capfd):
    with pytest.raises(RuntimeError, match="workers=1"):
        list(score_files(["a.png"], Unloadable(), workers=2))


@pytest.mark.parametrize(
    "missing", ["tempfile.TemporaryDirectory", "multiprocessing.synchronize.Condition", "pickle.dump"]
)
def test_what_keeps_workers_from_starting_is_told(monkeypatch, capsys, missing):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(missing, fail)
    monkeypatch.setattr("qfm_metric.cli.metric.QFMScore", Mean())
    says = "worker processes cannot start ([Errno 28] No space left on device)"
    with pytest.raises(WorkersError) as raised:
        list(score_files(["a.png"], Mean(), workers=2))
    assert says in str(raised.value)
    assert main(["a.png", "--workers", "2"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"qfm-metric: {says}")
    assert "(--workers 1)" in said.err


def test_a_current_folder_that_is_gone_is_told(tmp_path, monkeypatch):
    picture, folder = grey(tmp_path / "a.png"), tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(WorkersError, match="the current folder is gone"):
        list(score_files([picture], Mean(), workers=2))


def test_a_program_that_a_worker_begins_again_is_told_how_to_stop_that(tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(WorkersError, match=r"cannot start .*; call score_files under `if __name__ == '__main__':`"):
        list(score_files([grey(tmp_path / "a.png")], Mean(), workers=2))


def test_a_later_worker_that_cannot_start_is_told(monkeypatch, tmp_path, capsys):
    """Processes are started one by one, as they are needed."""
    start, begun = ProcessPoolExecutor._spawn_process, []

    def start_one(self):
        if begun:
            raise OSError(24, "Too many open files")
        begun.append(self)
        start(self)

    monkeypatch.setattr(ProcessPoolExecutor, "_spawn_process", start_one)
    monkeypatch.setattr("qfm_metric.cli.metric.QFMScore", Mean())
    names = [grey(str(tmp_path / f"{i}.png"), i) for i in range(9)]
    assert main([*names, "--workers", "2"]) == 1
    assert "qfm-metric: worker processes cannot start ([Errno 24] Too many open files)" in capsys.readouterr().err


def from_a_daemon(queue):
    try:
        list(score_files(["a.png"], Mean(), workers=2))
    except RuntimeError as error:
        queue.put(str(error))


def test_a_process_that_may_have_no_children_is_told(capfd):
    """Such as a worker of a multiprocessing.Pool."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=from_a_daemon, args=(queue,), daemon=True)
    process.start()
    assert "daemonic processes are not allowed to have children" in queue.get(timeout=300)
    process.join()


@pytest.mark.slow
def test_an_interrupt_does_not_wait_for_workers_that_are_starting(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    done = ended(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_rows_that_are_left_unfinished_end_with_the_program_without_a_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grey("a.png")
    Path("script.py").write_text(UNFINISHED)
    done = ended("script.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_worker_that_is_ended_leaves_no_half_of_a_file(tmp_path, monkeypatch):
    def write(path):
        with whole_file(path) as file:
            file.write("half of a map")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    monkeypatch.setattr(pool, "_one_file", write, raising=False)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, pool._end)
        pool._work(str(tmp_path / "map"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_slow_picture_holds_up_no_others():
    """Only their rows wait for its: they are done meanwhile, and more than are under way at a time."""
    release, done = threading.Event(), []

    def work(name):
        if name == "slow":
            assert release.wait(60)
        done.append(name)
        if len(done) == 20:
            release.set()
        return name

    names = ["slow", *map(str, range(30))]
    rows = pool._in_order(iter(names), lambda: ThreadPoolExecutor(2), work, ahead=4, farthest=25)
    assert list(rows) == names
    assert done.index("slow") >= 20


class Unloadable(Mean):
    """Can be pickled, but not unpickled."""

    def __reduce__(self):
        return int, ("no number",)


def test_room_is_never_exceeded():
    room = Room(10, threading.Condition(), SimpleNamespace(value=10))
    inside, most, lock, rng = [], [], threading.Lock(), random.Random(0)

    def use(pixels):
        with room(pixels):
            with lock:
                inside.append(pixels)
                most.append(list(inside))
            with lock:
                inside.remove(pixels)

    threads = [threading.Thread(target=use, args=(rng.choice([1, 4, 7, 50]),)) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert len(most) == 60
    assert all(sum(min(pixels, 8) for pixels in together) <= 10 for together in most)  # three quarters, rounded up
    assert room.free.value == 10


def test_why_workers_cannot_start_is_said_once():
    with pytest.raises(WorkersError) as raised, pool._starting(), pool._starting():
        raise OSError(24, "Too many open files")
    assert str(raised.value).count("cannot start") == 1
