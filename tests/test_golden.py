"""Each released id answers to one photograph, stage by stage, as it did when it was released."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qfm_metric import QFMScore
from qfm_metric.train.release import golden_stages
from qfm_metric.weights import read_manifest

FOLDER = Path(__file__).parent / "golden"
SUPERSEDED = Path(__file__).parent / "released"  # files that have left the package


def test_every_superseded_file_is_kept():
    superseded = {f"{name}.safetensors" for name, entry in read_manifest()["weights"].items() if not entry["file"]}
    assert {path.name for path in SUPERSEDED.iterdir()} == superseded


@pytest.mark.parametrize("weights_id", read_manifest()["weights"])
def test_stages(weights_id, photo):
    path = SUPERSEDED / f"{weights_id}.safetensors"
    metric = QFMScore.from_pretrained(path if path.exists() else weights_id)
    assert metric.weights_id == weights_id  # by path, too: its SHA-256 is in the manifest
    net = metric.net
    found = golden_stages(net, photo)
    stored = load_file(FOLDER / f"{weights_id}.safetensors")
    assert sorted(found) == sorted(stored)
    for stage in sorted(found):  # numbered along the data flow: the first that moved is named
        scale = stored[stage].abs().mean().item()
        # Processors and library versions sum in different orders: some 1e-6 of a value, amplified through the layers.
        torch.testing.assert_close(
            found[stage], stored[stage], rtol=0, atol=1e-3 * scale, msg=lambda text, s=stage: f"stage {s}: {text}"
        )
    assert abs(found["5 score"].item() - stored["5 score"].item()) < 1e-4
