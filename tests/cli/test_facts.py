"""`--facts`: what files say of themselves, beside their scores, in every format of rows."""

import json
from collections import Counter
from pathlib import Path

import pytest
from helpers.mean import Mean
from helpers.photographs import half, jpeg, photograph, reopened
from PIL import Image

from qfm_metric import EncodedImage, file_facts, score_files
from qfm_metric.cli import main
from qfm_metric.folder.formats import FORMATS
from qfm_metric.folder.journal import read_table
from qfm_metric.folder.one_file import facts_columns
from qfm_metric.folder.row import FACT_COLUMNS

NAMES = ["f/broken.jpg", "f/once.jpg", "f/tiny.png", "f/twice.jpg", "f/wide.png"]


@pytest.fixture(autouse=True)
def pictures(mean):
    Path("f").mkdir()
    coffee = photograph("coffee.png")
    Path("f/once.jpg").write_bytes(jpeg(coffee, 82))
    Path("f/twice.jpg").write_bytes(jpeg(reopened(jpeg(coffee, 60)), 90))
    half(coffee).resize((600, 400), Image.Resampling.BICUBIC).save("f/wide.png")
    Image.new("L", (3, 2), 255).save("f/tiny.png")
    Path("f/broken.jpg").write_bytes(Path("f/once.jpg").read_bytes()[:9000])


def expected():
    return [{} if "broken" in name else facts_columns(file_facts(name)) for name in NAMES]


def test_the_facts_are_those_that_were_made():
    _, once, tiny, twice, wide = expected()
    assert (once["jpeg_quality"], once["jpeg_tables"], once["recompressed"]) == (82, "standard", 0)
    assert (twice["jpeg_quality"], twice["recompressed"], twice["earlier_quality"]) == (90, 1, 60)
    assert wide["enlarged"] == pytest.approx(2, rel=0.02)  # factors are told apart by 1/512 of the spectrum
    assert (tiny["highlights"], tiny["enlarged"], tiny["jpeg_quality"]) == (100, None, None)


@pytest.mark.parametrize("options", [{}, {"tile": 128}, {"maps": "maps"}, {"workers": 2}])
def test_rows_have_the_facts_of_their_files(options):
    plain = list(score_files(NAMES, Mean(), **options))
    rows = list(score_files(NAMES, Mean(), facts=True, **options))
    assert [row.score for row in rows] == [row.score for row in plain]
    assert [{name: row.extra[name] for name in FACT_COLUMNS if name in row.extra} for row in rows] == expected()
    assert not any(row.extra.keys() & FACT_COLUMNS for row in plain)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_them(form):
    assert main(["f", "--facts", f"--{form}", "-o", f"out.{form}"]) == 1
    rows, _ = read_table(f"out.{form}")
    assert [row.path for row in rows] == NAMES
    for row, facts in zip(rows, expected(), strict=True):
        known = {name: value for name, value in facts.items() if value is not None}
        assert row.extra == {name: pytest.approx(value, abs=5e-5) for name, value in known.items()}  # four decimals


def test_text_has_them_before_the_path(capsys):
    assert main(["f/tiny.png", "--facts"]) == 0
    assert capsys.readouterr().out == "1.0000\t\t\t\t\t\t0.0000\t100.0000\t1\tf/tiny.png\n"


def test_a_run_with_facts_is_not_gone_on_with_without_them(capsys):
    assert main(["f", "--facts", "--jsonl", "-o", "out"]) == 1
    with pytest.raises(SystemExit):
        main(["f", "--jsonl", "-o", "out", "--resume"])
    assert "facts was True, now None" in capsys.readouterr().err
    assert main(["f", "--facts", "--jsonl", "-o", "out", "--resume"]) == 1
    assert [json.loads(line)["path"] for line in Path("out").read_text().splitlines()] == NAMES


def test_bytes_that_are_needed_twice_are_read_once(monkeypatch):
    calls = Counter()

    def read():
        calls["function"] += 1
        return Path("f/twice.jpg").read_bytes()

    [row] = score_files([EncodedImage("a.jpg", read)], Mean(), facts=True)
    assert row.extra["earlier_quality"] == 60
    assert calls == {"function": 1}

    opened = Counter()

    def open_and_count(name, *arguments, **options):
        opened[str(name)] += 1
        return open(name, *arguments, **options)

    for module in ("facts", "decoding.files"):
        monkeypatch.setattr(f"qfm_metric.{module}.open", open_and_count, raising=False)
    [row] = score_files(["f/twice.jpg"], Mean(), facts=True)
    assert row.extra["earlier_quality"] == 60
    assert opened == {"f/twice.jpg": 1}
