"""Publish released weights on the Hub: weights, config and card in one commit, which the manifest then names."""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from ..card import model_card
from ..hub import load_weights
from ..weights import (
    EMBEDDED,
    FILE,
    Found,
    WeightsError,
    check_manifest,
    manifest_path,
    read_manifest,
    read_verified,
    read_weights,
)


def add_options(command: argparse.ArgumentParser) -> None:
    """What `publish` takes."""
    command.add_argument("--repo-id", required=True, help="org/name; made if it does not exist")
    command.add_argument("--id", default=read_manifest()["default"], help="of the manifest")
    command.add_argument("--manifest", type=Path, default=manifest_path(), help="file to read and to change")
    command.add_argument("--file", type=Path, help="weights file, if the package does not hold it")
    command.add_argument("--private", action="store_true", help="make the repository private")
    command.add_argument("--dry-run", action="store_true", help="show what would be published; needs no network")


def publish(repo_id: str, name: str, manifest_file: Path, file: Path | None, private: bool, dry_run: bool) -> str:
    """Create or update a Hub repository, load the weights back from it, and write its commit into the manifest.

    Args:
        repo_id: `org/name`.
        name: Id in the manifest.
        manifest_file: The manifest to read and to change.
        file: The weights; default: the embedded file of that id. Must be what the manifest says.
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
    manifest_file.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return "\n".join([f"published {repo_id}@{entry['revision']}:", *lines, f"{manifest_file} names it"])


def _files(repo_id: str, name: str, entry: dict[str, Any], file: Path | None) -> dict[str, bytes]:
    if file is None and not entry["file"]:
        raise WeightsError(f"{name!r} is not embedded: pass its weights file")
    path = file or EMBEDDED / entry["file"]
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
