"""`qfm-metric --html`: the page that the scoring command writes beside its rows."""

import errno
import os
import resource
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.pages import read_page
from PIL import Image

from qfm_metric.cli import main
from qfm_metric.cli import run as cli
from qfm_metric.folder.row import Row
from qfm_metric.html import scores

FORMS = ["csv", "jsonl", "parquet"]


@pytest.fixture(autouse=True)
def pictures(mean):
    """0.png (black) to 4.png, each .2 better than the one before, and a broken one."""
    Path("f").mkdir()
    for i in range(5):
        Image.new("L", (8, 8), 51 * i).save(f"f/{i}.png")
    Path("f/broken.png").write_text("no picture")


def cards_of(path="page.html"):
    return {card["name"]: card["value"] for card in read_page(Path(path))[2]}


SCORED = {"0.png": 0, "1.png": 0.2, "2.png": 0.4, "3.png": 0.6, "4.png": 0.8, "broken.png": None}


@pytest.mark.parametrize("options", [[], ["--csv"], ["--json"], ["--top", "2"], ["--sort", "best"]])
def test_page_beside_the_rows(mean, capsys, options):
    assert main(["f", *options]) == 1
    alone = capsys.readouterr()
    assert main(["--html", "page.html", "f", *options]) == 1
    assert capsys.readouterr() == alone
    text, _, cards = read_page(Path("page.html"))
    assert cards_of() == pytest.approx(SCORED)
    assert [card["name"] for card in cards] == list(SCORED)  # worst first, then errors
    assert cards[0]["pictures"][0]["href"] == "f/0.png"
    assert all("thumbnail" in card["pictures"][0] for card in cards[:5])
    assert "broken.png" in cards[5]["pictures"][0]["error"]
    assert "<h1>f</h1>" in text
    assert mean.signature.replace('"', "&quot;") in text


@pytest.mark.parametrize("form", FORMS)
def test_resume_has_the_rows_that_were_there(form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    run = [f"--{form}", "-o", "out", "--html", "page.html", "--resume"]
    assert main(["f/0.png", "f/3.png", "f/broken.png", *run]) == 1
    assert len(cards_of()) == 3
    assert main(["f", *run]) == 1
    assert cards_of() == pytest.approx(SCORED)
    assert "thumbnail" in read_page(Path("page.html"))[2][0]["pictures"][0]


def test_a_row_that_was_cut_off_is_in_the_page_once():
    run = ["f", "--jsonl", "-o", "out", "--html", "page.html"]
    assert main(run) == 1
    Path("out").write_bytes(Path("out").read_bytes()[:-10])
    assert main([*run, "--resume"]) == 1
    assert read_page(Path("page.html"))[1]["total"] == 6


def test_an_interrupt_leaves_the_page_of_what_was_scored(monkeypatch, capsys):
    def interrupted(*arguments, **options):
        yield Row("f/0.png", 0.1)
        yield Row("f/1.png", 0.3)
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "score_files", interrupted)
    for options in (["--csv", "-o", "out"], ["--sort", "best"]):
        assert main(["f", "--html", "page.html", *options]) == 130
        assert "the rows so far are written, and the page of them, page.html" in capsys.readouterr().err
        assert cards_of() == {"0.png": 0.1, "1.png": 0.3}
        assert "ended early" in Path("page.html").read_text()


def test_a_run_that_ends_before_its_first_row_leaves_the_page_before(monkeypatch):
    run = ["f", "--csv", "-o", "out", "--html", "page.html"]
    main(run)
    before = Path("page.html").read_bytes()

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt
        yield

    with pytest.raises(SystemExit):
        main([*run, "--resume", "--tile", "64"])  # other settings: refused
    monkeypatch.setattr(cli, "score_files", interrupted)
    assert main(run) == 130
    assert Path("page.html").read_bytes() == before
    assert {path.name for path in Path().iterdir()} == {"f", "out", "out.run.json", "page.html"}


@pytest.mark.parametrize("page", ["absent/page.html", "g"])
def test_a_page_that_cannot_be_written_costs_nothing(mean, monkeypatch, capsys, page):
    Path("out").write_text("path,score\n")
    Path("g").mkdir()
    monkeypatch.setattr(mean, "rate", None)
    assert main(["f", "--csv", "-o", "out", "--html", page]) == 1
    assert capsys.readouterr().err.startswith(f"qfm-metric: cannot write {page}: ")
    assert Path("out").read_text() == "path,score\n"


def test_a_full_disk_costs_the_page_alone(capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))  # the page's own script has more
    try:
        assert main(["f", "--csv", "-o", "out", "--html", "page.html"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert capsys.readouterr().err == "qfm-metric: cannot write page.html: File too large\n"
    assert len(Path("out").read_text().splitlines()) == 7
    assert not any("html" in path.name for path in Path().iterdir())


def test_a_full_disk_that_shows_as_a_page_is_closed_is_told_of_it(monkeypatch, capsys):
    spool = tempfile.TemporaryFile

    @contextmanager
    def full(**options):
        with spool(**options) as file:
            yield file
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scores.tempfile, "TemporaryFile", full)
    assert main(["f", "--html", "page.html"]) == 1
    assert capsys.readouterr().err == "qfm-metric: cannot write page.html: No space left on device\n"


def test_a_full_disk_costs_a_database_and_not_its_rows(capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))  # an empty database has two pages of 4096 bytes
    try:
        assert main(["f", "--sqlite", "-o", "out.sqlite"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert capsys.readouterr().err.startswith("qfm-metric: cannot write out.sqlite: ")
    assert len(Path("out.sqlite.jsonl").read_text().splitlines()) == 6
    main(["f", "--sqlite", "-o", "out.sqlite", "--resume"])
    assert [path.name for path in sorted(Path().glob("out*"))] == ["out.sqlite", "out.sqlite.run.json"]


def test_a_full_disk_is_told_of_the_file_whatever_writes_it(capsys):
    main(["f", "--csv", "-o", "a.csv"])
    shutil.copy("a.csv", "b.csv")
    capsys.readouterr()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))
    try:
        assert main(["report", "a.csv", "-o", "page.html"]) == 1
        assert main(["compare", "a.csv", "b.csv", "-o", "figures", "--html", "page.html"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    lines = [line for line in capsys.readouterr().err.splitlines() if "broken.png" not in line]
    assert lines == ["qfm-metric: cannot write page.html: File too large"] * 2
    assert not any("html" in path.name for path in Path().iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--html", "f/0.png", "f/1.png"], "expected the name of the file to write, got a picture's: f/0.png"),
        (["--html", "./out", "-o", "out", "f"], "-html: expected another file than what is read or written otherwise"),
    ],
)
def test_what_would_be_overwritten(capsys, arguments, message):
    before = Path("f/0.png").read_bytes()
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
    assert Path("f/0.png").read_bytes() == before


def test_headline_of_many_paths_and_of_names_that_are_no_text():
    name = os.fsdecode(b"bad\xff.png")
    Image.new("L", (8, 8)).save(name)
    assert main([name, *["f/1.png"] * 5, "--html", "page.html"]) == 0
    assert "<h1>bad\\xff.png f/1.png f/1.png and 3 more</h1>" in Path("page.html").read_text()
