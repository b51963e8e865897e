"""What "this machine" has for this process and what it starts: the one place that says so.

Memory is the least of the machine's own, of each control group that this process is in (its own
and those above it, of version 1 and 2), and of ``ulimit -v``. Cores are those that this process may
run on (``taskset``, cpusets), or the CPU time that its control groups allow, where that is less.

Every function takes the ``root`` below which ``proc`` and ``sys`` lie: tests have trees of their own.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

_ROOT = Path("/")
#: Addresses that a worker reserves and never touches, in bytes: measured were 1.5 GiB (libraries,
#: stacks of threads, arenas) beside what is resident. ``ulimit -v`` counts them.
RESERVED_BYTES = 1600 * 2**20
#: Where a group says how much memory it may take, by version; both of version 2 hold.
_MEMORY_FILES = {1: ("memory.limit_in_bytes",), 2: ("memory.max", "memory.high")}


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory that there is, in bytes, and what sets it, as a message says it: ``this machine has``."""

    bytes: int
    given_by: str


@dataclass(frozen=True, slots=True)
class _Groups:
    """A control group of this process, and those above it: their folders, innermost first."""

    version: int
    folders: tuple[Path, ...]


def memory(root: Path = _ROOT) -> Memory:
    """The least of what limits this process's memory."""
    import psutil  # most stages never ask, and its import is heavy

    found = [Memory(int(psutil.virtual_memory().total), "this machine has")]
    for groups in _groups(root, "memory"):
        for folder in groups.folders:
            limits = [_number(folder / name) for name in _MEMORY_FILES[groups.version]]
            if groups.version == 1:  # tells of groups that a container doesn't see
                limits.append(_hierarchical(folder))
            allowed = min((n for n in limits if n is not None), default=None)
            if allowed is not None:
                found.append(Memory(allowed, f"the control group ({folder}) allows"))
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if addresses != resource.RLIM_INFINITY:
        usable = max(addresses - RESERVED_BYTES, 1)
        found.append(Memory(usable, f"ulimit -v ({addresses // 1024:,} KiB) leaves"))
    return min(found, key=lambda one: one.bytes)  # of equals the first: the machine, the innermost


def memory_bytes(root: Path = _ROOT) -> int:
    """`memory` in bytes."""
    return memory(root).bytes


def cores(root: Path = _ROOT) -> int:
    """Cores that this process can keep busy; a part of one counts as one, because it is there to be used."""
    found = [
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ]
    for groups in _groups(root, "cpu"):
        quotas = (_quota(folder, groups.version) for folder in groups.folders)
        found += [max(ceil(quota), 1) for quota in quotas if quota is not None]
    return min(found)


def _groups(root: Path, controller: str) -> Iterator[_Groups]:
    """Groups of this process that may limit ``controller``: of version 2, and of version 1 beside it."""
    mounts = list(_mounts(root))
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        controllers = frozenset(names.split(",")) if names else frozenset()
        version = 2 if number == "0" and not names else 1
        if version == 1 and controller not in controllers:
            continue
        for mount in mounts:
            if mount.version == version and (version == 2 or controller in mount.controllers):
                yield _Groups(version, tuple(_upwards(mount, path)))
                break


@dataclass(frozen=True, slots=True)
class _Mount:
    """Where a hierarchy of groups is mounted, and which of its groups is seen there."""

    version: int
    controllers: frozenset[str]
    group: str
    point: Path


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in _text(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        group, point = (
            re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text) for text in fields[3:5]
        )
        version = 2 if kind[0] == "cgroup2" else 1
        yield _Mount(version, frozenset(kind[2].split(",")), group, root / point.lstrip("/"))


def _upwards(mount: _Mount, path: str) -> Iterator[Path]:
    """Folders of a group and of those above it, as far as they can be seen.

    A container may see its own group where the hierarchy's top would be (``group`` of the mount), or
    a path that leads out of its namespace (``/../x``): then the mount itself is the group.
    """
    inner = os.path.relpath(path, mount.group) if path.startswith("/") else "."
    folder = mount.point / inner
    if ".." in Path(inner).parts or not folder.is_dir():
        folder = mount.point
    yield folder
    while folder != mount.point:
        folder = folder.parent
        yield folder


def _quota(folder: Path, version: int) -> float | None:
    """Cores' worth of CPU time that a group may take; None: no limit."""
    if version == 2:
        quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    else:
        quota = _text(folder / "cpu.cfs_quota_us").strip()
        period = _text(folder / "cpu.cfs_period_us").strip()
    if not quota.isdigit() or not period.isdigit() or int(quota) <= 0 or int(period) <= 0:
        return None  # max, -1, or no such file
    return int(quota) / int(period)


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _hierarchical(folder: Path) -> int | None:
    found = re.search(r"^hierarchical_memory_limit (\d+)$", _text(folder / "memory.stat"), re.M)
    return int(found[1]) if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
