"""Runs that somebody starts, over REST and in the browser; what is refused, and who may."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.airflow import PATIENCE_S, PREFIX, Airflow, wait_until
from tests.e2e.mailbox import Mailbox
from tests.e2e.rest import RefusedError
from tests.helpers.tiny_volume import OBJECTS


def test_a_run_over_rest(airflow: Airflow) -> None:
    airflow.write_volume("by_rest", "local: {workers: 2}\n", sizes="few")
    run_id, state = airflow.run("by_rest", {"segment.threshold": 0.6})
    tasks = airflow.tasks("by_rest", run_id)
    assert state == "success", tasks
    assert [tasks["segment", k]["rendered_map_index"] for k in (0, 1)] == ["block 0", "block 1"]
    assert "segment block 1: done" in airflow.log("by_rest", run_id, "segment", index=1)
    assert airflow.result("by_rest", "verify")["objects"] == OBJECTS
    assert "2 of 2, a task for each block" in airflow.log("by_rest", run_id, "plan")

    airflow.clear_tasks("by_rest", run_id, ["segment", 1])

    def tries() -> list[int]:
        tasks = airflow.tasks("by_rest", run_id)
        return [tasks["segment", k]["try_number"] for k in (0, 1)]

    wait_until(lambda: tries() == [1, 2], "the cleared block is tried again, and no other")
    assert airflow.wait_for_run("by_rest", run_id) == "success"
    again = airflow.log("by_rest", run_id, "segment", 2, index=1)
    assert "magneton_tasks segment" in again and "block 1: done" not in again, "it is done already"

    run_id, state = airflow.run("by_rest", {"segment.threshold": 0.6})
    tasks = airflow.tasks("by_rest", run_id)
    ran = {task for (task, _), found in tasks.items() if found["state"] == "success"}
    assert state == "success" and ran == {"plan", "batches.verify", "verify", "release"}
    assert "nothing to do" in airflow.log("by_rest", run_id, "plan")


def test_rounds_are_one_folded_group_and_those_that_are_not_needed_are_skipped(
    airflow: Airflow, sign_in: Callable[..., Page]
) -> None:
    airflow.write_volume("in_rounds", "local: {workers: 2}\n", "exact", "few")
    run_id, state = airflow.run("in_rounds")
    tasks = airflow.tasks("in_rounds", run_id)
    assert state == "success", tasks
    assert tasks["batches.round0", -1]["state"] == tasks["cut", 0]["state"] == "success"
    assert tasks["round0", 0]["rendered_map_index"] == "group 0"
    assert {tasks[f"round{k}", -1]["state"] for k in range(1, 8)} == {"skipped"}
    assert airflow.result("in_rounds", "verify")["objects"] == OBJECTS

    page = sign_in("viewer")
    page.goto(f"{airflow.address}/dags/{PREFIX}in_rounds")  # that of a run lists all tasks, too
    folded = page.get_by_text("rounds", exact=True).first
    expect(folded).to_be_visible(timeout=PATIENCE_S * 1000)
    expect(page.get_by_text("pool", exact=True).first).to_be_visible()
    expect(page.get_by_text("round3", exact=True)).to_have_count(0)


@pytest.fixture(scope="module")
def refusing(airflow: Airflow) -> str:
    """A volume whose runs are refused, beside one whose config is broken."""
    mail = "{notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier, arguments: {to: lab@example.org, subject: '{{ dag.dag_id }} failed', html_content: '{{ run_id }}'}}"
    airflow.write_volume("refusing", f"notify: {{failure: [{mail}]}}\n")
    (airflow.configs / "broken.yaml").write_text("segmet: {}\n")
    airflow.wait_for_dag("refusing")
    return "refusing"


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({"segment.threshold": 3}, "segment.threshold"),
        ({"block.size.z": 0}, "block.size.z"),
        ({"segment.merge_function": "median"}, "segment.merge_function"),
        ({"paths.input": "/etc"}, "paths.input"),
        ({"restart": "yes"}, "restart"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    airflow: Airflow, refusing: str, conf: dict[str, object], says: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        airflow.trigger(refusing, conf)
    assert refused.value.status == 400 and says in refused.value.text


def test_what_only_the_file_may_set_fails_plan_and_somebody_is_told(
    airflow: Airflow, refusing: str, mailbox: Mailbox
) -> None:
    run_id = airflow.trigger(refusing, {"docker.image": "evil"})
    assert airflow.wait_for_run(refusing, run_id) == "failed"
    assert airflow.tasks(refusing, run_id)["plan", -1]["try_number"] == 1, "no retry mends it"
    told = airflow.log(refusing, run_id, "plan")
    assert "docker.image can't be set by a run's parameters" in told
    wait_until(lambda: bool(mailbox.mails), "the failure is mailed")
    assert f"Subject: {PREFIX}{refusing} failed" in mailbox.mails[0]


def test_a_broken_config_costs_only_its_own_dag(airflow: Airflow, refusing: str) -> None:
    dag = airflow.call(f"/api/v2/dags/{airflow.wait_for_dag('broken')}/details")
    assert "broken" in [tag["name"] for tag in dag["tags"]]
    assert "segmet" in dag["doc_md"] and "line 1" in dag["doc_md"]
    good = airflow.call(f"/api/v2/dags/{PREFIX}{refusing}/details")
    assert not good["is_stale"] and not good["has_import_errors"]


def test_who_may_look_may_not_run(airflow: Airflow, refusing: str) -> None:
    with pytest.raises(RefusedError) as refused:
        airflow.trigger(refusing, user="viewer")
    assert refused.value.status == 403
    assert airflow.call(f"/api/v2/dags/{PREFIX}{refusing}", user="viewer")["dag_id"]
    with pytest.raises(RefusedError) as unknown:
        airflow.call("/api/v2/dags", user=None)
    assert unknown.value.status == 401


def test_a_run_in_the_browser(airflow: Airflow, sign_in: Callable[..., Page]) -> None:
    airflow.write_volume("in_browser", "local: {workers: 2}\n", sizes="few")
    dag_id = airflow.wait_for_dag("in_browser")
    page = sign_in()
    page.goto(f"{airflow.address}/dags/{dag_id}")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    threshold = form.locator('[name="element_segment.threshold"]').first
    expect(threshold).to_be_visible(timeout=PATIENCE_S * 1000)
    assert form.locator("[aria-invalid=true]").count() == 0, "nothing is red at opening"
    for section in ("Paths", "Segmentation", "Pooling", "Output"):
        expect(form.get_by_text(f"{section}: ").first).to_be_visible()
    form.get_by_text("Blocks: block size 40 x 48 x 36, overlap 8 x 8 x 8, mip 0").click()
    width = form.locator('[name="element_block.size.x"]').first
    width.fill("40")
    width.blur()
    form.get_by_text("Run Parameters").click()
    threshold.fill("0.6")
    threshold.blur()
    form.get_by_role("button", name=re.compile("^Trigger")).last.click()
    wait_until(lambda: bool(airflow.runs("in_browser")), "the run has begun")
    (run,) = airflow.runs("in_browser")
    assert run["conf"]["segment.threshold"] == 0.6 and run["conf"]["block.size.x"] == 40
    assert airflow.wait_for_run("in_browser", run["dag_run_id"]) == "success"
    assert airflow.result("in_browser", "verify")["objects"] == OBJECTS
