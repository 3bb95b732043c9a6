"""A Lightning callback that logs the quality of images made in validation."""

from collections import Counter
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from ..images import load_image
from ..inputs import Images, Picture
from ..score import QFMScore
from . import needs

with needs("lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.loggers import Logger, TensorBoardLogger


class QFMCallback(Callback):  # type: ignore[misc]  # lightning may be absent where types are checked
    """Log the mean score of validation images, and some of the images with their scores.

    The mean goes to `trainer.callback_metrics[name]` and every logger (over all processes), so that checkpoints and
    early stopping can monitor it (higher is better). Pictures go to loggers that take them: TensorBoard's, and those
    with a `log_image` method as that of Weights & Biases. Images are also scored in Lightning's sanity check, where a
    wrong range shows up before the training.

    Args:
        images: Where a validation step's images are: the key of the dict that `validation_step` returns, or a function
            `(outputs, batch) -> images`. Images are what `QFMScore` takes: `(N, 3, H, W)`, one `(3, H, W)`, float in
            [0, 1] or uint8; a PIL image, an array or a path; or a list of those.
        samples: How many images each process scores per validation and data loader, from the first; None: all.
        pictures: How many of them the first process shows, per data loader.
        every_n_epochs: Validations in other epochs are left alone, and then log nothing.
        name: Under which the mean is logged.
        score: The metric. Default: the weights that come with the package.

    Raises:
        TypeError: counts that are no integers; a score that is none.
        ValueError: counts that are negative, or 0 where one is needed; during validation, images that cannot be scored.
        TypeError, KeyError: during validation, if `validation_step` returns no dict with the key `images`.

    Examples:
        >>> callback = QFMCallback(lambda outputs, batch: batch[0], samples=32)
    """

    def __init__(
        self,
        images: str | Callable[[Any, Any], Images] = "images",
        *,
        samples: int | None = 16,
        pictures: int = 4,
        every_n_epochs: int = 1,
        name: str = "val/qfm",
        score: QFMScore | None = None,
    ) -> None:
        super().__init__()
        counts = {"samples": (samples, 1), "pictures": (pictures, 0), "every_n_epochs": (every_n_epochs, 1)}
        for key, (value, least) in counts.items():
            if value is not None and not isinstance(value, Integral):
                raise TypeError(f"{key}: expected an integer, got {value!r}")
            if value is not None and value < least:
                raise ValueError(f"{key}: expected at least {least}, got {value}")
        if not isinstance(score, nn.Module | None):
            raise TypeError(f"score: expected a metric such as QFMScore(), got {score!r}")
        self.images, self.samples, self.pictures = images, samples, pictures
        self.every_n_epochs, self.name = every_n_epochs, name
        self.score = QFMScore() if score is None else score
        self._seen: Counter[int] = Counter()  # by data loader
        self._shown: dict[str, tuple[Image.Image, float]] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last validation's images."""
        self.score.to(pl_module.device)
        self._seen.clear()
        self._shown.clear()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score images until there are enough; Lightning takes the mean over batches and processes."""
        if trainer.current_epoch % self.every_n_epochs:
            return
        seen = self._seen[dataloader_idx]
        if self.samples is not None and seen >= self.samples:
            return
        images = self._find_images(outputs, batch)
        if not isinstance(images, Sequence) or isinstance(images, str):
            images = images.unsqueeze(0) if isinstance(images, Tensor) and images.ndim == 3 else images
            images = images if isinstance(images, Tensor) else [images]  # a picture, whose rows are none
        images = images[: None if self.samples is None else self.samples - seen]
        with torch.no_grad():
            scores = self.score(images)
        self._seen[dataloader_idx] += len(scores)
        pl_module.log(self.name, scores.mean(), on_step=False, on_epoch=True, sync_dist=True, batch_size=len(scores))
        for i, (image, score) in enumerate(zip(images, scores.tolist(), strict=True), start=seen):
            if i < self.pictures and trainer.is_global_zero:
                self._shown[f"{self.name}/{dataloader_idx}/{i}"] = (_to_pil(image), score)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the pictures to the loggers."""
        if self._shown and not trainer.sanity_checking:
            for logger in trainer.loggers:
                _show(logger, self.name, self._shown, trainer.global_step)

    def _find_images(self, outputs: Any, batch: Any) -> Images:
        if callable(self.images):
            return self.images(outputs, batch)
        if not isinstance(outputs, dict):
            raise TypeError(
                f"expected a dict with the key {self.images!r} from validation_step, got {type(outputs).__name__}; "
                "return one, or give QFMCallback a function (outputs, batch) -> images"
            )
        if self.images not in outputs:
            raise KeyError(f"no {self.images!r} among the outputs of validation_step: {sorted(outputs)}")
        return outputs[self.images]  # type: ignore[no-any-return]


def _show(logger: Logger, name: str, shown: dict[str, tuple[Image.Image, float]], step: int) -> None:
    if isinstance(logger, TensorBoardLogger):
        for tag, (picture, score) in shown.items():
            logger.experiment.add_image(tag, np.asarray(_captioned(picture, score)), step, dataformats="HWC")
    elif hasattr(logger, "log_image"):
        pictures, scores = zip(*shown.values(), strict=True)
        logger.log_image(name, list(pictures), step=step, caption=[f"{score:.3f}" for score in scores])


def _to_pil(image: Picture) -> Image.Image:
    """`(3, H, W)` on any device, float in [0, 1] or uint8, or what `load_image` reads, to a PIL image."""
    image = image if isinstance(image, Tensor) else load_image(image)
    if image.is_floating_point():
        image = image.detach().float().clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())


def _captioned(picture: Image.Image, score: float) -> Image.Image:
    """The picture over a strip with its score, because TensorBoard has no captions."""
    size = max(10, min(picture.size) // 10)
    framed = Image.new("RGB", (picture.width, picture.height + size + 4))
    framed.paste(picture)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(framed).text((2, picture.height), f"{score:.3f}", font=font, fill="white")
    return framed
