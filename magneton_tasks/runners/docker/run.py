"""A stage's batches in containers, a limited number at a time: the docker runner of ``magneton run``."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import count
from pathlib import Path
from typing import BinaryIO

from magneton_tasks.base.units import several
from magneton_tasks.errors import EXIT_TEMPORARY, MagnetonError
from magneton_tasks.runners.docker.containers import give
from magneton_tasks.runners.docker.task import Ending, Workshop, stage_task
from magneton_tasks.runners.interrupts import Interrupts
from magneton_tasks.runners.local import OnEvent, OnTick
from magneton_tasks.runners.retry import cause_of_exit
from magneton_tasks.work.events import Event, Failed, Note
from magneton_tasks.work.paths import AttemptPaths

#: How often whoever watches is told of the containers that run, in seconds: the engine is asked for each.
_TICK_S = 0.8
#: How soon what containers tell is passed on, in seconds.
_LOOK_S = 0.2

Endings = dict[int | None, Ending]


def run_stage(
    workshop: Workshop,
    attempt: Path,
    stage: str,
    batches: int | None,
    workers: int,
    on_event: OnEvent,
    on_tick: OnTick = lambda _: None,
) -> dict[int | None, int]:
    """Run all batches of a stage, ``workers`` containers at a time.

    Parameters and result are those of `runners.local.run_stage`; ``on_tick`` gets the process ids
    of the containers' first processes.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C was pressed: the containers were asked to end, and have ended.
    MagnetonError
        The engine doesn't answer, or refuses the containers.
    """
    stage_run = _StageRun(workshop, AttemptPaths(attempt), stage, on_event)
    with stage_run.interrupts.held():
        return stage_run.run([None] if batches is None else list(range(batches)), workers, on_tick)


class _StageRun:
    def __init__(
        self, workshop: Workshop, paths: AttemptPaths, stage: str, on_event: OnEvent
    ) -> None:
        self.workshop, self.plan, self.paths = workshop, workshop.planned, paths
        self.stage, self.on_event = stage, on_event
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.interrupts = Interrupts(self.interrupted)

    def run(
        self, batches: Sequence[int | None], workers: int, on_tick: OnTick
    ) -> dict[int | None, int]:
        with ThreadPoolExecutor(workers, thread_name_prefix=self.stage) as pool:
            running = {pool.submit(self.run_batch, batch): batch for batch in batches}
            codes: dict[int | None, int] = dict.fromkeys(batches, EXIT_TEMPORARY)
            told = float("-inf")
            try:
                while running:
                    ended, _ = wait(running, _LOOK_S, FIRST_COMPLETED)
                    self.pass_on()
                    if time.monotonic() - told >= _TICK_S:
                        told = time.monotonic()
                        on_tick(self.process_ids())
                    for future in ended:
                        batch = running.pop(future)
                        codes[batch] = self.code_of(future)
            finally:
                if running:  # an error of ours, or of the engine
                    self.stop(pool)
                self.pass_on()
        return codes

    def run_batch(self, batch: int | None) -> Ending:
        """Run a batch in a thread of the pool; once more where that may help."""
        log_path = self.paths.log(self.stage, batch)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        ending = Ending(EXIT_TEMPORARY)
        with open(log_path, "ab") as log:
            give(log_path, self.paths.root)
            tries = self.workshop.tries(self.stage)
            for number in count(1):
                if self.workshop.stopper.is_stopping:
                    break
                task = stage_task(self.plan, self.paths.root, self.stage, batch, number)
                ending = self.workshop.run(task, self.telling(log), tries)
                step = tries.after(ending.exit_code, cause_of_exit(ending.exit_code))
                if not step.again:
                    break
                if not self.workshop.stopper.is_stopping:
                    note = f"{task.title} ended with {ending.exit_code}; {step.words}"
                    self.events.put(Note(note))
        if ending.cause is not None:
            cause = ending.cause
            failed = Failed(self.stage, None, ending.exit_code, cause.what, cause.hint)
            self.events.put(failed)
        return ending

    def telling(self, log: BinaryIO) -> Callable[[Event], None]:
        def tell(event: Event) -> None:
            log.write(event.sentence().encode(errors="backslashreplace") + b"\n")
            log.flush()
            self.events.put(event)

        return tell

    def code_of(self, future: Future[Ending]) -> int:
        """Exit code of a batch's last try; an error of the engine ends the stage."""
        error = future.exception()
        if isinstance(error, MagnetonError) and not self.workshop.stopper.is_stopping:
            raise error
        return EXIT_TEMPORARY if error is not None else future.result().exit_code

    def pass_on(self) -> None:
        """Hand what all containers told to whoever shows it, in this thread."""
        while not self.events.empty():
            self.on_event(self.events.get())

    def process_ids(self) -> list[int]:
        workshop = self.workshop
        found = [workshop.engine.process_id(c) for c in workshop.stopper.running]
        return [pid for pid in found if pid]

    # -------------------------------------------------------------- the end
    def stop(self, pool: ThreadPoolExecutor) -> None:
        """Start nothing more, and end what runs."""
        pool.shutdown(wait=False, cancel_futures=True)
        self.workshop.stopper.stop()

    def interrupted(self, times: int) -> None:
        """Ctrl-C: ask the containers to end, the second time kill them."""
        stopper = self.workshop.stopper
        stopper.is_stopping = True
        if times == 1:
            n = len(stopper.running)
            text = (
                f"{self.stage}: stopping {several(n, 'container')}; Ctrl-C again ends them at once"
            )
            self.events.put(Note(text, "stopping"))
            threading.Thread(target=stopper.stop, daemon=True).start()
        else:
            threading.Thread(target=stopper.stop, args=(0,), daemon=True).start()
