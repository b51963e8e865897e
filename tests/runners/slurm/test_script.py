"""The options and the text of a job: golden, and no value of a user becomes shell text."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from magneton_tasks.config.slurm import Slurm as Settings
from magneton_tasks.errors import ConfigError
from magneton_tasks.runners.arrays.job import ArrayJob
from magneton_tasks.runners.command import PROGRAM
from magneton_tasks.runners.slurm import script

GOLDEN = Path(__file__).parent / "golden"
JOB = ArrayJob(
    work="/data/work",
    volume="cortex",
    run="manual__2026-01-02",
    attempt=Path("/data/work/runs/m/1"),
    stage="segment",
    batch=3,
    parts=50,
    number=1,
    indexes=tuple(range(50)),
    memory=8 * 2**30,
    worker_bytes=7 * 2**30,
    time_s=5400,
    running=20,
)
FULL = Settings(
    slurm_partition="gpu,long",
    account="lab-7",
    qos="few",
    constraint="intel&(avx2|avx512)",
    exclude=("n7",),
    cpus=2,
    python="/opt/magneton/bin/python",
    prelude=("module load gcc/13", "source /opt/env.sh"),
    command_prefix=("apptainer", "exec", "--bind", "/data", "/opt/magneton image.sif"),
    extra_args={"gres": "lscratch:20", "exclusive": None, "nice": 100},
    environment=("AWS_PROFILE",),
)
RETRY = replace(JOB, number=2, indexes=(3, 4, 9), running=20, exclude=("n2",), time_s=300)
SINGLE = replace(JOB, stage="verify", batch=None, parts=1, indexes=(0,))
AT_SECOND = replace(SINGLE, batch=1)


def rendered(job: ArrayJob, settings: Settings, mapped: tuple[tuple[str, str], ...] = ()) -> str:
    options = "\n".join(script.sbatch(job, settings, mapped))
    return f"{options}\n\n{script.text(job, settings, mapped)}".replace(PROGRAM[0], "PYTHON")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("default", rendered(JOB, Settings())),
        ("everything", rendered(JOB, FULL)),
        ("retry", rendered(RETRY, Settings(requeue=False))),
        ("single", rendered(SINGLE, Settings(python="python3"))),
        ("threshold", rendered(AT_SECOND, Settings(python="python3"))),
        ("mapped", rendered(JOB, Settings(python="python3"), (("/data", "/gpfs/lab"),))),
    ],
)
def test_golden(name: str, text: str) -> None:
    assert text == (GOLDEN / f"{name}.txt").read_text()


ODD = "/data/a b'c\"d$(touch OWNED)`x`;&|*?#%j"


def test_an_odd_path_reaches_the_worker_as_it_is(tmp_path: Path) -> None:
    job = replace(JOB, attempt=Path(ODD))
    settings = Settings(python="/bin/echo", command_prefix=("/usr/bin/printf", "%s\\n"))
    done = subprocess.run(
        ["bash", "-s"],
        input=script.text(job, settings, ()),
        capture_output=True,
        text=True,
        env={"SLURM_ARRAY_TASK_ID": "7"},
        cwd=tmp_path,
    )
    assert done.stderr == ""
    assert ODD in done.stdout.splitlines() and "7/50" in done.stdout.splitlines()
    assert not list(tmp_path.iterdir())


def test_percent_signs_of_a_path_are_no_patterns_of_slurm() -> None:
    options = script.sbatch(replace(JOB, attempt=Path("/data/100%j")), Settings(), ())
    output = next(o for o in options if o.startswith("--output="))
    assert output == "--output=/data/100%%j/logs/slurm/segment-0003/%A_%a.log"


@pytest.mark.parametrize("path", ["/data/a\\b", "/data/a\nb"])
def test_a_path_that_no_log_can_have_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="backslash or a line break"):
        script.sbatch(replace(JOB, attempt=Path(path)), Settings(), ())


def test_the_name_is_the_same_for_the_same_work_and_for_no_other() -> None:
    names = {
        replace(JOB, **change).name
        for change in (
            {},
            {"number": 2},
            {"stage": "count"},
            {"batch": 4},
            {"run": "x"},
            {"work": "/other"},
            {"attempt": Path("/data/work/runs/m/2")},
        )
    }
    assert len(names) == 7
    assert replace(JOB, memory=1, indexes=(1,)).name == JOB.name


@pytest.mark.parametrize(
    "given",
    [
        {"slurm_partition": "a b"}, {"slurm_partition": "-p"}, {"account": "x;id"}, {"qos": "$(id)"},
        {"constraint": "a b"}, {"time": 90}, {"time": "soon"}, {"time": "00:00:30"}, {"exclude": ["-x"]},
        {"host": "-oProxyCommand=id"}, {"extra_args": {"array": "1"}}, {"extra_args": {"x y": "1"}},
        {"extra_args": {"gres": "a\nb"}}, {"environment": ["SLURM_CONF"]}, {"environment": ["A=B"]},
        {"path_map": {"data": "/x"}}, {"memory": "8GiB", "max_memory": "4GiB"},
        {"max_time": "00:10:00"}, {"target_minutes": 40}, {"prelude": ["a\nb"]},
        {"max_queued": 100, "max_running": 200},
    ],
)  # fmt: skip
def test_what_is_no_plain_value_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(given)


def test_every_option_is_one_argument() -> None:
    for argument in script.sbatch(JOB, FULL, ()):
        assert shlex.split(shlex.quote(argument)) == [argument]
