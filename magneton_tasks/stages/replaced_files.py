"""What an earlier result left in the output: listed before the owner changes, removed once the new one is proved.

::

    plan, or a task's first chunk    the list of the old result's files is written, or is there     `keep`
                                     the owner changes; chunks are written
    verify                           what the list has and the new result hasn't is removed,
                                     then the list of the new result takes its place                `settle`

A kill in between leaves the old list, so that the next verify goes on. A result that wasn't proved is
listed by its records, together with what the list had that it found. Of an earlier release whose
records are gone nothing is known: nothing is removed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.location import locate
from magneton_tasks.base.units import several
from magneton_tasks.config.path_map import mapped, path_map
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import CorruptFileError
from magneton_tasks.formats.listed import LIST_FILE, Listed
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.owner import OWNER_FILE
from magneton_tasks.plan.fingerprints import of_shards
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.plan import Fingerprints, Plan, digest
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.stages.objects.kinds import FOLDERS
from magneton_tasks.work import settled
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.attempts import newest_first, plan_data
from magneton_tasks.work.events import Note, tell
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.output_files import OF_STAGE, Written, named_in, of_result
from magneton_tasks.work.paths import AttemptPaths, WorkPaths
from magneton_tasks.work.record import Record
from magneton_tasks.work.stores import store_of

if TYPE_CHECKING:  # heavy
    from magneton_tasks.formats.precomputed.store import PrecomputedStore
    from magneton_tasks.work.key_state import KeyState

#: Files that are told one by one.
_NAMED = 20


# ------------------------------------------------------------------ before the owner changes
def keep(url: str, owner: Mapping[str, Any]) -> bool:
    """Have the files of the owner's result listed; whether they are known.

    Many tasks may do so at once: all write the same.

    Raises
    ------
    OutputError, TemporaryError
        The list can't be written: the owner mustn't change.
    """
    from magneton_tasks.work import file_list  # pyarrow

    objects = Objects(locate(url))
    listed = owner.get("listed")
    if owner.get("finished") and listed and objects.size_of(LIST_FILE) == listed["size"]:
        return True
    before, source = file_list.whose(objects), _Source.of(url, owner)
    if source is None:
        return before is not None
    covers = source.digest(owner)
    if before != covers:
        with file_list.Sorted() as found:
            found.add(() if before is None else _sound(objects))
            try:
                found.add(of_result(source.written))
            except (KeyError, TypeError, ValueError, struct.error):  # records of another geometry
                return before is not None
            file_list.write(objects, found, covers)
    return True


def keep_objects(config: RunConfig, plan: Plan) -> None:
    """Have meshes and skeletons of other settings listed that no verify has listed.

    The owner's result stays the same, whatever these settings are: the mark of their folder tells
    whose they are.

    Raises
    ------
    OutputError, TemporaryError
        As `keep`.
    """
    objects, work = Objects(locate(config.paths.output)), WorkPaths(Path(config.paths.work))
    left = dict[str, Listed]()
    for section, folder in FOLDERS.items():
        mark = (objects.get_json(f"{folder}/{OWNER_FILE}") or {}).get("fingerprint")
        if mark and mark != plan.fingerprints.of(section):
            stage = f"{section}_shards"
            states = Manifest(work.records(stage, of_shards(mark))).read()
            left |= {file.name: file for file in named_in(_Valid(states).values())}
    if left and not left.items() <= {f.name: f for f in _sound(objects) if f.name in left}.items():
        from magneton_tasks.work import file_list  # pyarrow

        with file_list.Sorted() as found:
            found.add(_sound(objects))
            found.add(left.values())
            file_list.write(objects, found, "")


def _sound(objects: Objects) -> Iterator[Listed]:
    """The list's files, as far as it can be read."""
    from magneton_tasks.work import file_list  # pyarrow

    try:
        yield from file_list.read(objects)
    except CorruptFileError as error:
        tell(Note(f"WARNING: {error.what}: files that only it names stay in the output", "warning"))


