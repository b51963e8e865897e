"""docker/compose.yaml as a document: nobody gets in by default, and what dies comes back."""

from __future__ import annotations

import re
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
        assert SERVICES[name]["command"] == [name]
        needs = {k: v["condition"] for k, v in SERVICES[name]["depends_on"].items()}
        assert needs == {"postgres": "service_healthy", "migrate": "service_completed_successfully"}
        environment = SERVICES[name]["environment"]
        assert environment["AIRFLOW__CORE__AUTH_MANAGER"].endswith("FabAuthManager")
        assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith("postgresql")


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
        assert mounts["/run/secrets"]["read_only"] is True
