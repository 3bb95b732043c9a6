"""How many worker processes this process may keep busy: by its affinity, and by the quota of its container."""

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

MEMORY = 2**30  # bytes for a worker: the network takes half of it, a large picture the rest
WORTH = 128  # pictures from which on two worker processes pay: one takes as long to start as some 30 to 50 to be scored
_UNLIMITED = 2**60  # as cgroup v1 writes it, or more


class WorkersError(RuntimeError):
    """Worker processes cannot start, or end before they have begun; says why, and what to do."""


def workers_for(paths: Iterable[str]) -> tuple[Iterator[str], int]:
    """The same paths, and as many workers as they are worth: one for fewer than `WORTH`, which are taken to count."""
    paths = iter(paths)
    first = list(islice(paths, WORTH))
    return chain(first, paths), allowed_workers() if len(first) == WORTH else 1


def is_worth_it(paths: Iterable[str]) -> bool:
    """Whether there are so many that what has to be started first pays; no more are taken."""
    return len(list(islice(paths, WORTH))) == WORTH


def allowed_workers(root: Path = Path("/")) -> int:
    """As many as there are cores that this process may use, and memory for; one where processes cannot work together.

    Args:
        root: Where `proc` and `sys` lie.
    """
    if not _can_share():
        return 1
    most = 61 if sys.platform == "win32" else sys.maxsize  # processes that one of Windows can wait for
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder, version in _groups(root, "cpu") if (quota := _quota(folder, version))]
    limits = [limit for folder, version in _groups(root, "memory") if (limit := _memory(folder, version))]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return max(1, int(min([most, cores, *quotas, *(limit / MEMORY for limit in limits)])))


def _can_share() -> bool:
    """Whether there are locks that processes share, and room for files: some containers lack /dev/shm or /tmp."""
    import multiprocessing  # slow to import, for commands that start none
    import tempfile

    try:
        multiprocessing.get_context("spawn").Lock()
        tempfile.gettempdir()
    except (OSError, ImportError):
        return False
    return True


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Folders of the control groups that limit this process, the innermost first, and their version."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # another system than Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        base = root / "sys/fs/cgroup"
        if controllers:
            if controller not in controllers.split(","):
                continue
            base /= controller
        folder = base / path.lstrip("/")  # in a container, it may be named as seen from outside: then it is not there
        for group in (folder, *folder.parents):
            yield group, 1 if controllers else 2
            if group == base:
                break


def _quota(group: Path, version: int) -> float | None:
    """Cores; None: no limit."""
    if version == 2:
        quota, period = _numbers(group / "cpu.max", 2)
    else:
        (quota,), (period,) = _numbers(group / "cpu.cfs_quota_us", 1), _numbers(group / "cpu.cfs_period_us", 1)
    return quota / period if quota and period and quota > 0 else None


def _memory(group: Path, version: int) -> int | None:
    """Bytes; None: no limit."""
    (limit,) = _numbers(group / ("memory.max" if version == 2 else "memory.limit_in_bytes"), 1)
    return limit if limit and limit < _UNLIMITED else None


def _numbers(file: Path, count: int) -> list[int | None]:
    """What a file of whole numbers holds; None for each that is not there, or is a word such as `max`."""
    try:
        words = file.read_text().split()
    except OSError:
        words = []
    found = [int(word) if word.lstrip("-").isdigit() else None for word in words[:count]]
    return found + [None] * (count - len(found))
