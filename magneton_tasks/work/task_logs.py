"""Which log tells of a block, and where it lies.

Logs of jobs and of blocks that failed are a file each while a run goes on, later one of each batch or stage.

::

    logs/slurm/<task>/<job>_<index>.log     ->  logs/slurm/<task>.log
    logs/<stage>-block-<key>.log            ->  logs/<stage>-blocks.log

Each piece stands below a line ``==> <job>_<index>.log <==``, as ``tail`` prints it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.work.paths import AttemptPaths
from magneton_tasks.work.record import Record

_BLOCK = re.compile(r"([a-z]+\d?)-block-\d+\.log")
_HEAD = re.compile(rb"^==> \S+ <==$", re.MULTILINE)


def gathered(log: Path) -> Path:
    """Where the log of a job or of a block lies once it was gathered."""
    block = _BLOCK.fullmatch(log.name)
    return log.with_name(f"{block[1]}-blocks.log") if block else log.parent.with_suffix(".log")


def blocks_of(directory: Path) -> list[Path]:
    """The logs of blocks in an attempt's ``logs``."""
    return [directory / name for name in files.listdir(directory) if _BLOCK.fullmatch(name)]


def place_of(log: Path) -> Path | None:
    """The file that holds a log now: itself, or what was gathered; None where there is none."""
    if log.is_file():
        return log
    place = gathered(log)
    with suppress(OSError), files.open_read(place) as file:
        return place if _piece(file.read(), log.name) is not None else None
    return None


def tail(log: Path, most_bytes: int) -> str | None:
    """The end of a log, wherever it lies now; None where there is none (any more)."""
    with suppress(FileNotFoundError):
        return _shown(*_end(log, most_bytes))
    with suppress(FileNotFoundError), files.open_read(gathered(log)) as file:
        piece = _piece(file.read(), log.name)
        if piece is not None:
            return _shown(piece[-most_bytes:], len(piece) > most_bytes)
    return None


def log_of(runs: Path, stage: str, known: Sequence[Record]) -> Path | None:
    """The log that tells most of a block: its own, else that of the task that worked it last.

    Parameters
    ----------
    runs
        Where all runs of the work directory lie.
    known
        Records of the block, the newest last.

    Returns
    -------
    Path
        Where it lay at first: it may have been gathered since. None: there is none (any more).
    """
    runs = Path(os.path.realpath(runs))
    for record in reversed(known):
        for candidate in _candidates(runs, stage, record):
            real = Path(os.path.realpath(candidate))
            # What a record names is another process's word: nothing outside the runs is shown.
            place = place_of(real) if _is_log_of(runs, real) else None
            if place is not None and _is_log_of(runs, Path(os.path.realpath(place))):
                return real
    return None


def _is_log_of(runs: Path, path: Path) -> bool:
    return path.is_relative_to(runs) and path.suffix == ".log"


def attempt_of(runs: Path, record: Record) -> AttemptPaths | None:
    """The attempt that wrote a record; None: the record doesn't tell."""
    if not record.run or record.attempt is None:
        return None
    return AttemptPaths(runs / record.run / str(record.attempt))


def _candidates(runs: Path, stage: str, record: Record) -> Iterator[Path]:
    """Where the log of a block may lie, the one that tells most first."""
    if isinstance(log := record.info.get("log"), str):
        yield Path(log)
    paths = attempt_of(runs, record)
    if paths is not None:
        batch = None if stage == "pool" else record.batch
        yield paths.block_log(stage, record.key)
        if record.job is not None:
            yield paths.job_log(stage, batch, record.job)
        yield paths.log(stage, batch)


def gather(logs: Iterable[Path], into: Path) -> None:
    """Append logs that nobody writes to any more to another, and remove them.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error; nothing is lost.
    """
    logs = list(logs)
    if not logs:
        return
    before = into.read_bytes() if into.is_file() else b""
    # one that a kill left beside what was gathered of it isn't taken twice
    new = [log for log in logs if not before or _piece(before, log.name) != _content(log)]
    if new:
        files.write_atomic(into, _pieces(before, new))
    for log in logs:
        log.unlink(missing_ok=True)
    for directory in {log.parent for log in logs} - {into.parent}:
        with suppress(OSError):  # something else lies there
            directory.rmdir()


def _pieces(before: bytes, logs: Iterable[Path]) -> Iterator[bytes]:
    yield before
    for log in logs:
        yield b"==> " + os.fsencode(log.name) + b" <==\n"
        yield _content(log)


def _content(log: Path) -> bytes:
    """What a log holds; its last line ends."""
    with files.open_read(log) as file:
        data = file.read()
    return data if data.endswith(b"\n") or not data else data + b"\n"


def _piece(text: bytes, name: str) -> bytes | None:
    """What was gathered of a log, the last time; None: nothing."""
    head = b"==> " + os.fsencode(name) + b" <==\n"
    at = text.rfind(b"\n" + head) + 1
    if at == 0 and not text.startswith(head):
        return None
    begin = at + len(head)
    following = _HEAD.search(text, begin)
    return text[begin : following.start() if following else len(text)]


def _end(log: Path, most_bytes: int) -> tuple[bytes, bool]:
    with files.open_read(log) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - most_bytes, 0))
        return file.read(), size > most_bytes


def _shown(data: bytes, is_cut: bool) -> str:
    text = data.decode("utf-8", "replace")
    return "...\n" + text.partition("\n")[2] if is_cut else text
