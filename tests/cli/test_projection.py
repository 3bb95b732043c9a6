"""`qfm-metric --projection` and `score_files(projection=...)`: panoramas are told from flat pictures, and scored so."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.gpano import gpano
from helpers.mean import Mean
from PIL import Image

from qfm_metric import load_image, score_360, score_files
from qfm_metric.cli import main, metric, watch
from qfm_metric.folder import stream
from qfm_metric.overlay import read_map
from qfm_metric.panorama.sphere import Placement

PART = {"full_width": 180, "full_height": 90, "width": 180, "height": 60, "left": 0, "top": 15}
SLIVER = PART | {"height": 20, "top": 35}


@pytest.fixture(autouse=True)
def pictures(mean):
    """Brighter upwards, so that the mean of the picture is not the mean of what is seen of it."""
    Path("p").mkdir()
    noise = np.random.default_rng(0).integers(0, 200, (90, 180, 3))
    noise = (noise + np.linspace(55, 0, 90, dtype=int)[:, None, None]).astype(np.uint8)
    for name, pixels, packet in (
        ("plain", noise, b""),
        ("sphere", noise, gpano()),
        ("part", noise[15:75], gpano(**PART)),
        ("sliver", noise[35:55], gpano(**SLIVER)),
    ):
        Image.fromarray(pixels).save(f"p/{name}.webp", lossless=True, xmp=packet)


def flat(name):
    return Mean().of(load_image(f"p/{name}.webp"))


def sphere(name, **options):
    return score_360(f"p/{name}.webp", Mean(), **options).score


def rows(*options):
    status = main(["p", "--jsonl", "-o", "out", *options])
    found = [json.loads(line) for line in Path("out").read_text().splitlines()]
    return status, {Path(row["path"]).stem: row for row in found}


def test_the_command_finds_panoramas_by_what_files_say():
    status, found = rows()
    assert status == 0
    scores = {name: row["score"] for name, row in found.items()}
    wanted = {"plain": flat("plain"), "sphere": sphere("sphere"), "part": sphere("part"), "sliver": flat("sliver")}
    assert scores == pytest.approx(wanted, abs=1e-4)  # four decimals
    assert abs(wanted["sphere"] - flat("sphere")) > 5e-4
    notes = {name: row["note"] for name, row in found.items()}
    assert notes.pop("sliver").startswith(
        "equirectangular, scored as flat: expected a panorama that holds at least one"
    )
    assert notes == {"plain": None, "sphere": "equirectangular", "part": "equirectangular"}
    assert (found["part"]["width"], found["part"]["height"]) == (180, 60)


def test_flat_takes_every_picture_for_flat():
    status, found = rows("--projection", "flat")
    assert status == 0
    assert {name: row["score"] for name, row in found.items()} == pytest.approx(
        {name: flat(name) for name in found}, abs=1e-4
    )
    assert {row["note"] for row in found.values()} == {None}


def test_equirect_takes_every_picture_for_a_panorama_and_refuses_what_cannot_be_one():
    Image.new("RGB", (40, 30)).save("p/photo.png")
    status, found = rows("--projection", "equirect")
    assert status == 1
    assert found["plain"]["score"] == pytest.approx(sphere("plain"), abs=1e-4)
    assert found["plain"]["note"] == "equirectangular"
    assert "photo.png': expected an equirectangular picture of 2:1, got 40 x 30 px" in found["photo"]["error"]
    assert "sliver.webp': expected a panorama that holds at least one whole viewport" in found["sliver"]["error"]


def test_a_blank_panorama_is_noted_as_both():
    Image.new("RGB", (180, 90), "blue").save("p/blank.webp", lossless=True, xmp=gpano())
    assert rows()[1]["blank"]["note"] == "blank; equirectangular"


def test_maps_lie_over_the_panorama():
    _, found = rows("--map", "maps")
    assert read_map(found["sphere"]["map"]).shape == (1, 18, 36)
    part = read_map(found["part"]["map"])
    assert part.shape == (1, 12, 36)
    wanted = score_360("p/part.webp", Mean(), placement=Placement(0, 1 / 6, 1, 2 / 3))
    np.testing.assert_allclose(part, wanted.quality_map.nan_to_num(wanted.score), atol=1e-4)  # four decimals


def test_what_is_wrong_with_a_panorama_is_told_of_its_viewports(monkeypatch):
    class Noisy(Mean):
        defects = ("noise",)

        def rate(self, views, maps=False, descriptors=False):
            return [one._replace(defects={"noise": one.score}) for one in super().rate(views, maps)]

    monkeypatch.setattr(metric, "QFMScore", Noisy())
    _, found = rows("--explain")
    assert {name: row["noise"] for name, row in found.items()} == {name: row["score"] for name, row in found.items()}
    assert found["sphere"]["top_defect"] == "noise"


def test_every_command_that_scores_folders_finds_panoramas(monkeypatch):
    """Without an option for it: rows of one command go with another's."""
    seen = []
    score = stream.score_files
    monkeypatch.setattr(stream, "score_files", lambda *a, **k: (seen.append(row) or row for row in score(*a, **k)))
    monkeypatch.setattr(watch, "arrivals", lambda found, score, *a, **k: map(score, found()))
    for words in (["watch", "p"], ["compare", "p", "p"], ["cull", "p"]):
        seen.clear()
        assert main(words) == 0
        scores = {Path(row.path).stem: row.score for row in seen}
        assert scores["sphere"] == pytest.approx(sphere("sphere"))
        assert scores["plain"] == pytest.approx(flat("plain"))


def test_tiles_are_flat(capsys):
    _, found = rows("--tile", "64")
    assert {row["note"] for row in found.values()} == {None}
    with pytest.raises(SystemExit):
        main(["p", "--tile", "64", "--projection", "equirect"])
    assert "--projection: expected flat pictures with tiles, got equirect" in capsys.readouterr().err


def test_another_projection_is_not_gone_on_with(capsys):
    rows("--projection", "flat")
    with pytest.raises(SystemExit):
        rows("--resume")
    assert "projection was 'flat', now 'auto'" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_library_takes_pictures_for_flat_unless_it_is_asked(workers):
    paths = ["p/sphere.webp", "p/plain.webp"]
    assert [row.note for row in score_files(paths, Mean(), workers=workers)] == [None, None]
    found = list(score_files(paths, Mean(), workers=workers, projection="auto"))
    assert [row.note for row in found] == ["equirectangular", None]
    assert [row.score for row in found] == pytest.approx([sphere("sphere"), flat("plain")], abs=1e-6)
    with pytest.raises(ValueError, match="projection: expected one of auto, flat, equirect, got 'round'"):
        score_files(paths, Mean(), projection="round")


def test_panoramas_have_groups_as_other_pictures_have():
    status, found = rows("--group")
    assert status == 0
    assert found["plain"]["group"] == found["sphere"]["group"]  # the same pixels
    assert all(row["group"] and row["group_rank"] for row in found.values())
