"""A training recipe: everything that decides the weights, in one TOML file.

    [network]    QFMConfig: backbone, depths, views, decoder
    [training]   where the backbone starts
    [material]   MaterialConfig: what is drawn
    [objective]  Objective: losses, noise at the seam, distillation
    [contrast]   Contrast: what `pretrain` contrasts, in the objective's place
    [loop]       LoopConfig: steps, rates, seed

What a section leaves out keeps its default. Shipped: `default`, `head`, `finish`, `fine_tune`, `robust`, `pretrain`,
`quick` and `paper`.
"""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..config import QFMConfig
from ..hub import load_weights
from ..model import QFMNet
from ..weights import read_manifest
from .contrast import Contrast
from .datasets.table import DataError
from .loop import LoopConfig
from .material import MaterialConfig
from .start import build, config_of, start_from
from .step import Objective

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "recipes"
Section = TypeVar("Section")


@dataclass(frozen=True)
class Training:
    """Where a run starts from.

    Attributes:
        init: Of the backbone: `timm` (its download), `none` (random), a safetensors file, or an id of released weights.
    """

    init: str = "timm"


@dataclass(frozen=True)
class Recipe:
    """All sections. Without a network the run goes on with that of the weights that it starts from."""

    network: QFMConfig | None = None
    training: Training = field(default_factory=Training)
    material: MaterialConfig = field(default_factory=MaterialConfig)
    objective: Objective = field(default_factory=Objective)
    contrast: Contrast = field(default_factory=Contrast)
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
    base = replace(Recipe(), network=QFMConfig())
    sections = {name: _section(getattr(base, name), values, f"{path} [{name}]") for name, values in content.items()}
    found = replace(Recipe(), **sections)
    return replace(found, training=replace(found.training, init=init)) if init else found


def start(recipe: Recipe, weights: str | None = None) -> QFMNet:
    """The network as a run starts with it.

    Args:
        weights: Go on from these (an id or a file); None: all but the backbone starts at random.

    Raises:
        DataError: neither weights nor a network in the recipe.
        WeightsError: no such weights, or of another shape than the recipe's network.
        ValueError: no such `training.init`.
    """
    torch.manual_seed(recipe.loop.seed)  # every command starts from the same network, without ImageNet's too
    if weights is None:
        if recipe.network is None:
            raise DataError("expected a recipe with a section [network], or weights to go on from; got neither")
        return build(recipe.network, recipe.training.init).eval()
    net = build(recipe.network or config_of(weights), "none")
    start_from(net, weights)
    return net.eval()


def origin_of(recipe: Recipe, weights: str | None = None) -> str:
    """What `start` begins with, as a checkpoint remembers it: a hash of the weights, or the word for none of ours."""
    source = recipe.training.init if weights is None else weights
    if weights is None and source in ("timm", "none"):
        return source
    if weights is None and source not in read_manifest()["weights"]:  # timm's, too, which `load_weights` refuses
        return hashlib.sha256(Path(source).read_bytes()).hexdigest()
    return load_weights(source).sha256


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
    if kept and (unknown := set(values) - set(kept)):  # a table that is empty by default has any names
        raise DataError(f"{where}: unknown {', '.join(sorted(unknown))}; expected {', '.join(kept)}")
    if any(type(value) not in (int, float) for value in values.values()):
        raise DataError(f"{where}: expected numbers, got {values!r}")
    return {**kept, **values}
