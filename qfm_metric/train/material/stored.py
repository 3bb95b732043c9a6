"""Drawn pictures whose cells are kept: behind a backbone that stays as it is, a head learns thousands of steps.

A store is a folder with a file for each of some batches that `Material.draw` gave. In the place of their views it has
what the backbone makes of them, in half precision.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...atomic import whole_file
from ...defects import NAMES
from ...model import QFMNet
from ..datasets.table import DataError, Decoded
from ..defects import names_of, read_types, type_of
from ..pseudo_labels import Labels
from . import LENGTH, Batch, Material

ABOUT = "about.json"
SINGLE = 8  # of so many batches one is of single views: pictures that fit into a view have no detail beside it


def store(
    net: QFMNet,
    material: Material,
    folder: Path,
    count: int,
    seed: int,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Draw `count` batches, most of whole and detail, and keep their cells; what is in the folder already is kept.

    Args:
        net: Of which the backbone is used.
        seed: Of the draws.
        workers: Processes of one thread each.
        say: Gets lines of progress.

    Raises:
        DataError: the folder holds batches of another backbone.
    """
    begin_store(folder, net, seed)
    missing = [number for number in range(count) if not _file(folder, number).is_file()]
    global _job
    _job = net.eval(), material, folder, seed
    with ProcessPoolExecutor(workers, get_context("fork"), torch.set_num_threads, (1,)) as pool:
        for done, _ in enumerate(pool.map(_store_one, missing), start=1):
            if done % 100 == 0 or done == len(missing):
                say(f"{done}/{len(missing)} batches")


def begin_store(folder: Path, net: QFMNet, seed: int) -> None:
    """Make a folder for what a backbone makes of pictures drawn by a seed, or go on with it.

    Raises:
        DataError: it is another backbone's, or of another seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = {"backbone": _digest(net), "seed": seed}
    if (folder / ABOUT).is_file() and _read_about(folder) != about:
        raise DataError(f"{folder}: cells of another backbone or seed; choose another folder, or delete it")
    with whole_file(folder / ABOUT) as file:
        file.write(json.dumps(about))


def _read_about(folder: Path) -> dict[str, Any]:
    with reading(folder / ABOUT):
        found = json.loads((folder / ABOUT).read_text())
    return found if isinstance(found, dict) else {}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What cannot be read inside is a DataError that names the file."""
    try:
        yield
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged ({error}); delete it, and call again what wrote it") from error


_job: tuple[QFMNet, Material, Path, int]  # inherited by forked workers: the material holds memory maps


@torch.inference_mode()
def _store_one(number: int) -> None:
    net, material, folder, seed = _job
    batch = material.draw((seed, number), 0, joint=number % SINGLE != SINGLE - 1)
    views = torch.from_numpy(batch.views).permute(0, 1, 4, 2, 3) / 255
    views = ((views - net.mean) / net.std).flatten(0, 1)
    cells = torch.cat([net.cells(net.backbone(view)) for view in torch.split(views, 1)]).half().numpy()
    kept = replace(batch, views=batch.views[:, :, :0], cells=cells)
    with whole_file(_file(folder, number), "wb") as file:
        np.savez(file, **{field.name: getattr(kept, field.name) for field in fields(Batch)})


@dataclass(frozen=True)
class StoredMaterial:
    """Batches of a store, in groups of one shape of view.

    Attributes:
        decoded: The pictures that they were drawn from.
        labels: What is known of each.
        groups: Files of batches that may be joined: as many views a picture, of one shape.
        joined: How many make a batch.
        without: Types of distortion ("KADID-10k/10") of which no series is drawn.
    """

    decoded: Decoded
    labels: Labels
    groups: list[list[Path]]
    joined: int
    without: Collection[str] = ()

    @classmethod
    def open(
        cls,
        folder: Path,
        net: QFMNet,
        decoded: Decoded,
        labels: Labels,
        *,
        without: Collection[str] = (),
        joined: int = 4,
    ) -> "StoredMaterial":
        """Open what `store` wrote with this backbone.

        Raises:
            DataError: nothing is there, or another backbone's.
        """
        groups: dict[tuple[int, ...], list[Path]] = {}
        for path in stored_files(folder, net):
            groups.setdefault((_shape(path, "views")[1], *_shape(path, "cells")[2:]), []).append(path)
        return cls(decoded, labels, list(groups.values()), joined, without)

    def draw(self, seed: Sequence[int], rank: int = 0, joint: bool = True) -> Batch:
        """Some batches as one, see `Material.draw`, of whatever views they are; all ranks' are of one shape."""
        common, own = np.random.default_rng([*seed]), np.random.default_rng([*seed, rank + 1])
        sizes = np.array([len(group) for group in self.groups])
        group = self.groups[int(common.choice(len(self.groups), p=sizes / sizes.sum()))]
        return join(
            [leave_out(read_batch(group[int(i)]), self.without) for i in own.integers(0, len(group), self.joined)]
        )


