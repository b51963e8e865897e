"""The local runner: a stage's batches as processes of this machine, a limited number at a time.

A batch starts with what plan projects for a block. One that runs out of memory is tried again once
the others have ended: alone, with all that a worker may have.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from magneton_tasks.base.units import human_bytes
from magneton_tasks.base.worker_env import MEMORY_VARIABLE, worker_environ
from magneton_tasks.errors import EXIT_OK
from magneton_tasks.runners import retry
from magneton_tasks.runners.command import last_result, ran_out_of_memory, stage_command
from magneton_tasks.runners.interrupts import Interrupts
from magneton_tasks.runners.retry import Cause
from magneton_tasks.work.paths import AttemptPaths

#: Tells a worker to end when the process that started it does.
DIE_WITH_PARENT = "MAGNETON_DIE_WITH_PARENT"
#: Seconds that workers get to end after SIGTERM.
GRACE_S = 10.0
#: Among this many last lines of a worker is its result.
_LAST_LINES = 8

OnLine = Callable[[str], None]
#: gets the process ids of the workers that run
OnTick = Callable[[Sequence[int]], None]


@dataclass
class _Worker:
    batch: int | None
    process: subprocess.Popen[bytes]
    log: BinaryIO
    #: has all the memory that there is for workers, and nobody beside it
    is_alone: bool
    rest: bytes = b""
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))

    def cause(self, code: int) -> Cause:
        """Why it failed."""
        told = ran_out_of_memory(last_result(list(self.last)))
        return retry.cause_of_exit(code, ran_out_of_memory=told)

    def close(self) -> None:
        """Close what is read of it, and its log."""
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()


def run_stage(
    attempt: Path,
    stage: str,
    batches: int | None,
    workers: int,
    on_line: OnLine,
    on_tick: OnTick = lambda _: None,
    alone_bytes: int | None = None,
) -> dict[int | None, int]:
    """Run all batches of a stage, ``workers`` at a time.

    Parameters
    ----------
    batches
        How many; None: the stage isn't mapped and runs once.
    on_line
        Gets each line that a worker prints; the lines are also in the attempt's logs. Lines of
        the runner itself begin with ``<stage>:``.
    on_tick
        Called once a second at least.
    alone_bytes
        What a batch may take that ran out of memory and is tried again, with no other beside it;
        None: as much as at first.

    Returns
    -------
    dict
        Exit code of each batch's last try; `EXIT_CONFIG` where all memory wasn't enough.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C was pressed: the workers were asked to end, and have ended. The second Ctrl-C, or
        `GRACE_S`, kills those that don't.
    """
    runner = _Runner(AttemptPaths(attempt), stage, on_line, on_tick, alone_bytes)
    with runner.interrupts.held():
        try:
            return runner.run([None] if batches is None else list(range(batches)), workers)
        finally:
            runner.stop()


class _Runner:
    def __init__(
        self,
        paths: AttemptPaths,
        stage: str,
        on_line: OnLine,
        on_tick: OnTick,
        alone_bytes: int | None,
    ) -> None:
        self.paths, self.stage, self.on_line, self.on_tick = paths, stage, on_line, on_tick
        self.alone_bytes = alone_bytes
        self.interrupts = Interrupts(self.interrupted)
        self.selector = selectors.DefaultSelector()
        self.running: list[_Worker] = []
        self.failed: dict[int | None, dict[Cause, int]] = {}
        self.waiting: deque[int | None] = deque()
        #: ran out of memory: each is tried again when no other runs
        self.alone: deque[int | None] = deque()

    def run(self, batches: Sequence[int | None], workers: int) -> dict[int | None, int]:
        self.waiting.extend(batches)
        codes = dict.fromkeys(batches, EXIT_OK)
        while (self.waiting or self.alone or self.running) and not self.interrupts.count:
            self.start_some(workers)
            self.on_tick([w.process.pid for w in self.running])
            for worker in self.read():
                codes[worker.batch] = self.ended(worker)
        if self.running:
            self.on_line(
                f"{self.stage}: stopping {len(self.running)} workers; Ctrl-C again ends them at once"
            )
        return codes

    def start_some(self, workers: int) -> None:
        """Start what may run now."""
        while self.waiting and len(self.running) < workers and not self.interrupts.count:
            self.start(self.waiting.popleft())
        if self.alone and not self.running and not self.interrupts.count:
            self.start(self.alone.popleft(), is_alone=True)

    def ended(self, worker: _Worker) -> int:
        """Exit code of a worker that has ended; decides whether its batch is tried again."""
        code, batch = worker.process.wait(), worker.batch
        name = self.stage if batch is None else f"{self.stage}: batch {batch}"
        if code == EXIT_OK or self.interrupts.count:
            return code
        cause = worker.cause(code)
        failed = self.failed[batch] = retry.counted(self.failed.get(batch, {}), cause)
        if cause is Cause.MEMORY:
            what = f"{name} ran out of memory" + (f" (ended with {code})" if code < 0 else "")
            given = "" if self.alone_bytes is None else f" with {human_bytes(self.alone_bytes)}"
            if worker.is_alone:
                self.on_line(f"{what}, alone{given}: no more is available")
                return retry.without_more_memory(code)
            self.on_line(f"{what}; trying again, alone{given}")
            self.alone.append(batch)
        elif retry.helps_here(code) and retry.is_left(failed, cause, retry.TRIES):
            self.on_line(f"{name} ended with {code}; trying again")
            self.waiting.append(batch)
        return code

    def interrupted(self, times: int) -> None:
        """Ctrl-C: ask the workers to end, the second time kill them."""
        self.send(signal.SIGTERM if times == 1 else signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the workers that run, and to what they have started."""
        for worker in self.running:
            if worker.process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(worker.process.pid, number)

    def start(self, batch: int | None, *, is_alone: bool = False) -> None:
        log_path = self.paths.log(self.stage, batch)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log = open(log_path, "ab")  # noqa: SIM115 (closed when the worker ends)
        environ = {**worker_environ(), DIE_WITH_PARENT: "1"}
        if is_alone and self.alone_bytes is not None:
            environ[MEMORY_VARIABLE] = str(self.alone_bytes)
        process = subprocess.Popen(
            stage_command(self.stage, self.paths.root, batch),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environ,
        )
        worker = _Worker(batch, process, log, is_alone)
        assert process.stdout is not None
        self.selector.register(process.stdout, selectors.EVENT_READ, worker)
        self.running.append(worker)

    def read(self) -> list[_Worker]:
        """Pass on what the workers print; returns those that ended."""
        ended = []
        for key, _ in self.selector.select(timeout=1.0):
            worker: _Worker = key.data
            data = os.read(key.fd, 65536)
            if not data:
                self.selector.unregister(key.fileobj)
                self.running.remove(worker)
                worker.close()
                if worker.rest:
                    worker.last.append(worker.rest.decode(errors="replace"))
                    self.on_line(worker.last[-1])
                ended.append(worker)
                continue
            worker.log.write(data)
            worker.log.flush()
            *lines, worker.rest = (worker.rest + data).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                if text:
                    worker.last.append(text)
                # a worker that was asked to end says that it failed
                if not (self.interrupts.count and text.startswith(f"{self.stage}: ")):
                    self.on_line(text)
        return ended

    def stop(self) -> None:
        """End what still runs: after Ctrl-C, or an error."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.send(number)
            for worker in self.running:
                with suppress(subprocess.TimeoutExpired):
                    worker.process.wait(GRACE_S)
        for worker in self.running:
            worker.close()
        self.selector.close()
