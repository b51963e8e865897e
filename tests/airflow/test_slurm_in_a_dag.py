"""What a DAG is where the config offers Slurm, and how a step of its jobs becomes a task's state."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    TaskDeferralTimeout,
    TaskDeferred,
)
from airflow.serialization.serialized_objects import DagSerialization

from magneton_tasks.airflow.dag import form as params
from magneton_tasks.airflow.operators import array_trigger
from magneton_tasks.airflow.operators.array_trigger import JobsTrigger
from magneton_tasks.airflow.operators.arrays import ArrayOperator
from magneton_tasks.airflow.operators.process import StageOperator
from magneton_tasks.config import from_form
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import ConfigError, TemporaryError
from magneton_tasks.runners.arrays.batch import BatchJobs
from magneton_tasks.runners.arrays.scheduler import BusyError
from magneton_tasks.runners.arrays.snapshot import Snapshot
from magneton_tasks.runners.arrays.steps import Done, Failed, Later, Lost, Step, Wait
from magneton_tasks.runners.slurm.cluster import SlurmCluster
from magneton_tasks.runners.slurm.programs import Slurm
from tests.airflow.parsing import modules_of_a_parse
from tests.helpers.tiny_volume import write_tiny_volume
from tests.helpers.volumes import plan_run

Load = Callable[[Path], dict[str, Any]]
Write = Callable[..., Path]
ALONE = "runner: {offered: [slurm], default: slurm}\n"
BOTH = "runner: {offered: [local, slurm], default: local}\n"
ROOT = Path(__file__).resolve().parents[2]


def load(load_dags: Load, path: Path) -> Any:
    return load_dags(path.parent)[f"instance_segmentation.{path.stem}"]


# ------------------------------------------------------------------ the DAG
def test_every_stage_is_jobs_and_a_probe_goes_before_them(
    load_dags: Load, write_config: Write
) -> None:
    dag = load(load_dags, write_config("cortex", ALONE))
    for name in ("probe", "segment", "count", "pool", "apply", "downsample", "verify"):
        task = dag.task_dict[name]
        kind = task.operator_class if task.is_mapped else type(task)
        assert kind is ArrayOperator, name
        assert task.pool == "default_pool", "it works elsewhere"
    assert {"plan", "probe"} <= dag.task_dict["segment"].upstream_task_ids
    assert not issubclass(type(dag.task_dict["plan"]), ArrayOperator)


def test_no_probe_where_none_is_wanted(load_dags: Load, write_config: Write) -> None:
    dag = load(load_dags, write_config("cortex", ALONE + "slurm: {probe: false}\n"))
    assert "probe" not in dag.task_dict


def test_a_run_of_another_runner_skips_the_probe(load_dags: Load, write_config: Write) -> None:
    dag = load(load_dags, write_config("cortex", BOTH))
    assert {"segment_local", "segment_slurm", "probe"} <= set(dag.task_dict)
    assert dag.task_dict["probe"].runner == "slurm"


@pytest.mark.parametrize("more", [ALONE, BOTH])
def test_it_can_be_saved_by_airflow(load_dags: Load, write_config: Write, more: str) -> None:
    dag = load(load_dags, write_config("cortex", more))
    saved = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    assert set(saved.task_dict) == set(dag.task_dict)


@pytest.mark.parametrize(
    "key", ["prelude", "command_prefix", "extra_args", "host", "account", "path_map", "python", "environment"],
)  # fmt: skip
def test_a_form_can_t_say_what_a_job_is(key: str, write_config: Write) -> None:
    config = load_config(write_config("cortex", BOTH))
    form = {k: p.value for k, p in params.form(config).items()}
    with pytest.raises(ConfigError, match=f"slurm.{key}"):
        params.read(config, form, {f"slurm.{key}": "x"}, None)
    with pytest.raises(ConfigError, match=f"slurm.{key}"):
        from_form.check({f"slurm.{key}": "x"})


def test_a_parse_with_slurm_stays_light(write_config: Write) -> None:
    _, after = modules_of_a_parse(write_config("cortex", BOTH).parent)
    assert not after & {"numpy", "pyarrow", "zarr", "cloudvolume", "numba"}


# ------------------------------------------------------------------ sbatch through bash
def answer_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: list[str]) -> Any:
    """What an operator's shell makes of an ``sbatch`` with this body."""
    program = tmp_path / "sbatch"
    program.write_text(f"#!/bin/bash\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW_CONN_SMTP_DEFAULT", "DB"):
        monkeypatch.setenv(name, "any:///pa55")
    operator = ArrayOperator(task_id="s", stage="segment", attempt="/nowhere")
    slurm = Slurm(timeout_s=1)
    return slurm.run(["sbatch", *words], "#!/bin/bash\necho hello\n", operator.submit)


