"""The plugin's pages with Airflow's FAB auth manager, whose users and roles lie in the database."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.e2e.airflow import Airflow
from tests.e2e.rest import RefusedError
from tests.helpers import volumes

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
RUN = "manual__2026-01-02T03:04:05+00:00"
#: role by user; Public may do nothing
USERS = {"admin": "Admin", "viewer": "Viewer", "stranger": "Public"}


def add_users(airflow: Airflow) -> None:
    for user, role in USERS.items():
        command = ["users", "create", "--username", user, "--role", role]
        names = ["--firstname", user, "--lastname", user, "--email", f"{user}@example.org"]
        subprocess.run(
            [sys.executable, "-m", "airflow", *command, *names],
            env=airflow.services.environ(),
            check=True,
            capture_output=True,
            text=True,
            # As docker/migrate.sh tells it: no process shows a password. Without a terminal, Airflow
            # reads it, twice, from here.
            input=f"{user}\n{user}\n",
            start_new_session=True,
        )
    airflow.services.password_file.write_text(json.dumps({user: user for user in USERS}))


def status(airflow: Airflow, path: str, user: str | None) -> int:
    try:
        airflow.call(path, user=user)
    except RefusedError as error:
        return error.status
    return 200


def test_who_may_see_the_block_map(airflow_of: Callable[..., Airflow]) -> None:
    airflow = airflow_of(more={"AIRFLOW__CORE__AUTH_MANAGER": FAB})
    run = volumes.plan_run(airflow.write_volume("guarded"), run=RUN)
    try:
        airflow.start()
        add_users(airflow)
        dag_id = airflow.wait_for_dag("guarded")
        airflow.wait_for_map("guarded", RUN)
        here = airflow.map_path("guarded", RUN)
        for rest in (
            "summary.json",
            "layer.json?stage=segment&z=0",
            "block.json?stage=segment&key=0",
        ):
            found = {
                u: status(airflow, here + rest, u) for u in (None, "stranger", "viewer", "admin")
            }
            assert found == {None: 401, "stranger": 403, "viewer": 200, "admin": 200}, rest
        listed = {
            user: [
                v["dag_id"]
                for v in airflow.call("/magneton/volumes/list.json", user=user)["volumes"]
            ]
            for user in USERS
        }
        assert listed == {"admin": [dag_id], "viewer": [dag_id], "stranger": []}
        with pytest.raises(RefusedError) as refusal:
            airflow.trigger("guarded", user="viewer")
        assert refusal.value.status == 403
    finally:
        volumes.release(run)
