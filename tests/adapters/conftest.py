"""What the tests of the adapters share: a small metric, and pictures that it tells apart."""

import os

import pytest
import torch
from helpers.small import make_small_metric

from qfm_metric import QFMReference, QFMScore

os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_EVALUATE_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@pytest.fixture(scope="session")
def tiny(tiny_files):
    return QFMScore.from_pretrained(tiny_files[0])


@pytest.fixture(scope="session")
def comparing(tmp_path_factory):
    """The folder of small weights that compare with a reference."""
    folder = tmp_path_factory.mktemp("comparing")
    make_small_metric(reference=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def compare(comparing):
    return QFMReference(QFMScore.from_pretrained(comparing))


@pytest.fixture(scope="session")
def images():
    """`(5, 3, 64, 80)`, darker one by one."""
    noise = torch.rand(5, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    return noise * torch.linspace(1, 0.2, 5).view(5, 1, 1, 1)


@pytest.fixture(scope="session")
def scores(tiny, images):
    found = tiny(images)
    assert len(set(found.tolist())) == 5  # else no test could tell the images apart
    return found
