"""From a run's parameters to what plan is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from magneton_tasks.airflow.dag import fields
from magneton_tasks.airflow.dag import form as params
from magneton_tasks.airflow.operators.planning import PlanOperator, request_command
from magneton_tasks.config import from_form, renamed, roots
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import ConfigError
from tests.helpers.plans import a_config

Write = Callable[..., Path]
DATE = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


class Store(dict[str, Any]):
    """Stands for Airflow's task_state_store, which outlives retries and clears."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


def request(
    path: Path, conf: dict[str, Any] | None = None, date: datetime | None = None
) -> params.FormRequest:
    config = load_config(path)
    values = {key: param.value for key, param in params.form(config).items()}
    return params.read(config, values | (conf or {}), conf, date)


def test_untouched_form_changes_nothing(write_config: Write) -> None:
    asked = request(write_config("cortex", "segment: {threshold: 0.37}\n"))
    assert asked == params.FormRequest(sets={}, stages=None, partition=None, restart=False)


def test_thresholds_are_offered_where_the_output_holds_them(write_config: Write) -> None:
    plain = write_config("cortex", "method: exact\n")
    with pytest.raises(ConfigError, match="thresholds can't be set"):
        request(plain, {"thresholds": ".3"})
    text = plain.read_text()
    for method, is_offered in (("exact", True), ("overlap", False)):
        path = plain.with_name(f"{method}.yaml")
        path.write_text(text.replace("segmentation", "at-{threshold}").replace("exact", method))
        assert ("thresholds" in params.form(load_config(path))) == is_offered
    path = plain.with_name("exact.yaml")
    assert request(path).thresholds == ()
    asked = request(path, {"thresholds": "0.4, .25"})
    assert asked.thresholds == (0.4, 0.25) and asked.sets == {}
    assert "--thresholds=0.4,0.25" in request_command("v.yaml", "r", asked)
    with pytest.raises(ConfigError, match="given twice"):
        request(path, {"thresholds": ".3,0.30"})
    field = params.form(load_config(path))["thresholds"]
    for good in (None, ".25", "0.25, .3,0.4", "1"):
        field.resolve(good)
    for bad in ("", "high", "2", ".3;.4", ".3,", 0.3, "0.3\n"):
        with pytest.raises(ParamValidationError):
            field.resolve(bad)


def test_only_what_differs_is_set(write_config: Write) -> None:
    path = write_config("cortex", "segment: {threshold: 0.37}\n")
    conf = {"segment.threshold": 0.6, "pool.rule": "mutual", "block.size": [128, 256, 256]}
    asked = request(path, {**conf, "stages": ["pool"], "restart": True})
    assert asked.sets == {"segment.threshold": 0.6, "block.size": [128, 256, 256]}
    assert asked.stages == ("pool",) and asked.restart


def test_a_key_of_several_numbers_has_a_field_for_each_and_may_be_given_whole(
    write_config: Write,
) -> None:
    path = write_config("cortex", "block: {size: [96, 128, 160]}\n")
    form = {key: param.value for key, param in params.form(load_config(path)).items()}
    # the web form sends all of them
    assert request(path, {**form, "block.size.y": 64}).sets == {"block.size": [96, 64, 160]}
    assert request(path, {"segment.aff_thresholds.high": 0.5}).sets == {
        "segment.aff_thresholds": [0.0001, 0.5]
    }
    assert request(path, {"block.size": [1, 2, 3]}).sets == {"block.size": [1, 2, 3]}
    assert request(path, {"block.size": [96, 128, 160]}).sets == {}
    with pytest.raises(ConfigError, match=r"block\.size and block\.size\.z contradict"):
        request(path, {"block.size": [1, 2, 3], "block.size.z": 1})
    with pytest.raises(ConfigError, match="block.size.w is not a parameter"):
        request(path, {"block.size.w": 1})


