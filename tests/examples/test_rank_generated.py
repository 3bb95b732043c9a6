"""examples/rank_generated.py: every form a pipeline gives images in, folders, and diffusers' part in it."""

import csv
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from qfm_metric import QFMScore

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("rank_generated")


@pytest.fixture
def small_metric(tiny_files):
    return QFMScore.from_pretrained(tiny_files[0])


@pytest.fixture
def main(example, tiny_files, monkeypatch):
    def run(*options):
        monkeypatch.setattr(sys, "argv", ["rank_generated.py", "--weights-id", str(tiny_files[0]), *map(str, options)])
        return example.main()

    return run


def pictures(count):
    return np.random.default_rng(0).integers(0, 256, (count, 64, 96, 3), dtype=np.uint8)


def save(folder, count):
    folder.mkdir()
    for i, pixels in enumerate(pictures(count)):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_all_forms_of_output_give_the_same_scores(example, small_metric):
    pixels = pictures(3)
    pt = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    expected = [small_metric(image).item() for image in pt]
    assert len(set(expected)) == 3
    forms = {"pil": [Image.fromarray(p) for p in pixels], "np": pixels / 255, "pt": pt, "list of pt": list(pt)}
    for images in forms.values():
        assert example.score_images(small_metric, images) == pytest.approx(expected, abs=1e-6)
    half = example.score_images(small_metric, pt.half())
    assert half == pytest.approx(expected, abs=0.01)  # 11 bits of a level each


def test_folders_are_ranked_and_the_best_copied(main, small_metric, tmp_path, capsys):
    fox, castle = save(tmp_path / "fox", 3), save(tmp_path / "castle", 1)
    (fox / "broken.png").write_bytes(b"not a picture")
    outputs = ["--csv", tmp_path / "scores.csv", "--json", tmp_path / "scores.json"]
    assert main(fox, castle, "--best", 2, "--copy-to", tmp_path / "best", *outputs) == 0
    assert "broken.png" in capsys.readouterr().err

    scores = small_metric(torch.from_numpy(pictures(3)).permute(0, 3, 1, 2)).tolist()
    order = sorted(range(3), key=lambda i: -scores[i])
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["prompt"], row["rank"], Path(row["image"]).stem) for row in rows] == [
        *(("fox", str(place), str(i)) for place, i in enumerate(order, start=1)),
        ("castle", "1", "0"),
    ]
    assert float(rows[0]["reward"]) == pytest.approx(np.mean(scores), abs=1e-4)
    best = tmp_path / "best" / "000-fox"
    assert sorted(path.name for path in best.iterdir()) == [
        f"{p:02d}-{i}.png" for p, i in enumerate(order[:2], start=1)
    ]
    assert (best / f"01-{order[0]}.png").read_bytes() == (fox / f"{order[0]}.png").read_bytes()
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["signature"] == small_metric.signature
    assert content["prompts"][0]["reward"] == pytest.approx(np.mean(scores))


def test_a_folder_without_pictures_does_not_end_the_run(main, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(tmp_path / "empty", save(tmp_path / "fox", 1)) == 1
    printed = capsys.readouterr()
    assert "empty: no picture" in printed.err
    assert "fox: reward" in printed.out


def test_diffusers_pipeline(main, tmp_path, monkeypatch, capsys):
    """A stand-in for the pipeline class; it gives NaN for one prompt, as half precision can."""
    asked = []

    class Pipeline:
        @classmethod
        def from_pretrained(cls, model):
            asked.append(model)
            return cls()

        def to(self, device):
            return self

        def __call__(self, prompt, num_images_per_prompt, output_type, generator):
            assert output_type == "pt"
            images = torch.rand(num_images_per_prompt, 3, 64, 64, generator=generator)
            return SimpleNamespace(images=images * float("nan") if prompt == "broken" else images)

    diffusers = ModuleType("diffusers")
    diffusers.AutoPipelineForText2Image = Pipeline
    monkeypatch.setitem(sys.modules, "diffusers", diffusers)
    options = ["--prompt", "broken", "A fox!", "--model", "org/name", "--count", 3, "--csv", tmp_path / "scores.csv"]
    assert main(*options, "--keep", tmp_path / "kept") == 1  # one prompt could not be scored
    assert asked == ["org/name"]
    assert "broken: images: expected finite values" in capsys.readouterr().err
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["prompt"] for row in rows} == {"A fox!"}
    assert {row["image"] for row in rows} == {str(tmp_path / "kept" / "001-a-fox" / f"00{i}.png") for i in range(3)}
    expected = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))[1]
    with Image.open(tmp_path / "kept" / "001-a-fox" / "001.png") as image:
        assert np.array_equal(np.asarray(image), (expected * 255).round().byte().permute(1, 2, 0).numpy())


def test_without_diffusers(main, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(SystemExit, match="pip install diffusers"):
        main("--prompt", "a fox", "--model", "org/name")


def test_stand_ins(main, capsys):
    assert main("--count", 2, "--best", 1) == 0
    printed = capsys.readouterr().out
    assert printed.count("(mean of 2)") == 3
    assert "reward over 3 prompts" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["no/such/folder"], "no such folder: no/such/folder"),
        (["--prompt", "a fox"], "--prompt needs --model"),
        ([".", "--prompt", "a fox"], "not both"),
        (["--copy-to", "best"], "add --keep"),
        (["--best", "0"], "at least 1"),
    ],
)
def test_wrong_usage(main, capsys, options, message):
    with pytest.raises(SystemExit):
        main(*options)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--csv", "fox/0.png"], "--csv: expected the name of the file to write, got a picture's"),
        (["--csv", "scores.json"], "--csv: expected a name that ends with .csv"),
        (["--json", "mine.txt"], "--json: mine.txt: it is there and is no file of this kind"),
        (["--copy-to", "fox"], "--copy-to: expected a new or an empty folder, got fox"),
        (["--keep", "fox"], "--keep: expected a new or an empty folder, got fox"),
    ],
)
def test_nothing_is_written_over(main, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "fox", 2)
    (tmp_path / "mine.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(SystemExit):
        main("fox", *options)
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_its_own_tables_are_replaced(main, tmp_path):
    fox = save(tmp_path / "fox", 2)
    outputs = ["--csv", tmp_path / "scores.csv", "--json", tmp_path / "scores.json"]
    assert main(fox, *outputs) == main(fox, *outputs) == 0
