"""The student: one call, also under `torchrun`, from a recipe and a prepared data set to a weights file."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from .calibrate import calibrate, calibrate_std, write_weights
from .loop import measure_statistics, train
from .recipe import Recipe, assemble
from .start import start_from
from .step import predict_cached
from .teacher import error_growth, read_labels


def train_student(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    severity: Path | None = None,
    members: Sequence[Path] = (),
    weights: str | None = None,
    name: str = "student",
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train behind the frozen layers, fit the calibration on validation, write the weights.

    A run that was stopped goes on from its last checkpoint in `out`. Under `torchrun` every process calls this alike;
    the first one writes.

    Args:
        recipe: What decides the weights (`read_recipe`).
        data: What `prepare` wrote, and `cache` of this recipe added to.
        out: Folder for checkpoints, losses and the weights.
        severity: Human means per distortion type and level (`read_severity`); None: no series of distortions.
        members: The teacher's pseudo-labels (`read_labels`); none: the MOS alone.
        weights: Go on from these (an id or a file) of the same shape; None: all but the backbone starts at random.
        name: Of the weights file.
        device: `cpu` or `cuda`; under `torchrun` one GPU a process.
        say: Gets lines of progress.

    Returns:
        `out/name.safetensors`, which `QFMScore.from_pretrained` loads.

    Raises:
        DataError: data, members, severity or a checkpoint in `out` are not what they should be, or do not go together.
        WeightsError: no such `weights`, or of another shape.
        ValueError: nothing is cached for this recipe, or `weights` have other early layers than the cache.
    """
    with _ranks(torch.device(device)) as own:
        net, decoded, material = assemble(recipe, data, severity)
        labels = read_labels(decoded, members)
        # Before hours of training: members may be refused.
        growth = error_growth(decoded, members) if recipe.network.uncertainty else 1.0
        frozen = recipe.training.frozen
        if weights:
            start_from(net, weights, frozen)
        net.to(own)
        if not weights:
            measure_statistics(net, frozen, material.photos[0].views)
        out.mkdir(parents=True, exist_ok=True)
        net = train(net, frozen, material, decoded, labels, recipe.objective, recipe.loop, out, say)
        scores, stds = predict_cached(net, frozen, material.validation)  # by all ranks together
        path = out / f"{name}.safetensors"
        if not dist.is_initialized() or dist.get_rank() == 0:
            mos = decoded.mos[material.validation_indices]
            calibrated = calibrate(net, scores, mos)
            if recipe.network.uncertainty:
                calibrate_std(net, calibrated, stds, mos, growth)
            write_weights(net.cpu(), path)
    return path


@contextmanager
def _ranks(device: torch.device) -> Iterator[torch.device]:
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
