"""What this machine has: trees of control groups of every kind, and real limits set from outside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from magneton_tasks.runners import this_machine
from tests.helpers.tiny_volume import write_tiny_volume

GIB = 2**30
TOTAL = int(psutil.virtual_memory().total)
CORES = len(os.sched_getaffinity(0))
#: what version 1 says where there is no limit
NO_LIMIT = "9223372036854771712"
V2 = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = (
    "35 31 0:32 {group} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "36 31 0:29 {group} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
)


def a_tree(root: Path, cgroup: str, mountinfo: str, files: dict[str, str]) -> Path:
    """A root with ``proc`` and ``sys``; ``files`` by their paths below ``sys/fs/cgroup``."""
    contents = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo}
    contents |= {f"sys/fs/cgroup/{name}": text + "\n" for name, text in files.items()}
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("own", "parent", "expected"),
    [(1, 2, 1), (2, 1, 1), ("max", 1, 1), (1, "max", 1), ("max", "max", None)],
)
def test_the_least_of_a_group_and_those_above_it_counts(
    tmp_path: Path, own: int | str, parent: int | str, expected: int | None
) -> None:
    def text(value: int | str) -> str:
        return value if isinstance(value, str) else str(value * GIB)

    files = {"user.slice/job/memory.max": text(own), "user.slice/memory.max": text(parent)}
    root = a_tree(tmp_path, "0::/user.slice/job\n", V2, files)
    assert this_machine.memory_bytes(root) == (expected * GIB if expected else TOTAL)


def test_the_group_that_limits_is_named(tmp_path: Path) -> None:
    files = {"a/b/memory.max": "max", "a/memory.max": str(GIB), "a/b/memory.high": str(2 * GIB)}
    root = a_tree(tmp_path, "0::/a/b\n", V2, files)
    assert this_machine.memory(root).given_by == (
        f"the control group ({root}/sys/fs/cgroup/a) allows"
    )


def test_a_group_that_slows_down_whoever_takes_more_counts_too(tmp_path: Path) -> None:
    files = {"a/memory.max": str(2 * GIB), "a/memory.high": str(GIB)}
    assert this_machine.memory_bytes(a_tree(tmp_path, "0::/a\n", V2, files)) == GIB


@pytest.mark.parametrize(("own", "parent"), [(str(GIB), NO_LIMIT), (NO_LIMIT, str(GIB))])
def test_groups_of_version_1(tmp_path: Path, own: str, parent: str) -> None:
    name = "memory.limit_in_bytes"
    files = {f"memory/a/b/{name}": own, f"memory/a/{name}": parent, f"memory/{name}": NO_LIMIT}
    cgroup = "9:name=systemd:/x\n4:memory:/a/b\n1:cpu,cpuacct:/\n0::/y\n"
    root = a_tree(tmp_path, cgroup, V1.format(group="/"), files)
    assert this_machine.memory_bytes(root) == GIB


def test_a_limit_above_what_a_container_sees(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": NO_LIMIT,
        "memory/memory.stat": f"cache 0\nhierarchical_memory_limit {GIB}",
    }
    root = a_tree(tmp_path, "4:memory:/docker/1f\n", V1.format(group="/docker/1f"), files)
    assert this_machine.memory_bytes(root) == GIB


@pytest.mark.parametrize("path", ["/docker/1f", "/../2e", "/elsewhere"])
def test_a_container_whose_own_group_is_mounted_as_the_top(tmp_path: Path, path: str) -> None:
    files = {"memory/memory.limit_in_bytes": str(GIB)}
    root = a_tree(tmp_path, f"4:memory:{path}\n", V1.format(group="/docker/1f"), files)
    assert this_machine.memory_bytes(root) == GIB


def test_a_path_with_a_blank_is_found(tmp_path: Path) -> None:
    mounts = V2.replace("/sys/fs/cgroup", r"/sys/fs/cgroup/my\040groups")
    files = {"my groups/a/memory.max": str(GIB)}
    assert this_machine.memory_bytes(a_tree(tmp_path, "0::/a\n", mounts, files)) == GIB


def test_both_versions_at_once(tmp_path: Path) -> None:
    v2 = V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    files = {"memory/a/memory.limit_in_bytes": str(2 * GIB), "unified/b/memory.max": str(GIB)}
    root = a_tree(tmp_path, "4:memory:/a\n0::/b\n", V1.format(group="/") + v2, files)
    assert this_machine.memory_bytes(root) == GIB


@pytest.mark.parametrize("text", ["", "rubbish", "-1"])
def test_what_says_nothing_limits_nothing(tmp_path: Path, text: str) -> None:
    files = {"a/memory.max": text, "a/cpu.max": text}
    root = a_tree(tmp_path, "0::/a\nrubbish\n", V2 + "rubbish\n", files)
    assert (this_machine.memory_bytes(root), this_machine.cores(root)) == (TOTAL, CORES)
    assert this_machine.memory_bytes(tmp_path / "nothing") == TOTAL


@pytest.mark.parametrize(
    ("own", "parent", "expected"),
    [
        ("max 100000", "max 100000", 16),
        ("300000 100000", "max 100000", 3),
        ("max 100000", "300000 100000", 3),
        ("250000 100000", "800000 100000", 3),  # half a core's time is there to be used
        ("50000 100000", "800000 100000", 1),
    ],
)
def test_the_least_cpu_time_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, parent: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    v2 = a_tree(tmp_path / "2", "0::/a/b\n", V2, {"a/b/cpu.max": own, "a/cpu.max": parent})
    assert this_machine.cores(v2) == expected
    files = {}
    for folder, text in (("a/b", own), ("a", parent)):
        quota, period = text.replace("max", "-1").split()
        files[f"cpu,cpuacct/{folder}/cpu.cfs_quota_us"] = quota
        files[f"cpu,cpuacct/{folder}/cpu.cfs_period_us"] = period
    v1 = a_tree(tmp_path / "1", "1:cpu,cpuacct:/a/b\n", V1.format(group="/"), files)
    assert this_machine.cores(v1) == expected


# ------------------------------------------------------------------ real limits
_TELL = (
    "from magneton_tasks.runners import this_machine as m; print(m.cores(), m.memory().bytes,"
    " m.memory().given_by)"
)


def _told(*wrapper: str) -> list[str]:
    command = [*wrapper, sys.executable, "-c", _TELL]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(" ", 2)


@pytest.mark.skipif(shutil.which("taskset") is None, reason="there is no taskset here")
def test_taskset_decides_how_many_cores_there_are() -> None:
    assert _told("taskset", "-c", str(min(os.sched_getaffinity(0))))[0] == "1"


def test_ulimit_v_decides_how_much_memory_there_is(tmp_path: Path) -> None:
    shell = ("bash", "-c", f'ulimit -v {3 * GIB // 1024}; exec "$@"', "-")
    _, found, given_by = _told(*shell)
    assert int(found) == 3 * GIB - this_machine.RESERVED_BYTES
    assert "ulimit -v" in given_by
    config = write_tiny_volume(tmp_path, "local: {workers: 1}\n")
    # what there is decides before work starts, and the refusal says what limits it
    shell = (
        "bash",
        "-c",
        f'ulimit -v {(this_machine.RESERVED_BYTES + GIB // 4) // 1024}; exec "$@"',
        "-",
    )
    command = [*shell, sys.executable, "-m", "magneton_tasks", "run", "--dry-run", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 78, done.stderr
    assert "ulimit -v" in done.stderr


@pytest.fixture
def group() -> object:
    """A real control group of version 1 or 2 with a limit of 1 GiB, below this process's own."""
    for groups in this_machine._groups(Path("/"), "memory"):
        folder = groups.folders[0] / f"magneton-test-{os.getpid()}"
        name = "memory.limit_in_bytes" if groups.version == 1 else "memory.max"
        with suppress(OSError):
            folder.mkdir()
            try:
                (folder / name).write_text(str(GIB))
                (folder / "inner").mkdir()
                yield folder / "inner"
                return
            finally:
                for made in (folder / "inner", folder):
                    with suppress(OSError):
                        made.rmdir()
    pytest.skip("no control group can be made here: not root, or no memory controller")


def test_a_real_group_above_our_own_decides(group: Path) -> None:
    shell = ("bash", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "-")
    _, found, given_by = _told(*shell)
    assert int(found) == GIB
    assert str(group.parent) in given_by
