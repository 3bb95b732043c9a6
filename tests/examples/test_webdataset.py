"""The WebDataset example with the real package, on shards that are written here."""

import gc
import io
import json
import runpy
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from qfm_metric import EncodedImage, ImageError, load_image, score_files

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "webdataset_scores.py")


@pytest.fixture
def shards(tmp_path, photo_path):
    """Two shards: photographs with captions, a damaged one, and a sample without a picture."""
    photo = Image.open(photo_path).resize((160, 120))
    for number, suffixes in enumerate((["jpg", "png"], ["left.webp", "jpg", "txt"])):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            for key, suffix in enumerate(suffixes):
                file = io.BytesIO()
                if suffix == "txt":
                    file.write(b"no picture")
                else:
                    photo.save(file, {"jpg": "JPEG", "png": "PNG", "left.webp": "WEBP"}[suffix])
                data = file.getvalue()[: 700 if (number, key) == (1, 1) else None]
                for name, part in ((f"{key}.{suffix}", data), (f"{key}.json", b"{}")):
                    info = tarfile.TarInfo(name)
                    info.size = len(part)
                    tar.addfile(info, io.BytesIO(part))
    return tmp_path


@pytest.mark.filterwarnings("ignore:Exception ignored in.*tar:pytest.PytestUnraisableExceptionWarning")  # left open
def test_example_scores_shards(shards, monkeypatch, capsys, metric):
    monkeypatch.setattr(sys, "argv", ["webdataset_scores.py", str(shards / "{0..1}.tar")])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(EXAMPLE, run_name="__main__")
    gc.collect()  # webdataset leaves shards open: while the filter holds
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ["0.tar#0", "0.tar#1", "1.tar#0", "1.tar#1", "1.tar#2"]
    assert [Path(row["path"]).name for row in rows] == names
    with tarfile.open(shards / "0.tar") as tar:
        picture = Image.open(tar.extractfile("0.jpg"))
        assert rows[0]["score"] == pytest.approx(metric(load_image(picture)).item(), abs=1e-6)
    assert [row["error"] is None for row in rows] == [True, True, True, False, False]
    assert "truncated" in rows[3]["error"]
    assert "empty" in rows[4]["error"]


@pytest.mark.filterwarnings("ignore:Exception ignored in.*tar:pytest.PytestUnraisableExceptionWarning")  # left open
def test_a_shard_that_cannot_be_read_loses_no_other(shards, monkeypatch, capsys):
    (shards / "cut.tar").write_bytes((shards / "1.tar").read_bytes()[:2000])
    names = [str(shards / name) for name in ("gone.tar", "cut.tar", "0.tar")]
    monkeypatch.setattr(sys, "argv", ["webdataset_scores.py", *names])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_path(EXAMPLE, run_name="__main__")
    gc.collect()
    said = capsys.readouterr()
    scored = [row["path"] for row in map(json.loads, said.out.splitlines()) if row["score"] is not None]
    assert [Path(path).name for path in scored if "0.tar" in path] == ["0.tar#0", "0.tar#1"]
    assert "gone.tar" in said.err
    assert "cut.tar" in said.err


@pytest.mark.slow
def test_images_in_memory_are_scored_as_files_are(photo_path, tmp_path, small_metric):
    damaged, data = tmp_path / "damaged.png", Path(photo_path).read_bytes()
    damaged.write_bytes(data[:5000])
    paths = [photo_path, str(damaged)]
    images = [EncodedImage(path, Path(path).read_bytes) for path in paths]
    rows = list(score_files(images, small_metric))
    assert rows == list(score_files(paths, small_metric))
    assert rows == list(score_files(images, small_metric, workers=2))
    assert rows[0].score is not None
    assert rows[1].error


def test_what_reading_raises_is_the_error(small_metric):
    def read():
        raise ImageError("expected a bucket, got a spade")

    [row] = score_files([EncodedImage("cloud/1.png", read)], small_metric)
    assert row.error == "'cloud/1.png': expected a bucket, got a spade"
