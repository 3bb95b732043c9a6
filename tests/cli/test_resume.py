"""Runs that end early: by kill, a full disk, a closed pipe; what they wrote is whole, and can be gone on with."""

import contextlib
import csv
import io
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from helpers.generated_files import generate
from helpers.processes import NOT_TEXT, command
from PIL import Image

from qfm_metric import score_files
from qfm_metric.cli import main
from qfm_metric.cli import run as cli
from qfm_metric.folder.file_names import key
from qfm_metric.folder.formats import FORMATS
from qfm_metric.folder.journal import Journal, ResumeError, RowFile, read_table, run_file

FORMS = [name for name, form in FORMATS.items() if form.resumable]
GROWS = {name: "out.jsonl" if FORMATS[name].convert else "out" for name in FORMS}  # the file that rows are appended to


def greys(number):
    names = [f"f/{i:03d}.png" for i in range(number)]
    Path("f").mkdir()
    for i, name in enumerate(names):
        Image.new("L", (8, 8), i % 256).save(name)
    return names


def rows_of(form, path="out"):
    """Path and score of each row of a finished file."""
    if restore := FORMATS[form].restore:
        return [(row["path"], row["score"]) for row in restore(Path(path))]
    text = Path(path).read_text(encoding="utf-8")
    if form == "csv":
        return [(row["path"], float(row["score"] or "nan")) for row in csv.DictReader(io.StringIO(text, newline=""))]
    return [(row["path"], row["score"]) for row in map(json.loads, text.splitlines())]


@pytest.mark.parametrize("form", FORMS)
def test_a_run_cut_at_any_byte_is_completed(mean, form):
    """Every length of the file that a crash may leave, also inside a row, a quoted name and a character."""
    names = [*greys(3), 'f/two\nlines, "quoted" größe.png', NOT_TEXT, "f/gone.png"]
    Image.new("L", (8, 8), 200).save(names[3])
    options = [f"--{form}", "-o", "out"]
    assert main([*names, *options]) == 1
    whole, settings, grows = rows_of(form), run_file(Path("out")).read_text(), Path(GROWS[form])
    if FORMATS[form].convert:
        assert main([*names, "--jsonl", "-o", "out.jsonl"]) == 1  # what had been there before it was converted
        os.unlink("out")
    data = grows.read_bytes()
    assert [key(path) for path, _ in whole] == [key(name) for name in names]
    for length in range(0, len(data), 3 if form == "csv" else 7):
        grows.write_bytes(data[:length])
        run_file(Path("out")).write_text(settings)
        assert main([*names, *options, "--resume"]) == 1
        assert str(rows_of(form)) == str(whole)  # NaN included
    assert grows.exists() == (form in ("csv", "jsonl"))


@pytest.mark.parametrize("form", FORMS)
def test_a_finished_run_takes_in_what_is_new(mean, monkeypatch, form, capsys):
    names = greys(4)
    options = [f"--{form}", "-o", "out", "--resume", "--fail-under", "0.001"]
    assert main([*names[:3], *options]) == 3
    first = capsys.readouterr().err
    scored = []
    monkeypatch.setattr(cli, "score_files", lambda paths, *a, **k: score_files(map(seen(scored), paths), *a, **k))
    assert main([names[0], *names, names[0], *options]) == 3  # as one run would have ended
    assert scored == [names[0], names[3], names[0]]  # given three times: three rows
    assert Counter(path for path, _ in rows_of(form)) == Counter([*names, names[0], names[0]])
    assert capsys.readouterr().err == first == "qfm-metric: the lowest score is 0.0000\n"


def seen(log):
    def note(path):
        log.append(path)
        return path

    return note


