"""Contrastive pretraining of a backbone: from ladders, without a rating, to weights that a student starts from."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from .calibrate import write_weights
from .contrast import CHECKS, ContrastLearner, ContrastMaterial
from .loop import measure_statistics, run
from .material import Material
from .recipe import Recipe, origin_of, start
from .student import ranks


def pretrain(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    severity: Path,
    ladders: Path,
    name: str = "pretrained",
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train a backbone by supervised contrast (`contrast`), and write it with a head that has learned nothing.

    A run that was stopped goes on from its last checkpoint in `out`. Under `torchrun` every process calls this alike,
    contrasts its own pictures, and the first one writes.

    Args:
        recipe: What decides the weights; of its sections `objective` plays no part (`read_recipe`).
        data: What `prepare` wrote; training pictures alone are seen.
        out: Folder for checkpoints, losses and the weights.
        severity, ladders: See `Material.open`.
        name: Of the weights file.
        device: `cpu` or `cuda`; under `torchrun` one GPU a process.
        say: Gets lines of progress.

    Returns:
        `out/name.safetensors`, which `train_student` takes as `weights` or as the recipe's `training.init`.

    Raises:
        DataError: data, severity, ladders or a checkpoint in `out` are not what they should be, or do not go together.
    """
    with ranks(torch.device(device)) as own:
        material = Material.open(data, severity, ladders, (), recipe.material)
        net, contrast, seed = start(recipe).to(own), recipe.contrast, recipe.loop.seed
        contrasted = ContrastMaterial.of(material, contrast)
        measure_statistics(net, material, seed)
        learner = ContrastLearner(net, contrast.width, recipe.loop.bf16)

        def compare(step: int, rank: int) -> dict[str, Tensor]:
            return {"contrast": learner.loss(contrasted.draw((seed, step), rank), contrast.temperature)}

        @torch.inference_mode()
        def check(average: ContrastLearner) -> dict[str, float]:
            batches = [contrasted.draw((seed, 10**6 + i)) for i in range(CHECKS)]
            found = [average.eval().loss(batch, contrast.temperature).item() for batch in batches]
            return {"contrast": round(sum(found) / len(found), 4)}

        out.mkdir(parents=True, exist_ok=True)
        net = run(
            learner, compare, check, recipe.loop, out, say, data=material.decoded.digest, origin=origin_of(recipe)
        )
        measure_statistics(net, material, seed)  # the backbone's maps are others now
        path = out / f"{name}.safetensors"
        if not dist.is_initialized() or dist.get_rank() == 0:
            write_weights(net.cpu(), path)
    return path
