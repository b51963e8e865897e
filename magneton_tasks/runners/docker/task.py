"""The docker runner: one command of ours in one container, and what becomes of it.

Before a container starts, those of earlier tries of the same task are removed: a runner that was
killed leaves its container working. A container that ran out of memory is followed by one with
more, up to ``docker.max_memory``; all other ends are for the caller to judge, by the exit code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magneton_tasks.base.units import human_bytes
from magneton_tasks.config.read import RunConfig, load_config
from magneton_tasks.errors import (
    EXIT_TEMPORARY,
    ConfigError,
    MagnetonError,
    TemporaryError,
)
from magneton_tasks.plan.cost_rest import Memory
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import noun_of
from magneton_tasks.runners.command import arguments, ran_out_of_memory, stage_command
from magneton_tasks.runners.docker import containers
from magneton_tasks.runners.docker.containers import Task
from magneton_tasks.runners.docker.engine import End, Engine, Stopper
from magneton_tasks.runners.memory_advice import advice
from magneton_tasks.runners.resources import USABLE, first_memory
from magneton_tasks.runners.retry import KILLED, Cause, Tries
from magneton_tasks.work import group_work
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Event, Note, Told, read
from magneton_tasks.work.frozen import config_of, plan_of
from magneton_tasks.work.job import Job
from magneton_tasks.work.paths import AttemptPaths, WorkPaths
from magneton_tasks.work.record import OUT_OF_MEMORY

OnEvent = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task ended.

    Attributes
    ----------
    exit_code
        The worker's; of a container that was killed, `EXIT_TEMPORARY`.
    told
        What it said at its end, as far as it came.
    cause
        What the worker couldn't say itself: it was killed, or no more memory may be had.
    """

    exit_code: int
    told: Told = field(default_factory=Told)
    cause: MagnetonError | None = None


