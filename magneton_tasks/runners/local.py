"""The local runner: a stage's batches as processes of this machine, so many at a time."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from magneton_tasks.errors import EXIT_OK, EXIT_TEMPORARY
from magneton_tasks.paths import AttemptPaths
from magneton_tasks.runners.command import stage_command
from magneton_tasks.runners.interrupts import Interrupts

#: Tells a worker to end when the process that started it does.
DIE_WITH_PARENT = "MAGNETON_DIE_WITH_PARENT"
#: Tries of a batch that ended with 75 or by a signal.
TRIES = 2
#: Seconds that workers get to end after SIGTERM.
GRACE_S = 10.0

OnLine = Callable[[str], None]
#: gets the process ids of the workers that run
OnTick = Callable[[Sequence[int]], None]


@dataclass
class _Worker:
    batch: int | None
    process: subprocess.Popen[bytes]
    log: BinaryIO
    rest: bytes = b""

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

    Returns
    -------
    dict
        Exit code of each batch's last try.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C was pressed: the workers were asked to end, and have ended. The second Ctrl-C, or
        `GRACE_S`, kills those that don't.
    """
    runner = _Runner(AttemptPaths(attempt), stage, on_line, on_tick)
    with runner.interrupts.held():
        try:
            return runner.run([None] if batches is None else list(range(batches)), workers)
        finally:
            runner.stop()


class _Runner:
    def __init__(self, paths: AttemptPaths, stage: str, on_line: OnLine, on_tick: OnTick) -> None:
        self.paths, self.stage, self.on_line, self.on_tick = paths, stage, on_line, on_tick
        self.interrupts = Interrupts(self.interrupted)
        self.selector = selectors.DefaultSelector()
        self.running: list[_Worker] = []
        self.tries: dict[int | None, int] = {}

    def run(self, batches: Sequence[int | None], workers: int) -> dict[int | None, int]:
        waiting, codes = list(batches), dict.fromkeys(batches, EXIT_OK)
        while (waiting or self.running) and not self.interrupts.count:
            while waiting and len(self.running) < workers and not self.interrupts.count:
                self.start(waiting.pop(0))
            self.on_tick([w.process.pid for w in self.running])
            for worker in self.read():
                code = worker.process.wait()
                codes[worker.batch] = code
                worth = code < 0 or code == EXIT_TEMPORARY
                if worth and self.tries[worker.batch] < TRIES and not self.interrupts.count:
                    self.on_line(
                        f"{self.stage}: batch {worker.batch} ended with {code}; trying again"
                    )
                    waiting.append(worker.batch)
        if self.running:
            self.on_line(
                f"{self.stage}: stopping {len(self.running)} workers; Ctrl-C again ends them at once"
            )
        return codes

    def interrupted(self, times: int) -> None:
        """Ctrl-C: ask the workers to end, the second time kill them."""
        self.send(signal.SIGTERM if times == 1 else signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the workers that run, and to what they have started."""
        for worker in self.running:
            if worker.process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(worker.process.pid, number)

    def start(self, batch: int | None) -> None:
        log_path = self.paths.log(self.stage, batch)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log = open(log_path, "ab")  # noqa: SIM115 (closed when the worker ends)
        process = subprocess.Popen(
            stage_command(self.stage, self.paths.root, batch),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, env={**os.environ, DIE_WITH_PARENT: "1"},
        )  # fmt: skip
        worker = _Worker(batch, process, log)
        assert process.stdout is not None
        self.selector.register(process.stdout, selectors.EVENT_READ, worker)
        self.running.append(worker)
        self.tries[batch] = self.tries.get(batch, 0) + 1

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
                    self.on_line(worker.rest.decode(errors="replace"))
                ended.append(worker)
                continue
            worker.log.write(data)
            worker.log.flush()
            *lines, worker.rest = (worker.rest + data).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
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
