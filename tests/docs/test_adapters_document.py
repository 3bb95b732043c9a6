"""The blocks of docs/adapters.md run with the real packages, each section by itself.

Gradio's section has a command alone, which is what test_gradio runs.
"""

import re
import shutil

import pytest
from helpers.documents import ROOT, run_blocks

SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (ROOT / "docs/adapters.md").read_text(), re.M | re.S))


def test_every_adapter_has_its_section():
    assert list(SECTIONS) == ["torchmetrics", "pyiqa", "Lightning", "Hugging Face", "ComfyUI", "Gradio"]


@pytest.mark.parametrize("name", SECTIONS)
# The libraries' advice and their own use of what others deprecate.
@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_section_prints_what_it_claims(name, tmp_path, monkeypatch):
    if name == "pyiqa":
        pytest.importorskip("pyiqa")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    section = tmp_path / "section.md"
    section.write_text(SECTIONS[name], encoding="utf-8")
    ran, skipped = run_blocks(section)
    assert ran == SECTIONS[name].count("```python")
    assert skipped == []
