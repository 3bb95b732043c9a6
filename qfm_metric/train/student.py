"""The student: one call, also under `torchrun`, from a recipe and a prepared data set to a weights file."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from .calibrate import calibrate, calibrate_std, write_weights
from .datasets.table import DataError
from .loop import measure_statistics, predict, train
from .material import Material
from .material.stored import StoredMaterial
from .recipe import Recipe, origin_of, start
from .teacher import error_growth


def train_student(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    severity: Path | None = None,
    ladders: Path | None = None,
    cells: Path | None = None,
    members: Sequence[Path] = (),
    weights: str | None = None,
    name: str = "student",
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train, fit the calibration on validation, write the weights.

    A run that was stopped goes on from its last checkpoint in `out`. Under `torchrun` every process calls this alike;
    the first one writes.

    Args:
        recipe: What decides the weights (`read_recipe`).
        data: What `prepare` wrote.
        out: Folder for checkpoints, losses and the weights.
        severity, ladders, members: See `Material.open`; without `severity` photographs alone are learned from.
        cells: What `material.stored.store` wrote, in the place of what is drawn, for a backbone that stays as it is.
        weights: Go on from these (an id or a file) of the same shape; None: all but the backbone starts at random.
        name: Of the weights file.
        device: `cpu` or `cuda`; under `torchrun` one GPU a process.
        say: Gets lines of progress.

    Returns:
        `out/name.safetensors`, which `QFMScore.from_pretrained` loads.

    Raises:
        DataError: data, members, severity or a checkpoint in `out` are not what they should be, or do not go together.
        WeightsError: no such `weights`, or of another shape.
    """
    with ranks(torch.device(device)) as own:
        net = start(recipe, weights).to(own)
        material: Material | StoredMaterial = Material.open(data, severity, ladders, members, recipe.material)
        decoded = material.decoded
        if cells:
            if recipe.loop.backbone_rate:
                raise DataError("cells: expected a recipe whose loop.backbone_rate is 0; they do not change with it")
            material = StoredMaterial.open(cells, net, decoded, material.labels, without=recipe.material.without)
        # Before hours of training: pictures may be missing, members refused.
        validation = decoded.need("val")
        growth = error_growth(decoded, members) if net.config.uncertainty else 1.0
        if isinstance(material, Material) and not weights:
            measure_statistics(net, material, recipe.loop.seed)
        out.mkdir(parents=True, exist_ok=True)
        net = train(net, material, recipe.objective, recipe.loop, out, say, origin_of(recipe, weights))
        scores, stds = predict(net, decoded, validation)  # by all ranks together
        path = out / f"{name}.safetensors"
        if not dist.is_initialized() or dist.get_rank() == 0:
            mos = decoded.mos[validation]
            calibrated = calibrate(net, scores, mos)
            if net.config.uncertainty:
                calibrate_std(net, calibrated, stds, mos, growth)
            write_weights(net.cpu(), path)
    return path


@contextmanager
def ranks(device: torch.device) -> Iterator[torch.device]:
    """The process group that `torchrun` asks for, with this process's own device; else nothing, and `device`."""
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield device
        return
    dist.init_process_group("gloo" if device.type == "cpu" else "nccl")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    yield device  # after an error nothing waits for the others: torchrun ends them
    dist.destroy_process_group()
