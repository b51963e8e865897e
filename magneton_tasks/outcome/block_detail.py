"""One block or cell of a block map: its record, what was tried, and the log of it.

Which figures are shown of it is listed in `outcome.figures`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.outcome import figures
from magneton_tasks.outcome.run_state import place_of
from magneton_tasks.outcome.stage_names import found
from magneton_tasks.plan.stage_table import noun_of
from magneton_tasks.work import task_logs
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record
from magneton_tasks.work.states import VolumeStates

Data = dict[str, Any]

#: Bytes of a log's end that are shown.
LOG_BYTES = 64 << 10
_READ_BYTES = 8 << 20


def events(attempt: Attempt, stage: str, key: int) -> list[Record]:
    """All records of one block that are still there, in the order of their time.

    A compaction of the manifest (by plan) keeps the last of them only.
    """
    directory = attempt.work.records(stage, attempt.plan.fingerprints.of(stage))
    wanted, found = f'{{"key":{key},'.encode(), []
    for name in files.listdir(directory):
        if name.endswith(".jsonl"):
            with suppress(FileNotFoundError):  # compacted meanwhile
                found += _lines(directory / name, wanted)
    records = []
    for line in found:
        with suppress(ValueError, TypeError, UnicodeDecodeError):
            records.append(Record.from_line(line.decode("ascii")))
    return sorted(records, key=lambda r: r.time)


def _lines(path: Path, wanted: bytes) -> list[bytes]:
    """The lines of a file that begin with ``wanted``; it is read piece by piece."""
    found, rest = [], b""
    with files.open_read(path) as file:
        while data := file.read(_READ_BYTES):
            whole, newline, rest = (rest + data).rpartition(b"\n")
            if not newline:
                continue
            at = 0 if whole.startswith(wanted) else whole.find(b"\n" + wanted) + 1 or -1
            while at >= 0:
                end = whole.find(b"\n", at)
                end = len(whole) if end < 0 else end
                found.append(whole[at:end])
                at = whole.find(b"\n" + wanted, end) + 1 or -1
    return found


def detail(attempt: Attempt, stage: str, key: int) -> Data:
    """What there is to know of one block: place, last record, tries.

    Parameters
    ----------
    stage
        As the block map calls it (`stage_names`).

    Raises
    ------
    KeyError
        No such block.
    """
    name = stage
    attempt, stage = found(attempt, name)
    states = VolumeStates(attempt, alive=False)
    grid = states.grid(stage)
    if not 0 <= key < states.total(stage):
        raise KeyError(key)
    known = events(attempt, stage, key)
    return {
        "stage": name, "noun": noun_of(stage), "key": key,
        **place_of(grid, key),
        "tries": [_try(attempt, r) for r in known],
        "log": task_logs.log_of(attempt.work.runs, stage, known) is not None,
    }  # fmt: skip


def _try(attempt: Attempt, record: Record) -> Data:
    return {
        "state": record.state,
        "time": record.time,
        "host": record.host,
        "pid": record.pid,
        "job": record.job,
        "run": record.run,
        "attempt": record.attempt,
        "batch": record.batch,
        "ours": attempt.is_ours(record),
        **figures.told(record),
        **{name: record.info.get(name) for name in ("exit_code", "cause", "hint")},
    }


def log_tail(attempt: Attempt, stage: str, key: int) -> str | None:
    """The end of a block's log; None where there is none (any more)."""
    attempt, stage = found(attempt, stage)
    path = task_logs.log_of(attempt.work.runs, stage, events(attempt, stage, key))
    if path is None:
        return None
    with suppress(OSError):
        return task_logs.tail(path, LOG_BYTES)
    return None


def as_json(data: object) -> bytes:
    """Compact JSON; no NaN can be in it."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).encode()
