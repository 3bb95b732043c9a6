"""As many workers as there are cores allowed: by the affinity, by quotas of either version, and with memory for."""

import os
import subprocess
import sys

import pytest
from helpers.processes import environment

from qfm_metric.folder import cores

GIB = 2**30


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}[name])


V2 = {"proc/self/cgroup": "0::/pod/task\n"}
V1 = {"proc/self/cgroup": "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),  # not Linux
        (V2, 8),
        (V2 | {"sys/fs/cgroup/pod/task/cpu.max": "max 100000\n"}, 8),
        (V2 | {"sys/fs/cgroup/pod/task/cpu.max": "300000 100000\n"}, 3),
        (V2 | {"sys/fs/cgroup/pod/task/cpu.max": "350000 100000\n"}, 3),
        (V2 | {"sys/fs/cgroup/pod/task/cpu.max": "50000 100000\n"}, 1),
        (V2 | {"sys/fs/cgroup/pod/task/cpu.max": "max 100000\n", "sys/fs/cgroup/pod/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),  # as a container sees it
        ({"proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        (V2 | {"sys/fs/cgroup/pod/task/memory.max": f"{5 * GIB}\n"}, 5),
        (V2 | {"sys/fs/cgroup/pod/task/memory.max": "1000000\n"}, 1),
        (V1 | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 2),
        (V1 | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 8),
        (V1 | {"sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": f"{3 * GIB}\n"}, 3),
        (V1 | {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8),
    ],
)
def test_limits_are_read(tmp_path, files, expected):
    assert cores.allowed_workers(write(tmp_path, files)) == expected


def test_memory_of_the_machine_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2 * GIB // 4096}[name])
    assert cores.allowed_workers(tmp_path) == 2


@pytest.mark.parametrize("missing", ["multiprocessing.synchronize.Lock", "tempfile.gettempdir"])
def test_without_shared_memory_or_a_place_for_files_one_process_scores(tmp_path, monkeypatch, missing):
    def fail(**context):
        raise FileNotFoundError(2, "No such file or directory")

    assert cores.allowed_workers(tmp_path) == 8
    monkeypatch.setattr(missing, fail)
    assert cores.allowed_workers(tmp_path) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_one_core_by_affinity_is_one_worker():
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from qfm_metric.folder.cores import allowed_workers; print(allowed_workers())"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, check=True)
    assert done.stdout == b"1\n"
