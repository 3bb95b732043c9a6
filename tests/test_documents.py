"""The documents' Python blocks and the docstrings' examples run, and print what they say they print."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch
from documents import run_blocks

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", [f"qfm_metric{part}" for part in ("", ".bands", ".loss", ".percentiles", ".score")])
def test_docstring_examples(name, metric):
    module = importlib.import_module(name)
    found = doctest.testmod(module, extraglobs={"torch": torch, "score": metric})
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("document", ["README.md", "docs/explain.md", "docs/loss.md"])
def test_python_blocks_print_what_they_claim(document, tmp_path, monkeypatch, photo_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_bytes(Path(photo_path).read_bytes())
    assert run_blocks((ROOT / document).read_text(encoding="utf-8"), document) >= 1
