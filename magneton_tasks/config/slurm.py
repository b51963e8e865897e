"""The config's section about a cluster: what each job asks of Slurm, and how politely.

For which failures there is another try, and with what, `runners.retry` decides by these keys.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from magneton_tasks.config.time_limit import Time, parse_time_limit
from magneton_tasks.config.types import (
    Growth,
    Memory,
    PositiveInt,
    Section,
    check_most,
    check_passed_on,
)

#: Names of partitions, accounts, ...: what Slurm takes, and no character that any parser minds.
_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.@+-]*$"
_NAMES = r"^[A-Za-z0-9_][A-Za-z0-9_.,+-]*$"
#: Options of sbatch that the runner gives itself, or that would break it.
_OURS = frozenset(
    {
        "account", "array", "chdir", "comment", "constraint", "cpus-per-task", "dependency", "error",
        "exclude", "export", "export-file", "help", "hold", "input", "job-name", "mem", "mem-per-cpu",
        "mem-per-gpu", "no-requeue", "nodes", "ntasks", "open-mode", "output", "parsable",
        "partition", "qos", "requeue", "signal", "test-only", "time", "time-min", "wait", "wrap",
    }
)  # fmt: skip


Seconds = Annotated[float, Field(gt=0)]


class Slurm(Section):
    """Runner slurm: a job array per batch, whose tasks share its blocks."""

    MEMORY_KEY: ClassVar[str] = "slurm.max_memory"

    slurm_partition: str | None = Field(
        None,
        pattern=_NAMES,
        title="Slurm partition",
        description="Slurm partition of the jobs. null: Slurm's default.",
    )
    account: str | None = Field(
        None, pattern=_NAME, title="Account", description="Account to charge. null: your default."
    )
    qos: str | None = Field(
        None,
        pattern=_NAME,
        title="QOS",
        description="Quality of service (QOS). null: Slurm's default.",
    )
    constraint: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.:&|*()\[\],-]+$",
        title="Constraint",
        description="Features that nodes must have, as in `sbatch --constraint`. null: any node.",
    )
    exclude: tuple[str, ...] = Field(
        (), title="Excluded nodes", description="Nodes that run no job."
    )
    time: Time = Field(
        "00:30:00",
        title="Time limit",
        description='Time limit of a job\'s first try: "HH:MM:SS", "D-HH:MM:SS" or 30m.',
    )
    max_time: Time | None = Field(
        None,
        title="Longest time limit",
        description="Longest time limit of a later try. A job that runs out of time is tried again with more. null: what the partition allows.",
    )
    time_growth: Growth = Field(
        2.0,
        title="Time growth",
        description="Factor by which the time limit grows for the next try, if a job runs out of time.",
    )
    memory: Memory = Field(
        None,
        title="Memory per job",
        description="Memory of a job's first try, such as 8GiB. null: what the block size needs.",
    )
    max_memory: Memory = Field(
        None,
        title="Maximum memory",
        description="Largest memory of a later try. A job that runs out of memory is tried again with more. null: what the partition's nodes have.",
    )
    memory_growth: Growth = Field(
        1.5,
        title="Memory growth",
        description="Factor by which memory grows for the next try, if a job runs out of it.",
    )
    cpus: PositiveInt = Field(1, title="CPUs per job", description="CPUs per job.")
    max_running: PositiveInt = Field(
        200,
        title="Maximum running jobs",
        description="Maximum number of jobs of a run that run at the same time.",
    )
    max_queued: PositiveInt = Field(
        1000,
        title="Maximum queued jobs",
        description="Maximum number of jobs of a run in the queue, waiting or running. Each task of a job array counts as one job.",
    )
    target_minutes: Annotated[float, Field(gt=0)] = Field(
        20,
        title="Minutes of work per job",
        description="Minutes of work per job. It decides how many blocks one job works through.",
    )
    tries: PositiveInt = Field(
        3,
        title="Tries",
        description="How often a job's work is tried if the job runs out of memory or time, or if its node fails.",
    )
    requeue: bool = Field(
        True,
        title="Requeue",
        description="Whether Slurm itself starts a job again if it was preempted or its node failed.",
    )
    signal_s: Annotated[int, Field(ge=0, le=300, strict=True)] = Field(
        60,
        title="Signal before the end (s)",
        description="Seconds before the time limit at which a job gets SIGTERM. 0 turns it off. It is also off if the time limit is below 10 minutes.",
    )
    probe: bool = Field(
        True,
        title="Probe",
        description="Whether a run first submits one small job that checks paths, versions and compiled code on a compute node.",
    )
    poll_s: Annotated[float, Field(ge=1)] = Field(
        10,
        title="Poll interval",
        description="Shortest time between two looks at the queue, in seconds.",
    )
    max_poll_s: Annotated[float, Field(ge=1)] = Field(
        120,
        title="Longest poll interval",
        description="Longest time between two looks at the queue, in seconds. The interval grows up to this while nothing changes.",
    )
    grace_s: Seconds = Field(
        120,
        title="Accounting lag",
        description="Seconds that sacct may take to report a job that has left the queue.",
    )
    give_up_s: Seconds = Field(
        7200,
        title="Give up after (s)",
        description="Seconds after which a run gives up if Slurm does not answer or refuses new jobs.",
    )
    host: str | None = Field(
        None,
        pattern=r"^(ssh://)?([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?$",
        title="Host",
        description="Login node on which Slurm's commands run, over ssh. null: this machine.",
    )
    path_map: dict[str, str] = Field(
        {},
        title="Path map",
        description="Path prefixes that differ on the cluster: {path here: path there}.",
    )
    python: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_./][^\x00-\x1f]*$",
        title="Python",
        description="Python interpreter with Magneton on the compute nodes. null: the one that submits the jobs.",
    )
    prelude: tuple[str, ...] = Field(
        (),
        title="Prelude",
        description="Shell lines that a job runs before the command, such as `module load gcc`. Only the config file can set them.",
    )
    command_prefix: tuple[str, ...] = Field(
        (),
        title="Command prefix",
        description="Words in front of the command, such as [apptainer, exec, magneton.sif].",
    )
    extra_args: dict[str, str | int | bool | None] = Field(
        {},
        title="Further options",
        description="Further options of sbatch by long name, such as {gres: 'lscratch:20'}. An option with the value null or true is passed without a value.",
    )
    environment: tuple[str, ...] = Field(
        (),
        title="Environment",
        description="Names of environment variables that jobs inherit from the process that submits them.",
    )

    @property
    def workers(self) -> int:
        """Jobs at once."""
        return self.max_running

    @property
    def largest_memory(self) -> int | None:
        """The most that one job may ever take, in bytes; None: what the nodes have."""
        return self.max_memory

    @property
    def time_s(self) -> int:
        """Time limit of a job at first."""
        return parse_time_limit(self.time)

    @property
    def max_time_s(self) -> int | None:
        """The longest time limit of a later try; None: the partition's."""
        return None if self.max_time is None else parse_time_limit(self.max_time)

    @field_validator("environment")
    @classmethod
    def _variables(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name.startswith("SLURM_"):
                raise ValueError(f"{name} is Slurm's own, and each job gets its own of it")
        return check_passed_on(value)

    @field_validator("exclude")
    @classmethod
    def _nodes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\[\],-]*", name):
                raise ValueError(f"{name!r} is not a node's name")
        return value

    @field_validator("path_map")
    @classmethod
    def _prefixes(cls, value: dict[str, str]) -> dict[str, str]:
        for path in (*value, *value.values()):
            if not path.startswith("/") or (path.endswith("/") and path != "/"):
                raise ValueError(f"{path!r} must be an absolute path without a slash at its end")
        return value

    @field_validator("extra_args")
    @classmethod
    def _options(
        cls, value: dict[str, str | int | bool | None]
    ) -> dict[str, str | int | bool | None]:
        for name, given in value.items():
            if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
                raise ValueError(f"{name!r} is not a long option of sbatch, without its dashes")
            if name in _OURS:
                raise ValueError(f"--{name} is the runner's own; it can't be given here")
            if isinstance(given, str) and not re.fullmatch(r"[\x20-\x7e]+", given):
                raise ValueError(f"{name}: must be one line of plain text")
        return value

    @field_validator("prelude", "command_prefix")
    @classmethod
    def _lines(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for line in value:
            if "\x00" in line or not line or ("\n" in line):
                raise ValueError("must be lines of text, none of them empty")
        return value

    @model_validator(mode="after")
    def _most_is_more(self) -> Self:
        check_most(self.memory, self.max_memory)
        if self.max_time_s is not None and self.time_s > self.max_time_s:
            raise ValueError("max_time is less than time; raise it, or lower time")
        if self.target_minutes * 60 > self.time_s:
            raise ValueError(
                f"target_minutes {self.target_minutes:g} is more than time ({self.time}) allows; lower it, or raise time"
            )
        if self.poll_s > self.max_poll_s:
            raise ValueError("max_poll_s is less than poll_s; raise it, or lower poll_s")
        if self.max_queued < self.max_running:
            raise ValueError("max_queued is less than max_running; raise it, or lower max_running")
        return self
