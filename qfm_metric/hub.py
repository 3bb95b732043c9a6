"""Where weights come from: an id, a path or a Hub repository -> a file on this machine, not yet verified.

The Hub is asked only for ids that are not in the package and for repositories that the caller names.
"""

import difflib
import errno
import os
import re
from functools import partial
from pathlib import Path

from .weights import (
    COMMIT,
    EMBEDDED,
    FILE,
    LICENCE,
    SHA256,
    Found,
    Weights,
    WeightsError,
    local_file,
    read_manifest,
    read_weights,
)

HEAD_TIMEOUT = 10  # seconds until the Hub counts as out of reach
_ON_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+(/[\w.-]+)*))?", re.ASCII)


def load_weights(
    source: str | os.PathLike[str] | None = None,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool = False,
) -> Weights:
    """Find, verify and read weights.

    Args:
        source: An id of the manifest (in the package, else in the cache, else from the Hub); the path of a safetensors
            file or of a folder that `save_pretrained` wrote; `org/name` or `org/name@revision` on the Hub; None: the
            manifest's default id. A string that names an id means the id: write `./name` for a path of that name.
        revision: Branch, tag or commit of `org/name`; default `main`. A full commit hash in the cache needs no network.
        cache_dir: Where downloads are kept; default: huggingface_hub's cache.
        local_files_only: Never use the network.
        token: Sent to the Hub only if given; True: the one that `hf auth login` saved.

    Raises:
        WeightsError: unknown id, missing file, wrong size or hash, no safetensors file of ours, tensors that are not
            finite floats, Hub out of reach, no permission, disk full. The message says what to do.
    """
    found = find_weights(source, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token)
    return read_weights(found)


def released_with(setting: str) -> list[str]:
    """Ids of the weights in this installation whose config has this setting on."""
    held = [name for name, entry in read_manifest()["weights"].items() if (EMBEDDED / str(entry.get("file"))).is_file()]
    return [name for name in held if load_weights(name, local_files_only=True).config.get(setting)]


