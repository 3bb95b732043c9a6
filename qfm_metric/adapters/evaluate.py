"""QFMScore as a Hugging Face `evaluate` metric.

`QFM()` makes one; `evaluate.load(qfm_metric.adapters.evaluate.__file__)` does the same from this file. Neither needs
the network. Imports are absolute because `evaluate.load` runs a copy of this file outside the package.
"""

from pathlib import Path
from typing import Any

from qfm_metric import QFMScore, load_image
from qfm_metric.adapters import needs

with needs("hf"):
    import datasets
    import evaluate

DESCRIPTION = """No-reference image quality: how good an image looks, from 0 (bad) to 1 (excellent).
The score estimates the mean opinion score (MOS) on the scale of BIQ2021."""
CITATION = """@inproceedings{li2024adaptive,
  title={Adaptive Feature Selection for No-Reference Image Quality Assessment by Mitigating Semantic Noise Sensitivity},
  author={Li, Xudong and others},
  booktitle={International Conference on Machine Learning},
  year={2024}
}"""
INPUTS = """
Args:
    images: PIL images, paths or `(H, W, 3)` uint8 arrays, of any sizes.
    weights: As for `QFMScore.from_pretrained`; default: the weights that come with the package.

Returns:
    qfm: The mean score, in [0, 1], higher is better.
    scores: The score of each image, in order.
"""


class QFM(evaluate.Metric):  # type: ignore[misc]  # evaluate may be absent where types are checked
    __doc__ = DESCRIPTION + INPUTS

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features({"images": datasets.Image()}),
        )

    def _compute(self, *, images: Any, weights: str | Path | None = None) -> dict[str, Any]:
        if not len(images):
            raise ValueError("images: expected at least one, got none")
        model = QFMScore.from_pretrained(weights)
        scores = [model(load_image(image)).item() for image in images]
        return {"qfm": sum(scores) / len(scores), "scores": scores}
