"""What `magneton clean` may free, found without changing anything; `clean.remove` removes it.

=========  ==========================================================================
cache      labels of blocks; exact: only what blocks, faces and rounds leave open; pieces of meshes
           and skeletons; records stay, so that a finished volume is known as finished; layers of
           `magneton try`
cuts       exact: labels, supervoxels and names, of which further thresholds are cut, and with them
           what is open; records stay
records    merge checkpoints: pairs, pool tables, tables of cut, and the records of count, pool,
           cut, apply
stale      results of settings that neither the config nor the newest attempts have
runs       attempts and their logs, but for the newest
all        all of these, and the records of segment, faces and rounds
=========  ==========================================================================

With each of them go temporaries of writers that were killed, and what an earlier clean that was
killed had put aside. Never the output: what killed writers left there is only listed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from magneton_tasks.base import units
from magneton_tasks.base.location import locate
from magneton_tasks.clean import freed
from magneton_tasks.clean.names import (
    STAGE_DIR,
    TRASH_DIR,
    TRY_DIR,
    WORK,
    Folder,
    folder_of,
    is_temporary,
    require_marker,
)
from magneton_tasks.clean.needed import Needed, needed
from magneton_tasks.clean.scan import (
    LINK,
    Scanned,
    foreign,
    is_folder,
    left_in_output,
    scan,
    scan_files,
)
from magneton_tasks.config.read import RunConfig
from magneton_tasks.stages.planning import checks
from magneton_tasks.work.paths import WorkPaths

#: A temporary counts as left behind when nothing has written to it for so long (s).
QUIET_S = 3600.0


@dataclass(frozen=True, slots=True)
class Item:
    """Something that may go.

    Attributes
    ----------
    path
        What people know it by.
    kind
        ``cache``, ``cuts``, ``records``, ``stale``, ``runs``, ``temporaries`` or ``leftovers``.
    parts
        Folders and files that go, by their paths in the work directory.
    bytes, files
        What that frees.
    modified_s
        When the newest file of it was written, in unix seconds.
    reason
        Why it may go, and what its loss costs.
    """

    path: Path
    kind: str
    parts: tuple[str, ...]
    bytes: int
    files: int
    modified_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Alone:
    """Something that stays, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Listing:
    """What would go, what stays although it is ours, and what isn't known to be ours."""

    items: tuple[Item, ...]
    kept: tuple[Alone, ...]
    alone: tuple[Alone, ...]


# ------------------------------------------------------------------ finding
def find(
    config: RunConfig, what: str, older_than_s: float | None = None, now: float | None = None
) -> Listing:
    """What `what` would free.

    Parameters
    ----------
    what
        One of `kinds.IN_WORK`.
    older_than_s
        Only what nothing has written to for this many seconds.
    now
        Unix seconds; for tests.

    Raises
    ------
    ConfigError
        ``paths.work`` isn't a work directory, or lies in the output or the input, or they in it.
    NoInputError, TemporaryError
        Of ``stale``: the input can't be read.
    OutputError
        A directory can't be read.
    """
    work = WorkPaths(Path(config.paths.work))
    require_marker(work)
    checks.check_paths(config, write=False)
    finder = _Finder(work, what, needed(config, what), older_than_s, now or time.time())
    finder.look()
    output = locate(config.paths.output).path
    for path, n, size in left_in_output(output) if output else ():
        left = f"{units.several(n, 'temporary', 'temporaries')} of killed writers ({units.human_bytes(size)})"
        finder.alone.append(Alone(path, f"in the output, which is never touched: {left}"))
    return Listing(tuple(finder.items), tuple(finder.kept), tuple(finder.alone))


