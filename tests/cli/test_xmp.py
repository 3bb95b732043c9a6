"""`qfm-metric --xmp`: sidecars beside the pictures that are scored."""

import os
from pathlib import Path

import pytest
from helpers.pictures import grey

from qfm_metric.cli import main


@pytest.fixture(autouse=True)
def pictures(mean):
    for i in range(3):
        grey(f"f/{i}.png", 51 * i)


def ratings(pattern="f/*.xmp"):
    found = sorted(Path().glob(pattern))
    return {path.name: path.read_text().split('xmp:Rating="')[1][0] for path in found}


def test_sidecars_stand_beside_the_pictures_which_are_not_touched(mean, capsys):
    before = {path: path.read_bytes() for path in Path("f").iterdir()}
    assert main(["f"]) == 0
    alone = capsys.readouterr()
    assert main(["f", "--xmp"]) == 0
    assert capsys.readouterr() == alone
    assert ratings() == {"0.png.xmp": "1", "1.png.xmp": "2", "2.png.xmp": "3"}
    assert {path: path.read_bytes() for path in before} == before
    assert "ünicode" in Path("f/0.png.xmp").read_text()


def test_options_choose_names_and_limits():
    assert main(["f", "--xmp", "--xmp-name", "stem", "--stars", ".1,.15,.3,.5"]) == 0
    assert ratings() == {"0.xmp": "1", "1.xmp": "3", "2.xmp": "4"}


def test_a_row_in_a_table_has_its_sidecar():
    run = ["f", "--jsonl", "-o", "out", "--xmp"]
    assert main(run) == 0
    Path("out").write_bytes(Path("out").read_bytes()[:-10])  # cut off: scored again
    os.unlink("f/2.png.xmp")
    assert main([*run, "--resume"]) == 0
    assert len(ratings()) == 3


def test_what_is_no_xmp_is_told_and_the_others_are_written(capsys):
    Path("f/1.png.xmp").write_text("mine")
    os.mkdir("f/0.png.xmp")
    assert main(["f", "--xmp"]) == 1
    said = capsys.readouterr()
    assert "no sidecar: " in said.err
    assert "f/1.png.xmp: expected XML" in said.err
    assert "2 of 3 failed" in said.err
    assert len(said.out.splitlines()) == 3
    assert Path("f/1.png.xmp").read_text() == "mine"
    assert Path("f/2.png.xmp").exists()


def test_the_longest_name_that_a_sidecar_can_have_is_written():
    """Beside it, its part would have a longer one than there can be."""
    picture = grey("n" * 247 + ".png", 255)
    assert main([picture, "--xmp"]) == 0
    assert ratings("n*.xmp") == {f"{picture}.xmp": "5"}
    assert len(f"{picture}.xmp") == 255


def test_a_sidecar_that_is_no_file_is_told_and_not_read(capsys):
    """A pipe would be waited for, and a device never ends."""
    os.mkfifo("f/0.png.xmp")
    os.symlink("/dev/zero", "f/1.png.xmp")
    assert main(["f", "--xmp"]) == 1
    told = capsys.readouterr().err
    for i in range(2):
        name = os.path.realpath(f"f/{i}.png.xmp")
        assert f"no sidecar: {name}: expected the name of a file to write, got a folder, a pipe or a device\n" in told
    assert ratings("f/2*.xmp") == {"2.png.xmp": "3"}


def test_stars_of_persons_and_shared_stems_are_told(capsys):
    main(["f", "--xmp"])
    file = Path("f/0.png.xmp")
    file.write_text(file.read_text().replace('xmp:Rating="1"', 'xmp:Rating="5"'))
    main(["f", "--xmp"])
    assert "1 pictures keep the stars or the label that a person gave" in capsys.readouterr().err
    main(["f", "--xmp", "--replace-stars"])
    assert ratings()["0.png.xmp"] == "1"
    grey("f/0.jpg")
    main(["f", "--xmp", "--xmp-name", "stem"])
    assert "2 pictures share their stem with others" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--stars", ".2,.4,.6,.8"], "--stars: expected --xmp"),
        (["--replace-stars"], "--replace-stars: expected --xmp"),
        (["--xmp", "--stars", ".2"], "--stars: expected the scores at which"),
        (["--xmp", "--engine", "ray"], "--xmp: expected --engine local"),
    ],
)
def test_wrong_usage_is_told(capsys, words, says):
    with pytest.raises(SystemExit):
        main(["f", *words])
    assert says in capsys.readouterr().err