def leave_out(batch: Batch, without: Collection[str]) -> Batch:
    """The batch, with cells, but for series of these types ("KADID-10k/10").

    Of two distortions together no type is kept: such a series goes if one of its defects may be of these types.
    """
    if not without:
        return batch
    types = read_types(without)
    numbers = [type_of(*type) for type in types]
    named = np.isin(NAMES, [name for type in types for name in names_of(*type)])
    unsure = (batch.types == -1) & (np.nan_to_num(batch.defects[:, named]).max(axis=1, initial=0) > 0)
    gone = (np.isin(batch.types, numbers) | unsure)[batch.photos :].reshape(-1, LENGTH).any(axis=1)
    kept = np.concatenate([np.ones(batch.photos, bool), np.repeat(~gone, LENGTH)])
    cells = batch.cells
    assert cells is not None  # stored ones have them
    cells = cells.reshape(len(kept), -1, *cells.shape[1:])[kept].reshape(-1, *cells.shape[1:])
    names = [field.name for field in fields(Batch) if field.name not in ("photos", "cells")]
    return replace(batch, cells=cells, **{name: getattr(batch, name)[kept] for name in names})


def stored_files(folder: Path, net: QFMNet, command: str = "cells") -> list[Path]:
    """Files that a command stored with this backbone.

    Raises:
        DataError: nothing is there, or another backbone's.
    """
    files = sorted(folder.glob("*.npz"))
    if not files or not (folder / ABOUT).is_file():
        raise DataError(f"{folder}: no cells; expected what `python -m qfm_metric.train {command}` writes")
    if _read_about(folder).get("backbone") != _digest(net):
        raise DataError(
            f"{folder}: cells of another backbone; call `python -m qfm_metric.train {command}` with these weights"
        )
    return files


def join(batches: Sequence[Batch]) -> Batch:
    """Batches as one: all their photographs, and then all their series."""
    views = len(batches[0].cells) // len(batches[0].targets)  # type: ignore[arg-type]

    def together(name: str, times: int = 1) -> Any:
        parts = [(getattr(batch, name), times * batch.photos) for batch in batches]
        return np.concatenate([*(values[:end] for values, end in parts), *(values[end:] for values, end in parts)])

    names = {field.name for field in fields(Batch)} - {"photos", "cells"}
    cells = together("cells", views)
    return Batch(**{name: together(name) for name in names}, photos=sum(b.photos for b in batches), cells=cells)


def read_batch(path: Path) -> Batch:
    """One of the stored batches."""
    with reading(path), np.load(path) as stored:
        return Batch(**{name: stored[name] if stored[name].ndim else stored[name].item() for name in stored.files})


def _shape(path: Path, name: str) -> tuple[int, ...]:
    """Of an array of a file, of which only the head is read: thousands of files have gigabytes."""
    with reading(path), zipfile.ZipFile(path) as stored, stored.open(f"{name}.npy") as file:
        np.lib.format.read_magic(file)
        shape: tuple[int, ...] = np.lib.format.read_array_header_1_0(file)[0]
        return shape


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.npz"


def _digest(net: QFMNet) -> str:
    """Of the backbone's weights in half precision, as they are stored in files."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.backbone.state_dict().items()):
        if tensor.is_floating_point():
            digest.update(name.encode() + tensor.detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()
