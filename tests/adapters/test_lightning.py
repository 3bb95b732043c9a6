"""QFMCallback with real Lightning trainers and loggers."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, TensorDataset

from qfm_metric.adapters.lightning import QFMCallback

# Lightning's advice about workers for data that needs none, and its own use of what PyTorch deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
]


class Restorer(LightningModule):
    """One factor on the image's brightness."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(0.9))

    def training_step(self, batch, batch_idx):
        return (batch[0] * self.factor - batch[0]).square().mean()

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        return {"images": batch[0] * self.factor}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Gallery(Logger):
    """A logger with a `log_image` method like that of Weights & Biases."""

    name, version = "gallery", "0"

    def __init__(self):
        super().__init__()
        self.shown, self.metrics = [], []

    def log_image(self, key, images, step=None, **kwargs):
        self.shown.append(SimpleNamespace(key=key, images=images, step=step, **kwargs))

    def log_metrics(self, metrics, step=None):
        self.metrics.append(metrics)

    def log_hyperparams(self, *args, **kwargs):
        pass


@pytest.fixture
def loader(images):
    return DataLoader(TensorDataset(images), batch_size=2)


@pytest.fixture
def fit(tmp_path, loader):
    def run(callback, loggers=False, validation=None, epochs=1, **options):
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=loggers,
            callbacks=[callback, *options.pop("callbacks", [])],
            default_root_dir=tmp_path,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=options.pop("enable_checkpointing", False),
            log_every_n_steps=1,
            **options,
        )
        trainer.fit(Restorer(), loader, validation or loader)
        return trainer

    return run


@pytest.fixture
def dimmed(tiny, images):
    """The scores of what the module makes of the images."""
    return tiny(images * 0.9)


def test_logs_the_mean_over_all_images(fit, tiny, dimmed, tmp_path):
    trainer = fit(QFMCallback(samples=None, score=tiny), CSVLogger(tmp_path))
    assert trainer.callback_metrics["val/qfm"] == pytest.approx(dimmed.mean().item(), abs=1e-6)
    with open(f"{trainer.logger.log_dir}/metrics.csv") as file:
        assert [float(row["val/qfm"]) for row in csv.DictReader(file) if row["val/qfm"]] == [
            pytest.approx(dimmed.mean().item(), abs=1e-6)
        ]


def test_scores_no_more_than_asked(fit, tiny, dimmed):
    trainer = fit(QFMCallback(samples=3, score=tiny))
    assert trainer.callback_metrics["val/qfm"] == pytest.approx(dimmed[:3].mean().item(), abs=1e-6)


def test_takes_a_function_and_single_images_of_any_size(fit, tiny, scores, images):
    trainer = fit(QFMCallback(lambda outputs, batch: list(batch[0]), samples=None, score=tiny))
    assert trainer.callback_metrics["val/qfm"] == pytest.approx(scores.mean().item(), abs=1e-6)