def test_no_word_becomes_shell_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = ["--comment=a b'c\"d $(touch PWNED) `id`; exit 3", "--chdir=/x y", "*"]
    body = 'printf "%s|" "$@" >"$(dirname "$0")/words"; cat >"$(dirname "$0")/script"; echo 12'
    answer = answer_of(tmp_path, monkeypatch, body, odd)
    assert (answer.code, answer.out) == (0, "12")
    assert (tmp_path / "words").read_text() == "".join(f"{w}|" for w in odd)
    assert (tmp_path / "script").read_text().startswith("#!/bin/bash\necho hello\n")
    assert not list(tmp_path.rglob("PWNED"))


def test_a_warning_is_no_job_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = answer_of(tmp_path, monkeypatch, "echo '12;main'; echo 'be polite' >&2", [])
    assert (answer.code, answer.out) == (0, "12;main")


def test_a_refusal_is_told_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; echo 'sbatch: error: failed' >&2; exit 1"
    answer = answer_of(tmp_path, monkeypatch, body, [])
    assert answer.code == 1
    assert answer.err == "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: failed"


def test_airflow_s_secrets_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = 'env >"$(dirname "$0")/env"; echo 1'
    answer_of(tmp_path, monkeypatch, body, [])
    assert "pa55" not in (tmp_path / "env").read_text()


def test_an_sbatch_that_hangs_is_waited_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BusyError, match="didn't answer within 1 s"):
        answer_of(tmp_path, monkeypatch, "sleep 30", [])


# ------------------------------------------------------------------ steps
@dataclass
class Store:
    """The store of a task that outlives its deferrals."""

    values: dict[str, Any] = field(default_factory=dict)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value

    def get(self, key: str) -> Any:
        return self.values.get(key)