class _Finder:
    def __init__(
        self, work: WorkPaths, what: str, needed: Needed, older_than_s: float | None, now: float
    ) -> None:
        self.work, self.what, self.needed = work, what, needed
        self.older_than_s, self.now = older_than_s, now
        self.device = os.stat(work.work).st_dev
        self.items: list[Item] = []
        self.kept: list[Alone] = []
        self.alone: list[Alone] = []
        self.temporaries: list[tuple[str, int, float]] = []

    def look(self) -> None:
        for entry in sorted(os.scandir(self.work.work), key=lambda e: e.name):
            name = entry.name
            if self._is_foreign(entry, WORK, name):
                continue
            if entry.is_file(follow_symlinks=False):
                if is_temporary(name):
                    status = entry.stat(follow_symlinks=False)
                    self.temporaries.append((name, status.st_size, status.st_mtime))
            elif TRASH_DIR.fullmatch(name):
                self._offer(name, "leftovers", (name,), "put aside by a clean that was killed")
            elif STAGE_DIR.fullmatch(name):
                self._stage(name)
            elif TRY_DIR.fullmatch(name):
                self._try(name)
            elif name == "runs" and self.what in ("runs", "all"):
                self._runs()
        self._offer_temporaries()

    def _is_foreign(self, entry: os.DirEntry[str], folder: Folder, relative: str) -> bool:
        reason = foreign(entry, folder, self.device)
        if reason:
            self.alone.append(Alone(self.work.work / relative, reason))
        return reason is not None

    def _stage(self, name: str) -> None:
        is_stale = name not in self.needed.stages
        kind = "stale" if is_stale else freed.kind_of(name)
        match self.what:
            case "all":
                self._offer(name, kind, (name,), self._why(name, kind))
            case "stale" if is_stale:
                self._offer(name, kind, (name,), self._why(name, kind))
            case "stale":
                self.kept.append(Alone(self.work.work / name, "in use: of the newest settings"))
            case "cache" | "cuts" if freed.frees(name, self.what):
                self._free(name, self.what)
            case "records" if freed.kind_of(name) == "records":
                self._offer(name, "records", (name,), self._why(name, "records"))

    def _free(self, name: str, kind: str) -> None:
        there: list[str] = []
        for folder in self._recorded(name):
            path = self.work.work / folder
            records = path / "records"
            if os.path.lexists(records) and not is_folder(records):  # they must say what is gone
                self.alone.append(Alone(records, LINK))
            else:
                there += (f"{folder}/{p.name}" for p in freed.of(name, path, kind))
        if there:
            self._offer(name, kind, tuple(there), self._why(name, kind))

    def _recorded(self, name: str) -> Iterator[str]:
        """The folders of a stage that hold records: its own, or those of rounds (before: of joins)."""
        if not name.startswith(("rounds-", "join-")):
            yield name
            return
        path = self.work.work / name
        for level in sorted(os.listdir(path)):
            if folder_of(f"{name}/{level}") is not None and is_folder(path / level):
                yield f"{name}/{level}"

    def _why(self, name: str, kind: str) -> str:
        is_all, is_verified = self.what == "all", name in self.needed.verified
        return freed.why(self.work.work / name, kind, is_all=is_all, is_verified=is_verified)

    def _try(self, name: str) -> None:
        if self.what not in ("cache", "all"):
            return
        scanned = self._scan(name)
        if any(self.now - time_s < QUIET_S for _, _, time_s in scanned.temporaries):
            self.kept.append(Alone(self.work.work / name, "`magneton try` may be writing to it"))
            return
        self._offer(name, "cache", (name,), "layers of `magneton try`, which makes them again")

    def _runs(self) -> None:
        for run in sorted(os.scandir(self.work.runs), key=lambda e: e.name):
            if self._is_foreign(run, folder_of("runs") or WORK, f"runs/{run.name}"):
                continue
            for attempt in sorted(os.scandir(run.path), key=lambda e: e.name):
                name = f"{run.name}/{attempt.name}"
                if self._is_foreign(attempt, folder_of(f"runs/{run.name}") or WORK, f"runs/{name}"):
                    continue
                if name in self.needed.attempts:
                    self.kept.append(Alone(self.work.runs / name, "the newest attempt"))
                    scanned = self._scan(f"runs/{name}")
                    self.temporaries += scanned.temporaries
                    self._leave(scanned)
                else:
                    self._offer(f"runs/{name}", "runs", (f"runs/{name}",), "an earlier attempt")

    def _scan(self, *parts: str) -> Scanned:
        scanned = Scanned()
        files: dict[str, set[str]] = {}
        for part in parts:
            folder = folder_of(part)
            if folder is None:
                holding, _, name = part.rpartition("/")
                files.setdefault(holding, set()).add(name)
            else:
                scan(self.work.work / part, part, folder, self.device, scanned)
        for holding, names in files.items():
            folder = folder_of(holding)
            assert folder is not None
            scan_files(self.work.work / holding, holding, names, folder, self.device, scanned)
        return scanned

    def _leave(self, scanned: Scanned) -> None:
        self.alone += [Alone(self.work.work / path, why) for path, why in scanned.alone]

    def _offer(self, name: str, kind: str, parts: tuple[str, ...], reason: str) -> None:
        scanned, path = self._scan(*parts), self.work.work / name
        self._leave(scanned)
        modified_s = scanned.modified_s or path.stat(follow_symlinks=False).st_mtime
        age_s = self.now - modified_s
        if self.older_than_s is not None and age_s < self.older_than_s:
            age = units.human_time(max(age_s, 0))
            self.kept.append(Alone(path, f"not old enough: written to {age} ago"))
            return
        count, size = scanned.files, scanned.bytes
        if scanned.alone and not count:
            return  # nothing of ours is left in it
        self.items.append(Item(path, kind, parts, size, count, modified_s, reason))

    def _offer_temporaries(self) -> None:
        quiet_s = max(QUIET_S, self.older_than_s or 0.0)
        left = [t for t in self.temporaries if self.now - t[2] >= quiet_s]
        for name, _, _ in self.temporaries:
            if name not in {n for n, _, _ in left}:
                self.kept.append(Alone(self.work.work / name, "being written, it seems"))
        if left:
            parts, sizes, times = zip(*left, strict=True)
            self.items.append(
                Item(
                    self.work.work,
                    "temporaries",
                    parts,
                    sum(sizes),
                    len(left),
                    max(times),
                    "left by writers that were killed",
                )
            )
