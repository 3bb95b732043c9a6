"""`qfm-metric compare --reference`: sets are compared by what they keep of the pictures that they were made from."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.small import make_small_metric
from PIL import Image

from qfm_metric import QFMReference, QFMScore
from qfm_metric.cli import main
from qfm_metric.cli.references import References

RANDOM = np.random.default_rng(0)


@pytest.fixture
def degraded():
    """Folders: pictures, and two that were made from them; A has noise, B the same pictures under other suffixes."""
    make_small_metric(reference=True).save_pretrained("comparing")
    for folder in ("true/in", "a/in", "b/in"):
        Path(folder).mkdir(parents=True)
    for name in ("in/x", "y"):
        pixels = RANDOM.integers(60, 190, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(f"true/{name}.png")
        Image.fromarray(pixels).save(f"b/{name}.bmp")
        noise = RANDOM.normal(0, 20, pixels.shape)
        Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(f"a/{name}.png")
    return ["compare", "a", "b", "-r", "--reference", "true", "--weights", "comparing", "--json"]


def test_two_folders_are_compared_by_how_near_they_are_to_their_references(degraded, capsys):
    assert main([*degraded, "--html", "page.html"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["signature"].startswith("with a reference: qfm_metric")
    assert found["verdict"] == "B is better"
    assert [pair["b"] for pair in found["pairs"]] == [1.0, 1.0]
    assert all(pair["a"] < 1 for pair in found["pairs"])
    assert {pair["name_a"] for pair in found["pairs"]} == {"in/x.png", "y.png"}


def test_what_has_no_reference_or_another_size_is_left_out_and_said(degraded, capsys):
    Path("true/y.png").unlink()
    Image.new("RGB", (9, 9)).save("a/in/x.png")
    assert main(degraded) == 1
    said = capsys.readouterr()
    assert "a/in/x.png: references: expected the image's size, 9 x 9 px" in said.err
    assert "b/y.bmp: no picture of this name in true" in said.err
    found = json.loads(said.out)
    assert (found["failed_a"], found["failed_b"]) == (["in/x.png", "y.png"], ["y.bmp"])
    rows = References(QFMReference(QFMScore.from_pretrained("comparing")), "true", ["true/in/x.png"])
    errors = [row.error for row in rows.rows("a", ["a/in/x.png", "a/y.png"])]
    assert "expected the image's size, 9 x 9 px" in errors[0]
    assert errors[1] == "no picture of this name in true"


@pytest.mark.parametrize(
    ("change", "says"),
    [({"b": "b/y.bmp"}, "expected three folders, b/y.bmp is none"), ({"comparing": "qfm-tiny-v2"}, "these do not")],
)
def test_references_that_cannot_be_compared_with_are_refused(degraded, capsys, change, says):
    with pytest.raises(SystemExit) as status:
        main([change.get(arg, arg) for arg in degraded])
    assert status.value.code == 2
    assert says in capsys.readouterr().err