@dataclass
class Jobs:
    """Jobs of a batch that take the steps they are told."""

    steps: list[Step]
    seen: list[tuple[str, Snapshot | None]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def step(self, token: str, snapshot: Snapshot | None = None) -> Step:
        self.seen.append((token, snapshot))
        return self.steps.pop(0)

    def cancel(self, token: str) -> list[str]:
        self.cancelled.append(token)
        return ["7"]


@pytest.fixture
def operator(tmp_path: Path) -> ArrayOperator:
    paths = plan_run(write_tiny_volume(tmp_path, BOTH)).attempt.paths
    # as if a cluster had been asked
    text = paths.config.read_text()
    paths.config.write_text(text.replace("default: local", "default: slurm"))
    assert paths.config.read_text() != text
    return ArrayOperator(
        task_id="segment", stage="segment", attempt=str(paths.root), batch={"batch": 0}
    )


@pytest.fixture
def told(operator: ArrayOperator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Jobs]:
    """Makes the operator's jobs take these steps."""

    def tell(*steps: Step) -> Jobs:
        jobs = Jobs(list(steps))
        monkeypatch.setattr(BatchJobs, "step", lambda _, token, s=None: jobs.step(token, s))
        monkeypatch.setattr(BatchJobs, "cancel", lambda _, token: jobs.cancel(token))
        return jobs

    return tell


@dataclass
class Try:
    """A try of a task."""

    try_number: int = 1


def context() -> Any:
    return {"task_state_store": Store(), "ti": Try()}


def deferral(operator: ArrayOperator, about: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(about)
    assert deferred.value.method_name == "look_again"
    return deferred.value


def test_waiting_is_a_deferral_and_its_end_a_result(
    operator: ArrayOperator, told: Callable[..., Jobs]
) -> None:
    about = context()
    jobs = told(Wait(("7_[0-3]",)), Done({"done": 12}))
    deferred = deferral(operator, about)
    trigger = deferred.trigger
    assert not deferred.kwargs, "dag.test hands nothing on but the event"
    assert isinstance(trigger, JobsTrigger) and list(trigger.jobs) == ["7_[0-3]"]
    assert trigger.until is None and deferred.timeout is None
    path, kwargs = trigger.serialize()
    assert path == "magneton_tasks.airflow.operators.array_trigger.JobsTrigger"
    assert JobsTrigger(**kwargs).serialize() == (path, kwargs)
    assert kwargs["token"] == about["task_state_store"].get("try-1")["token"]
    event = {"snapshot": Snapshot({}).to_data()}
    assert operator.look_again(about, event=event) == {"done": 12, "batch": 0}
    assert [token for token, _ in jobs.seen] == [kwargs["token"]] * 2
    assert jobs.seen[1][1] == Snapshot({})


def test_a_limit_is_waited_for_a_time(operator: ArrayOperator, told: Callable[..., Jobs]) -> None:
    told(Later(30, "QOSMaxSubmitJobPerUserLimit"))
    trigger = deferral(operator, context()).trigger
    assert isinstance(trigger, JobsTrigger)
    assert trigger.jobs == [] and 25 < (trigger.until or 0) - time.time() <= 30


@pytest.mark.parametrize(
    ("step", "is_final"),
    [
        (Failed(ConfigError("no more memory may be had")), True),
        (Failed(TemporaryError("a node failed three times")), False),
        (Lost(), True),
    ],
)
def test_failures(
    step: Step, is_final: bool, operator: ArrayOperator, told: Callable[..., Jobs]
) -> None:
    told(step)
    with pytest.raises(AirflowException) as failure:
        operator.execute(context())
    assert isinstance(failure.value, AirflowFailException) is is_final
    if isinstance(step, Failed):
        assert str(step.error) in str(failure.value)


def test_a_cluster_that_never_answered_fails_and_may_be_retried(operator: ArrayOperator) -> None:
    with pytest.raises(AirflowException, match="slurmctld") as failure:
        operator.look_again(context(), event={"silent": "slurmctld doesn't answer"})
    assert not isinstance(failure.value, AirflowFailException)


def test_the_time_out_of_the_trigger_cancels(
    operator: ArrayOperator, told: Callable[..., Jobs]
) -> None:
    operator.execution_timeout = timedelta(seconds=50)
    about = context()
    jobs = told(Wait(("7_[0-3]",)))
    deferred = deferral(operator, about)
    assert 40 < deferred.timeout.total_seconds() <= 50
    with pytest.raises(AirflowException, match="cancelled jobs: 7") as failure:
        operator.resume_execution("__fail__", {"error": "Trigger timeout"}, about)
    assert not isinstance(failure.value, TaskDeferralTimeout)
    assert jobs.cancelled == [about["task_state_store"].get("try-1")["token"]]


def test_another_runner_s_run_skips(tmp_path: Path) -> None:
    run = plan_run(write_tiny_volume(tmp_path, BOTH))
    task = ArrayOperator(
        task_id="pool", stage="pool", attempt=str(run.attempt.paths.root), runner="slurm"
    )
    with pytest.raises(AirflowSkipException, match="another runner than slurm"):
        task.execute(context())


def test_a_stage_that_nobody_asked_for_is_skipped(tmp_path: Path) -> None:
    run = plan_run(write_tiny_volume(tmp_path), stages=("segment",))
    attempt = str(run.attempt.paths.root)
    for kind in (ArrayOperator, StageOperator):
        task = kind(task_id="pool", stage="pool", attempt=attempt)
        with pytest.raises(AirflowSkipException, match="asked for segment only"):
            task.execute(context())


# ------------------------------------------------------------------ the trigger
def trigger(**more: Any) -> JobsTrigger:
    given: dict[str, Any] = {
        "runner": "slurm", "cluster": Slurm().to_data(), "timing": {"poll_s": 1.0}, "jobs": ["7_[0-3]"], "until": None,
        "attempt": "/attempt", "stage": "segment", "batch": 3, "token": "mine",
    }  # fmt: skip
    return JobsTrigger(**given | more)


async def _first(one: JobsTrigger) -> Mapping[str, Any]:
    async for event in one.run():
        return dict(event.payload)
    raise AssertionError("no event")


def test_a_trigger_tells_what_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ready(
        cluster: SlurmCluster, jobs: list[str], *_: Any, deadline_s: float | None
    ) -> Snapshot:
        assert (cluster, jobs) == (SlurmCluster(Slurm()), ["7_[0-3]"])
        assert deadline_s is not None and 0 <= deadline_s <= 5
        return Snapshot({}, "slow")

    monkeypatch.setattr(array_trigger, "wait_ready", ready)
    monkeypatch.setattr(array_trigger, "SETTLE_S", 0.3)
    began = time.monotonic()
    payload = asyncio.run(_first(trigger(until=time.time() + 5)))
    assert Snapshot.of_data(payload["snapshot"]) == Snapshot({}, "slow")
    assert time.monotonic() - began >= 0.3, "Airflow may not have seen the deferral yet"


def test_a_trigger_tells_that_nobody_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: Any, **__: Any) -> Snapshot:
        raise BusyError("squeue: Unable to contact slurm controller")

    monkeypatch.setattr(array_trigger, "wait_ready", silent)
    monkeypatch.setattr(array_trigger, "SETTLE_S", 0)
    assert "Unable to contact" in asyncio.run(_first(trigger()))["silent"]


def test_only_on_kill_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    jobs = Jobs([])

    def opened(*given: Any) -> Jobs:
        calls.append(given)
        return jobs

    async def for_ever(*_: Any, **__: Any) -> Snapshot:
        await asyncio.sleep(60)
        raise AssertionError

    async def restart() -> None:
        task = asyncio.create_task(_first(one))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await one.cleanup()

    monkeypatch.setattr(array_trigger, "open_jobs", opened)
    monkeypatch.setattr(array_trigger, "wait_ready", for_ever)
    one = trigger()
    asyncio.run(restart())
    assert calls == []
    asyncio.run(one.on_kill())
    assert calls == [(Path("/attempt"), "segment", 3)] and jobs.cancelled == ["mine"]


def test_jobs_are_cancelled_though_slurm_is_slow_and_airflow_cancels_on_kill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[str] = []

    def cancel(*_: Any) -> list[str]:
        time.sleep(0.2)
        tries.append("busy" if not tries else "cancelled")
        if tries[-1] == "busy":
            raise BusyError("scancel: Unable to contact slurm controller")
        return ["7"]

    async def killed() -> None:
        """As Airflow's triggerer does it, but ten times as often."""

        async def run() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(trigger().on_kill(), 30)

        task = asyncio.create_task(run())
        while not task.done():
            await asyncio.sleep(0.1)
            task.cancel()
        deadline = time.monotonic() + 10
        while tries != ["busy", "cancelled"] and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    monkeypatch.setattr(array_trigger.JobsTrigger, "_cancel_now", cancel)
    monkeypatch.setattr(array_trigger, "KILL_PAUSE_S", 0.05)
    asyncio.run(killed())
    assert tries == ["busy", "cancelled"]
