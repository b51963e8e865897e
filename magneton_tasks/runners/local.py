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
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from magneton_tasks.base.units import human_bytes, several
from magneton_tasks.base.worker_env import DIE_WITH_PARENT, MEMORY_VARIABLE, worker_environ
from magneton_tasks.errors import EXIT_OK
from magneton_tasks.runners import resources, retry
from magneton_tasks.runners.command import ran_out_of_memory, stage_command
from magneton_tasks.runners.interrupts import Interrupts
from magneton_tasks.runners.retry import Cause
from magneton_tasks.runners.template import Process, Template
from magneton_tasks.work.events import EVENTS_VARIABLE, Event, Failed, Note, Text, Told, read
from magneton_tasks.work.paths import AttemptPaths, task_title

#: Seconds that workers get to end after SIGTERM.
GRACE_S = 10.0

OnEvent = Callable[[Event], None]
#: gets the process ids of the workers that run
OnTick = Callable[[Sequence[int]], None]


@dataclass
class _Worker:
    batch: int | None
    process: Process
    log: BinaryIO
    rest: bytes = b""
    told: Told = field(default_factory=Told)

    def cause(self, code: int) -> Cause:
        """Why it failed."""
        return retry.cause_of_exit(code, ran_out_of_memory=ran_out_of_memory(self.told))

    def lines(self, data: bytes) -> Iterator[Event]:
        """What it told with these bytes, whole lines only; into its log as people read it."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            yield self._take(line, end=b"\n")
        self.log.flush()

    def last_line(self) -> Iterator[Event]:
        """What it told without ending the line."""
        if self.rest:
            yield self._take(self.rest, end=b"")

    def _take(self, line: bytes, end: bytes) -> Event:
        event = read(line.decode(errors="replace"))
        told = "\n".join(self.told.take(event))
        self.log.write(
            (line if isinstance(event, Text) else told.encode(errors="backslashreplace")) + end
        )
        return event

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
    on_event: OnEvent,
    on_tick: OnTick = lambda _: None,
    alone_bytes: int | None = None,
    template: Template | None = None,
) -> dict[int | None, int]:
    """Run all batches of a stage, ``workers`` at a time.

    Parameters
    ----------
    batches
        How many; None: the stage isn't mapped and runs once.
    on_event
        Gets what each worker tells, which is also in the attempt's logs, and what the runner does.
    on_tick
        Called once a second at least.
    alone_bytes
        What a batch may take that ran out of memory and is tried again, with no other beside it;
        None: what the machine has.
    template
        What forks the workers as long as it can; without it each starts anew.

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
    alone_bytes = resources.alone_memory(alone_bytes)
    runner = _Runner(AttemptPaths(attempt), stage, on_event, on_tick, alone_bytes, template)
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
        on_event: OnEvent,
        on_tick: OnTick,
        alone_bytes: int,
        template: Template | None,
    ) -> None:
        self.paths, self.stage, self.on_event, self.on_tick = paths, stage, on_event, on_tick
        self.alone_bytes, self.template = alone_bytes, template
        self.interrupts = Interrupts(self.interrupted)
        self.selector = selectors.DefaultSelector()
        self.running: list[_Worker] = []
        self.tries: dict[int | None, retry.Tries] = {}
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
            text = f"{self.stage}: stopping {several(len(self.running), 'worker')}; Ctrl-C again ends them at once"
            self.on_event(Note(text, "stopping"))
        return codes

    def start_some(self, workers: int) -> None:
        """Start what may run now."""
        while self.waiting and len(self.running) < workers and not self.interrupts.count:
            self.start(self.waiting.popleft())
        if self.alone and not self.running and not self.interrupts.count:
            self.start(self.alone.popleft())

    def ended(self, worker: _Worker) -> int:
        """Exit code of a worker that has ended; decides whether its batch is tried again."""
        code, batch = worker.process.wait(), worker.batch
        name = task_title(self.stage, batch)
        if code == EXIT_OK or self.interrupts.count:
            return code
        cause, tries = worker.cause(code), self.tries[batch]
        step = tries.after(code, cause)
        if cause is Cause.MEMORY:
            what = f"{name} ran out of memory" + (f" (ended with {code})" if code < 0 else "")
            given = "" if step.again else f", alone with {human_bytes(self.alone_bytes)}"
            self.on_event(Note(f"{what}{given}{'; ' if step.again else ': '}{step.words}"))
        elif step.again:
            self.on_event(Note(f"{name} ended with {code}; {step.words}"))
        if step.again:
            (self.waiting if tries.memory is None else self.alone).append(batch)
        return step.exit_code

    def interrupted(self, times: int) -> None:
        """Ctrl-C: ask the workers to end, the second time kill them."""
        self.send(signal.SIGTERM if times == 1 else signal.SIGKILL)
        if self.template is not None:
            self.template.give_up()

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
        environ = {**worker_environ(), DIE_WITH_PARENT: str(os.getpid()), EVENTS_VARIABLE: "1"}
        tries = self.tries.setdefault(batch, retry.Tries(self.alone_bytes, how=", alone"))
        if tries.memory is not None:
            environ[MEMORY_VARIABLE] = str(tries.memory)
        process = self.process(stage_command(self.stage, self.paths.root, batch), environ, log)
        worker = _Worker(batch, process, log)
        assert process.stdout is not None
        self.selector.register(process.stdout, selectors.EVENT_READ, worker)
        self.running.append(worker)

    def process(self, command: list[str], environ: dict[str, str], log: BinaryIO) -> Process:
        """A worker's process: forked where there is a template, else started anew."""

        def say(text: str) -> None:
            self.on_event(Note(text))
            log.write(f"{text}\n".encode(errors="backslashreplace"))

        forked = self.template and self.template.fork(command, environ, say)
        return forked or subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environ,
        )

    def read(self) -> list[_Worker]:
        """Pass on what the workers print; returns those that ended."""
        ended = []
        for key, _ in self.selector.select(timeout=1.0):
            worker: _Worker = key.data
            data = os.read(key.fd, 65536)
            if not data:
                self.selector.unregister(key.fileobj)
                self.running.remove(worker)
                events = list(worker.last_line())
                worker.close()
                ended.append(worker)
            else:
                events = list(worker.lines(data))
            for event in events:
                # a worker that was asked to end says that it failed
                is_asked = self.interrupts.count and isinstance(event, Failed) and event.key is None
                if not is_asked:
                    self.on_event(event)
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
