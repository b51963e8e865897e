"""What `arrays` asks of a batch scheduler: the contract that each one's folder fulfils.

A `Cluster` says where a scheduler is and is asked how jobs stand; it is the same for all volumes, which
share one poller. A `Scheduler` is a cluster together with one config's settings: it submits, cancels,
and tells what there is. `runners.registry` has an entry for each.
"""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import ConfigError, TemporaryError
from magneton_tasks.runners.arrays.job import ArrayJob
from magneton_tasks.runners.arrays.states import States


class BusyError(TemporaryError):
    """The scheduler doesn't answer, or takes no more jobs now: wait and try again."""


class SubmitLimitError(BusyError):
    """A limit on submitted jobs: fewer at a time may do."""


class RefusedError(ConfigError):
    """The scheduler refused a job for good."""


# ------------------------------------------------------------------ programs
@dataclass(frozen=True, slots=True)
class Command:
    """A program to run to its end."""

    words: tuple[str, ...]
    stdin: str
    environ: Mapping[str, str]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program answered."""

    code: int
    out: str
    err: str


#: Runs a command; raises `subprocess.TimeoutExpired` or OSError.
Shell = Callable[[Command], Answer]


def run_here(command: Command) -> Answer:
    """Run it as a child of this process."""
    done = subprocess.run(
        command.words,
        input=command.stdin,
        capture_output=True,
        text=True,
        errors="replace",
        env=command.environ,
        timeout=command.timeout_s,
        start_new_session=True,  # Ctrl-C must not end it before it says the job's number
    )
    return Answer(done.returncode, done.stdout, done.stderr)


# ------------------------------------------------------------------ what is told
@dataclass(frozen=True, slots=True)
class Limits:
    """What a cluster allows in the partition (queue) of the jobs; None: no limit.

    Attributes
    ----------
    max_array
        Indexes of an array go up to one less.
    node_bytes
        The most memory that a job of one node may have.
    """

    partition: str
    max_array: int
    max_time_s: int | None
    node_bytes: int
    node_cpus: int


@dataclass(frozen=True, slots=True)
class LeftJob:
    """A job array of a volume that is in the queue; ``run``: whose it is."""

    job: str
    state: str
    name: str
    run: str

    def __str__(self) -> str:
        return f"job {self.job} ({self.name}, {self.state}) of run {self.run}"


@dataclass(frozen=True, slots=True)
class Used:
    """What a job, or several, used; in bytes and seconds."""

    jobs: int = 0
    cpu_s: float = 0.0
    longest_s: float = 0.0
    reserved_cpu_s: float = 0.0
    peak_bytes: int = 0


# ------------------------------------------------------------------ the contract
class Looks(Protocol):
    """How jobs stand, asked again and again; each poller has one."""

    async def queue(self, jobs: Sequence[str]) -> States:
        """What the queue says of jobs, in one question; what it doesn't know is left out.

        Raises
        ------
        BusyError
            No answer.
        """

    async def ends(self, jobs: Sequence[str]) -> States:
        """How indexes ended that the queue doesn't tell; what nobody knows (yet) is left out."""


class Cluster(Protocol):
    """A cluster as seen from here; equal ones are watched together, so it is hashable."""

    @property
    def title(self) -> str:
        """The scheduler's name, for messages: ``Slurm``."""

    def looks(self, turn: Callable[[], Awaitable[None]]) -> Looks:
        """For one poller; ``turn`` waits until the scheduler may be asked once more."""

    def to_data(self) -> dict[str, Any]:
        """Plain data, by which a process without the config finds it again."""


class Settings(Protocol):
    """The section of a scheduler in the config: the keys that are the same for all; see docs/config.md."""

    @property
    def cpus(self) -> int: ...
    @property
    def memory(self) -> int | None: ...
    @property
    def max_memory(self) -> int | None: ...
    @property
    def memory_growth(self) -> float: ...
    @property
    def time_s(self) -> int: ...
    @property
    def max_time_s(self) -> int | None: ...
    @property
    def time_growth(self) -> float: ...
    @property
    def tries(self) -> int: ...
    @property
    def target_minutes(self) -> float: ...
    @property
    def max_running(self) -> int: ...
    @property
    def max_queued(self) -> int: ...
    @property
    def exclude(self) -> tuple[str, ...]: ...
    @property
    def probe(self) -> bool: ...
    @property
    def poll_s(self) -> float: ...
    @property
    def max_poll_s(self) -> float: ...
    @property
    def grace_s(self) -> float: ...
    @property
    def give_up_s(self) -> float: ...


class Scheduler(Protocol):
    """A cluster, and what one config asks of it; raises `BusyError` wherever it gets no answer."""

    @classmethod
    def of_config(cls, config: RunConfig) -> Self:
        """The one that a config names."""

    @classmethod
    def cluster_of(cls, data: Mapping[str, Any]) -> Cluster:
        """What `Cluster.to_data` wrote, also after JSON made lists of tuples."""

    @property
    def cluster(self) -> Cluster: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def section(self) -> str:
        """Where its settings are in the config, for messages: ``slurm``."""

    @property
    def partition_key(self) -> str:
        """The key that chooses among its partitions (queues): ``slurm.slurm_partition``."""

    # -------------------------------------------------------------- before a run
    def check_path(self, path: str) -> None:
        """Refuse a work directory whose logs the scheduler can't name (`ConfigError`)."""

    def limits(self) -> Limits:
        """Ask what the cluster allows.

        Raises
        ------
        ConfigError
            It has no such partition, or the programs aren't here.
        """

    def left(self, work: str) -> list[LeftJob]:
        """The arrays in the queue that work in a directory, whoever submitted them."""

    # -------------------------------------------------------------- jobs
    def script(self, job: ArrayJob) -> str:
        """The text of a job."""

    def submit(self, job: ArrayJob, text: str, shell: Shell) -> str:
        """Submit an array by a program that ``shell`` runs; its id, in digits.

        Raises
        ------
        SubmitLimitError
            There is no room for so many now.
        RefusedError
            It will never do.
        """

    def find(self, job: ArrayJob) -> str | None:
        """Id of the newest job of this name, running or ended; None: there is none."""

    def cancel(self, jobs: Sequence[str]) -> str:
        """Cancel arrays by their ids; a complaint, or an empty text."""

    # -------------------------------------------------------------- ends
    def working_nodes(self, limits: Limits) -> set[str]:
        """Names of the nodes that take jobs now; none if the scheduler doesn't say."""

    def tells_out_of_memory(self, line: str) -> bool:
        """Whether a line of a job's log says that the job was ended for its memory."""

    def usage(self, jobs: Sequence[str]) -> Iterator[tuple[str, Used]]:
        """What arrays used, a row for each index or step, with the array's id; nothing without accounting."""
