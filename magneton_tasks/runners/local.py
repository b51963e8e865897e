"""The local runner: a stage's batches as processes of this machine, so many at a time."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from magneton_tasks.errors import EXIT_OK, EXIT_TEMPORARY
from magneton_tasks.paths import AttemptPaths
from magneton_tasks.runners.command import stage_command

#: Tells a worker to end when the process that started it does.
DIE_WITH_PARENT = "MAGNETON_DIE_WITH_PARENT"
#: Tries of a batch that ended with 75 or by a signal.
TRIES = 2
#: Seconds that workers get to end after SIGTERM.
GRACE_S = 10.0

OnLine = Callable[[str], None]


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
    attempt: Path, stage: str, batches: int | None, workers: int, on_line: OnLine
) -> dict[int | None, int]:
    """Run all batches of a stage, ``workers`` at a time.

    Parameters
    ----------
    batches
        How many; None: the stage isn't mapped and runs once.
    on_line
        Gets each line that a worker prints; the lines are also in the attempt's logs.

    Returns
    -------
    dict
        Exit code of each batch's last try.
    """
    runner = _Runner(AttemptPaths(attempt), stage, on_line)
    try:
        return runner.run([None] if batches is None else list(range(batches)), workers)
    finally:
        runner.stop()


class _Runner:
    def __init__(self, paths: AttemptPaths, stage: str, on_line: OnLine) -> None:
        self.paths, self.stage, self.on_line = paths, stage, on_line
        self.selector = selectors.DefaultSelector()
        self.running: list[_Worker] = []
        self.tries: dict[int | None, int] = {}

    def run(self, batches: Sequence[int | None], workers: int) -> dict[int | None, int]:
        waiting, codes = list(batches), dict.fromkeys(batches, EXIT_OK)
        while waiting or self.running:
            while waiting and len(self.running) < workers:
                self.start(waiting.pop(0))
            for worker in self.read():
                code = worker.process.wait()
                codes[worker.batch] = code
                if (code < 0 or code == EXIT_TEMPORARY) and self.tries[worker.batch] < TRIES:
                    self.on_line(
                        f"{self.stage}: batch {worker.batch} ended with {code}; trying again"
                    )
                    waiting.append(worker.batch)
        return codes

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
                self.on_line(line.decode(errors="replace"))
        return ended

    def stop(self) -> None:
        """End what still runs: after Ctrl-C, or an error."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for worker in self.running:
                if worker.process.poll() is None:
                    try:
                        os.killpg(worker.process.pid, number)
                    except ProcessLookupError:
                        continue
            for worker in self.running:
                try:
                    worker.process.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    continue
        for worker in self.running:
            worker.close()
        self.selector.close()
