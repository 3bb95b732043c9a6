"""What two pages say of weights is put between their marks, and the pictures are of what they say."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from qfm_metric.defects import NAMES
from qfm_metric.train import thresholds
from qfm_metric.train.defects import defect_of

ROOT = Path(__file__).parents[2]


def copy(page, folder):
    """A copy of a page of the documents, to write to."""
    path = folder / "page.md"
    path.write_text((ROOT / page).read_text(encoding="utf-8"), encoding="utf-8")
    return path


@pytest.fixture
def what_is_bad(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("what_is_bad")


@pytest.fixture
def looked_at(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("looked_at")


@pytest.fixture
def bad_pictures(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("bad_pictures")


def test_a_part_is_replaced_and_what_is_around_it_stays(what_is_bad):
    text = "Before\n<!-- made: a -->\nold\n<!-- end: a -->\nAfter\n"
    assert what_is_bad.replace_part(text, "a", "new\n") == text.replace("old", "new")
    for broken in (text.replace("made", "mad"), text.replace("end", "en"), text + text):
        with pytest.raises(ValueError, match="expected one part from <!-- made: a -->"):
            what_is_bad.replace_part(broken, "a", "new\n")


def test_the_page_gets_precision_and_recall_and_the_weights_that_they_are_of(what_is_bad, tmp_path, monkeypatch):
    page = copy(what_is_bad.THRESHOLDS, tmp_path)
    found = thresholds.figures(np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** 2)

    def evaluate(table):
        assert table == Path("DATA/all.csv")
        return SimpleNamespace(figures={"weights": "new", "thresholds": found})

    monkeypatch.setattr(what_is_bad.evaluate, "evaluate", evaluate)
    what_is_bad.write_thresholds(page, SimpleNamespace(data=Path("DATA")))
    made = page.read_text(encoding="utf-8").split("<!-- made: thresholds -->\n")[1].split("<!-- end")[0]
    assert made == f"`new`, BIQ2021's validation part:\n\n{thresholds.markdown(found)}"


def test_the_page_gets_how_right_the_defects_are(what_is_bad, tmp_path, monkeypatch):
    page = copy(what_is_bad.DEFECTS, tmp_path)
    shares = dict.fromkeys(what_is_bad.FIGURES, 0.5) | {"top1": 1.0, "weights": "new", "pictures": 6}
    type = {"data_set": "TID2013", "type": 1, "name": "x", "defect": "noise", "top1": None, "top2": None}
    types = [type | {"right": 1, "pairs": 2, "told": {}}]
    found = shares | {"types": types, "confusion": {"noise": {"noise": 19, "blur": 1, "dark": 1}}}
    monkeypatch.setattr(what_is_bad.defects_check, "check", lambda severity, data, **_: found)
    what_is_bad.write_defects(page, SimpleNamespace(severity="people.csv", data="DATA", workers=0))
    made = page.read_text(encoding="utf-8").split("<!-- made: defects -->\n")[1].split("<!-- end")[0]
    assert "`new`, 6 photographs:\n" in made
    assert "the right name costs most, mean over types | 1.00 |\n" in made
    assert "| pairs of two distortions of which the sentence names both | .50 |\n" in made
    assert "| TID2013 | 1 | x | noise |  |  | 1/2 |  |\n" in made
    assert "| noise | 21 | noise 0.90 |\n" in made  # less than one in twenty is left out


def test_the_page_gets_what_an_observer_saw_beside_what_is_named(looked_at):
    looks = [
        looked_at.Look(*row)
        for row in (
            ("a", "none", ""),
            ("b", "none", ""),
            ("c", "blur", ""),
            ("d", "blur", ""),  # called by another name of its kind
            ("e", "dark", "noise"),  # what was seen second
            ("f", "noise", ""),  # nothing
            ("g", "noise", ""),  # as second most
        )
    ]
    names = ["blur", "motion_blur", "noise", "dark"]
    costs = np.zeros((7, 4))
    costs[[1, 2, 3, 4, 6], [0, 0, 1, 2, 3]] = 0.5
    costs[3, 2], costs[6, 2] = 0.2, 0.4
    costs[5, 2] = 0.1
    made = looked_at.agreement(looks, costs, names)
    counts = [line.split("|")[2].strip() for line in made.splitlines()[2:8]]
    assert counts == ["2 of 7", "1 of 2", "4 of 5", "1 of 5", "2 of 5", "3 of 5"]
    assert made.splitlines()[-4:] == [
        "| blur | 2 | blur 1, motion_blur 1 |",
        "| noise | 2 | none 1, dark 1 |",
        "| dark | 1 | noise 1 |",
        "| none | 2 | none 1, blur 1 |",
    ]


def test_what_was_looked_at_has_names_that_there_are(looked_at):
    looks = looked_at.read()
    assert len({look.image for look in looks}) == len(looks) == 100
    assert {look.seen for look in looks} <= {*NAMES, looked_at.NONE}
    assert {look.second for look in looks} <= {*NAMES, ""}


def test_there_is_an_example_of_every_defect_that_people_call_so(bad_pictures):
    assert {*bad_pictures.EXAMPLES, bad_pictures.ENLARGED[0]} == set(NAMES)
    for name, (type, level, (photo, _)) in bad_pictures.EXAMPLES.items():
        assert defect_of("KADID-10k", type, level, seed=0) == name
        assert photo in bad_pictures.PHOTOS


def test_a_sheet_has_its_tiles_in_rows_and_leaves_places_empty(bad_pictures):
    width, height = bad_pictures.SHOWN
    tile = bad_pictures.Tile(np.zeros((height, width, 3), np.uint8), ("name", "said"))
    drawn = np.asarray(bad_pictures.sheet([tile, None, tile], 2))
    assert drawn.shape == (2 * (height + bad_pictures.CAPTION), 2 * (width + 8), 3)
    assert (drawn[4 : 4 + height, 4 : 4 + width] == 0).all()
    assert (drawn[: height + bad_pictures.CAPTION, width + 8 :] == 255).all()
    assert (drawn[4 + height : height + bad_pictures.CAPTION, : width + 8] < 255).any()  # the words


def test_what_is_shown_of_a_picture_lies_in_it(bad_pictures):
    width, height = bad_pictures.SHOWN
    pixels = np.arange(300 * 400 * 3, dtype=np.uint32).astype(np.uint8).reshape(300, 400, 3)
    for middle in ((0, 0), (0.5, 0.5), (1, 1)):
        assert bad_pictures.part(pixels, middle).shape == (height, width, 3)
    np.testing.assert_array_equal(bad_pictures.part(pixels, (0, 1)), pixels[300 - height :, :width])
    shown = bad_pictures.whole(np.zeros((100, 400, 3), np.uint8))
    assert shown.shape == (height, width, 3)
    assert (shown[: width // 4 - 1, :] == 0).all()
    assert (shown[width // 4 + 1 :] == 255).all()


def test_the_pictures_of_the_pages_are_small():
    for name in ("defects.jpg", "bands.jpg"):
        with Image.open(ROOT / "docs" / name) as picture:
            assert picture.width < 1200
        assert (ROOT / "docs" / name).stat().st_size < 150_000
