"""What the tests of the command share."""

import pytest
from helpers.mean import Mean

from qfm_metric.cli import metric


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    """Work in an empty folder, so that paths are short and rows can be compared whole."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mean(monkeypatch):
    """The metric that every command scores with."""
    fake = Mean()
    monkeypatch.setattr(metric, "QFMScore", fake)
    return fake
