"""The documents' Python blocks and the docstrings' examples run, and print what they say they print."""

import ast
import contextlib
import doctest
import importlib
import io
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", [f"qfm_metric{part}" for part in ("", ".bands", ".loss", ".percentiles", ".score")])
def test_docstring_examples(name, metric):
    module = importlib.import_module(name)
    found = doctest.testmod(module, extraglobs={"torch": torch, "score": metric})
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("document", ["README.md", "docs/explain.md", "docs/loss.md"])
def test_python_blocks_print_what_they_claim(document, tmp_path, monkeypatch, photo_path):
    """Blocks share a namespace, as a reader's session would; `# <- text` behind a print is its output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_bytes(Path(photo_path).read_bytes())
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 2
    namespace, claims = {}, 0
    for block in blocks:
        expected = re.findall(r"# <- (.+)", block)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.parse(block), document, "exec"), namespace)
        assert printed.getvalue().splitlines() == expected
        claims += len(expected)
    assert claims >= 1
