"""What sbatch gets: its options and the text of the job; pure.

Paths and whatever else people choose stand in options (one argument each) or quoted in the text;
only prelude and command prefix, which the YAML file alone may give, are shell text as they are.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from magneton_tasks.base.geometry import ceil_div
from magneton_tasks.base.worker_env import MEMORY_VARIABLE
from magneton_tasks.config.path_map import PATH_MAP_VARIABLE, mapped
from magneton_tasks.config.slurm import Slurm as Settings
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan.stage_table import OF_EACH
from magneton_tasks.runners.arrays.job import ArrayJob
from magneton_tasks.runners.arrays.states import expression
from magneton_tasks.runners.command import PROGRAM, arguments, stage_command
from magneton_tasks.work.paths import AttemptPaths
from magneton_tasks.work.record_writer import JOB_VARIABLE

#: What a job gets of the environment that submits, beside ``slurm.environment``.
EXPORTED = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER")
#: Jobs with a shorter limit (s) aren't warned: Slurm may send the signal a minute early.
WARNED_FROM_S = 600
_MIB = 2**20


def sbatch(job: ArrayJob, settings: Settings, to_cluster: Sequence[tuple[str, str]]) -> list[str]:
    """The argument list of sbatch; the text of the job comes on its stdin."""
    logs = mapped(str(AttemptPaths(job.attempt).job_logs(job.stage, job.batch)), to_cluster)
    directory = mapped(str(job.attempt), to_cluster)
    check_path(logs)
    exclude = (*settings.exclude, *job.exclude)
    throttle = f"%{job.running}" if job.running < len(job.indexes) else ""
    given: dict[str, str | None] = {
        "job-name": job.name,
        "comment": job.comment,
        "array": expression(job.indexes) + throttle,
        "chdir": directory,
        "output": f"{logs.replace('%', '%%')}/%A_%a.log",
        "open-mode": "append",  # a requeued job goes on in its log
        "partition": settings.slurm_partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "exclude": ",".join(exclude) or None,
        "time": time_limit(job.time_s),
        "mem": f"{ceil_div(job.memory, _MIB)}M",
        "export": ",".join((*EXPORTED, *settings.environment)),
        "signal": _signal(job, settings),
    }
    fixed = ["--parsable", "--nodes=1", "--ntasks=1", f"--cpus-per-task={settings.cpus}"]
    fixed.append("--requeue" if settings.requeue else "--no-requeue")
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return ["sbatch", *fixed, *options, *_extra(settings.extra_args)]


def _signal(job: ArrayJob, settings: Settings) -> str | None:
    if not settings.signal_s or job.time_s < WARNED_FROM_S:
        return None
    return f"B:TERM@{settings.signal_s}"


def _extra(given: Mapping[str, str | int | bool | None]) -> list[str]:
    return [
        f"--{name}" if value is None or value is True else f"--{name}={value}"
        for name, value in given.items()
        if value is not False
    ]


def text(job: ArrayJob, settings: Settings, to_cluster: Sequence[tuple[str, str]]) -> str:
    """The job itself, a script for bash."""
    variables = {
        "PYTHONNOUSERSITE": "1",
        MEMORY_VARIABLE: str(job.worker_bytes),
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(settings.cpus)),
    }
    if to_cluster:
        variables[PATH_MAP_VARIABLE] = json.dumps([list(pair) for pair in to_cluster])
    python = settings.python or mapped(PROGRAM[0], to_cluster)
    attempt = mapped(str(job.attempt), to_cluster)
    command = arguments(stage_command(job.stage, attempt, job.batch))
    words = [*settings.command_prefix, python, *PROGRAM[1:], *command]
    line = shlex.join(words)
    if job.batch is not None and job.stage not in OF_EACH:
        line += f' --part "$SLURM_ARRAY_TASK_ID/{job.parts}"'
    return "\n".join(
        [
            "#!/bin/bash",
            f"# {job.task}: {len(job.indexes)} of {job.parts} parts",
            *settings.prelude,
            *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
            f'export {JOB_VARIABLE}="${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"',
            # the shell becomes the worker, which then gets Slurm's signals itself
            f"exec {line}",
            "",
        ]
    )


def time_limit(seconds: int) -> str:
    """``D-HH:MM:SS``, whole minutes: Slurm rounds up."""
    minutes = ceil_div(seconds, 60)
    days, rest = divmod(minutes, 1440)
    return f"{days}-{rest // 60:02d}:{rest % 60:02d}:00"


def check_path(path: str) -> None:
    """Refuse what no option of sbatch can say.

    Raises
    ------
    ConfigError
        A backslash turns off the job's number in names of logs; a line break ends the option.
    """
    if "\\" in path or "\n" in path:
        raise ConfigError(
            f"{path!r} has a backslash or a line break, which Slurm can't have in the path of a log",
            "give another paths.work",
        )