def test_wrong_numbers_that_are_given_whole_fail_plan_by_name(write_config: Write) -> None:
    """Airflow knows the form's fields alone."""
    path = write_config("cortex")
    conf = {"block.size": [64, 64]}
    run = SimpleNamespace(conf=conf, run_type="manual", logical_date=None, run_id="r")
    values = {key: param.value for key, param in params.form(load_config(path)).items()}
    context: Any = {"dag_run": run, "params": values, "task_state_store": Store()}
    with pytest.raises(AirflowFailException, match=r"block\.size"):
        PlanOperator(task_id="plan", config_path=str(path)).command(context)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("segment.treshold", "did you mean segment.threshold"),
        ("threshold", "did you mean segment.threshold"),
        ("nonsense", "nonsense is not a parameter"),
        ("paths.output", "can't be set by a run's parameters"),
        ("local.workers", "can't be set by a run's parameters"),
        ("schedule", "can't be set by a run's parameters"),
        ("docker.image", "can't be set by a run's parameters"),
        ("partition", "can't be set by a run's parameters"),
    ],
)
def test_unknown_keys_are_refused_by_name(write_config: Write, key: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        request(write_config("cortex"), {key: 1})


def test_a_refused_key_fails_plan_for_good(write_config: Write) -> None:
    path = write_config("cortex")
    run = SimpleNamespace(conf={"treshold": 1}, run_type="manual", logical_date=None, run_id="r")
    values = {key: param.value for key, param in params.form(load_config(path)).items()}
    operator = PlanOperator(task_id="plan", config_path=str(path))
    with pytest.raises(AirflowFailException, match="treshold is not a parameter"):
        operator.command({"dag_run": run, "params": values})


@pytest.mark.parametrize(
    ("run_type", "date", "given", "partition"),
    [
        ("scheduled", DATE, None, "2026-01-31"),
        ("backfill", DATE, None, "2026-01-31"),
        (
            "scheduled",
            DATE.astimezone(timezone(timedelta(hours=9))),
            None,
            "2026-01-31",
        ),  # UTC counts
        ("scheduled", DATE, "extra", "extra"),
        ("manual", None, "2020-05-05", "2020-05-05"),
        ("manual", None, None, None),  # over REST; plan then asks for one
        ("manual", DATE, None, None),  # the form's prefilled "now" was chosen by nobody
    ],
)
def test_partition_of_a_run(
    write_config: Write,
    run_type: str,
    date: datetime | None,
    given: str | None,
    partition: str | None,
) -> None:
    path = write_config("daily", partition=True)
    conf = {} if given is None else {"partition": given}
    run = SimpleNamespace(conf=conf, run_type=run_type, logical_date=date, run_id="scheduled__2026")
    values = {key: param.value for key, param in params.form(load_config(path)).items()} | conf
    context: Any = {"dag_run": run, "params": values, "task_state_store": Store()}
    command = PlanOperator(task_id="plan", config_path=str(path)).command(context)
    assert [a for a in command if a.startswith("--partition")] == (
        [] if partition is None else [f"--partition={partition}"]
    )


def test_without_partition_in_the_paths_dates_do_not_matter(write_config: Write) -> None:
    assert request(write_config("cortex"), date=DATE).partition is None


def test_partition_format(write_config: Write) -> None:
    path = write_config("hourly", 'partition_format: "%Y%m%dT%H"\n', partition=True)
    assert request(path, date=DATE).partition == "20260131T23"


def test_values_reach_the_command_as_they_are(write_config: Write) -> None:
    path = write_config("cortex")
    conf = {"segment.threshold": 0.25, "block.size": [96, 96, 96], "pool.rule": "both"}
    run = SimpleNamespace(conf=conf, run_type="manual", logical_date=None, run_id="manual__1:2+3")
    values = {key: param.value for key, param in params.form(load_config(path)).items()} | conf
    context: Any = {"dag_run": run, "params": values, "task_state_store": Store()}
    command = PlanOperator(task_id="plan", config_path=str(path)).command(context)
    assert command[1:5] == ["-m", "magneton_tasks", "plan", str(path)]
    assert "--run-id=manual__1:2+3" in command and "--form" in command
    sets = [a.removeprefix("--set=") for a in command if a.startswith("--set=")]
    assert sets == ["segment.threshold=0.25", "block.size=[96, 96, 96]", "pool.rule=both"]


def test_cleared_plan_follows_the_edited_file(write_config: Write) -> None:
    """The web form sends all values; those that nobody changed there aren't meant to stay for ever."""
    path = write_config("cortex", "segment: {threshold: 0.7, min_size_vox: 0}\n")
    conf = {key: param.value for key, param in params.form(load_config(path)).items()}
    conf["segment.min_size_vox"] = 50  # changed in the form
    run = SimpleNamespace(conf=conf, run_type="manual", logical_date=None, run_id="r")
    context: Any = {"dag_run": run, "params": conf, "task_state_store": Store()}

    def sets() -> list[str]:
        command = PlanOperator(task_id="plan", config_path=str(path)).command(context)
        return [a.removeprefix("--set=") for a in command if a.startswith("--set=")]

    assert sets() == ["segment.min_size_vox=50"]
    write_config("cortex", "segment: {threshold: 0.6, min_size_vox: 0}\n")
    assert sets() == ["segment.min_size_vox=50"], "0.7 was the file's, and the file says 0.6 now"
    # a backfill that runs the date again with other values means these
    run.conf = conf = {"segment.threshold": 0.5}
    context["params"] = context["params"] | {"segment.min_size_vox": 0} | conf
    assert sets() == ["segment.threshold=0.5"]


def test_paths_lie_under_the_roots_wherever_links_lead(
    write_config: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, root = write_config("cortex"), tmp_path / "root"
    (root / "inside").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path)
    monkeypatch.setenv("MAGNETON_ROOTS", str(root))

    def command(conf: dict[str, Any]) -> list[str]:
        run = SimpleNamespace(conf=conf, run_type="manual", logical_date=None, run_id="r")
        values = {key: param.value for key, param in params.form(load_config(path)).items()} | conf
        context: Any = {"dag_run": run, "params": values, "task_state_store": Store()}
        return list(PlanOperator(task_id="plan", config_path=str(path)).command(context))

    good = f"file://{root}/inside/affinity"
    assert f"--set=paths.input={good}" in command({"paths.input": good})
    for bad in (f"{root}/link/no-such-volume", f"{root}/../elsewhere"):
        with pytest.raises(AirflowFailException, match=f"paths.work from a form must.*{tmp_path}"):
            command({"paths.work": bad})
    monkeypatch.delenv("MAGNETON_ROOTS")
    with pytest.raises(AirflowFailException, match="paths.input can't be set.*MAGNETON_ROOTS"):
        command({"paths.input": good})


def test_what_forms_offer_is_what_a_form_may_set(
    write_config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both methods, several runners and all sections offer every key of the list, and no other."""
    monkeypatch.setenv("MAGNETON_ROOTS", "/")
    given = "runner: {offered: [local, slurm], default: local}\nmesh: {}\nskeleton: {}\n"
    found = set()
    for method in ("overlap", "exact"):
        config = load_config(write_config(method, f"{given}method: {method}\n"))
        of_fields = {name: key for key in from_form.KEYS for name in fields.names(key)}
        form = dict.fromkeys(of_fields.get(name, name) for name in params.form(config))
        found |= form.keys() - {"stages", "restart"}
        assert tuple(k for k in form if k in from_form.KEYS) == from_form.offered(config)
    assert found == set(from_form.KEYS)


def test_a_form_s_old_name_of_a_key_counts_as_the_present_one(
    write_config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(renamed.RENAMED, "segment.cutoff", "segment.threshold")
    path = write_config("cortex", "segment: {threshold: 0.37}\n")
    assert request(path, {"segment.cutoff": 0.6}).sets == {"segment.threshold": 0.6}
    with pytest.raises(ConfigError, match="both are there"):
        request(path, {"segment.cutoff": 0.6, "segment.threshold": 0.5})


def test_the_form_takes_no_line_break_at_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(roots.ROOTS_VARIABLE, f"/data{os.pathsep}/scratch")
    paths = {f"paths.{k}": f"/data/{k}/{{partition}}" for k in ("input", "output", "work")}
    fields = params.form(a_config(paths))
    for key, good in (("partition", "2026-01-01"), ("paths.output", "/data/seg/{partition}")):
        pattern = fields[key].schema["pattern"]
        assert re.search(pattern, good)
        assert not re.search(pattern, f"{good}\n")
