"""Slurm as a batch scheduler: what `arrays.scheduler.Scheduler` asks, said in its programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from magneton_tasks.base.as_json import of_data
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.slurm import Slurm as Settings
from magneton_tasks.errors import EXIT_OK, ConfigError, TemporaryError
from magneton_tasks.runners.arrays.job import PREFIX, ArrayJob, run_in
from magneton_tasks.runners.arrays.scheduler import LeftJob, Limits, Shell, Used
from magneton_tasks.runners.slurm import accounting, script, words
from magneton_tasks.runners.slurm import limits as limits_of
from magneton_tasks.runners.slurm.cluster import SlurmCluster
from magneton_tasks.runners.slurm.programs import Slurm, submit_error

_QUEUE = ("squeue", "--noheader", "--format=%F|%T|%j|%k")


@dataclass(frozen=True, slots=True)
class SlurmScheduler:
    """A Slurm cluster, and a config's section ``slurm``."""

    cluster: SlurmCluster
    settings: Settings
    section: str = "slurm"
    partition_key: str = "slurm.slurm_partition"

    @classmethod
    def of_config(cls, config: RunConfig) -> Self:
        return cls(SlurmCluster(Slurm.of_config(config)), config.slurm)

    @classmethod
    def cluster_of(cls, data: Mapping[str, Any]) -> SlurmCluster:
        return SlurmCluster(of_data(Slurm, data))

    @property
    def _slurm(self) -> Slurm:
        return self.cluster.slurm

    # -------------------------------------------------------------- before a run
    def check_path(self, path: str) -> None:
        script.check_path(path)

    def limits(self) -> Limits:
        return limits_of.ask(self._slurm, self.settings)

    def left(self, work: str) -> list[LeftJob]:
        answer = self._slurm.run(_QUEUE)
        if answer.code != EXIT_OK:
            raise TemporaryError(
                f"squeue failed: {answer.err.strip()}", "try again once Slurm answers"
            )
        return list({j.job: j for j in parse_queue(answer.out, work)}.values())

    # -------------------------------------------------------------- jobs
    def script(self, job: ArrayJob) -> str:
        return script.text(job, self.settings, self._slurm.path_map)

    def submit(self, job: ArrayJob, text: str, shell: Shell) -> str:
        arguments = script.sbatch(job, self.settings, self._slurm.path_map)
        answer = self._slurm.run(arguments, text, shell)
        if answer.code != EXIT_OK:
            raise submit_error(answer)
        said = answer.out.strip()
        found = said.splitlines()[-1].partition(";")[0] if said else ""
        if not found.isdigit():
            raise ConfigError(f"sbatch answered {answer.out!r} and no job id", "is it a wrapper?")
        return found

    def find(self, job: ArrayJob) -> str | None:
        answer = self._slurm.run(
            ("squeue", "--noheader", "--states=all", f"--name={job.name}", "--format=%F")
        )
        if answer.code != EXIT_OK:
            raise TemporaryError(
                f"squeue failed: {answer.err.strip()}", "rerun once Slurm answers: jobs continue"
            )
        ids = {int(line) for line in answer.out.split() if line.isdigit()}
        return str(max(ids)) if ids else None

    def cancel(self, jobs: Sequence[str]) -> str:
        answer = self._slurm.run(("scancel", "--quiet", *jobs))
        said = answer.err.strip() or str(answer.code)
        return "" if answer.code == EXIT_OK else f"scancel: {said}"

    # -------------------------------------------------------------- ends
    def working_nodes(self, limits: Limits) -> set[str]:
        partition = self.settings.slurm_partition or limits.partition
        return limits_of.working_nodes(self._slurm, partition)

    def tells_out_of_memory(self, line: str) -> bool:
        return words.tells_out_of_memory(line)

    def usage(self, jobs: Sequence[str]) -> Iterator[tuple[str, Used]]:
        return accounting.usage(self._slurm, jobs)


def parse_queue(text: str, work: str) -> Iterator[LeftJob]:
    """The jobs of `_QUEUE` whose comment names this work directory."""
    for line in text.splitlines():
        job, _, rest = line.strip().partition("|")
        state, _, rest = rest.partition("|")
        name, _, comment = rest.partition("|")
        run = run_in(comment, work)
        if run is not None and name.startswith(f"{PREFIX}-") and job.isdigit():
            yield LeftJob(job, state, name, run)