@dataclass
class Workshop:
    """An attempt, and an engine to work it on.

    Attributes
    ----------
    image
        Digest of the image: all containers are of one, whatever its name stands for later.
    machine
        Memory of the engine's machine, in bytes.
    """

    engine: Engine
    config: RunConfig
    image: str
    machine: int
    stopper: Stopper
    plan: Plan | None = None
    #: of the attempt
    root: Path | None = None
    #: further paths that containers may read
    read_only: tuple[Path, ...] = field(default_factory=tuple)

    @classmethod
    def of_attempt(cls, root: Path, engine: Engine | None = None) -> Workshop:
        """For the stages of an attempt; ``engine`` None: the config's.

        Raises
        ------
        MagnetonError
            No engine answers (75), or it has no such image (78).
        """
        paths = AttemptPaths(root)
        plan = plan_of(paths)  # first: it says if another version wrote both
        workshop = cls._open(config_of(paths), plan, engine)
        workshop.root = root
        return workshop

    @classmethod
    def of_config(
        cls,
        path: Path,
        sets: Mapping[str, object] | None = None,
        partition: str | None = None,
        engine: Engine | None = None,
    ) -> Workshop:
        """For plan, before there's an attempt; makes the directories that it writes to."""
        config = load_config(path, sets, partition)
        containers.make_directories(config)
        workshop = cls._open(config, None, engine)
        workshop.read_only = (path.absolute(),)
        return workshop

    @classmethod
    def _open(cls, config: RunConfig, plan: Plan | None, engine: Engine | None) -> Workshop:
        engine = engine or Engine.connect(config.docker.engine)
        image = engine.image_digest(config.docker.image)
        return cls(engine, config, image, engine.memory_bytes(), Stopper(engine), plan)

    @property
    def planned(self) -> Plan:
        """The attempt's plan."""
        assert self.plan is not None
        return self.plan

    # -------------------------------------------------------------- one task
    def tries(self, stage: str) -> Tries:
        """Of one piece of a stage's work, before the first."""
        docker, usable = self.config.docker, int(self.machine * USABLE)
        return Tries(docker.max_memory or usable, self.first_memory(stage), docker.memory_growth)

    def run(self, task: Task, on_event: OnEvent, tries: Tries | None = None) -> Ending:
        """Run a task to its end, with more memory where it runs out of it.

        Parameters
        ----------
        tries
            Of its piece of work; None: this is the first.

        Raises
        ------
        TemporaryError
            The engine doesn't answer.
        ConfigError
            The engine refuses the container.
        """
        self._check_owner(task)
        for name in self.reap(task):
            on_event(Note(f"{task.title}: removed {name}, left by an earlier try"))
        tries = tries or self.tries(task.stage)
        while True:
            memory = tries.memory
            ending, end = self._run_once(task, memory, on_event)
            if memory is None or not _out_of_memory(ending, end) or self.stopper.is_stopping:
                return ending
            what = self._told_memory(task, ending, memory)
            step = tries.after(ending.exit_code, Cause.MEMORY)
            if not step.again:
                on_event(Note(f"{task.title}: WARNING: {what}; {step.words}", "warning"))
                hint = advice(self.config, task.stage, self.plan)
                return Ending(step.exit_code, ending.told, _no_more(what, tries.most, hint))
            on_event(Note(f"{task.title}: {what}; {step.words}"))

    def _run_once(self, task: Task, memory: int | None, on_event: OnEvent) -> tuple[Ending, End]:
        """One container: created, run, looked at, removed."""
        specification = containers.specification(
            self.config, task, self.image, memory, self.read_only, is_limited=self.plan is not None
        )
        container = self.engine.create(task.name, specification)
        told = Told()
        try:
            with self.stopper.watching(container):
                if self.stopper.is_stopping:
                    return Ending(EXIT_TEMPORARY), End(EXIT_TEMPORARY, False)
                for line in self.engine.run(container):
                    event = read(line)
                    told.take(event)
                    on_event(event)
                end = self.engine.end(container)
        finally:
            with suppress(TemporaryError):
                self.engine.remove(container)
        if end.exit_code != KILLED:
            return Ending(end.exit_code, told), end
        killed = TemporaryError(
            f"{task.title}: its container was killed ({KILLED})", "rerun: finished blocks stay"
        )
        return Ending(EXIT_TEMPORARY, told, killed), end

    def first_memory(self, stage: str) -> int | None:
        """Memory limit of a stage's containers at first; None for what has no projection."""
        if self.plan is None:
            return None
        projected = self.memory_of(stage)
        if projected is None:
            return self.config.docker.memory
        most = int(self.machine * USABLE)
        return first_memory(self.config.docker.memory, projected.bound, most)

    def memory_of(self, stage: str) -> Memory | None:
        """What plan, or whoever found out a stage's groups, projects for one of its processes."""
        assert self.root is not None
        return group_work.memory_of(AttemptPaths(self.root), self.planned, stage)

    def _check_owner(self, task: Task) -> None:
        """Refuse what would fail in the middle: an attempt that the container's user can't write to."""
        if self.plan is None:
            return
        root = Path(self.config.paths.work)
        attempt = WorkPaths(root).run(task.run) / str(task.attempt)
        owner, user = attempt.stat().st_uid, root.stat().st_uid
        if user not in (0, owner):
            raise _foreign(attempt, owner, root, user)

    # -------------------------------------------------------------- what was left behind
    def reap(self, task: Task) -> Iterator[str]:
        """Remove the containers of earlier tries of a task; their names."""
        for found in self.engine.find(task.key):
            self.engine.remove(found["Id"])
            yield name_of(found)

    def reap_others(self, run: str, attempt: int) -> Iterator[str]:
        """Remove the volume's containers of other runs and attempts: this one has the lease."""
        found = self.engine.find({containers.WORK: self.config.paths.work})
        for other in containers.others(found, run, attempt):
            self.engine.remove(other["Id"])
            yield name_of(other)

    # -------------------------------------------------------------- words
    def _told_memory(self, task: Task, ending: Ending, allowed: int) -> str:
        """Which block ran out of memory; what was projected, and what was allowed."""
        keys = [f["key"] for f in ending.told.failures if f.get(OUT_OF_MEMORY)]
        keys = [k for k in keys if k is not None] or self._at_work(task)
        noun = noun_of(task.stage)
        where = f" at {noun} {', '.join(map(str, keys[:5]))}" if keys else ""
        memory = self.memory_of(task.stage)
        projected = (
            f", projected were {human_bytes(memory.expected)} and at most {human_bytes(memory.bound)}"
            if memory
            else ""
        )
        return f"out of memory{where}: {human_bytes(allowed)} were allowed{projected}"

    def _at_work(self, task: Task) -> list[int]:
        """The blocks of a batch that were begun and not ended: those it was killed at."""
        plan = self.planned
        assert self.root is not None
        work = group_work.work_of(AttemptPaths(self.root), plan, task.stage)
        if task.batch is None or work is None:
            return []
        job = Job.of_batch(Attempt.open(self.root), task.stage, task.batch)
        states = job.attempt.manifest(task.stage).read(set(job.keys()))
        began = ((k, s.last) for k, s in states.items() if s.last_state == "started")
        return sorted(k for k, r in began if (r.batch, r.attempt) == (task.batch, task.attempt))


def stage_task(plan: Plan, root: Path, stage: str, batch: int | None, retry: int = 1) -> Task:
    """A stage, or one batch of it, as a task: the command that every runner runs."""
    return Task(
        volume=Path(plan.config_path).stem,
        work=str(root.parents[2]),
        run=plan.run,
        attempt=plan.attempt,
        stage=stage,
        batch=batch,
        arguments=tuple(arguments(stage_command(stage, root, batch))),
        retry=retry,
    )


def plan_task(config_path: Path, config: RunConfig, run: str, command: Sequence[str]) -> Task:
    """Plan as a task."""
    return Task(
        volume=config_path.stem,
        work=config.paths.work,
        run=run,
        attempt=0,
        stage="plan",
        batch=None,
        arguments=tuple(arguments(command)),
    )


def name_of(container: Any) -> str:
    """A container's name, as lists of the engine have it."""
    return str((container["Names"] or [container["Id"][:12]])[0]).lstrip("/")


def _out_of_memory(ending: Ending, end: End) -> bool:
    """Whether the kernel, or the worker itself, stopped it for its memory."""
    if ending.exit_code == 0:
        return False
    return end.oom_killed or ran_out_of_memory(ending.told)


def _no_more(what: str, most: int, hint: str) -> MagnetonError:
    return ConfigError(f"{what}, and no more than {human_bytes(most)} is available", hint)


def _foreign(attempt: Path, owner: int, root: Path, user: int) -> MagnetonError:
    return ConfigError(
        f"{attempt} belongs to user {owner}, and containers run as user {user}, who owns {root}",
        "run as that user, or let plan run in a container too (runner.offered: [docker])",
    )
