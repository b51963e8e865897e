"""A config's volumes, paths and lease, and who may use them."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator, Sequence
from pathlib import Path

from magneton_tasks.base import files, lease
from magneton_tasks.base.checkup import Check, Finding, odd, ok, wrong
from magneton_tasks.base.location import locate
from magneton_tasks.base.units import human_time, several
from magneton_tasks.config.read import RunConfig, require_partition
from magneton_tasks.errors import EXIT_IO, EXIT_NO_INPUT, EXIT_USAGE
from magneton_tasks.formats.metadata import VolumeInfo, read_input
from magneton_tasks.runners.registry import Kind, is_offered
from magneton_tasks.stages.planning import checks as of_plan
from magneton_tasks.stages.planning import rights

_READ, _WRITE = os.R_OK, os.R_OK | os.W_OK | os.X_OK


def checks(config: RunConfig, users: Sequence[str]) -> list[Check]:
    """The table."""
    return [
        Check("input", lambda: source(config)),
        *([Check("mask", lambda: mask(config))] if config.mask.path is not None else []),
        Check("paths", lambda: paths(config)),
        Check("lease", lambda: held(config)),
        Check("users", lambda: who(config, users)),
    ]


def source(config: RunConfig) -> Iterator[Finding]:
    """The affinity map."""
    require_partition(config, "the config")
    info = of_plan.check_input(config, _metadata(config))
    yield ok(_told(info))
    for note in info.notes:
        yield odd(note, "see section input of docs/config.md if that isn't so")


def _metadata(config: RunConfig) -> VolumeInfo:
    return read_input(config)


def mask(config: RunConfig) -> Iterator[Finding]:
    """The mask fits the map."""
    from magneton_tasks.formats.mask import MaskReader  # imports numpy

    assert config.mask.path is not None
    found = MaskReader(config.mask.path, config.mask.mip, _metadata(config))
    yield ok(_told(found.info))


def _told(info: VolumeInfo) -> str:
    shape = " x ".join(map(str, info.box.shape))
    return f"{info.url}: {shape} voxels of {info.size_words} nm, {info.dtype}, {several(info.channels, 'channel')}"


def paths(config: RunConfig) -> Iterator[Finding]:
    """Places that don't contain each other, whose output is ours, and that can be written to."""
    of_plan.check_paths(config, write=False)
    rights.check_places(config)
    yield ok(f"work {config.paths.work}, output {config.paths.output}")


def held(config: RunConfig) -> Iterator[Finding]:
    """Whether a run works on it."""
    found = lease.holder_of(Path(config.paths.work))
    if found is None:
        yield ok("no run holds it")
    else:
        owner, age_s = found
        yield ok(
            f"run {owner.run} on {owner.host} (process {owner.pid}) holds it; heard {human_time(age_s)} ago"
        )


# ------------------------------------------------------------------ who may
def who(config: RunConfig, others: Sequence[str]) -> Iterator[Finding]:
    """Whether each user who will run it may read the input and write work and output."""
    for name in dict.fromkeys([_name(os.geteuid()), *_of_containers(config), *others]):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            yield wrong(f"there is no user {name} here", "correct --user", EXIT_USAGE)
            continue
        ids = {entry.pw_gid, *os.getgrouplist(name, entry.pw_gid)}
        refused = list(_refused(config, entry.pw_uid, ids))
        yield from refused
        if not refused:
            yield ok(f"{name} may read the input, and write work and output")


def _of_containers(config: RunConfig) -> list[str]:
    """As whom containers run: the owner of the work directory."""
    work = Path(config.paths.work)
    if is_offered(config, Kind.CONTAINERS) and work.is_dir():
        return [_name(work.stat().st_uid)]
    return []


def _refused(config: RunConfig, user: int, groups: set[int]) -> Iterator[Finding]:
    """What a user may not do, by the modes of files and folders."""
    wanted = [
        ("paths.input", locate(config.paths.input).path, _READ, EXIT_NO_INPUT),
        ("paths.work", Path(config.paths.work), _WRITE, EXIT_IO),
        ("paths.output", locate(config.paths.output).path, _WRITE, EXIT_IO),
    ]
    for key, path, right, code in wanted:
        if path is None:
            continue
        at = barrier(files.nearest_existing(path), user, groups, right)
        if at is not None:
            status = at.stat()
            yield wrong(
                f"{_name(user)} can't {'read' if right == _READ else 'write'} {key} ({path}): {at} belongs to "
                f"{_name(status.st_uid)}:{_group(status.st_gid)}, mode {status.st_mode & 0o7777:04o}",
                "its owner gives the right: chmod g+rwX for a common group, or setfacl -m u:NAME:rwX",
                code,
            )


def barrier(path: Path, user: int, groups: set[int], right: int) -> Path | None:
    """The first folder that keeps a user from a path, or the path itself; None: nothing does.

    By modes alone: what lists of access rights (ACL) give beyond that isn't seen.
    """
    if user == 0:
        return None
    real = path.resolve()
    for folder in reversed(real.parents):
        if not _may(folder, user, groups, os.X_OK):
            return folder
    if real.is_dir():
        right |= os.X_OK
    return None if _may(real, user, groups, right) else real


def _may(path: Path, user: int, groups: set[int], right: int) -> bool:
    status = path.stat()
    shift = 6 if status.st_uid == user else 3 if status.st_gid in groups else 0
    return (status.st_mode >> shift) & right == right


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
