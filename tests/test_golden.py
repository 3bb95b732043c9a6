"""Each released id answers to one photograph, stage by stage, as it did when it was released."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qfm_metric import QFMScore
from qfm_metric.train.release import golden_stages
from qfm_metric.weights import read_manifest

FOLDER = Path(__file__).parent / "golden"


def test_there_is_a_file_for_each_id():
    assert {path.stem for path in FOLDER.iterdir()} == set(read_manifest()["weights"])


@pytest.mark.parametrize("weights_id", read_manifest()["weights"])
def test_stages(weights_id, photo):
    found = golden_stages(QFMScore.from_pretrained(weights_id).net, photo)
    stored = load_file(FOLDER / f"{weights_id}.safetensors")
    assert sorted(found) == sorted(stored)
    for stage in sorted(found):  # numbered along the data flow: the first that moved is named
        scale = stored[stage].abs().mean().item()
        # Processors and library versions sum in different orders: some 1e-6 of a value, amplified through the layers.
        torch.testing.assert_close(
            found[stage], stored[stage], rtol=0, atol=1e-3 * scale, msg=lambda text, s=stage: f"stage {s}: {text}"
        )
    assert abs(found["5 score"].item() - stored["5 score"].item()) < 1e-4