def test_other_settings_are_refused(mean, capsys):
    names = greys(2)
    run = [*names, "--jsonl", "-o", "out"]
    assert main(run) == 0
    before = Path("out").read_bytes()

    def refused(arguments, message):
        with pytest.raises(SystemExit) as exit:
            main([*arguments, "--resume"])
        assert exit.value.code == 2
        assert message in capsys.readouterr().err
        assert Path("out").read_bytes() == before

    refused([*run, "--tile", "64"], "tile was None, now 64; repeat the options of the first run")
    refused([*run, "--dtype", "bfloat16"], "dtype was 'float32', now 'bfloat16'")
    refused([*names, "--csv", "-o", "out"], "format was 'jsonl', now 'csv'")
    mean.weights_sha256 = "1" * 64
    refused(run, f"weights_sha256 was '{'0' * 64}', now '{'1' * 64}'")
    mean.weights_sha256 = "0" * 64
    run_file(Path("out")).write_text("{")
    refused(run, "out.run.json: cannot be read, so it is not known what out was scored with; write to another file")
    run_file(Path("out")).unlink()
    refused(run, "out.run.json: is missing, so it is not known what out was scored with; write to another file")


def test_a_table_that_a_spreadsheet_saved_is_gone_on_with_and_taken_by_every_command(mean, capsys):
    """A byte order mark, other line ends, and whole numbers as pandas writes them where some are missing."""
    names = [*greys(3), "f/gone.png"]
    options = ["--csv", "-o", "out.csv"]
    assert main([*names[1:], *options]) == 1
    text = Path("out.csv").read_text().replace(",8,8,", ",8.0,8.0,").replace("\n", "\r\n")
    assert text.count(",8.0,8.0,") == 2
    Path("out.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert main([*names, *options, "--resume"]) == 1
    rows, _ = read_table("out.csv")
    assert [(row.path, row.width) for row in rows] == [
        *((name, 8) for name in names[1:3]),
        (names[3], None),
        (names[0], 8),
    ]
    assert main(["report", "out.csv"]) == 0
    assert main(["compare", "out.csv", "out.csv", "--json"]) == 1  # a picture is gone
    assert len(json.loads(capsys.readouterr().out)["pairs"]) == 3


def test_damage_in_the_middle_is_refused():
    Path("out").write_text('{"path": "a", "score": 0.5}\n{"path": "b", "sc\n{"path": "c", "score": 0.5}\n')
    with pytest.raises(ResumeError, match=r'row 2 is damaged: .*"b", "sc'):
        list(Journal(Path("out"), FORMATS["jsonl"]).rows())


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_leaves_whole_rows(mean, capsys, form):
    resource = pytest.importorskip("resource")
    names = greys(30)
    options = [f"--{form}", "-o", "out"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # a write beyond is cut short, the next one fails
    try:
        status = main([*names, *options])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 1
    assert capsys.readouterr().err.startswith(f"qfm-metric: cannot write {GROWS[form]}: ")
    left = Path(GROWS[form]).read_text()
    assert left.endswith("\n")
    assert 400 < len(left) <= 500
    assert main([*names, *options, "--resume"]) == 0
    assert [path for path, _ in rows_of(form)] == names


@pytest.mark.parametrize("settings", ["a pipe", "[" * 100_000], ids=["pipe", "deep"])
def test_settings_that_cannot_be_read_are_told(mean, settings, capsys):
    names = greys(1)
    assert main([*names, "--jsonl", "-o", "out"]) == 0
    run_file(Path("out")).unlink()
    if settings == "a pipe":  # which would be waited for
        os.mkfifo(run_file(Path("out")))
    else:
        run_file(Path("out")).write_text(settings)
    with pytest.raises(SystemExit):
        main([*names, "--jsonl", "-o", "out", "--resume"])
    assert "out.run.json: cannot be read, so it is not known what out was scored with" in capsys.readouterr().err
    os.rename("out", "out.jsonl")
    os.rename("out.run.json", "out.jsonl.run.json")
    assert main(["report", "out.jsonl"]) == 0


def test_a_row_that_does_not_fit_is_taken_back():
    class Full(io.FileIO):
        def write(self, data):
            room = 10 - os.fstat(self.fileno()).st_size
            if room == 0:
                raise OSError(28, "No space left on device")
            return super().write(data[:room])

    with RowFile("out") as file:
        file._file.close()
        file._file = Full("out", "a")
        file.write("12345\n")
        with pytest.raises(OSError, match="No space left"):
            file.write("6789012\n")
        file.write("abc\n")
    assert Path("out").read_text() == "12345\nabc\n"


@pytest.mark.parametrize("way", ["deleted", "replaced"])
def test_rows_are_not_written_to_a_file_that_has_gone(mean, monkeypatch, way, capsys):
    """A cleaner deletes it, an editor saves a file of that name: the rows to come would be nowhere."""
    names = greys(4)

    def interfering(paths, *arguments, **options):
        for number, row in enumerate(score_files(paths, *arguments, **options)):
            if number == 2:
                os.unlink("out") if way == "deleted" else os.replace(names[0], "out")
            yield row

    monkeypatch.setattr(cli, "score_files", interfering)
    assert main([*names, "--jsonl", "-o", "out"]) == 1
    assert "cannot write out: it was deleted or replaced while rows came" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_at_random_points_each_picture_has_one_row(tiny_files):
    """Real processes, with workers and without, killed with SIGKILL; the next one goes on."""
    names = generate("f", 120, [(64, 64), (96, 64), (130, 70)], broken=0.05)
    arguments = ["f", "--weights", str(tiny_files[0]), "--jsonl", "-o", "out", "--resume"]
    names = [name for name in names if not os.path.isdir(name)]
    rng, killed = random.Random(time.time_ns()), 0
    for workers in ("2", "1"):
        process = command(*arguments, "--workers", workers, stderr=-1)
        goal = size_of("out") + rng.randint(1, 4000)  # bytes: about 40 rows
        while process.poll() is None and size_of("out") < goal:
            time.sleep(0.001)
        process.kill()
        killed += process.wait(timeout=60) == -signal.SIGKILL
        process.stderr.read()  # ends when the last process that has it has gone: workers follow their parent
        process.stderr.close()
    process = command(*arguments, stderr=-1, text=True)
    _, err = process.communicate(timeout=900)
    assert killed >= 1
    assert process.returncode == 1, err  # some pictures are broken
    assert [path for path, _ in rows_of("jsonl")] == names
    alone = {row.path: row for row in score_files(names, tiny(tiny_files))}
    for path, score in rows_of("jsonl"):
        assert (score is None) == (alone[path].score is None)
        assert score is None or score == pytest.approx(alone[path].score, abs=0.6e-4)


def tiny(tiny_files):
    from qfm_metric import QFMScore

    return QFMScore.from_pretrained(tiny_files[0])


def size_of(path):
    with contextlib.suppress(FileNotFoundError):
        return os.path.getsize(path)
    return 0


@pytest.mark.slow
@pytest.mark.parametrize(("written", "number"), [(1, signal.SIGINT), (500, signal.SIGINT), (500, signal.SIGHUP)])
def test_a_terminal_ends_a_run_with_workers(tiny_files, written, number):
    """By Ctrl-C, or as it is closed: at the heading, when the first worker is being started, and among the rows."""
    generate("f", 60, [(64, 64)], broken=0.02)
    process = command(
        *["f"] * 120,  # long enough not to end by itself first, on a busy machine either
        *["--weights", str(tiny_files[0]), "--csv", "-o", "out", "--workers", "2"],
        stderr=-1,
        text=True,
        start_new_session=True,
    )
    while size_of("out") < written:
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(0.5 if written == 1 else 0)  # a process has been started then, and imports torch for seconds
    os.killpg(process.pid, number)  # as a terminal does: to every process
    _, err = process.communicate(timeout=900)
    *progress, last = err.splitlines()
    assert (process.returncode, last) == (130, "qfm-metric: interrupted; the rows so far are written")
    assert all(" pictures, " in line for line in progress)  # once a minute, on a slow machine
    size, settings = size_of("out"), json.loads(run_file(Path("out")).read_text())
    file, done = Journal(Path("out"), FORMATS["csv"]).begin(settings, resume=True)
    with file:
        assert done.end == size
