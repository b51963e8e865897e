"""docker/compose.yaml as a document: nobody gets in by default, and what dies comes back."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "docker"
TEXT = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer"}
#: ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}``
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::([-?])([^}]*))?\}")


def test_airflow_with_its_database() -> None:
    assert set(SERVICES) == AIRFLOW | {"postgres", "migrate"}
    for name in AIRFLOW:
        # Log servers would listen on all interfaces, and all have the volume of logs.
        skipped = ["--skip-serve-logs"] if name in ("scheduler", "triggerer") else []
        assert SERVICES[name]["command"] == [name, *skipped]
        needs = {k: v["condition"] for k, v in SERVICES[name]["depends_on"].items()}
        assert needs == {"postgres": "service_healthy", "migrate": "service_completed_successfully"}
        environment = SERVICES[name]["environment"]
        assert environment["AIRFLOW__CORE__AUTH_MANAGER"].endswith("FabAuthManager")
        assert (
            environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD"]
            == "cat /airflow/private/database"
        )


@pytest.mark.parametrize("name", sorted(AIRFLOW | {"postgres"}))
def test_what_dies_or_hangs_is_seen_and_comes_back(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL") and len(check["test"]) > 1
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


def test_no_secret_has_a_default() -> None:
    """A line that is missing in .env stops the start; so does one that was left empty."""
    found: dict[str, set[str]] = {}
    for name, kind, _ in VARIABLE.findall(TEXT):
        found.setdefault(name, set()).add(kind)
    secret = {n for n in found if re.search("PASSWORD|SECRET|KEY", n)}
    assert {"POSTGRES_PASSWORD", "ADMIN_PASSWORD", "JWT_SECRET", "API_SECRET_KEY"} <= secret
    assert "FERNET_KEY" in secret
    for name in secret:
        assert found[name] == {"?"}, name
    example = dict(
        line.split("=", 1)
        for line in (FOLDER / "env.example").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    assert example.pop("COMPOSE_PROJECT_NAME") == "magneton"
    assert set(example.values()) == {""}
    assert {n for n, kinds in found.items() if "?" in kinds} == set(example)


def test_only_this_machine_reaches_it_unless_told() -> None:
    published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}
    assert published == {"api-server": ["${BIND:-127.0.0.1}:${PORT:-8080}:8080"]}


def test_volumes_are_mounted_where_they_are() -> None:
    """Containers of stages are made by this machine's engine, which knows its own paths only."""
    for name in AIRFLOW:
        mounts = {m["target"]: m for m in SERVICES[name]["volumes"]}
        assert mounts["${DATA_ROOT}"]["source"].startswith("${DATA_ROOT:?")


def test_the_api_server_has_neither_the_engine_nor_secrets() -> None:
    """It faces the network, and whoever may use the engine's socket is as good as root."""
    engine = {n for n, s in SERVICES.items() if "docker.sock" in str(s.get("volumes"))}
    assert engine == {"scheduler"} == {n for n, s in SERVICES.items() if "group_add" in s}
    targets = {m["target"] for m in SERVICES["api-server"]["volumes"]}
    assert targets == {"${DATA_ROOT}", "/airflow/logs", "/airflow/private"}
    assert "secrets" not in SERVICES["api-server"]


def test_the_secret_of_logins_is_for_the_api_server_alone() -> None:
    beside = yaml.safe_load((FOLDER / "compose.login.yaml").read_text(encoding="utf-8"))
    assert set(beside["services"]) == {"api-server"}
    (mount,) = beside["services"]["api-server"]["volumes"]
    assert mount["read_only"] is True and mount["source"].startswith("${LOGIN_SECRET:?")
    assert mount["target"] in (FOLDER / "webserver_config.py").read_text(encoding="utf-8")


def test_no_service_that_lasts_is_started_with_a_secret() -> None:
    """What a process is started with, all that it starts shows."""
    for name in AIRFLOW:
        service = {k: v for k, v in SERVICES[name].items() if k != "healthcheck"}
        assert not re.findall(r"\$\{[A-Z_]*(?:PASSWORD|SECRET|KEY)[^}]*\}", str(service)), name


#: stands for `airflow` and `python`: notes its arguments, environment and what it is told
PROGRAM = """#!/bin/sh
{ echo "$0 $*"; env; } >>"$NOTES"
case "$*" in users*) cat >>"$NOTES.told" ;; esac
"""


def test_migrate_hands_secrets_on_by_files_and_to_no_program(tmp_path: Path) -> None:
    for name in ("airflow", "python"):
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)
    private = tmp_path / "private"
    private.mkdir()
    names = ("POSTGRES_PASSWORD", "FERNET_KEY", "JWT_SECRET", "API_SECRET_KEY", "ADMIN_PASSWORD")
    assert set(names) | {"ADMIN_EMAIL"} <= set(SERVICES["migrate"]["environment"])
    environ = {
        **{name: f"pa55-{name} %s" for name in names},
        "ADMIN_EMAIL": "a@example.org", "MAGNETON_PRIVATE": str(private),
        "NOTES": str(tmp_path / "notes"), "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }  # fmt: skip
    for _ in range(2):  # compose runs it at each start
        subprocess.run([str(FOLDER / "migrate.sh")], env=environ, check=True, umask=0)
    notes = (tmp_path / "notes").read_text()
    assert "db migrate" in notes and "users create --username admin" in notes
    assert "pa55" not in notes
    told = (tmp_path / "notes.told").read_text().splitlines()
    assert set(told) == {"pa55-ADMIN_PASSWORD %s"} and len(told) == 4
    files = {path.name: path for path in private.iterdir()}
    commands = " ".join(
        str(v) for k, v in SERVICES["scheduler"]["environment"].items() if "_CMD" in k
    )
    assert set(files) == set(re.findall("/airflow/private/([a-z_]+)", commands))
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}
    assert files["jwt_secret"].read_text() == "pa55-JWT_SECRET %s"
    assert (
        files["database"].read_text().endswith("airflow:pa55-POSTGRES_PASSWORD %s@postgres/airflow")
    )
