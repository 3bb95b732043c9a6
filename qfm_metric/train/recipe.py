"""A training recipe: everything that decides the weights, in one TOML file.

    [network]    QFMConfig: backbone, depths, views, decoder
    [training]   frozen blocks, where the backbone starts
    [material]   MaterialConfig: what is drawn
    [objective]  Objective: losses, noise at the seam, distillation
    [loop]       LoopConfig: steps, rates, seed

What a section leaves out keeps its default. Shipped: `head`, `robust`, `teacher`, `quick` and `paper`.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..model import QFMConfig, QFMNet
from .datasets.table import DataError, Decoded
from .loop import LoopConfig
from .material import Material, MaterialConfig, gather
from .severity import read_severity
from .start import build
from .step import Objective

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SEEN = ("backbone", "depths", "view_pixels", "native_views", "mean", "std")  # what decides cached views
FOLDER = Path(__file__).parent / "recipes"
Section = TypeVar("Section")


@dataclass(frozen=True)
class Training:
    """Where a run starts from.

    Attributes:
        frozen: Blocks of the backbone that stay as they are; their output is cached.
        init: Of the backbone: `timm` (its download), `none` (random), a safetensors file, or an id of released weights.
    """

    frozen: int = 3
    init: str = "timm"


@dataclass(frozen=True)
class Recipe:
    network: QFMConfig = field(default_factory=QFMConfig)
    training: Training = field(default_factory=Training)
    material: MaterialConfig = field(default_factory=MaterialConfig)
    objective: Objective = field(default_factory=Objective)
    loop: LoopConfig = field(default_factory=LoopConfig)


def read_recipe(name: str, settings: Sequence[str] = (), init: str | None = None) -> Recipe:
    """Read a shipped recipe by name, or a file by path; then apply settings such as `loop.seed=3`.

    Args:
        init: In the place of the recipe's `training.init`.

    Raises:
        DataError: no such recipe, not TOML, an unknown section or key, or a value that its section refuses.
    """
    path = FOLDER / f"{name}.toml" if (FOLDER / f"{name}.toml").is_file() else Path(name)
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in FOLDER.glob("*.toml")))
        raise DataError(f"{name}: no such recipe; expected a TOML file or one of {shipped}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        for setting in settings:
            _set(content, setting)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: not TOML: {error}") from error
    known = {part.name for part in fields(Recipe)}
    if unknown := set(content) - known:
        raise DataError(f"{path}: unknown section {', '.join(sorted(unknown))}; expected {', '.join(sorted(known))}")
    base = Recipe()
    found = Recipe(**{name: _section(getattr(base, name), content.get(name, {}), f"{path} [{name}]") for name in known})
    return replace(found, training=replace(found.training, init=init)) if init else found


def assemble(
    recipe: Recipe, data: Path, severity: Path | None = None, workers: int = 0, openvino: bool = False
) -> tuple[QFMNet, Decoded, Material]:
    """What a run needs: the network as it starts, the decoded pictures, and the material drawn from them.

    Args:
        data: What `prepare` wrote; views are cached below it.
        severity: Human means per distortion type and level (`read_severity`); None: no series of distortions.
        workers: Processes that make what is not cached yet; 0: it must be there.
        openvino: See `frozen.cache_views`.

    Raises:
        DataError: nothing to train on or to validate with, or `severity` holds something else.
        ValueError: no such `training.init`; without workers, nothing is cached.
    """
    decoded = Decoded.open(data / "decoded")
    torch.manual_seed(recipe.loop.seed)  # every command starts from the same network, without ImageNet's too
    net = build(recipe.network, recipe.training.init).eval()
    levels = read_severity(severity) if severity else []
    # Cached views depend on what draws and what sees them: another network or draw, another folder.
    network = {name: value for name, value in asdict(recipe.network).items() if name in SEEN}
    settings = (network, recipe.training.frozen, asdict(recipe.material), [asdict(level) for level in levels])
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for tensor in net.backbone.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    folder = data / f"material-{digest.hexdigest()[:10]}"
    drawn = gather(net, recipe.training.frozen, decoded, levels, folder, recipe.material, workers, openvino)
    return net, decoded, drawn


def _set(content: dict[str, Any], setting: str) -> None:
    key, _, value = setting.partition("=")
    section, _, name = key.strip().partition(".")
    if not name or not value:
        raise DataError(f"{setting}: expected SECTION.KEY=VALUE, as in loop.seed=3")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a word without quotes
    inner = content.setdefault(section, {})
    if not isinstance(inner, dict):
        return  # refused with its section
    if "." in name:
        name, key = name.split(".", 1)
        held = inner.get(name)
        parsed = {**(held if isinstance(held, dict) else {}), key: parsed}
    inner[name] = parsed


def _section(default: Section, values: Mapping[str, Any], where: str) -> Section:
    if not isinstance(values, Mapping):
        raise DataError(f"{where}: expected a section, got {values!r}")
    known = {part.name: getattr(default, part.name) for part in fields(default)}  # type: ignore[arg-type]
    if unknown := set(values) - set(known):
        raise DataError(f"{where}: unknown {', '.join(sorted(unknown))}; expected {', '.join(known)}")
    found: dict[str, Any] = {}
    for name, value in values.items():
        kept = known[name]
        if isinstance(kept, dict) and isinstance(value, dict):
            value = _numbers(kept, value, f"{where}: {name}")
        elif isinstance(kept, tuple) and isinstance(value, list):
            value = tuple(value)
        elif isinstance(kept, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(kept):
            raise DataError(f"{where}: {name}: expected {type(kept).__name__}, got {value!r}")
        found[name] = value
    try:
        return replace(default, **found)  # type: ignore[type-var]
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _numbers(kept: Mapping[str, float], values: Mapping[str, Any], where: str) -> dict[str, float]:
    if unknown := set(values) - set(kept):
        raise DataError(f"{where}: unknown {', '.join(sorted(unknown))}; expected {', '.join(kept)}")
    if any(type(value) not in (int, float) for value in values.values()):
        raise DataError(f"{where}: expected numbers, got {values!r}")
    return {**kept, **values}
