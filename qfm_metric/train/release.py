"""From a weights file to a release: its golden stages, its entry in the manifest, its repository on the Hub."""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import whole_file
from ..card import model_card
from ..export import largest_difference
from ..hub import load_weights
from ..images import load_image
from ..model import QFMNet
from ..score import QFMScore
from ..weights import FILE, Found, WeightsError, check_manifest, local_file, read_manifest, read_verified, read_weights
from .batchnorm import TIMM_NAMES, fold
from .calibrate import write_weights


def fold_weights(weights: str | None, out: Path) -> float:
    """Write trained weights in the form that is released.

    Args:
        weights: Id or file; None: the shipped weights.
        out: The file to write, in half precision as all of ours.

    Returns:
        The largest difference between the scores of both files that was seen; rounding the folded weights makes most
        of it. Calibrate and measure what was written.

    Raises:
        ValueError: the weights are folded already, or have another backbone.
    """
    metric = QFMScore.from_pretrained(weights)
    write_weights(fold(metric.net), out)
    return largest_difference(QFMScore.from_pretrained(out), metric)


def write_golden(image: Path, weights: str | None, out: Path) -> None:
    """Record `golden_stages` of a picture's file as safetensors, for the tests to compare with."""
    save_file(golden_stages(QFMScore.from_pretrained(weights).net, load_image(image)), out)
    out.chmod(0o644)


@torch.inference_mode()
def golden_stages(net: QFMNet, image: Tensor) -> dict[str, Tensor]:
    """What every stage answers to one `(3, H, W)` image, in the order of the data flow, small enough to keep."""
    views = net.preprocess(image[None])
    maps = net.pyramid(views)
    cells = net.cells(maps)
    tokens = net.embed(cells, n=1)
    answers = net.decoder(tokens)
    logits = net.forward_logits(answers, tokens, net.statistics(cells, n=1))
    stages = {"1 views": F.adaptive_avg_pool2d(views[0], 8)}
    stages |= {f"2 map {i}": features[0].mean(dim=(-2, -1)) for i, features in enumerate(maps)}
    stages |= {"3 tokens": tokens[0, ::12], "4 logit": logits, "5 score": net.calibration(logits)}
    if net.config.uncertainty:
        stages["6 deviation"] = net.forward_std(answers)
    return {name: tensor.contiguous() for name, tensor in stages.items()}


def manifest_entry(path: Path, evaluations: Mapping[str, Mapping[str, Any]], like: str) -> dict[str, Any]:
    """The weights manifest's entry of a file, with the figures that were measured.

    Args:
        path: The weights file; its name is the id.
        evaluations: What `evaluate` printed, by the part's name, as in "BIQ2021 test".
        like: Id of weights of the same licence and training data.

    Raises:
        ValueError: `like` is not in the manifest, or the file's BatchNorm is not folded.
    """
    known = read_manifest()["weights"]
    if like not in known:
        raise ValueError(f"{like}: expected an id of the manifest, one of {', '.join(known)}")
    backbone = str(load_weights(path).config.get("backbone"))
    if backbone.partition(".")[0] in TIMM_NAMES:
        raise ValueError(
            f"{path}: expected folded weights, got the backbone {backbone}; python -m qfm_metric.train fold writes them"
        )
    content = path.read_bytes()
    command = f"python -m qfm_metric.train evaluate DATA/all.csv --split test --weights {path.stem}"
    figures: dict[str, Any] = {"command": command}
    for name, found in evaluations.items():
        whole = {key: found["all"][key] for key in ("srcc", "plcc", "krcc", "rmse")}
        low, high = found["srcc_interval"]
        spread = {"srcc_low_95": low, "srcc_high_95": high, "within_srcc": found["within_srcc"]}
        subsets = {f"srcc_{subset}": part["srcc"] for subset, part in found["subsets"].items()}
        figures[name] = {"images": found["all"]["n"], **_rounded(whole | spread | subsets)}
        if "no_duplicates" in found:
            part = found["no_duplicates"]
            rest = _rounded({"srcc": part["srcc"], "plcc": part["plcc"]})
            figures[f"{name} without near-duplicates"] = {"images": part["n"], **rest}
    nowhere = {"repo_id": None, "revision": None, "filename": None}
    facts = {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    kept = {key: known[like][key] for key in ("licence", "training_data")}
    return {**kept, **nowhere, **facts, "figures": figures}


def publish(repo_id: str, name: str, manifest_file: Path, file: Path | None, private: bool, dry_run: bool) -> str:
    """Create or update a Hub repository, load the weights back from it, and write its commit into the manifest.

    Args:
        repo_id: `org/name`.
        name: Id in the manifest.
        manifest_file: The manifest to read and to change.
        file: The weights; default: that of the id, in the package or the checkout. Must be what the manifest says.
        private: Of a repository that is made; an existing one stays as it is.
        dry_run: Change nothing and ask nobody.

    Returns:
        What was done, or would be.

    Raises:
        WeightsError: unknown id, another file than the manifest's, the Hub refused or holds something else.
    """
    manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
    check_manifest(manifest)
    if name not in manifest["weights"]:
        raise WeightsError(
            f"{name!r} is not in {manifest_file}: add its entry first ({', '.join(manifest['weights'])})"
        )
    entry = manifest["weights"][name]
    files = _files(repo_id, name, entry, file)
    lines = [f"{path}  {len(data)} bytes  sha256 {hashlib.sha256(data).hexdigest()}" for path, data in files.items()]
    entry |= {"repo_id": repo_id, "filename": FILE}
    if dry_run:
        entry["revision"] = "(the commit)"
        shown = json.dumps({name: entry}, indent=2, ensure_ascii=False)
        card = files["README.md"].decode()
        return "\n".join([f"would publish {repo_id}:", *lines, "", f"{manifest_file}:", shown, "", "README.md:", card])
    entry["revision"] = _upload(repo_id, files, private)
    _load_back(f"{repo_id}@{entry['revision']}", entry["sha256"])
    check_manifest(manifest)
    with whole_file(manifest_file) as written:
        written.write(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return "\n".join([f"published {repo_id}@{entry['revision']}:", *lines, f"{manifest_file} names it"])


def _files(repo_id: str, name: str, entry: dict[str, Any], file: Path | None) -> dict[str, bytes]:
    path = file or local_file(entry)
    if path is None:
        raise WeightsError(f"{name!r} is not here: pass its weights file")
    found = Found(path, name, entry["sha256"], entry["bytes"], "publish the file that the manifest describes")
    config = json.dumps(read_weights(found).config, indent=2, sort_keys=True) + "\n"
    card = model_card(name, entry, source=repo_id)
    return {FILE: read_verified(found)[0], "config.json": config.encode(), "README.md": card.encode()}


def _upload(repo_id: str, files: dict[str, bytes], private: bool) -> str:
    """One commit, so that no revision holds a part; returns its hash. Unchanged files make no new commit."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        operations = [CommitOperationAdd(path, data) for path, data in files.items()]
        return str(api.create_commit(repo_id, operations, commit_message="Publish weights").oid)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a transfer that failed
        raise WeightsError(
            f"{repo_id}: the Hub refused ({error}); log in with a token that may write (hf auth login, or HF_TOKEN)"
        ) from error


def _load_back(source: str, sha256: str) -> None:
    with tempfile.TemporaryDirectory() as cache:
        if (got := load_weights(source, cache_dir=cache, token=True).sha256) != sha256:
            raise WeightsError(f"{source}: holds SHA-256 {got}, expected {sha256}; publish again")


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in figures.items()}
