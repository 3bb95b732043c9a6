"""Weights: an id or a path -> verified bytes -> (config, tensors).

A weights file is a safetensors file whose header holds the network's config as JSON, so that the file alone suffices.
The manifest (`weights_manifest.json`) knows the released ones: where they are, their SHA-256, terms and measured
figures.
"""

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

CONFIG_KEY = "qfm_config"  # in the safetensors header's string metadata
EMBEDDED = Path(__file__).with_name("_weights")
_MANIFESTS = [
    Path(__file__).with_name("weights_manifest.json"),
    Path(__file__).parent.parent / "weights_manifest.json",
]


class WeightsError(ValueError):
    """Weights that cannot be found, or are not what they should be; says what to do."""


@dataclass(frozen=True)
class Weights:
    """What a weights file holds.

    Attributes:
        id: Its id in the manifest; for any other file its name.
        sha256: Of the whole file, in hex.
        config: The network's config as plain JSON values.
        tensors: State dict, float32.
    """

    id: str
    sha256: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]


@cache
def read_manifest() -> dict[str, Any]:
    """The manifest: beside this file in a wheel, at the repository's top level in a checkout."""
    path = next(path for path in _MANIFESTS if path.is_file())
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def load_weights(source: str | os.PathLike[str] | None = None) -> Weights:
    """Load and check weights.

    Args:
        source: An id of the manifest or the path of a safetensors file; None: the manifest's default id.

    Raises:
        WeightsError: unknown id, missing file, wrong hash, a file that is no safetensors file of ours, NaN or Inf in
        it.
    """
    manifest = read_manifest()
    name = manifest["default"] if source is None else os.fspath(source)
    if entry := manifest["weights"].get(name):
        data = _read(EMBEDDED / entry["file"])
        _check_hash(data, entry, name)
    elif _is_path(source):
        data = _read(Path(name))
    else:
        near = difflib.get_close_matches(name, manifest["weights"], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known ids: {', '.join(manifest['weights'])}"
        raise WeightsError(f"unknown weights {name!r}: neither an id of the manifest nor a file; {hint}")
    sha256 = hashlib.sha256(data).hexdigest()
    known = next((key for key, entry in manifest["weights"].items() if entry["sha256"] == sha256), Path(name).name)
    return Weights(known, sha256, *_parse(data, name))


def save_weights(path: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], dtype: torch.dtype) -> str:
    """Write a weights file and return its SHA-256; floating tensors are stored as `dtype`, counters are left out."""
    stored = {name: t.detach().to("cpu", dtype).contiguous() for name, t in tensors.items() if t.is_floating_point()}
    save_file(stored, path, {"format": "pt", CONFIG_KEY: json.dumps(config, sort_keys=True)})
    path.chmod(0o644)  # safetensors makes files that nobody else can read
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_path(source: str | os.PathLike[str] | None) -> bool:
    if isinstance(source, str):
        return os.path.exists(source) or source.endswith(".safetensors") or os.sep in source
    return source is not None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot read weights ({error.strerror}); expected a .safetensors file") from error


def _check_hash(data: bytes, entry: Mapping[str, Any], name: str) -> None:
    sha256 = hashlib.sha256(data).hexdigest()
    if (len(data), sha256) != (entry["bytes"], entry["sha256"]):
        raise WeightsError(
            f"weights {name!r}: expected {entry['bytes']} bytes with SHA-256 {entry['sha256'][:12]}..., "
            f"got {len(data)} bytes with {sha256[:12]}...; the file is damaged or was changed: reinstall qfm-metric"
        )


def _parse(data: bytes, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        config = json.loads(header["__metadata__"][CONFIG_KEY])
    except SafetensorError as error:
        raise WeightsError(f"{name}: not a safetensors file, or a damaged one ({error})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{name}: a safetensors file, but without the config of a QFM network in its header"
        ) from error
    bad = [key for key, tensor in tensors.items() if not tensor.is_floating_point() or not tensor.isfinite().all()]
    if bad:
        raise WeightsError(f"{name}: tensors that are not finite floats: {', '.join(bad[:5])}; the file is damaged")
    return config, {key: tensor.float() for key, tensor in tensors.items()}
