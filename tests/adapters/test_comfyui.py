"""The ComfyUI node keeps the contract of a custom node. ComfyUI itself is no package, so nothing here loads it."""

import importlib.util
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).parents[2] / "examples" / "comfyui" / "qfm_score.py"


@pytest.fixture
def module(tiny, monkeypatch):
    """Loaded as ComfyUI loads a file in custom_nodes."""
    spec = importlib.util.spec_from_file_location("custom_nodes.qfm_score", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "load_metric", lambda: tiny)
    return module


def test_classes_declare_what_comfyui_reads(module):
    assert set(module.NODE_CLASS_MAPPINGS) == set(module.NODE_DISPLAY_NAME_MAPPINGS)
    for node in module.NODE_CLASS_MAPPINGS.values():
        assert node.INPUT_TYPES() == {"required": {"images": ("IMAGE",)}}
        assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
        assert set(node.RETURN_TYPES) <= {"FLOAT", "STRING", "IMAGE", "INT"}
        assert callable(getattr(node(), node.FUNCTION))
        assert node.CATEGORY


@pytest.mark.parametrize("channels", [3, 4])
def test_scores_a_batch_and_picks_the_best(module, images, scores, channels):
    node = module.NODE_CLASS_MAPPINGS["QFMScore"]()
    batch = torch.cat([images, torch.ones(5, channels - 3, 64, 80)], dim=1).permute(0, 2, 3, 1)
    out = getattr(node, node.FUNCTION)(images=batch)
    mean, text, picture, index = out["result"]
    assert [type(value) for value in out["result"]] == [float, str, torch.Tensor, int]
    assert mean == pytest.approx(scores.mean().item(), abs=1e-6)
    assert index == scores.argmax()
    assert torch.equal(picture, batch[index : index + 1])
    assert text.splitlines() == [f"{i}: {score:.3f}" for i, score in enumerate(scores.tolist())]
    assert out["ui"] == {"text": [text]}


def test_the_node_loads_the_shipped_weights_once(images):
    spec = importlib.util.spec_from_file_location("custom_nodes.qfm_score", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.load_metric() is module.load_metric()
    assert 0 <= module.QFMScoreNode().score(images[:1].permute(0, 2, 3, 1))["result"][0] <= 1
