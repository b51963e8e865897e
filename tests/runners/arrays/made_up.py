"""A batch scheduler that nobody has: in memory, with words of its own. All that `runners.arrays` asks.

Jobs end when somebody looks at them: as ``endings`` says, else with all records of their part.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from magneton_tasks.base.files import write_atomic
from magneton_tasks.base.grid import share
from magneton_tasks.config.read import RunConfig
from magneton_tasks.runners.arrays import usage
from magneton_tasks.runners.arrays.job import ArrayJob, run_in
from magneton_tasks.runners.arrays.scheduler import LeftJob, Limits, Shell, SubmitLimitError, Used
from magneton_tasks.runners.arrays.stage import StageRun
from magneton_tasks.runners.arrays.states import Phase, States, TaskState
from magneton_tasks.runners.retry import Cause
from magneton_tasks.stages.planning import draft as planning
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Event
from magneton_tasks.work.job import Job
from tests.helpers.tiny_volume import write_tiny_volume

GIB = 2**30
#: how its states are called, and what they mean
WORDS = {
    "ready": TaskState(Phase.DONE, "ready", exit_code=0),
    "too big": TaskState(Phase.FAILED, "too big", node="red", exit_code=1, cause=Cause.MEMORY),
    "too long": TaskState(Phase.FAILED, "too long", node="red", exit_code=1, cause=Cause.TIME),
    "broken": TaskState(Phase.FAILED, "broken", node="blue", exit_code=1, cause=Cause.NODE),
}


@dataclass(frozen=True)
class Settings:
    """What its section of the config would hold."""

    cpus: int = 1
    memory: int | None = GIB
    max_memory: int | None = 4 * GIB
    memory_growth: float = 2.0
    time_s: int = 600
    max_time_s: int | None = 1200
    time_growth: float = 2.0
    tries: int = 2
    target_minutes: float = 1.0
    max_running: int = 10
    max_queued: int = 10
    exclude: tuple[str, ...] = ()
    probe: bool = False
    poll_s: float = 0.01
    max_poll_s: float = 0.01
    grace_s: float = 1.0
    give_up_s: float = 10.0


@dataclass(eq=False)
class MadeUp:
    """Cluster, looks and scheduler in one."""

    attempt: Attempt
    endings: dict[tuple[int, int], str]
    room: int = 100
    settings: Settings = field(default_factory=Settings)
    jobs: dict[str, ArrayJob] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)
    ended: States = field(default_factory=dict)
    section: str = "made_up"
    partition_key: str = "made_up.queue"
    title: str = "MadeUp"

    @classmethod
    def of_config(cls, config: RunConfig) -> Self:
        raise NotImplementedError

    @classmethod
    def cluster_of(cls, data: Mapping[str, Any]) -> Self:
        raise NotImplementedError

    @property
    def cluster(self) -> Self:
        return self

    def to_data(self) -> dict[str, Any]:
        return {}

    # -------------------------------------------------------------- looks
    def looks(self, turn: Callable[[], Awaitable[None]]) -> Self:
        return self

    async def queue(self, jobs: Sequence[str]) -> States:
        for job in jobs:
            about = self.jobs[job]
            self.ended.setdefault(job, {i: self._end(about, i) for i in about.indexes})
        return {job: self.ended[job] for job in jobs}

    async def ends(self, jobs: Sequence[str]) -> States:
        return {job: self.ended[job] for job in jobs}

    def _end(self, job: ArrayJob, part: int) -> TaskState:
        self.tries[part] = self.tries.get(part, 0) + 1
        word = self.endings.get((part, self.tries[part]), "ready")
        if word == "ready":
            self._work(job, part)
        return WORDS[word]

    def _work(self, job: ArrayJob, part: int) -> None:
        """What a worker leaves behind."""
        assert job.batch is not None
        keys = Job(self.attempt, job.stage, job.batch).keys()
        begin, end = share(len(keys), part, job.parts)
        number = self.attempt.plan.attempt
        with self.attempt.manifest(job.stage).writer(job.run, job.stage, job.batch, part) as writer:
            for key in keys[begin:end]:
                writer.add(key, "done", attempt=number, input="i", output="o")

    # -------------------------------------------------------------- jobs
    def check_path(self, path: str) -> None:
        """Takes any."""

    def limits(self) -> Limits:
        return Limits("all", 1000, None, 4 * GIB, 8)

    def left(self, work: str) -> list[LeftJob]:
        found = ((id_, job, run_in(job.comment, work)) for id_, job in self.jobs.items())
        return [LeftJob(id_, "ready", job.name, run) for id_, job, run in found if run is not None]

    def script(self, job: ArrayJob) -> str:
        return f"work {job.task}\n"

    def submit(self, job: ArrayJob, text: str, shell: Shell) -> str:
        if len(job.indexes) > self.room:
            raise SubmitLimitError("the queue is full")
        job_id = str(100 + len(self.jobs))
        self.jobs[job_id] = job
        return job_id

    def find(self, job: ArrayJob) -> str | None:
        return next((id_ for id_, known in self.jobs.items() if known.name == job.name), None)

    def cancel(self, jobs: Sequence[str]) -> str:
        return ""

    # -------------------------------------------------------------- ends
    def working_nodes(self, limits: Limits) -> set[str]:
        return {"red", "green", "blue"}

    def tells_out_of_memory(self, line: str) -> bool:
        return False

    def usage(self, jobs: Sequence[str]) -> Iterator[tuple[str, Used]]:
        """Its jobs end before it samples their memory."""
        for job in jobs:
            yield job, Used(len(self.jobs[job].indexes), 5.0, 10.0, 20.0)


def main(folder: Path, endings: dict[tuple[int, int], str], room: int) -> None:
    """Run segment of the tiny volume, in four parts; prints what came of it as JSON."""
    config = write_tiny_volume(folder)
    _, paths, _ = planning.run(PlanRequest(config, "test", {}))
    planned = Attempt.open(paths.root)
    segment = replace(planned.plan.work["segment"], batches=1, parts=4)
    attempt = replace(planned, plan=replace(planned.plan, work={"segment": segment}))
    scheduler = MadeUp(attempt, endings, room)
    told: list[Event] = []
    codes = StageRun(attempt, scheduler, "segment", 1, told.append).run()
    measured = {"seconds": 9.0, "cpu_s": 4.0, "peak_bytes": GIB // 2}
    write_atomic(attempt.paths.result("segment", 0, 0), json.dumps(measured).encode())
    result = {
        "codes": list(codes.values()),
        "notes": [event.sentence() for event in told],
        "jobs": [
            [list(j.indexes), j.memory // GIB, j.time_s, list(j.exclude)]
            for j in scheduler.jobs.values()
        ],
        "left": [str(job) for job in scheduler.left(attempt.config.paths.work)],
        "usage": [note.sentence() for note in usage.report(scheduler, attempt)],
        "modules": sorted(name for name in sys.modules if name.startswith("magneton_tasks.")),
    }
    print(json.dumps(result))
