"""Weights files: verified bytes -> (config, tensors), and the manifest of those that were released.

A weights file is a safetensors file whose header holds the network's config as JSON, so that the file alone suffices.
The manifest (`weights_manifest.json`) knows the released ones: where they are, their SHA-256, terms and measured
figures. How a file comes to this machine is `hub`'s business.
"""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic import whole_file
from .decoding.errors import lacks_memory
from .own_files import CONFIG_KEY, is_weights

if TYPE_CHECKING:  # torch is slow to import, and not needed to list, fetch and verify
    import torch
    from torch import Tensor

FILE = "model.safetensors"  # in a saved folder and in a Hub repository
CONFIG = "config.json"  # beside it, for people
EMBEDDED = Path(__file__).with_name("_weights")
IN_CHECKOUT = Path(__file__).parent.parent / "weights"  # of other terms than the package, which does not hold them
LICENCE = "Apache-2.0"  # of what may be used without a word
LARGEST = 2**30  # bytes; a student has a few million, and the file is read whole
_MANIFESTS = [
    Path(__file__).with_name("weights_manifest.json"),
    Path(__file__).parent.parent / "weights_manifest.json",
]
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


class WeightsError(ValueError):
    """Weights that cannot be found, or are not what they should be; says what to do."""


@dataclass(frozen=True)
class Weights:
    """What a weights file holds.

    Attributes:
        id: Its id in the manifest; `org/name@commit` from another Hub repository; else the name of the file or folder.
        sha256: Of the whole file, in hex.
        config: The network's config as plain JSON values.
        tensors: State dict, float32.
    """

    id: str
    sha256: str
    config: dict[str, Any]
    tensors: "dict[str, Tensor]"


@dataclass(frozen=True)
class Found:
    """A weights file on this machine, and what is known of it before it is read.

    Attributes:
        path: The file.
        name: What to call it.
        sha256, bytes: What the manifest (or the cache) promises; None: nothing is promised.
        remedy: What to do if it is damaged.
    """

    path: Path
    name: str
    sha256: str | None
    bytes: int | None
    remedy: str


def manifest_path() -> Path:
    """The manifest: beside this file in a wheel, at the repository's top level in a checkout."""
    return next(path for path in _MANIFESTS if path.is_file())


def local_file(entry: Mapping[str, Any]) -> Path | None:
    """Where the file of a manifest's entry is: in the package or, of other terms, in the checkout; None: in neither."""
    file = entry.get("file")
    return next((folder / file for folder in (EMBEDDED, IN_CHECKOUT) if file and (folder / file).is_file()), None)


@cache
def _show_terms(name: str) -> None:
    """Say once what weights of other terms may be used for, with the data that the default was not trained on."""
    manifest = read_manifest()
    entry, common = manifest["weights"][name], manifest["weights"][manifest["default"]]["training_data"]
    terms = " ".join(f"{data['name']}: {data['terms']}" for data in entry["training_data"] if data not in common)
    logging.getLogger("qfm_metric").warning("weights %s are not %s but %s. %s", name, LICENCE, entry["licence"], terms)


