"""Draw docs/quality_map.jpg: a photograph with one quadrant blurred and another noisy, beside its quality map.

python benchmarks/draw_quality_map.py docs/quality_map.jpg
"""

import sys

import numpy as np
import skimage
import torch
from PIL import Image

from qfm_metric import QFMScore, load_image
from qfm_metric.overlay import draw_overlay
from qfm_metric.train.distortions.simple import degrade


def main(path: str) -> None:
    pixels = (load_image(f"{skimage.__path__[0]}/data/coffee.png") * 255).byte().permute(1, 2, 0).numpy()
    rows, columns = (side // 2 for side in pixels.shape[:2])
    broken = pixels.copy()
    broken[rows:, columns:] = degrade(pixels, "blur", 0.75)[rows:, columns:]
    broken[:rows, columns:] = degrade(pixels, "noise", 0.75)[:rows, columns:]
    metric, drawn = QFMScore(), []
    for picture in (pixels, broken):
        image = torch.from_numpy(picture).permute(2, 0, 1)
        with torch.inference_mode():
            found = metric.assess(image)
        overlay = np.asarray(draw_overlay(image, found.quality_map[0], found.score.item()))
        beside = np.full((overlay.shape[0], picture.shape[1], 3), 255, dtype=np.uint8)
        beside[: picture.shape[0]] = picture
        drawn.append(np.concatenate([beside, overlay], axis=1))
    Image.fromarray(np.concatenate(drawn)).save(path, quality=85)


if __name__ == "__main__":
    main(*sys.argv[1:])
