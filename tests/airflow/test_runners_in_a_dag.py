"""What a DAG is where the config offers the docker runner; no engine is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization

from magneton_tasks.airflow.dag import form as params
from magneton_tasks.airflow.operators.batches import BatchesOperator, GroupsOperator
from magneton_tasks.airflow.operators.container import (
    GroupsContainerOperator,
    StageContainerOperator,
)
from magneton_tasks.airflow.operators.process import StageOperator
from magneton_tasks.cli.run.planning import describe
from magneton_tasks.config import from_form
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import ConfigError
from magneton_tasks.work.job import Job
from tests.airflow.parsing import modules_of_a_parse
from tests.helpers.tiny_volume import write_tiny_volume
from tests.helpers.volumes import plan_run

Load = Callable[[Path], dict[str, Any]]
Write = Callable[..., Path]
BOTH = "runner: {offered: [local, docker], default: local}\n"
ROOT = Path(__file__).resolve().parents[2]


def load(load_dags: Load, path: Path) -> Any:
    return load_dags(path.parent)[f"instance_segmentation.{path.stem}"]


def test_docker_alone_runs_everything_in_containers(load_dags: Load, write_config: Write) -> None:
    more = "runner: {offered: [docker], default: docker}\n"
    dag = load(load_dags, write_config("cortex", more))
    for name in ("plan", "segment", "count", "pool", "apply", "downsample", "verify", "release"):
        task = dag.task_dict[name]
        kind = task.operator_class if task.is_mapped else type(task)
        assert issubclass(kind, DockerOperator), name
    assert dag.task_dict["segment"].is_mapped
    assert "runner.default" not in dag.params


@pytest.mark.parametrize("offered", ["[docker]", "[docker, local]"])
def test_groups_of_rounds_are_found_out_where_the_stages_work(
    load_dags: Load, write_config: Write, offered: str
) -> None:
    more = f"runner: {{offered: {offered}, default: docker}}\nmethod: exact\n"
    dag = load(load_dags, write_config("cortex", more))
    one_of = {"docker": GroupsContainerOperator, "local": GroupsOperator}
    runners = ["docker"] if "local" not in offered else list(one_of)
    for runner in runners:
        end = f"_{runner}" if len(runners) > 1 else ""
        for stage in ("round0", "round7", "cut"):
            assert type(dag.task_dict[f"batches.{stage}{end}"]) is one_of[runner]
    rounds = dag.task_group_dict["rounds"].children
    assert len(rounds) == 2 * 8 * len(runners), "those of all runners are folded into one"


def test_each_offered_runner_is_a_branch(load_dags: Load, write_config: Write) -> None:
    dag = load(load_dags, write_config("cortex", BOTH))
    stages = ("segment", "count", "pool", "apply", "downsample", "verify")
    names = {f"{stage}_{runner}" for stage in stages for runner in ("local", "docker")}
    assert names <= set(dag.task_dict) and "segment" not in dag.task_dict
    for before, after in (("segment", "count"), ("pool", "apply")):
        for runner in ("local", "docker"):
            upstream = dag.task_dict[f"{after}_{runner}"].upstream_task_ids
            assert {f"{before}_local", f"{before}_docker"} <= upstream
    release = dag.task_dict["release"]
    assert release.is_teardown
    assert {
        "announce",
        "segment_local",
        "segment_docker",
        "verify_local",
    } <= release.upstream_task_ids
    verified = dag.task_dict["announce"].upstream_task_ids
    assert {"verify_local", "verify_docker"} <= verified
    assert dag.params["runner.default"] == "local"
    schema = dag.params.get_param("runner.default").schema
    assert schema["enum"] == ["local", "docker"]


@pytest.mark.parametrize("offered", ["[docker]", "[docker, local]"])
def test_it_can_be_saved_by_airflow(load_dags: Load, write_config: Write, offered: str) -> None:
    more = f"runner: {{offered: {offered}, default: docker}}\n"
    dag = load(load_dags, write_config("cortex", more))
    saved = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    assert set(saved.task_dict) == set(dag.task_dict)


def test_the_form_s_choice_goes_to_plan(write_config: Write) -> None:
    config = load_config(write_config("cortex", BOTH))
    form = {k: p.value for k, p in params.form(config).items()}
    assert params.read(config, form, {}, None).sets == {}
    chosen = params.read(config, form | {"runner.default": "docker"}, {}, None)
    assert chosen.sets == {"runner.default": "docker"}


@pytest.mark.parametrize(
    "key", ["docker.image", "docker.credentials", "docker.environment", "docker.network", "docker.engine", "docker.max_memory", "runner.offered"],
)  # fmt: skip
def test_a_form_can_t_say_what_a_container_is(key: str, write_config: Write) -> None:
    config = load_config(write_config("cortex", BOTH))
    form = {k: p.value for k, p in params.form(config).items()}
    with pytest.raises(ConfigError, match=key):
        params.read(config, form, {key: "x"}, None)
    with pytest.raises(ConfigError, match=key):
        from_form.check({key: "x"})


def test_batches_go_to_the_chosen_runner_alone(tmp_path: Path) -> None:
    run = plan_run(write_tiny_volume(tmp_path, BOTH), {"runner.default": "docker"})
    attempt = str(run.attempt.paths.root)

    def batches(runner: str | None) -> list[dict[str, Any]]:
        task = BatchesOperator(task_id="b", stage="segment", attempt=attempt, runner=runner)
        return task.execute({})

    assert batches("docker") == batches(None) != []
    assert batches("local") == []
    with pytest.raises(AirflowSkipException, match="another runner than local"):
        StageOperator(task_id="p", stage="pool", attempt=attempt, runner="local").execute({})


@pytest.mark.parametrize("method", ["exact", "overlap"])
@pytest.mark.parametrize("runner", ["local", "docker"])
def test_a_block_is_a_task_called_after_it(tmp_path: Path, method: str, runner: str) -> None:
    """Also where a batch holds neighbours in space, so that tasks don't follow the blocks' numbers."""
    more = f"runner: {{offered: [{runner}], default: {runner}}}\n"
    run = plan_run(write_tiny_volume(tmp_path, more, method), form=True, workers=2)
    blocks = len(run.plan.geometry.grid)

    def tasks(stage: str) -> list[dict[str, Any]]:
        attempt = str(run.attempt.paths.root)
        return BatchesOperator(task_id="b", stage=stage, attempt=attempt).execute({})

    for stage, noun, n in (("segment", "block", blocks), ("apply", "cell", 8)):
        found = {
            t["name"]: Job.of_batch(run.attempt, stage, t["batch"]).keys() for t in tasks(stage)
        }
        assert found == {f"{noun} {key}": [key] for key in range(n)}
        assert f"{n} of {n}, a task for each {noun}; " in "\n".join(describe(run.plan, None))
    assert run.plan.by_block


def test_an_engine_that_is_down_is_retried_and_a_wrong_version_isn_t(tmp_path: Path) -> None:
    down = f"docker: {{engine: 'unix://{tmp_path}/none.sock'}}\n"
    path = write_tiny_volume(tmp_path, "runner: {offered: [docker], default: docker}\n" + down)
    run = plan_run(path)
    task = StageContainerOperator(
        task_id="pool", stage="pool", attempt=str(run.attempt.paths.root), config=load_config(path)
    )
    with pytest.raises(AirflowException, match="none.sock") as failure:
        task.run_stage(task.attempt, "pool", None, 1)
    assert not isinstance(failure.value, AirflowFailException)


def test_a_parse_with_containers_stays_light(write_config: Write) -> None:
    _, after = modules_of_a_parse(write_config("cortex", BOTH).parent)
    assert not after & {"numpy", "pyarrow", "zarr", "cloudvolume", "numba"}
