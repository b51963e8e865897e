"""Room in bytes and inodes where things are written, and how shared file systems behave."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.base.checkup import Check, Finding, odd, ok, wrong
from magneton_tasks.base.failures import FREE_SPACE
from magneton_tasks.base.location import locate
from magneton_tasks.base.mounts import mount_of
from magneton_tasks.base.units import human_bytes, several
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import EXIT_IO
from magneton_tasks.kernels.compiled import archives

#: Less is told: a run of one block may fill it.
LEAST_BYTES, LEAST_FILES = 2**30, 20_000
#: For how long NFS believes what it knows of a directory, where its mount doesn't say, in seconds.
NFS_SEES_S = 60.0
#: Clocks that differ by more than this, in seconds, are told; a write that takes longer, too.
MOST_SKEW_S, SLOW_S = 5.0, 1.0
_ACDIRMAX = re.compile(r"(?:^|,)(?:acdirmax|actimeo)=(\d+)")


def checks(config: RunConfig | None) -> list[Check]:
    """The table."""
    found = [Check("disks", lambda: disks(config))]
    if config is not None:
        found.append(Check("file system", lambda: file_system(config)))
    return found


def places(config: RunConfig | None) -> dict[str, Path]:
    """Where something is written here."""
    found = {"temporary files": Path(tempfile.gettempdir()), "compiled code": Path(archives.root())}
    if config is not None:
        found["paths.work"] = Path(config.paths.work)
        output = locate(config.paths.output).path
        if output is not None:
            found["paths.output"] = output
    return found


def disks(config: RunConfig | None) -> Iterator[Finding]:
    """Free bytes and inodes, once for each disk."""
    told: dict[int, list[str]] = {}
    for name, path in places(config).items():
        there = files.nearest_existing(path)
        told.setdefault(there.stat().st_dev, []).append(f"{name} ({path})")
    for names, path in zip(told.values(), _first_of_each(config), strict=True):
        status = os.statvfs(path)
        free, inodes = status.f_bavail * status.f_frsize, status.f_favail
        has_inodes = status.f_files > 0  # some file systems make them as they are needed
        what = f"{human_bytes(free)}" + (f" and {several(inodes, 'file')}" if has_inodes else "")
        line = f"{what} free for {', '.join(names)}"
        if free < LEAST_BYTES or (has_inodes and inodes < LEAST_FILES):
            yield wrong(line, FREE_SPACE, EXIT_IO)
        else:
            yield ok(line)


def _first_of_each(config: RunConfig | None) -> list[Path]:
    """A path on each disk, in order."""
    found: dict[int, Path] = {}
    for path in places(config).values():
        there = files.nearest_existing(path)
        found.setdefault(there.stat().st_dev, there)
    return list(found.values())


def file_system(config: RunConfig) -> Iterator[Finding]:
    """Of paths.work: what others see late, whether its clock is ours, how long a write takes."""
    work = files.nearest_existing(Path(config.paths.work))
    kind = files.is_network_filesystem(work)
    wait_s = config.paths.visibility_wait_s
    if kind is None:
        yield ok(f"{work} is on a local disk: for workers of this machine alone")
    else:
        late_s = seen_after_s(kind, mount_of(work).options)
        told = f"{work} is on {kind}: others see new files up to {late_s:.0f} s late"
        if late_s >= wait_s:
            hint = f"set paths.visibility_wait_s above it ({wait_s:g} now), or mount with a smaller actimeo"
            yield odd(told, hint)
        else:
            yield ok(f"{told}; they are waited for ({wait_s:g} s)")
    if os.access(work, os.W_OK | os.X_OK):
        yield from _tried(work)


def seen_after_s(kind: str, options: str) -> float:
    """For how long another host may not see what was written, in seconds, by how it is mounted."""
    match = _ACDIRMAX.search(options)
    if re.search(r"(?:^|,)noac(?:,|$)", options):
        return 0.0
    if match:
        return float(match[1])
    return NFS_SEES_S if kind.startswith("nfs") else 0.0


def _tried(folder: Path) -> Iterator[Finding]:
    """Write a file, look at its time, and remove it."""
    probe = folder / f".magneton-probe-{files.unique_suffix()}"
    began, now = time.monotonic(), time.time()
    try:
        files.write_atomic(probe, b"probe")
        took_s, skew_s = time.monotonic() - began, probe.stat().st_mtime - now
    finally:
        probe.unlink(missing_ok=True)
    if abs(skew_s) > MOST_SKEW_S + took_s:
        yield odd(
            f"the clock of {folder} differs from this machine's by {skew_s:+.0f} s",
            "let both set their clocks by NTP: leases and records bear times",
        )
    if took_s > SLOW_S:
        yield odd(
            f"writing a small file took {took_s:.1f} s", "expect slow runs: use larger blocks"
        )
