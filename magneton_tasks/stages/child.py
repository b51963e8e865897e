"""A forked child for one block: a crash costs one block, and its peak memory is its own.

The parent has imported everything and warmed the compiled code; the child works and ends. It dies
with its parent, so a killed worker leaves nothing running behind.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import re
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any, NoReturn

from magneton_tasks.base import files, units
from magneton_tasks.errors import (
    EXIT_BUG,
    MagnetonError,
    OutOfMemoryError,
    TemporaryError,
)
from magneton_tasks.plan.cost_overlap import segment_allocation_bytes
from magneton_tasks.stages.loop import Begin, explain
from magneton_tasks.work import parquet
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Outcome

_PR_SET_PDEATHSIG = 1
#: Bytes of the log's end that the task log shows after a failure.
_TAIL_BYTES = 4000
#: What the C++ library and Python print, as lines of their own, where memory or a thread's stack
#: can't be had.
_NO_MEMORY = re.compile(
    r"^terminate called after throwing an instance of 'std::bad_alloc'$"
    r"|^\s*what\(\):\s+(std::bad_alloc|Resource temporarily unavailable)$"
    r"|^(numpy\._core\._exceptions\._Array)?MemoryError\b",
    re.MULTILINE,
)
#: Seconds between two looks at the memory of a child.
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class ChildResult:
    """What a child returned, and what it used."""

    value: Any
    cpu_s: float
    peak_bytes: int


def run_in_child(make: Callable[[], Any], log: Path, memory_limit: int) -> ChildResult:
    """Run ``make`` in a forked child; its stdout and stderr go to ``log``.

    Parameters
    ----------
    make
        Returns plain JSON data.
    log
        Removed when the child succeeds.
    memory_limit
        Bytes that may be resident; 0 for no limit. The parent looks every `_LOOK_S` and kills a
        child that has more; a limit on what it allocates ends one that grows faster than that.

    Raises
    ------
    MagnetonError
        What ``make`` raised; OutOfMemoryError or TemporaryError where the child was killed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    parquet.reserve()
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(make, log, memory_limit, writer, parent)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb", buffering=0) as pipe:
            answer, too_large = _wait(pipe, pid, memory_limit)
        _, status, usage = os.wait4(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    if too_large:
        raise _too_large(memory_limit)
    return _result(answer, status, usage, log, memory_limit)


def made_in_child(make: Callable[[], Outcome], log: Path, memory_limit: int) -> Outcome:
    """What ``make`` makes of a block, with what its child used; as `run_in_child`."""
    child = run_in_child(lambda: asdict(make()), log, memory_limit)
    return Outcome(**child.value | {"cpu_s": child.cpu_s, "peak_bytes": child.peak_bytes})


def each_in_child(
    attempt: Attempt,
    stage: str,
    keys: Iterable[int],
    begin: Begin,
    prepare: Callable[[int], Callable[[], Outcome]],
) -> Iterator[tuple[int, Outcome | Exception]]:
    """Work blocks one after another, each in a child of its own.

    ``prepare`` is called in this process, and returns what the child does.
    """
    limit = attempt.memory_limit(stage)
    for key in keys:
        begin(key)
        try:
            yield key, made_in_child(prepare(key), attempt.paths.block_log(stage, key), limit)
        except Exception as error:
            yield key, error


def _wait(pipe: FileIO, pid: int, memory_limit: int) -> tuple[bytes, bool]:
    """What the child answers, and whether it was killed for its memory."""
    answer = b""
    while True:
        ready, _, _ = select.select([pipe], [], [], _LOOK_S)
        if ready:
            data = os.read(pipe.fileno(), 65536)
            if not data:
                return answer, False
            answer += data
        elif memory_limit and resident_bytes(pid) > memory_limit:
            os.kill(pid, signal.SIGKILL)
            return b"", True


def resident_bytes(pid: int) -> int:
    """What a process holds in memory now; 0 where it can't be read."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * resource.getpagesize()


def _allocated_bytes() -> int:
    """What this process has allocated so far (VmData)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0


def _too_large(memory_limit: int) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"needed more than its limit of {units.human_bytes(memory_limit)} of memory"
    )


def _child(
    make: Callable[[], Any], log: Path, memory_limit: int, writer: int, parent: int
) -> NoReturn:
    code = EXIT_BUG
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if memory_limit:
            allowed = _allocated_bytes() + segment_allocation_bytes(memory_limit)
            resource.setrlimit(resource.RLIMIT_DATA, (allowed, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _die_first()
        faulthandler.disable()
        try:
            answer = {"value": make()}
            code = 0
        except BaseException as error:
            # to tell why takes memory, too
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
            traceback.print_exc()
            failure = explain(error)
            code = failure.exit_code
            answer = {"what": failure.what, "hint": failure.hint, "error": type(failure).__name__}
        sys.stdout.flush()
        sys.stderr.flush()
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
    except BaseException:
        traceback.print_exc()
        code = code or EXIT_BUG
    finally:
        os._exit(code)


def _die_first() -> None:
    """Where the machine's memory runs out, the kernel kills this process, not what others depend on."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _result(
    answer: bytes, status: int, usage: resource.struct_rusage, log: Path, memory_limit: int
) -> ChildResult:
    code = os.waitstatus_to_exitcode(status)
    if code == 0 and answer:
        _pass_on(log)
        log.unlink(missing_ok=True)
        return ChildResult(
            json.loads(answer)["value"], usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
        )
    tail = _tail(log)
    if tail and (not answer or code == EXIT_BUG):  # else what is raised below says it all
        print(f"--- the block's log ({log}) ---\n{tail}\n---", flush=True)
    if code in (-signal.SIGABRT, -signal.SIGSEGV) and _looks_like_memory(tail, usage, memory_limit):
        raise _too_large(memory_limit)
    if code == -signal.SIGKILL:
        raise OutOfMemoryError(
            f"was killed (SIGKILL) at {units.human_bytes(usage.ru_maxrss * 1024)}, as the kernel does when memory runs out"
        )
    if code < 0:
        raise TemporaryError(
            f"crashed: {signal.Signals(-code).name}", f"see {log}; a rerun tries again"
        )
    raise rebuild_error(code, json.loads(answer) if answer else {})


def _looks_like_memory(tail: str, usage: resource.struct_rusage, memory_limit: int) -> bool:
    near = memory_limit > 0 and usage.ru_maxrss * 1024 > 0.5 * memory_limit
    return near or bool(_NO_MEMORY.search(tail))


def _pass_on(log: Path) -> None:
    """Say what a child that succeeded moved aside: its log goes."""
    for line in _tail(log).splitlines():
        if line.startswith(files.MOVED_ASIDE):
            print(line, flush=True)


def _tail(log: Path) -> str:
    try:
        with open(log, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _TAIL_BYTES, 0))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def rebuild_error(code: int, answer: dict[str, Any]) -> MagnetonError:
    """The child's error as the parent raises it."""
    kinds: list[type[MagnetonError]] = [MagnetonError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    kind = next((k for k in kinds if k.__name__ == answer.get("error")), MagnetonError)
    what = answer.get("what", f"ended with exit code {code}")
    return kind.ended_with(code or EXIT_BUG, what, answer.get("hint"))
