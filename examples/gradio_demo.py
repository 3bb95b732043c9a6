"""Drop a picture, see its score, how sure that is, and where the picture is good or bad.

Runs on this machine alone: python examples/gradio_demo.py
"""

import argparse

import gradio as gr
import torch
from PIL import Image

from qfm_metric import ImageError, QFMScore, load_image
from qfm_metric.overlay import draw_overlay


def explain(metric: QFMScore, path: str) -> tuple[float, str, str, Image.Image]:
    """Score, word, uncertainty in words, and the picture under its quality map.

    Raises:
        ImageError: the file cannot be read as a picture.
    """
    image = load_image(path)
    with torch.inference_mode():
        found = metric.assess(image)
    value = found.score.item()
    sure = "these weights predict none"
    if found.std is not None:
        low, high = (end.item() for end in found.interval(0.68))
        sure = (
            f"± {found.std.item():.3f}: people's mean score is between {low:.2f} and {high:.2f} with 68 % probability"
        )
    return round(value, 3), found.band[0], sure, draw_overlay(image, found.quality_map[0], value)


def build(metric: QFMScore) -> gr.Blocks:
    """The page: a picture in; its score, word, uncertainty and map out."""

    def score(path: str | None) -> tuple[float | None, str, str, Image.Image | None]:
        if path is None:
            return None, "", "", None
        try:
            return explain(metric, path)
        except ImageError as error:
            raise gr.Error(str(error)) from error

    with gr.Blocks(title="qfm-metric", analytics_enabled=False) as page:
        gr.Markdown("# How good does this picture look?\nFrom 0 (bad) to 1 (excellent), without a reference picture.")
        with gr.Row():
            # The file as it came: load_image turns the picture upright and converts its colours, and nothing is
            # compressed a second time.
            picture = gr.Image(type="filepath", image_mode=None, label="Picture", sources=["upload", "clipboard"])
            quality_map = gr.Image(
                type="pil", format="png", label="Where it is good or bad", buttons=["download"], interactive=False
            )
        with gr.Row():
            value = gr.Number(label="Score", precision=3, interactive=False)
            word = gr.Textbox(label="In a word", interactive=False)
            sure = gr.Textbox(label="Uncertainty", interactive=False, scale=2)
        picture.change(score, picture, [value, word, sure, quality_map], api_name="score")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", help="an id, a path or org/name; default: the weights in the package")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860")
    args = parser.parse_args()
    build(QFMScore.from_pretrained(args.weights)).launch(server_port=args.port)


if __name__ == "__main__":
    main()
