"""The Python blocks of docs/adapters.md run with the real packages, each section by itself.

Gradio's section has none: its command is what test_gradio runs.
"""

import re
import shutil
from pathlib import Path

import pytest
from documents import run_blocks

ROOT = Path(__file__).parents[2]
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (ROOT / "docs/adapters.md").read_text(), re.M | re.S))


def test_every_adapter_has_its_section():
    assert list(SECTIONS) == ["torchmetrics", "pyiqa", "Lightning", "Hugging Face", "ComfyUI", "Gradio"]


@pytest.mark.parametrize("name", [name for name, text in SECTIONS.items() if "```python" in text])
# The libraries' advice and their own use of what others deprecate.
@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_section_prints_what_it_claims(name, tmp_path, monkeypatch):
    if name == "pyiqa":
        pytest.importorskip("pyiqa")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    assert run_blocks(SECTIONS[name], name) >= 1
