"""The evaluate metric and the datasets example, with the real packages and without the network."""

import runpy
import sys
from pathlib import Path

import datasets
import evaluate
import numpy as np
import pytest
from PIL import Image

from qfm_metric import load_image
from qfm_metric.adapters import evaluate as adapter

EXAMPLE = Path(__file__).parents[2] / "examples" / "hf_datasets.py"


@pytest.fixture
def pictures(images):
    """PIL images of unlike sizes."""
    pixels = (images.permute(0, 2, 3, 1) * 255).byte().numpy()
    return [Image.fromarray(array[: 64 - 2 * i]) for i, array in enumerate(pixels)]


@pytest.fixture
def expected(tiny, pictures):
    return tiny([load_image(picture) for picture in pictures]).tolist()


@pytest.fixture(params=["class", "file"])
def evaluated(request, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path / "metrics"))
    if request.param == "class":
        return adapter.QFM(cache_dir=str(tmp_path / "cache"))
    return evaluate.load(adapter.__file__, cache_dir=str(tmp_path / "cache"))


def test_evaluate_scores_pil_images(evaluated, pictures, expected, tiny_files):
    found = evaluated.compute(images=pictures, weights=str(tiny_files[0]))
    assert found["scores"] == pytest.approx(expected, abs=1e-6)
    assert found["qfm"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_evaluate_collects_batches_of_paths_and_arrays(evaluated, pictures, expected, tiny_files, tmp_path):
    for i, picture in enumerate(pictures[:3]):
        picture.save(tmp_path / f"{i}.png")
    evaluated.add_batch(images=[str(tmp_path / f"{i}.png") for i in range(3)])
    evaluated.add(images=np.asarray(pictures[3]))
    evaluated.add(images=pictures[4])
    found = evaluated.compute(weights=str(tiny_files[0]))
    assert found["scores"] == pytest.approx(expected, abs=1e-6)


def test_evaluate_refuses_to_average_nothing(evaluated):
    with pytest.raises(ValueError, match="images: expected at least one, got none"):
        evaluated.compute(images=[])


def test_datasets_map_adds_a_column(pictures, expected, tiny):
    score_batch = runpy.run_path(str(EXAMPLE))["score_batch"]
    table = datasets.Dataset.from_dict({"picture": pictures}, datasets.Features({"picture": datasets.Image()}))
    scored = table.map(score_batch, batched=True, batch_size=2, fn_kwargs={"metric": tiny, "column": "picture"})
    assert list(scored["qfm"]) == pytest.approx(expected, abs=1e-6)
    streamed = table.to_iterable_dataset().map(
        score_batch, batched=True, batch_size=2, fn_kwargs={"metric": tiny, "column": "picture"}
    )
    assert [row["qfm"] for row in streamed] == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings("ignore:Specifying null_placement:FutureWarning")  # datasets' own use of pyarrow
def test_example_scores_a_folder(tmp_path, monkeypatch, capsys, pictures, metric):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder, table = tmp_path / "photos", tmp_path / "scored.parquet"
    folder.mkdir()
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    monkeypatch.setattr(sys, "argv", ["hf_datasets.py", str(folder), "--out", str(table)])
    for _ in range(2):  # what it wrote it replaces
        runpy.run_path(str(EXAMPLE), run_name="__main__")
        said = capsys.readouterr()
        assert said.out.startswith("5 pictures, from 0.")
        assert "broken.jpg" in said.err
    scored = datasets.Dataset.from_parquet(str(table))
    assert "broken.jpg" in scored.select_columns("error")[5]["error"]
    scored = scored.select(range(5))
    best_first = sorted((metric(load_image(picture)).item() for picture in pictures), reverse=True)
    assert list(scored["qfm"]) == pytest.approx(best_first, abs=1e-6)
    assert metric(load_image(scored[0]["image"])).item() == pytest.approx(best_first[0], abs=1e-6)


def test_example_writes_over_no_table_of_others(tmp_path, monkeypatch, capsys, pictures):
    table = tmp_path / "mine.parquet"
    datasets.Dataset.from_dict({"mine": [1]}).to_parquet(table)
    before = table.read_bytes()
    monkeypatch.setattr(sys, "argv", ["hf_datasets.py", str(tmp_path), "--out", str(table)])
    with pytest.raises(SystemExit):
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "it is there and is no file of this kind" in capsys.readouterr().err
    assert table.read_bytes() == before