@pytest.mark.parametrize("kind", ["array", "PIL image", "path", "list"])
def test_takes_what_the_score_takes_and_shows_it(fit, tiny, tmp_path, kind):
    """An array is one picture: it would be cut to its first rows where it is taken for a batch."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 64, 3), np.uint8)
    pixels[8:] //= 4
    picture = Image.fromarray(pixels)
    picture.save(path := tmp_path / "a.png")
    found = {"array": pixels, "PIL image": picture, "path": str(path), "list": [picture, pixels, path]}[kind]
    gallery = Gallery()
    trainer = fit(QFMCallback(lambda outputs, batch: found, samples=4, pictures=1, score=tiny), gallery)
    assert trainer.callback_metrics["val/qfm"] == pytest.approx(tiny(pixels).item(), abs=1e-6)
    assert [np.array_equal(shown, pixels) for shown in gallery.shown[-1].images] == [True]


def test_a_single_image_counts_as_one(fit, tiny, scores):
    gallery = Gallery()
    trainer = fit(QFMCallback(lambda outputs, batch: batch[0][0], samples=2, score=tiny), gallery)
    assert trainer.callback_metrics["val/qfm"] == pytest.approx(scores[[0, 2]].mean().item(), abs=1e-6)
    assert len(gallery.shown[0].images) == 2


def test_every_n_epochs(fit, tiny):
    gallery = Gallery()
    fit(QFMCallback(every_n_epochs=2, score=tiny), gallery, epochs=4)
    assert sum("val/qfm" in metrics for metrics in gallery.metrics) == 2
    assert len(gallery.shown) == 2


def test_each_data_loader_has_its_own(fit, tiny, dimmed, loader):
    gallery = Gallery()
    trainer = fit(QFMCallback(samples=3, pictures=1, score=tiny), gallery, validation=[loader, loader])
    for i in (0, 1):
        logged = trainer.callback_metrics[f"val/qfm/dataloader_idx_{i}"]
        assert logged == pytest.approx(dimmed[:3].mean().item(), abs=1e-6)
    assert len(gallery.shown[0].images) == 2


def test_shows_pictures_with_captions(fit, tiny, dimmed, images):
    gallery = Gallery()
    fit(QFMCallback(pictures=3, score=tiny), gallery)
    (shown,) = gallery.shown  # and none for the sanity check
    assert (shown.key, shown.step) == ("val/qfm", 3)
    assert shown.caption == [f"{score:.3f}" for score in dimmed[:3].tolist()]
    for picture, image in zip(shown.images, images * 0.9, strict=False):
        expected = (image * 255).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(np.asarray(picture), expected)


def test_tensorboard_gets_pictures_with_the_score_below(fit, tiny, tmp_path, images):
    trainer = fit(QFMCallback(pictures=2, score=tiny), TensorBoardLogger(tmp_path))
    events = EventAccumulator(trainer.logger.log_dir)
    events.Reload()
    assert "val/qfm" in events.Tags()["scalars"]
    assert events.Tags()["images"] == ["val/qfm/0/0", "val/qfm/0/1"]
    (shown,) = events.Images("val/qfm/0/0")
    assert shown.width == 80
    assert shown.height > 64
    assert decode(shown)[64:].max() > 200  # the caption is drawn
    assert np.abs(decode(shown)[:64] / 255 - (images[0] * 0.9).permute(1, 2, 0).numpy()).max() < 0.01


def decode(shown):
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(shown.encoded_image_string)))


def test_checkpoints_can_monitor_it_and_hold_no_second_network(fit, tiny, tmp_path):
    best = ModelCheckpoint(tmp_path, monitor="val/qfm", mode="max")
    fit(QFMCallback(score=tiny), callbacks=[best], enable_checkpointing=True)
    assert best.best_model_score > 0
    assert set(torch.load(best.best_model_path, weights_only=True)["state_dict"]) == {"factor"}


def test_a_wrong_range_shows_before_training(fit, tiny):
    with pytest.raises(ValueError, match="divide by 255"):
        fit(QFMCallback(lambda outputs, batch: batch[0] * 255, score=tiny))


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [(None, TypeError, "NoneType; return one"), ({"loss": 1}, KeyError, r"no 'images' among .*\['loss'\]")],
)
def test_missing_images_are_explained(tiny, found, error, message):
    trainer = SimpleNamespace(current_epoch=0)
    with pytest.raises(error, match=message):
        QFMCallback(score=tiny).on_validation_batch_end(trainer, None, found, None, 0)


def test_refuses_impossible_counts(tiny):
    with pytest.raises(ValueError, match="samples: expected at least 1, got 0"):
        QFMCallback(samples=0, score=tiny)
    with pytest.raises(TypeError, match="samples: expected an integer, got '16'"):
        QFMCallback(samples="16", score=tiny)
    with pytest.raises(TypeError, match=r"score: expected a metric such as QFMScore\(\), got 'qfm-tiny-v2'"):
        QFMCallback(score="qfm-tiny-v2")
