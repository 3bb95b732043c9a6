"""The ways in which users of other metrics call one, and what each gives."""

import copy
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from qfm_metric import GuardedScore, QFMScore, load_image, score_files
from qfm_metric import inputs as module
from qfm_metric.guard import ROBUST
from qfm_metric.weights import WeightsError, read_manifest


@pytest.fixture(scope="module")
def score():
    return QFMScore(ROBUST)


@pytest.fixture
def files(photo, tmp_path):
    """Three photographs of different sizes."""
    pixels = (photo.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    paths = [tmp_path / f"{side}.png" for side in (96, 128, 160)]
    for side, path in zip((96, 128, 160), paths, strict=True):
        Image.fromarray(pixels[:side, : side + 32]).save(path)
    return paths


def test_a_path_a_pil_image_an_array_and_a_tensor_of_one_picture_score_alike(score, files):
    path = files[0]
    expected = score(load_image(path))
    assert expected.shape == (1,)
    with Image.open(path) as image:
        array = np.asarray(image)
        ways = [path, str(path), image, array, array / 255, array[None][0].astype(np.float32) / 255]
        for way in ways:
            torch.testing.assert_close(score(way), expected, rtol=0, atol=1e-6)  # doubles are rounded to floats
            torch.testing.assert_close(score.assess(way).score, expected, rtol=0, atol=1e-6)


def test_a_list_of_anything_scores_as_each_alone_and_as_score_files(score, files):
    first, second, third = files
    with Image.open(third) as image:
        mixed = score([first, load_image(second), image])
    assert torch.equal(mixed, torch.cat([score(path) for path in files]))
    assert mixed.tolist() == [row.score for row in score_files(files, score)]
    assert [found.shape[0] for found in score.quality_map(files)] == [1, 1, 1]


def test_a_guarded_score_takes_what_a_score_takes(score, files):
    guarded = GuardedScore(score, score)
    assert torch.equal(guarded(files), torch.cat([guarded(load_image(path)) for path in files]))


def test_the_pictures_of_a_list_are_read_one_by_one(score, tmp_path):
    Image.new("RGB", (2000, 1500)).save(tmp_path / "large.png")
    tracemalloc.start()
    score([tmp_path / "large.png"] * 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 36e6  # NumPy's share of one such picture as floats is 36 MB; all eight are 288


def test_an_id_a_path_and_a_device_can_be_given(score, tmp_path, monkeypatch):
    score.save_pretrained(tmp_path / "saved")
    image = torch.rand(1, 3, 64, 64)
    for weights in (tmp_path / "saved", str(tmp_path / "saved" / "model.safetensors")):
        assert torch.equal(QFMScore(weights, device="cpu")(image), score(image))
    assert QFMScore(ROBUST).weights_id == ROBUST
    assert QFMScore().weights_id == read_manifest()["default"]
    moved = []
    monkeypatch.setattr(QFMScore, "to", lambda self, device: moved.append(device))
    QFMScore(ROBUST, device="cuda")
    assert moved == ["cuda"]


def test_construction_never_uses_the_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *args, **kwargs: pytest.fail("asked the Hub"))
    with pytest.raises(WeightsError, match="did you mean"):
        QFMScore("qfm-robust-v2")


def test_no_flag_changes_what_a_score_means(score):
    assert score.lower_better is False
    with pytest.raises(AttributeError):
        score.lower_better = True
    assert copy.deepcopy(score).lower_better is False


def test_what_is_read_has_the_types_that_are_promised(score, files):
    images = module.as_images(files)
    assert [type(image) for image in images] == [torch.Tensor] * 3
    assert len(images) == 3