def find_weights(
    source: str | os.PathLike[str] | None = None,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool = False,
) -> Found:
    """Where the file of `source` is on this machine, downloaded first if need be; arguments as in `load_weights`."""
    manifest = read_manifest()
    name = manifest["default"] if source is None else os.fspath(source)
    entry = None if isinstance(source, os.PathLike) else manifest["weights"].get(name)
    remote = _ON_HUB.fullmatch(name)
    if revision is not None and (entry or remote is None or _is_path(source)):
        raise WeightsError(
            f"{name}: revision={revision!r} needs a Hub repository org/name; ids are pinned, files fixed"
        )
    fetch = partial(_from_hub, cache_dir=cache_dir, local_files_only=local_files_only, token=token)
    if entry:
        if path := local_file(entry):
            return Found(path, name, entry["sha256"], entry["bytes"], "reinstall qfm-metric")
        if not entry.get("repo_id"):
            where = (
                "reinstall qfm-metric" if entry["licence"] == LICENCE else f"its repository has weights/{entry['file']}"
            )
            raise WeightsError(
                f"weights {name!r} are not in this installation and not on the Hub: {where}, or pass the path of a "
                f"file with SHA-256 {entry['sha256']}"
            )
        path = fetch(entry["repo_id"], entry["revision"], entry["filename"])
        return Found(path, name, entry["sha256"], entry["bytes"], f"delete {path.resolve()} and load again")
    if _is_path(source):
        path = _expanded(name)
        path = path / FILE if os.path.isdir(path) else path  # whoever reads it says what is wrong
        label = Path(name).name.encode("utf-8", "backslashreplace").decode()  # goes into signatures, which are text
        return Found(path, label, None, None, "copy or download it again")
    if remote:
        if revision and remote["revision"] and revision != remote["revision"]:
            raise WeightsError(f"{name}: expected one revision, got revision={revision!r}, too")
        path = fetch(remote["repo"], revision or remote["revision"] or "main", FILE)
        label = f"{remote['repo']}@{path.parent.name[:12]}"  # the cache's folder is named after the commit
        return Found(path, label, _sha256_in_cache(path), None, f"delete {path.resolve()} and load again")
    near = difflib.get_close_matches(name, manifest["weights"], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known ids: {', '.join(manifest['weights'])}"
    raise WeightsError(
        f"unknown weights {name!r}: neither an id of the manifest, a file, nor org/name on the Hub; {hint}"
    )


def _is_path(source: str | os.PathLike[str] | None) -> bool:
    if not isinstance(source, str):
        return source is not None
    if source.startswith((".", "~", os.sep)) or source.endswith(".safetensors") or os.path.exists(source):
        return True
    return source.count(os.sep) > 1 and "@" not in source  # more than the Hub's org/name


def _expanded(path: str | os.PathLike[str]) -> Path:
    """A path whose `~` is somebody's home; as it is where that is not known."""
    return Path(os.path.expanduser(path))


def _from_hub(
    repo_id: str,
    revision: str,
    filename: str,
    *,
    cache_dir: str | os.PathLike[str] | None,
    local_files_only: bool,
    token: str | bool,
) -> Path:
    """The file in the cache, downloaded if it is not there, or if `revision` may have moved on."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    where, cached = f"{repo_id}@{revision}", None
    folder = None if cache_dir is None else str(_expanded(cache_dir))
    try:
        cached = try_to_load_from_cache(repo_id, filename, cache_dir=folder, revision=revision)
        if isinstance(cached, str) and (local_files_only or COMMIT.fullmatch(revision)):
            return Path(cached)
        if local_files_only:
            raise WeightsError(
                f"{where}: {filename} is not in the cache, and local_files_only forbids to download it: load it once "
                "with network (qfm-metric weights download), or pass the path of a file"
            )
        # One request without retries: hf_hub_download alone would retry for 23 s where there is no network.
        url = hf_hub_url(repo_id, filename, revision=revision)
        get_hf_file_metadata(url, token=token, timeout=HEAD_TIMEOUT)
        return Path(hf_hub_download(repo_id, filename, revision=revision, cache_dir=folder, token=token))
    except WeightsError:
        raise
    except Exception as error:  # the client's, its HTTP library's and its transfer's; which they are depends on version
        final = isinstance(error, (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError))
        if isinstance(cached, str) and not final:
            return Path(cached)  # out of reach: what the branch held when it was last seen
        raise WeightsError(f"{where}: {_explain(error, filename)}") from error


def _explain(error: Exception, filename: str) -> str:
    """What went wrong with the Hub, and what to do."""
    from huggingface_hub import constants, errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    cause = str(error).strip().partition("\n")[0]
    if isinstance(error, errors.RevisionNotFoundError):
        return "no such revision in the Hub repository: check the branch, tag or commit"
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403):
        return "no such Hub repository, or no permission: check the name; for a private or gated one pass token="
    if isinstance(error, errors.EntryNotFoundError) and status == 404:
        return f"the Hub repository has no {filename}: it holds no weights of ours"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{filename} is not in the cache and HF_HUB_OFFLINE is set: unset it once, or pass the path of a file"
    if status is not None:
        return f"the Hub answered with status {status} ({cause}): try again later"
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "the cache's disk is full: free space, or pass a cache_dir= on another disk"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write {getattr(error, 'filename', None)}: pass a cache_dir= that can be written"
    if isinstance(error, OSError) and "size" in cause:
        return f"the transfer was cut short ({cause}): try again"
    return (
        f"cannot download from {constants.ENDPOINT} ({type(error).__name__}: {cause}): check the network and try "
        "again, or pass the path of a file"
    )


def _sha256_in_cache(path: Path) -> str | None:
    """The SHA-256 that the Hub gave for a cached file: the name of the blob that its link points to."""
    blob = Path(os.readlink(path)).name if path.is_symlink() else ""  # without links (Windows) it is not kept
    return blob if SHA256.fullmatch(blob) else None
