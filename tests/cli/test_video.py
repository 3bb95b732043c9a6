"""`qfm-metric CLIP`: frames of films."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.films import film, grey
from helpers.mean import Mean
from helpers.pages import read_page
from helpers.pictures import grey as grey_file
from helpers.processes import NOT_TEXT
from PIL import Image

from qfm_metric.cli import films, main
from qfm_metric.images import to_unit
from qfm_metric.video import score_frames


@pytest.fixture(autouse=True)
def clip(mean):
    return film("clip.mkv", [grey(51)] * 15 + [grey(153)] * 10, codec="ffv1", pixels="bgr0")  # without loss


SUMMARY = "qfm-metric: clip.mkv: frames 3, mean 0.3333, lowest tenth 0.2000, deviation 0.1886, best 0.6000 at 1.500 s\n"


def test_a_row_a_frame_and_a_summary(capsys):
    assert main(["clip.mkv"]) == 0
    said = capsys.readouterr()
    assert said.out == "0.2000\tclip.mkv#t=0.000\n0.2000\tclip.mkv#t=1.000\n0.6000\tclip.mkv#t=1.500\n"
    assert said.err == SUMMARY


def test_options_may_stand_before_the_film(capsys):
    assert main(["--fps", "10", "--quiet", "--jsonl", "-o", "out", "clip.mkv"]) == 0
    rows = [json.loads(line) for line in Path("out").read_text().splitlines()]
    assert len(rows) == 25
    assert rows[24]["path"] == "clip.mkv#t=2.400"


@pytest.mark.parametrize("words", [["--fps", "1", "--", "-x.mkv"], ["./-x.mkv", "--fps", "1"]])
def test_a_film_whose_name_looks_like_an_option(capsys, words):
    os.rename("clip.mkv", "-x.mkv")
    assert main(words) == 0
    assert capsys.readouterr().out.endswith("-x.mkv#t=1.500\n")


def test_a_film_whose_name_is_no_text_has_its_page():
    os.rename("clip.mkv", NOT_TEXT + ".mkv")
    assert main([NOT_TEXT + ".mkv", "--html", "page.html"]) == 0
    text, _, cards = read_page(Path("page.html"))
    assert r"<p>bad\xff.png.mkv</p>" in text
    assert cards[0]["name"] == r"bad\xff.png.mkv#t=0.000"


def test_the_best_frame_is_written():
    assert main(["clip.mkv", "--best-frame", "out.png"]) == 0
    with Image.open("out.png") as image:
        assert image.size == (128, 72)
        assert np.abs(np.asarray(image).astype(int) - 153).max() <= 1


def test_the_page_is_written_where_the_best_frame_cannot_be(monkeypatch, capsys):
    def full(path, mode):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(films, "whole_file", full)
    assert main(["clip.mkv", "--html", "page.html", "--best-frame", "best.png"]) == 1
    assert "cannot write best.png: No space left on device" in capsys.readouterr().err
    assert read_page(Path("page.html"))[1]["total"] == 3


def test_a_page_with_a_strip_in_time():
    film("b.mp4", [grey(230)] * 5)
    assert main(["clip.mkv", "b.mp4", "--html", "page.html"]) == 0
    text, head, cards = read_page(Path("page.html"))
    assert [card["name"] for card in cards] == [
        *(f"clip.mkv#t={time}" for time in ("0.000", "1.000", "1.500")),
        "b.mp4#t=0.000",
    ]
    assert all("thumbnail" in card["pictures"][0] for card in cards)
    assert cards[0]["pictures"][0]["href"] == "clip.mkv"
    assert cards[0]["pictures"][0]["path"] == "clip.mkv#t=0.000"
    assert text.count('<svg viewBox="0 0 1 10"') == 2
    assert text.count("<rect") >= 4
    assert head["total"] == 4


def test_a_film_that_cannot_be_read_has_a_row_and_the_others_are_scored(capsys):
    Path("bad.mp4").write_text("no film")
    assert main(["bad.mp4", "clip.mkv"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("error\tbad.mp4\t'bad.mp4': expected a film, got text: 'no film'")
    assert said.out.count("\n") == 4
    assert said.err == SUMMARY


def test_a_frame_that_cannot_be_scored_ends_its_film_alone(monkeypatch, capsys):
    def look(self, pixels):
        if pixels.mean() > 100:  # from 1.5 s on
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return to_unit(pixels)

    monkeypatch.setattr(Mean, "look", look)
    assert main(["clip.mkv", "clip.mkv", "--jsonl"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["score"] for row in rows] == [0.2, 0.2, None] * 2
    assert "too little is left for it" in rows[2]["error"]


def test_a_frame_whose_score_is_no_number_ends_its_film_alone(monkeypatch, capsys):
    monkeypatch.setattr(Mean, "of", lambda self, view: view.mean().item() if view.mean() < 0.4 else float("nan"))
    assert main(["clip.mkv", "--jsonl"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["score"] for row in rows] == [0.2, 0.2, None]
    assert "expected a finite number, got nan" in rows[2]["error"]


def test_what_was_seen_of_a_film_is_kept_when_it_is_interrupted(monkeypatch, capsys):
    def interrupted(frames, metric):
        found = score_frames(frames, metric)
        yield next(found)
        yield next(found)
        raise KeyboardInterrupt

    monkeypatch.setattr(films, "score_frames", interrupted)
    assert main(["clip.mkv", "--jsonl", "-o", "out.jsonl", "--html", "page.html", "--best-frame", "best.png"]) == 130
    assert len(Path("out.jsonl").read_text().splitlines()) == 2
    text, head, _ = read_page(Path("page.html"))
    assert (head["total"], text.count('<svg viewBox="0 0 1 10"')) == (2, 1)
    assert Path("best.png").is_file()
    assert "frames 2, mean 0.2000" in (said := capsys.readouterr().err)
    assert said.endswith("qfm-metric: interrupted; what was seen so far is written in out.jsonl\n")


def test_a_low_mean_has_its_status():
    assert main(["clip.mkv", "--fail-under", ".3"]) == 0
    assert main(["clip.mkv", "--fail-under", ".5"]) == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--csv", "a.png", "clip.mkv"], "expected films alone, got a.png"),
        (["clip.mkv", "f"], "expected films alone, got f"),
        (["clip.mkv", "--fps", "0"], "--fps: expected more than 0"),
        (["clip.mkv", "--fail-under", "2"], "--fail-under: expected a score from 0 to 1"),
        (["clip.mkv", "clip.mkv", "--best-frame", "x.png"], "--best-frame: expected one film"),
        (["clip.mkv", "--best-frame", "x.jpg"], "--best-frame: expected a name that ends with .png"),
        (["clip.mkv", "--best-frame", "a.png"], "a.png: it is there, and pictures are never replaced"),
        (["clip.mkv", "--sqlite"], "--sqlite: expected -o FILE"),
        (["clip.mkv", "--csv", "-o", "clip.mkv"], "-o: expected another file than what is read or written"),
    ],
)
def test_wrong_usage_is_told(capsys, words, says):
    grey_file("a.png")
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_films_among_pictures_are_no_pictures(capsys):
    """As a shell makes them of a star: of a folder with Live Photos, for example."""
    grey_file("a.png")
    assert main(["a.png", "clip.mkv", "--jsonl"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["score"] for row in rows] == [0.2, None]


def test_without_pyav_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr("qfm_metric.cli.video.importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(["clip.mkv"])
    assert "pip install 'qfm-metric[video]'" in capsys.readouterr().err
