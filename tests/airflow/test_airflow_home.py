"""The project-local AIRFLOW_HOME and the processes that `make up` starts, without Airflow itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from magneton_tasks.airflow.service import home as homes
from magneton_tasks.airflow.service.ports import free_ports
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.airflow.service.supervision import Supervision
from magneton_tasks.config import places
from magneton_tasks.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(tmp_path, ROOT)


def test_network_file_system_is_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(homes.HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr(homes, "is_network_filesystem", lambda path: "nfs4")
    with pytest.raises(ConfigError, match=r"(?s)nfs4.*MAGNETON_AIRFLOW_HOME.*local disk"):
        homes.airflow_home()
    assert not (tmp_path / "home").exists()


def test_home_is_for_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow keeps its secrets and passwords there."""
    monkeypatch.setenv(homes.HOME_VARIABLE, str(tmp_path / "a" / "home"))
    assert homes.airflow_home().stat().st_mode & 0o777 == 0o700


def test_the_file_in_the_home_sets_what_airflow_reads(tmp_path: Path) -> None:
    (tmp_path / homes.SETTINGS_FILE).write_text(
        "# this site's\n\nAIRFLOW__CORE__PARALLELISM = 8\nAIRFLOW_CONN_SMTP_DEFAULT=smtp://a?b=c\n"
    )
    found = homes.settings(tmp_path, ROOT)
    assert found["AIRFLOW__CORE__PARALLELISM"] == "8"
    assert found["AIRFLOW_CONN_SMTP_DEFAULT"] == "smtp://a?b=c"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("AIRFLOW__CORE__PARALLELISM", "line 2: not a setting"),
        ("MAGNETON_CONFIGS=/data", "line 2: not a setting"),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=sqlite://", r"(?s)can't be set here.*make up DB="),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD=cat x", r"(?s)can't be set here.*make up DB="),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC=x", r"(?s)can't be set here.*make up DB="),
        ("AIRFLOW__API__PORT=http", "'http' is no port"),
    ],
)
def test_a_wrong_line_of_that_file_is_refused(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / homes.SETTINGS_FILE).write_text(f"AIRFLOW__API__PORT=8080\n{line}\n")
    with pytest.raises(ConfigError, match=why):
        homes.settings(tmp_path, ROOT)


def test_configs_are_those_of_the_variable_or_of_the_project(tmp_path: Path) -> None:
    assert places.configs_places(tmp_path, {}) == str(tmp_path / "configs")
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "volume.yaml").touch()
    both = places.configs_places(tmp_path, {}).split(os.pathsep)
    assert both == [str(tmp_path / "configs"), str(tmp_path / "sample" / "volume.yaml")]
    assert (
        places.configs_places(tmp_path, {places.CONFIGS_VARIABLE: "/x:/y/z.yaml"}) == "/x:/y/z.yaml"
    )


def test_settings_of_another_airflow_do_not_leak_in(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.state_file.write_text(json.dumps({"ports": {"api": 5001}}))
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://elsewhere")
    environ = services.environ()
    assert environ["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert (
        environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        == f"sqlite:///{services.home}/airflow.db?timeout=60"
    )
    assert "127.0.0.1:5001" in environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]


def test_what_make_up_was_given_holds_in_other_shells(
    services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`scripts/airflow` would else read other configs than the dag-processor."""
    monkeypatch.setattr(Services, "_migrate", lambda *_: None)
    monkeypatch.setattr(Services, "_wait", lambda *_: None)
    monkeypatch.setattr(Supervision, "start", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(places.CONFIGS_VARIABLE, "mine")
    monkeypatch.setenv("MAGNETON_ROOTS", "/data")
    services.start(lambda text: None)
    monkeypatch.chdir("/")
    for other in ("", "/elsewhere"):
        monkeypatch.setenv(places.CONFIGS_VARIABLE, other)
        monkeypatch.delenv("MAGNETON_ROOTS", raising=False)
        environ = services.environ()
        assert environ[places.CONFIGS_VARIABLE] == str(tmp_path / "mine")
        assert environ["MAGNETON_ROOTS"] == "/data"


def test_ports_differ_and_are_free() -> None:
    ports = free_ports("a", "b", "c")
    assert len(set(ports.values())) == 3
    assert all(1024 < port < 65536 for port in ports.values())