class _Source:
    """The records of the result that an output's owner tells of."""

    def __init__(
        self, url: str, work: WorkPaths, plan: Mapping[str, Any], of: Fingerprints
    ) -> None:
        self._work, self._of = work, of
        self._stages = [stage for stage in OF_STAGE if stage in plan["work"]]
        self._geometry = Geometry.from_data(plan["geometry"])
        self._voxel_size_nm = VolumeFacts.from_data(plan["volume"]).voxel_size_nm
        self._url = url
        self.written: Written

    @classmethod
    def of(cls, url: str, owner: Mapping[str, Any]) -> _Source | None:
        """None: its plan or its records are gone, or can't be read."""
        with suppress(OSError, AttributeError, IndexError, KeyError, TypeError, ValueError):
            config = owner["config"]
            work = WorkPaths(Path(mapped(config["paths"]["work"], path_map())))
            for found in newest_first(work, owner["run"]):
                plan = plan_data(found.paths)
                for of in _fingerprints(found.paths, plan or {}):
                    if of.of_output == owner["fingerprint"]:
                        source = cls(url, work, plan or {}, of)
                        return source if source._open(config["apply"]) else None
        return None

    def _open(self, given: Mapping[str, Any]) -> bool:
        """Find its records, if they are there."""
        store = store_of(
            self._url,
            self._geometry,
            self._voxel_size_nm,
            (*given["chunk_size"],),
            given["encoding"],
            given["compress"],
        )
        self.written = Written(store, self._geometry, self._records)
        return self._folder("apply").is_dir()

    def _folder(self, stage: str) -> Path:
        return self._work.records(stage, self._of.of(stage))

    def _records(self, stage: str) -> Mapping[int, Record]:
        return _Valid(Manifest(self._folder(stage)).read() if stage in self._stages else {})

    def digest(self, owner: Mapping[str, Any]) -> str:
        """Of the result, and of its records as they are: more of them have more files."""
        told = [owner.get(name) for name in ("fingerprint", "threshold", "run")]
        records = [
            (stage, name, files.stat_size(self._folder(stage) / name))
            for stage in self._stages
            for name in files.listdir(self._folder(stage))
        ]
        return digest(told, records)


def _fingerprints(paths: AttemptPaths, plan: Mapping[str, Any]) -> Iterator[Fingerprints]:
    """Those that a plan knows, one for each threshold; the one that pool settled."""
    if (found := settled.read(paths)) is not None:
        yield found.fingerprints
    for each in (plan, *plan.get("cuts", ())):
        if "fingerprints" in each:
            yield Fingerprints(**each["fingerprints"])


class _Valid(Mapping[int, Record]):
    """The valid records among states, each parsed when it is asked for."""

    def __init__(self, states: Mapping[int, KeyState]) -> None:
        self._states = states

    def __getitem__(self, key: int) -> Record:
        record = self._states[key].valid
        if record is None:
            raise KeyError(key)
        return record

    def __iter__(self) -> Iterator[int]:
        return (key for key, state in self._states.items() if state.is_valid)

    def __len__(self) -> int:
        return sum(1 for _ in self)


# ------------------------------------------------------------------ once the new result is proved
def settle(
    attempt: Attempt,
    output: PrecomputedStore,
    records: Mapping[str, Mapping[int, Record]],
    more: Mapping[str, FileInfo],
) -> dict[str, int]:
    """Remove what earlier results left, and list what this one has.

    Called once that is proved, and its ``info`` is as it will be.

    Parameters
    ----------
    records
        The valid records of apply and downsample.
    more
        What no record names, by path below the output.

    Returns
    -------
    dict
        ``listed``: files of the result; ``removed``, ``left``: of earlier ones, those that are gone
        now, and those that aren't as listed any more.

    Raises
    ------
    OutputError, TemporaryError
        A file may not be removed, or the list can't be written.
    """
    from magneton_tasks.work import file_list  # pyarrow

    def of_stage(stage: str) -> Mapping[int, Record]:
        known = records.get(stage)
        if known is None and stage in attempt.plan.work:
            known = _Valid(attempt.manifest(stage).read())
        return known or {}

    objects, compared = output.objects, file_list.Comparison()
    of = digest([attempt.plan.fingerprints.of_output, attempt.threshold.settled])
    with file_list.Sorted() as now:
        now.add(of_result(Written(output, attempt.plan.geometry, of_stage)))
        now.add(Listed(name, file.size, file.crc32) for name, file in _with_info(objects, more))
        counts = _remove(attempt, objects, compared.gone(_sound(objects), now))
        if compared.is_same and file_list.whose(objects) == of:
            listed = sum(1 for _ in now)
        else:
            listed = file_list.write(objects, now, of)
    return {"listed": listed, **counts}


def _remove(attempt: Attempt, objects: Objects, gone: Iterator[Listed]) -> dict[str, int]:
    """Remove what is still as listed, and tell what isn't; how many of each, where there are some."""
    from magneton_tasks.formats.removing import remove  # buckets' clients

    removed = left = 0
    for fate in remove(objects, gone):
        if fate.kept is None:
            removed += 1
            continue
        left += 1
        if left <= _NAMED:
            text = f"{objects.location.name_of(fate.name)} is of an earlier result, and stays: {fate.kept}"
            tell(Note(f"verify: NOTE: {text}", "warning"))
    if removed:
        tell(Note(f"verify{attempt.named}: {several(removed, 'file')} of earlier results removed"))
    if left > _NAMED:
        more = several(left - _NAMED, "more file")
        tell(Note(f"verify{attempt.named}: NOTE: {more} like these", "warning"))
    return {name: n for name, n in (("removed", removed), ("left", left)) if n}


def _with_info(objects: Objects, more: Mapping[str, FileInfo]) -> Iterator[tuple[str, FileInfo]]:
    yield from more.items()
    if (data := objects.get("info", raw=True)) is not None:
        yield "info", FileInfo(len(data), crc32(data))
