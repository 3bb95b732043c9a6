"""Drop a picture, see its score. Runs on this machine alone: python examples/gradio_demo.py"""

import argparse

import gradio as gr
import torch

from qfm_metric import ImageError, QFMScore, load_image
from qfm_metric.bands import band


def build(metric: QFMScore) -> gr.Blocks:
    """The page: a picture in, its score and its word out."""

    def score(path: str | None) -> tuple[float | None, str]:
        if path is None:
            return None, ""
        try:
            image = load_image(path)
        except ImageError as error:
            raise gr.Error(str(error)) from error
        with torch.inference_mode():
            value = metric(image).item()
        return round(value, 3), band(value)

    with gr.Blocks(title="qfm-metric", analytics_enabled=False) as page:
        gr.Markdown("# How good does this picture look?\nFrom 0 (bad) to 1 (excellent), without a reference picture.")
        with gr.Row():
            # The file as it came: load_image turns the picture upright and converts its colours, and nothing is
            # compressed a second time.
            picture = gr.Image(type="filepath", image_mode=None, label="Picture", sources=["upload", "clipboard"])
            with gr.Column():
                value = gr.Number(label="Score", precision=3, interactive=False)
                word = gr.Textbox(label="In a word", interactive=False)
        picture.change(score, picture, [value, word], api_name="score")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", help="an id, a path or org/name; default: the weights in the package")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860")
    args = parser.parse_args()
    build(QFMScore.from_pretrained(args.weights)).launch(server_port=args.port)


if __name__ == "__main__":
    main()
