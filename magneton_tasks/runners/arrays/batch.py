"""A batch on a cluster, step by step: look at what ended, decide, submit what is missing.

`BatchJobs.step` never waits for jobs. It returns what to wait for, and is called again then: in
Airflow each wait is a deferral, on the command line an ``await``. All that must survive a wait, a
retry or a kill lies in files beside the batch (`progress`).

No job is lost or doubled: an array's name says what it works, and is looked up before each sbatch;
a try that isn't the owner any more submits nothing and cancels nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.base.units import human_time
from magneton_tasks.errors import EXIT_OK, ConfigError, MagnetonError, TemporaryError
from magneton_tasks.runners.arrays.decide import decide, error_of, shared_cause, to_exclude
from magneton_tasks.runners.arrays.looking import Look
from magneton_tasks.runners.arrays.progress import Desk, Progress, Submitted
from magneton_tasks.runners.arrays.watch import Snapshot
from magneton_tasks.runners.memory_advice import advice
from magneton_tasks.runners.resources import BESIDE_BYTES, first_memory
from magneton_tasks.runners.retry import Cause, Need, Policy
from magneton_tasks.runners.slurm import limits, script
from magneton_tasks.runners.slurm.causes import PartEnd
from magneton_tasks.runners.slurm.limits import Limits
from magneton_tasks.runners.slurm.programs import (
    Answer,
    RefusedError,
    Slurm,
    SlurmBusyError,
    SubmitLimitError,
    submit_error,
)
from magneton_tasks.runners.slurm.states import COMPLETED, reference
from magneton_tasks.work.attempt import Attempt

#: The stage before the first: one small job that looks around on a compute node.
PROBE = "probe"
PROBE_S = 300
#: Memory of a job of a stage without a projection (verify, probe), in bytes.
_SMALL_BYTES = 2 * 2**30
#: How long a batch waits for a slot, or for room in the queue, before it looks again (s).
_ROOM_S = 30.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Watch these jobs (`states.reference`)."""

    jobs: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing is wrong: a limit, or Slurm doesn't answer. Try again after ``seconds``."""

    seconds: float
    why: str
    jobs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """Slurm and the manifest say so; ``result`` as a worker tells it."""

    result: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """For good; what was left in the queue is cancelled.

    ``by_somebody``: who cancelled jobs wants no other try, whatever the exit code allows.
    """

    error: MagnetonError
    notes: tuple[str, ...] = ()
    by_somebody: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Another try owns the batch now: leave it alone."""

    notes: tuple[str, ...] = ()


Step = Wait | Later | Done | Failed | Lost


@dataclass
class BatchJobs:
    """One batch of a stage, or a stage without batches, on a cluster."""

    attempt: Attempt
    stage: str
    batch: int | None
    slurm: Slurm
    desk: Desk
    parts: int
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, root: Path, stage: str, batch: int | None = None) -> BatchJobs:
        """Of an attempt's directory.

        Raises
        ------
        MagnetonError
            It isn't one (66), or another version planned it (78).
        """
        return cls.of_attempt(Attempt.open(root), stage, batch)

    @classmethod
    def of_attempt(cls, attempt: Attempt, stage: str, batch: int | None = None) -> BatchJobs:
        """Of an attempt that is open already."""
        slurm = Slurm.of_config(attempt.config)
        parts = attempt.plan.work[stage].parts if batch is not None else 1
        return cls(attempt, stage, batch, slurm, Desk(attempt.paths.root, stage, batch), parts)

    @property
    def task(self) -> str:
        """``segment-0003``."""
        return self.desk.task

    # -------------------------------------------------------------- steps
    def adopt(self) -> str:
        """Own the batch's jobs from here on; the token that `step` and `cancel` ask for.

        What failed before is tried anew, and what was done is looked at anew: somebody asked for it.
        """
        token = self.desk.adopt()
        known = self.desk.load()
        known.failures, known.tries, known.failed, known.first = [], {}, {}, {}
        known.limited_since = None
        known.done, known.is_looked_through = set(), False
        self.desk.save(known)
        return token

    def step(self, token: str, snapshot: Snapshot | None = None) -> Step:
        """Take in how jobs stand, and do what follows; takes seconds, not more.

        Parameters
        ----------
        snapshot
            What was seen of the jobs that the step before asked to watch.
        """
        if self.desk.owner() != token:
            return Lost()
        self.notes = []
        known = self.desk.load()
        look = Look(self.attempt, self.stage, self.batch, self.parts)
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
                return Wait(_references(known), (f"{self.task}: continues with job {jobs}",))
            return self._go_on(known, look, token)
        except SlurmBusyError as error:
            return self._later(known, error)
        except MagnetonError:
            if not known.in_flight:
                self.desk.free_slot()
            raise
        finally:
            if self.desk.owner() == token:
                self.desk.save(known)

    def _go_on(self, known: Progress, look: Look, token: str) -> Step:
        """Submit what waits; done where nothing is left."""
        waiting = known.waiting(self.parts)
        if not known.failures and waiting:
            has_begun = known.in_flight or known.tries
            if not has_begun and (halt := self.desk.halted_by()) is not None:
                return self._halted(*halt)
            if not self.desk.take_slot(self.arrays_at_once):
                return Later(_ROOM_S, "slurm.max_queued: other batches fill the queue")
            for need, parts in self._groups(known, waiting):
                if not self._submit_all(known, look, token, need, parts):
                    break
            known.limited_since = None
        if self.desk.owner() != token:
            return Lost()
        if known.in_flight:
            return Wait(_references(known), tuple(self.notes))
        if known.failures:
            return self._fail(known, token, None)
        self.desk.free_slot()
        return Done(look.result(), tuple(self.notes))

    def _take_in(self, known: Progress, look: Look, snapshot: Snapshot) -> Cause | None:
        """Judge the jobs that have ended; a cause for which the whole array is to be stopped."""
        ours = self.desk.cancelled()
        for job in known.in_flight:
            states = snapshot.jobs.get(job.job, {})
            over = {i: s for i in job.indexes if (s := states.get(i)) is not None and s.is_over}
            is_whole = len(over) == len(job.indexes)
            failed = [s for s in over.values() if s.state != COMPLETED and s.is_known]
            if not is_whole and 2 * len(failed) <= len(job.indexes):
                continue
            ends = list(look.ends(job.job, over))
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
        for end in ends:
            known.tries[end.part] = known.tries.get(end.part, 0) + 1
        verdict = decide(
            ends, needs, known.tries, self._policy, known.failed, known.first, is_last=is_last
        )
        known.done |= set(verdict.done)
        known.needs |= verdict.again
        known.failed |= verdict.failed
        known.first = verdict.first | known.first
        known.failures += [
            replace(f, hint=advice(self.attempt.config, self.stage, self.attempt.plan))
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
            self.notes.append(f"{self.task}: jobs failed on {node} more than once; avoiding it")
        known.exclude = found

    def _working_nodes(self) -> set[str]:
        """Nodes of the partition that take jobs now; none where Slurm doesn't say."""
        settings = self.attempt.config.slurm
        partition = settings.slurm_partition or self._limits.partition
        with suppress(SlurmBusyError):
            return limits.working_nodes(self.slurm, partition) - set(settings.exclude)
        return set()

    # -------------------------------------------------------------- submitting
    def _groups(self, known: Progress, waiting: Sequence[int]) -> list[tuple[Need, list[int]]]:
        """Parts that ask for the same, together."""
        groups: dict[Need, list[int]] = {}
        for part in waiting:
            groups.setdefault(known.needs.get(part) or self._first_need, []).append(part)
        return list(groups.items())

    def _submit_all(
        self, known: Progress, look: Look, token: str, need: Need, parts: Sequence[int]
    ) -> bool:
        """Submit parts in as few arrays as Slurm takes; False where it takes no more now."""
        left = list(parts)
        # a limit that was met may have been another's jobs: ask for more each time
        size = min(len(left), 2 * known.accepted if known.accepted else len(left))
        while left:
            if self.desk.owner() != token:
                return False
            try:
                self._submit(known, look, need, left[:size])
            except SubmitLimitError:
                if known.in_flight:  # there is room once these have ended
                    return False
                if size == 1:
                    raise
                size = known.accepted = size // 2
                continue
            # one that was found by its name may hold other parts
            busy = {i for j in known.in_flight for i in j.indexes}
            left = [part for part in left if part not in busy]
        return True

    def _submit(self, known: Progress, look: Look, need: Need, parts: Sequence[int]) -> None:
        """One array: looked up by its name, else submitted."""
        pending = next((j for j in known.jobs if not j.job), None)
        if pending is None:
            number = max((j.number for j in known.jobs), default=0) + 1
            pending = Submitted("", number, list(parts), need, time.time())
            known.jobs.append(pending)
            self.desk.save(known)
        array = self._array(known, pending)
        found = self._find(array)
        if found is None:
            pending.indexes, pending.need, pending.submitted = list(parts), need, time.time()
            self.desk.save(known)
            look.forget_results(parts)
            array = self._array(known, pending)
            found = self._submitted(known, pending, array)
            self.notes.append(
                f"{self.task}: submitted job {found}, {len(parts)} of {self.parts} parts"
            )
        else:
            self.notes.append(f"{self.task}: found job {found}, submitted before")
        pending.job = found
        known.limited_since = None
        self.desk.save(known)

    def _submitted(self, known: Progress, pending: Submitted, array: script.ArrayJob) -> str:
        """The number of a new job; where Slurm refuses it, once more without keeping away from nodes.

        Raises
        ------
        RefusedError
            It's refused all the same; with what was wrong before that.
        """
        try:
            return self._sbatch(array)
        except RefusedError as error:
            if known.exclude:
                nodes, known.exclude, known.blamed = ", ".join(known.exclude), [], {}
                self.notes.append(f"{self.task}: {error.what}; trying without excluding {nodes}")
                return self._submitted(known, pending, self._array(known, pending))
            before = next((known.first[p] for p in pending.indexes if p in known.first), None)
            if before is None:
                raise
            raise RefusedError(f"{error.what}; before that: {before}", error.hint) from error

    def _array(self, known: Progress, job: Submitted) -> script.ArrayJob:
        plan = self.attempt.plan
        queued = sum(len(j.indexes) for j in known.in_flight)
        share = max(self.attempt.config.slurm.max_running // self.arrays_at_once, 1)
        return script.ArrayJob(
            work=self.attempt.config.paths.work,
            volume=Path(plan.config_path).stem,
            run=plan.run,
            attempt=self.attempt.paths.root,
            stage=self.stage,
            batch=self.batch,
            parts=self.parts,
            number=job.number,
            indexes=tuple(job.indexes),
            memory=job.need.memory,
            worker_bytes=max(job.need.memory - BESIDE_BYTES, job.need.memory // 2),
            time_s=job.need.time_s,
            running=max(share - min(queued, share), 1),
            exclude=tuple(known.exclude),
        )

    def _find(self, array: script.ArrayJob) -> str | None:
        """The job of this name, where there is one."""
        return _newest(self.slurm.run(_lookup(array)))

    def _sbatch(self, array: script.ArrayJob) -> str:
        settings, path_map = self.attempt.config.slurm, self.slurm.path_map
        files.make_directory(self.attempt.paths.job_logs(self.stage, self.batch))
        text = script.text(array, settings, path_map)
        files.write_atomic(self.desk.folder / f"job-{array.number}.sh", text.encode())
        answer = self.slurm.run(script.sbatch(array, settings, path_map), stdin=text)
        if answer.code != EXIT_OK:
            raise submit_error(answer)
        job = answer.out.strip().splitlines()[-1].partition(";")[0] if answer.out.strip() else ""
        if not job.isdigit():
            raise ConfigError(f"sbatch answered {answer.out!r} and no job id", "is it a wrapper?")
        return job

    def _later(self, known: Progress, error: SlurmBusyError) -> Step:
        """Slurm can't be asked now: wait, but not for ever."""
        now = time.time()
        known.limited_since = known.limited_since or now
        waited = now - known.limited_since
        if waited > self.attempt.config.slurm.give_up_s:
            self.desk.free_slot()
            return Failed(
                TemporaryError(
                    f"{self.task}: {error.what}, for {human_time(waited)}",
                    "rerun once Slurm answers; jobs in the queue continue, and a rerun finds them",
                )
            )
        return Later(_ROOM_S, error.what, _references(known), tuple(self.notes))

    # -------------------------------------------------------------- ends
    def _fail(self, known: Progress, token: str, stopped: Cause | None) -> Failed:
        error = error_of(self.task, known.failures, stopped)
        cancelled = next((f for f in known.failures if f.cause is Cause.CANCELLED), None)
        if cancelled is not None:
            self.desk.halt(cancelled.words)
        self.desk.save(known)
        self.cancel(token)
        return Failed(error, tuple(self.notes), by_somebody=cancelled is not None)

    def _halted(self, task: str, why: str) -> Failed:
        """Nothing is submitted after somebody cancelled jobs of another batch of the stage."""
        self.desk.free_slot()
        error = TemporaryError(
            f"{self.task}: not submitted, because jobs of {task} were cancelled: {why}",
            f"if that wasn't meant, rerun (in Airflow: clear {task} too): finished blocks stay",
        )
        return Failed(error, tuple(self.notes), by_somebody=True)

    def cancel(self, token: str) -> list[str]:
        """Cancel the batch's jobs, while the token is still the owner's; their ids.

        Raises
        ------
        SlurmBusyError
            Slurm doesn't answer: they may go on.
        """
        if self.desk.owner() != token:
            return []
        known = self.desk.load()
        unanswered = [f for a in self._unanswered(known) if (f := self._find(a)) is not None]
        jobs = self._to_cancel(known, unanswered)
        if jobs:
            self.slurm.run(("scancel", "--quiet", *jobs))
        return jobs

    async def cancel_async(self, token: str) -> list[str]:
        """As `cancel`, in an event loop."""
        if self.desk.owner() != token:
            return []
        known, unanswered = self.desk.load(), []
        for array in self._unanswered(known):
            found = _newest(await self.slurm.run_async(_lookup(array)))
            unanswered += [found] if found is not None else []
        jobs = self._to_cancel(known, unanswered)
        if jobs:
            await self.slurm.run_async(("scancel", "--quiet", *jobs))
        return jobs

    def _unanswered(self, known: Progress) -> list[script.ArrayJob]:
        """Arrays that sbatch was asked for, and nobody heard the answer."""
        return [self._array(known, j) for j in known.jobs if not j.job]

    def _to_cancel(self, known: Progress, unanswered: list[str]) -> list[str]:
        jobs = [*(j.job for j in known.in_flight), *unanswered]
        self.desk.note_cancelled(jobs)
        self.desk.free_slot()
        return jobs

    # -------------------------------------------------------------- how much
    @property
    def arrays_at_once(self) -> int:
        """Batches of the stage that may have jobs in the queue at the same time."""
        work, settings = self.attempt.plan.work.get(self.stage), self.attempt.config.slurm
        if work is None or self.batch is None:
            return 1
        return max(min(work.batches, settings.max_queued // self.parts, settings.max_running), 1)

    @property
    def _first_need(self) -> Need:
        settings = self.attempt.config.slurm
        time_s = min(PROBE_S, settings.time_s) if self.stage == PROBE else settings.time_s
        projected = self.attempt.plan.memory.get(self.stage)
        bound = _SMALL_BYTES - BESIDE_BYTES if projected is None else projected.bound
        return Need(first_memory(settings.memory, bound, self._policy.memory), time_s)

    @property
    def _policy(self) -> Policy:
        settings, allowed = self.attempt.config.slurm, self._limits
        most = settings.max_memory or allowed.node_bytes or settings.memory or 2**60
        longest_s = limits.longest_s(allowed, settings)
        return Policy(settings.tries, settings.memory_growth, settings.time_growth, most, longest_s)

    @property
    def _limits(self) -> Limits:
        """What the cluster allows, as plan asked it; asked now where plan didn't."""
        found = limits.read(self.attempt.paths.root)
        if found is None:
            found = limits.ask(self.slurm, self.attempt.config.slurm)
            limits.write(self.attempt.paths.root, found)
        return found


async def cancel_async(attempt: Path, stage: str, batch: int | None, token: str) -> list[str]:
    """Cancel a batch's jobs while the token is its owner's: for a trigger's ``on_kill``."""
    return await BatchJobs.open(attempt, stage, batch).cancel_async(token)


def _lookup(array: script.ArrayJob) -> tuple[str, ...]:
    return ("squeue", "--noheader", "--states=all", f"--name={array.name}", "--format=%F")


def _newest(answer: Answer) -> str | None:
    """The newest job that a lookup by name found."""
    if answer.code != EXIT_OK:
        raise TemporaryError(
            f"squeue failed: {answer.err.strip()}", "rerun once Slurm answers: jobs continue"
        )
    ids = {int(line) for line in answer.out.split() if line.isdigit()}
    return str(max(ids)) if ids else None


def _left_of(indexes: list[int], over: Mapping[int, object], is_whole: bool) -> list[int]:
    return indexes if is_whole else [i for i in indexes if i not in over]


def _references(known: Progress) -> tuple[str, ...]:
    return tuple(reference(j.job, j.indexes) for j in known.in_flight)
