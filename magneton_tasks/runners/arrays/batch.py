"""A batch on a cluster, step by step: look at what ended, decide, submit what is missing.

`BatchJobs.step` never waits for jobs. It returns what to wait for, and is called again then: in
Airflow each wait is a deferral, on the command line an ``await``. All that must survive a wait, a
retry or a kill lies in files beside the batch (`job_files`).

No job is lost or doubled: an array's name says what it works, and is looked up before each
submission; a try that isn't the owner any more submits nothing and cancels nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from magneton_tasks.base.units import human_time
from magneton_tasks.errors import MagnetonError, TemporaryError
from magneton_tasks.runners.arrays.array_batch import ArrayBatch
from magneton_tasks.runners.arrays.causes import PartEnd
from magneton_tasks.runners.arrays.decide import decide, error_of, shared_cause, to_exclude
from magneton_tasks.runners.arrays.looking import Look
from magneton_tasks.runners.arrays.progress import Progress
from magneton_tasks.runners.arrays.scheduler import BusyError, Scheduler, Shell, run_here
from magneton_tasks.runners.arrays.snapshot import Snapshot
from magneton_tasks.runners.arrays.states import reference
from magneton_tasks.runners.arrays.steps import Done, Failed, Later, Lost, Step, Wait
from magneton_tasks.runners.arrays.submitting import Submitting
from magneton_tasks.runners.memory_advice import advice
from magneton_tasks.runners.retry import Cause, Need
from magneton_tasks.work.attempt import Attempt

#: How long a batch waits for a slot, or for room in the queue, before it looks again (s).
_ROOM_S = 30.0


@dataclass
class BatchJobs:
    """One batch of a stage, or a stage without batches, on a cluster.

    Attributes
    ----------
    shell
        Runs the program that submits; all others are run here.
    notes
        Lines for the log, of the last step.
    """

    about: ArrayBatch
    shell: Shell = run_here
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        attempt: Attempt,
        stage: str,
        batch: int | None,
        scheduler: Scheduler,
        shell: Shell = run_here,
    ) -> BatchJobs:
        """Of an attempt."""
        return cls(ArrayBatch(attempt, stage, batch, scheduler), shell)

    # -------------------------------------------------------------- steps
    def adopt(self) -> str:
        """Own the batch's jobs from here on; the token that `step` and `cancel` ask for.

        What failed before is tried anew, and what was done is looked at anew: somebody asked for it.
        """
        token = self.about.job_files.adopt()
        known = self.about.job_files.load()
        known.failures, known.tries, known.failed, known.first = [], {}, {}, {}
        known.limited_since = None
        known.done, known.is_looked_through = set(), False
        self.about.job_files.save(known)
        return token

    def step(self, token: str, snapshot: Snapshot | None = None) -> Step:
        """Take in how jobs stand, and do what follows; takes seconds, not more.

        Parameters
        ----------
        snapshot
            What was seen of the jobs that the step before asked to watch.
        """
        if self.about.job_files.owner() != token:
            return Lost()
        self.notes = []
        known = self.about.job_files.load()
        look = Look(self.about.attempt, self.about.stage, self.about.batch, self.about.parts)
        if not known.is_looked_through:
            known.done |= look.complete()
            known.is_looked_through = True
        try:
            if snapshot is not None:
                stopped = self._take_in(known, look, snapshot)
                if stopped is not None or (known.failures and not known.in_flight):
                    return self._fail(known, token, stopped)
            elif known.in_flight:
                jobs = ", ".join(j.job for j in known.in_flight)
                return Wait(_references(known), (f"{self.about.task}: continues with job {jobs}",))
            return self._go_on(known, look, token)
        except BusyError as error:
            return self._later(known, error)
        except MagnetonError:
            if not known.in_flight:
                self.about.job_files.free_slot()
            raise
        finally:
            if self.about.job_files.owner() == token:
                self.about.job_files.save(known)

    def _go_on(self, known: Progress, look: Look, token: str) -> Step:
        """Submit what waits; done where nothing is left."""
        waiting = known.waiting(self.about.parts)
        if not known.failures and waiting:
            has_begun = known.in_flight or known.tries
            if not has_begun and (halt := self.about.job_files.halted_by()) is not None:
                return self._halted(*halt)
            if not self.about.job_files.take_slot(self.about.arrays_at_once):
                section = self.about.scheduler.section
                return Later(_ROOM_S, f"{section}.max_queued: other batches fill the queue")
            Submitting(self.about, self.shell, self.notes).submit(known, look, token, waiting)
            known.limited_since = None
        if self.about.job_files.owner() != token:
            return Lost()
        if known.in_flight:
            return Wait(_references(known), tuple(self.notes))
        if known.failures:
            return self._fail(known, token, None)
        self.about.job_files.free_slot()
        return Done(look.result(), tuple(self.notes))

    def _take_in(self, known: Progress, look: Look, snapshot: Snapshot) -> Cause | None:
        """Judge the jobs that have ended; a cause for which the whole array is to be stopped."""
        ours = self.about.job_files.cancelled()
        for job in known.in_flight:
            states = snapshot.jobs.get(job.job, {})
            over = {i: s for i in job.indexes if (s := states.get(i)) is not None and s.is_over}
            is_whole = len(over) == len(job.indexes)
            failed = [s for s in over.values() if s.has_failed and s.is_known]
            if not is_whole and 2 * len(failed) <= len(job.indexes):
                continue
            ends = list(look.ends(job.job, over, self.about.scheduler.tells_out_of_memory))
            needs = dict.fromkeys(job.indexes, job.need)
            if job.job in ours:  # by an earlier try that was cleared: these go again
                known.done |= {e.part for e in ends if not e.missing}
            elif (stopped := shared_cause(ends, len(job.indexes), needs, known.tries)) is not None:
                self._judge(known, [e for e in ends if e.missing], needs, is_last=True)
                return stopped
            else:
                self._judge(known, ends, needs)
            # of an array that goes on, only the rest is of interest from here on
            job.is_over, job.indexes = is_whole, _left_of(job.indexes, over, is_whole)
        return None

    def _judge(
        self,
        known: Progress,
        ends: Sequence[PartEnd],
        needs: Mapping[int, Need],
        *,
        is_last: bool = False,
    ) -> None:
        attempt = self.about.attempt
        for end in ends:
            known.tries[end.part] = known.tries.get(end.part, 0) + 1
        verdict = decide(
            ends,
            needs,
            known.tries,
            self.about.policy,
            known.failed,
            known.first,
            section=self.about.scheduler.section,
            is_last=is_last,
        )
        known.done |= set(verdict.done)
        known.needs |= verdict.again
        known.failed |= verdict.failed
        known.first = verdict.first | known.first
        known.failures += [
            replace(f, hint=advice(attempt.config, self.about.stage, attempt.plan))
            if f.cause is Cause.MEMORY
            else f
            for f in verdict.failures
        ]
        self.notes += verdict.notes
        for node in verdict.blamed:
            known.blamed[node] = known.blamed.get(node, 0) + 1
        if any(n > 1 and node not in known.exclude for node, n in known.blamed.items()):
            self._exclude(known)

    def _exclude(self, known: Progress) -> None:
        """Keep away from nodes that failed more than once."""
        found = to_exclude(known.blamed, known.exclude, self._working_nodes())
        for node in found[len(known.exclude) :]:
            self.notes.append(
                f"{self.about.task}: jobs failed on {node} more than once; avoiding it"
            )
        known.exclude = found

    def _working_nodes(self) -> set[str]:
        """Nodes of the partition that take jobs now; none if the scheduler doesn't say."""
        scheduler = self.about.scheduler
        with suppress(BusyError):
            return scheduler.working_nodes(self.about.limits) - set(scheduler.settings.exclude)
        return set()

    def _later(self, known: Progress, error: BusyError) -> Step:
        """The scheduler can't be asked now: wait, but not for ever."""
        scheduler, now = self.about.scheduler, time.time()
        known.limited_since = known.limited_since or now
        waited = now - known.limited_since
        if waited > scheduler.settings.give_up_s:
            self.about.job_files.free_slot()
            return Failed(
                TemporaryError(
                    f"{self.about.task}: {error.what}, for {human_time(waited)}",
                    f"rerun once {scheduler.cluster.title} answers; jobs in the queue continue, and a rerun finds them",
                )
            )
        return Later(_ROOM_S, error.what, _references(known), tuple(self.notes))

    # -------------------------------------------------------------- ends
    def _fail(self, known: Progress, token: str, stopped: Cause | None) -> Failed:
        error = error_of(self.about.task, known.failures, stopped)
        cancelled = next((f for f in known.failures if f.cause is Cause.CANCELLED), None)
        if cancelled is not None:
            self.about.job_files.halt(cancelled.words)
        self.about.job_files.save(known)
        self.cancel(token)
        return Failed(error, tuple(self.notes), by_somebody=cancelled is not None)

    def _halted(self, task: str, why: str) -> Failed:
        """Nothing is submitted after somebody cancelled jobs of another batch of the stage."""
        self.about.job_files.free_slot()
        error = TemporaryError(
            f"{self.about.task}: not submitted, because jobs of {task} were cancelled: {why}",
            f"if that wasn't meant, rerun (in Airflow: clear {task} too): finished blocks stay",
        )
        return Failed(error, tuple(self.notes), by_somebody=True)

    def cancel(self, token: str) -> list[str]:
        """Cancel the batch's jobs, while the token is still the owner's; their ids.

        Raises
        ------
        BusyError
            No answer: they may go on.
        """
        if self.about.job_files.owner() != token:
            return []
        known = self.about.job_files.load()
        # of some nobody heard the answer when they were submitted
        arrays = (self.about.array(known, j) for j in known.jobs if not j.job)
        unanswered = [f for a in arrays if (f := self.about.scheduler.find(a)) is not None]
        jobs = [*(j.job for j in known.in_flight), *unanswered]
        self.about.job_files.note_cancelled(jobs)
        self.about.job_files.free_slot()
        if jobs:
            self.about.scheduler.cancel(jobs)
        return jobs


def _left_of(indexes: list[int], over: Mapping[int, object], is_whole: bool) -> list[int]:
    return indexes if is_whole else [i for i in indexes if i not in over]


def _references(known: Progress) -> tuple[str, ...]:
    return tuple(reference(j.job, j.indexes) for j in known.in_flight)