@cache
def read_manifest() -> dict[str, Any]:
    """The manifest, as far as loading relies on it checked; `weights_manifest.schema.json` says the rest."""
    manifest: dict[str, Any] = json.loads(manifest_path().read_text(encoding="utf-8"))
    check_manifest(manifest)
    return manifest


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Refuse a manifest that would mislead the loader."""
    entries = manifest.get("weights")
    if manifest.get("schema_version") != 1 or not isinstance(entries, dict) or manifest.get("default") not in entries:
        raise WeightsError(
            "weights_manifest.json: expected schema_version 1, weights, and a default that is one of them"
        )
    for name, entry in entries.items():
        file, repo, revision = entry.get("file"), entry.get("repo_id"), entry.get("revision")
        right = {
            "file or null": file is None or Path(file).name == file,
            "repo_id, revision (40 hex digits) and filename, or a null repo_id": repo is None
            or bool(COMMIT.fullmatch(str(revision)) and entry.get("filename")),
            "sha256 (64 hex digits)": SHA256.fullmatch(str(entry.get("sha256"))) is not None,
            "bytes": isinstance(entry.get("bytes"), int) and 0 < entry["bytes"] <= LARGEST,
        }
        if wrong := [what for what, fine in right.items() if not fine]:
            raise WeightsError(f"weights_manifest.json: {name!r}: expected {'; '.join(wrong)}")


def read_weights(found: Found) -> Weights:
    """Verify and read a weights file.

    Raises:
        WeightsError: wrong size or hash, no safetensors file of ours, tensors that are not finite floats.
    """
    data, sha256 = read_verified(found)
    config, tensors = _parse(data, found.name)
    beside = found.path.with_name(CONFIG)
    if found.path.name == FILE and beside.is_file() and _read_json(beside) != config:
        raise WeightsError(f"{beside}: differs from the config in {FILE}, which counts; delete it or save again")
    entries = read_manifest()["weights"]
    known = next((name for name, entry in entries.items() if entry["sha256"] == sha256), found.name)
    if known in entries and entries[known]["licence"] != LICENCE:
        _show_terms(known)
    return Weights(known, sha256, config, tensors)


def read_verified(found: Found) -> tuple[bytes, str]:
    """The file's bytes and their SHA-256, compared with what is promised."""
    expected = f"expected a .safetensors file, or a folder with {FILE}"
    try:
        size = found.path.stat().st_size if found.path.is_file() or not found.path.exists() else -1
        data = found.path.read_bytes() if 0 <= size <= LARGEST else b""
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{found.path}: cannot read weights ({reason}); {expected}") from error
    if not 0 <= size <= LARGEST:  # a device or a pipe may never end
        raise WeightsError(f"{found.path}: cannot read weights (no file, or above {LARGEST} bytes); {expected}")
    if found.bytes is not None and len(data) != found.bytes:
        raise WeightsError(
            f"weights {found.name!r}: expected {found.bytes} bytes, got {len(data)} in {found.path}: "
            f"cut short or another file; {found.remedy}"
        )
    sha256 = hashlib.sha256(data).hexdigest()
    if found.sha256 is not None and sha256 != found.sha256:
        raise WeightsError(
            f"weights {found.name!r}: expected SHA-256 {found.sha256[:12]}..., got {sha256[:12]}... in {found.path}: "
            f"damaged or changed; {found.remedy}"
        )
    return data, sha256


def save_weights(path: Path, config: Mapping[str, Any], tensors: "Mapping[str, Tensor]", dtype: "torch.dtype") -> str:
    """Write a weights file and return its SHA-256; floating tensors are stored as `dtype`, counters are left out.

    The same network always gives the same bytes: one metadata entry, because safetensors writes several in any order.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save

    stored = {name: t.detach().to("cpu", dtype).contiguous() for name, t in tensors.items() if t.is_floating_point()}
    try:
        data = save(stored, {CONFIG_KEY: json.dumps(config, sort_keys=True)})
        with whole_file(path, "wb", is_ours=is_weights) as file:
            file.write(data)
        return hashlib.sha256(data).hexdigest()
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot write weights ({error}); free space, or choose another folder") from error


def check_fit(weights: Weights, wanted: "Mapping[str, Tensor]") -> None:
    """Refuse weights unless their names and shapes are those of `wanted`; every difference is named at once."""
    off = [f"missing {name}" for name in wanted if name not in weights.tensors]
    off += [f"unexpected {name}" for name in weights.tensors if name not in wanted]
    off += [
        f"{name} has shape {tuple(tensor.shape)}, expected {tuple(wanted[name].shape)}"
        for name, tensor in weights.tensors.items()
        if name in wanted and tensor.shape != wanted[name].shape
    ]
    if off:
        raise WeightsError(
            f"weights {weights.id!r} do not fit their own config: {'; '.join(off)}; export or download them again"
        )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not readable as JSON ({error}); delete it") from error


def _parse(data: bytes, name: str) -> "tuple[dict[str, Any], dict[str, Tensor]]":
    from .torch_defaults import torch_defaults

    with torch_defaults():
        tensors = _read_tensors(data, name)
        return _read_config(data, name), _as_floats(tensors, name)


def _read_tensors(data: bytes, name: str) -> "dict[str, Tensor]":
    from safetensors.torch import load

    try:
        return load(data)
    except Exception as error:  # SafetensorError, and what Python makes of absurd shapes and types
        if lacks_memory(error):
            raise
        raise WeightsError(f"{name}: not a safetensors file, or a damaged one ({error}); get it again") from error


def _read_config(data: bytes, name: str) -> dict[str, Any]:
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        config = json.loads(header["__metadata__"][CONFIG_KEY])
        if not isinstance(config, dict):
            raise TypeError(f"config is a {type(config).__name__}")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{name}: a safetensors file, but without the config of a QFM network in its header; export it with "
            "qfm_metric.train or save_pretrained"
        ) from error
    return config


def _as_floats(tensors: "dict[str, Tensor]", name: str) -> "dict[str, Tensor]":
    import torch

    stored = (torch.float16, torch.bfloat16, torch.float32)
    bad = [key for key, tensor in tensors.items() if tensor.dtype not in stored or not tensor.isfinite().all()]
    if bad:
        raise WeightsError(f"{name}: tensors that are not finite floats: {', '.join(bad)}; the file is damaged")
    return {key: tensor.float() for key, tensor in tensors.items()}
