"""ComfyUI node: score images, and hand on the best one.

Put this file into `ComfyUI/custom_nodes/` and install qfm-metric into ComfyUI's Python; the node "QFM score" is then
under image/quality.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from qfm_metric import QFMScore


@cache
def load_metric() -> QFMScore:
    return QFMScore().to("cuda" if torch.cuda.is_available() else "cpu")


class QFMScoreNode:
    """Images `(N, H, W, 3)`, float in [0, 1], to their mean score, a line of text per image, and the best image."""

    CATEGORY = "image/quality"
    DESCRIPTION = "No-reference image quality from 0 (bad) to 1 (excellent); picks the best image of a batch."
    FUNCTION = "score"
    RETURN_TYPES = ("FLOAT", "STRING", "IMAGE", "INT")
    RETURN_NAMES = ("mean_score", "scores", "best_image", "best_index")
    OUTPUT_NODE = True  # runs also where nothing takes its outputs: the scores show on the node

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  # ComfyUI's name
        return {"required": {"images": ("IMAGE",)}}

    def score(self, images: Tensor) -> dict[str, Any]:
        with torch.inference_mode():
            # Alpha, where a node leaves it, is no part of the picture.
            scores = load_metric()(images[..., :3].permute(0, 3, 1, 2)).cpu()
        best = int(scores.argmax())
        text = "\n".join(f"{i}: {score:.3f}" for i, score in enumerate(scores.tolist()))
        return {"ui": {"text": [text]}, "result": (scores.mean().item(), text, images[best : best + 1], best)}


NODE_CLASS_MAPPINGS = {"QFMScore": QFMScoreNode}
NODE_DISPLAY_NAME_MAPPINGS = {"QFMScore": "QFM score"}
