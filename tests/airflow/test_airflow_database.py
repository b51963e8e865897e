"""Airflow's database: its address in a file of this user alone, in no environment and no argument."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from magneton_tasks.airflow.service import database
from magneton_tasks.airflow.service.ports import free_ports
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "s3cret"
PLAIN = "postgresql://me@db:5432/airflow"
FULL = f"postgresql://me:{PASSWORD}@db:5432/airflow"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """Of a home whose path a shell would take apart."""
    home = tmp_path / "a home's; x"
    home.mkdir()
    made = Services(home, ROOT)
    ports = {"api": 5001}
    made.state_file.write_text(json.dumps({"ports": ports}))
    return made


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were tried, by a server that takes them all."""
    tried: list[str] = []
    monkeypatch.setattr(database, "reach", tried.append)
    return tried


def airflow_reads(services: Services) -> str:
    """The address that Airflow's own configuration finds in the environment of the services."""
    code = "from airflow.configuration import conf; print('>', conf.get('database', 'sql_alchemy_conn'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=services.environ(),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.rpartition("> ")[2].removesuffix("\n")


def test_airflow_reads_the_address_from_a_file_of_this_user_alone(services: Services) -> None:
    database.keep(services.home, FULL)
    assert database.kept_file(services.home).stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in json.dumps(services.environ())
    assert airflow_reads(services) == f"postgresql+psycopg2://me:{PASSWORD}@db:5432/airflow"


def test_the_file_never_can_be_read_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    write = os.write

    def spy(descriptor: int, data: bytes) -> int:
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", spy)
    before = os.umask(0)
    try:
        database.keep(tmp_path, FULL)
    finally:
        os.umask(before)
    assert seen == [0o600]


@pytest.mark.parametrize(
    "given",
    [
        FULL,
        "postgresql+psycopg2://me:p/w@db/airflow",
        "postgresql://db/airflow?user=me&password=x",
        "postgresql://db/airflow?sslpassword=x",
        "mysql://me:x@db/airflow",
    ],
)
def test_an_address_with_a_password_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigError, match=r"(?s)holds a password.*make up DB=.*pgpass") as refusal:
        database.choose(tmp_path, given, is_running=False)
    assert not database.has_password(str(refusal.value).partition("DB=")[2].split()[0])
    assert not database.kept_file(tmp_path).exists()


def test_a_person_is_asked_once(tmp_path: Path, reached: list[str]) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return "p@ss/w:rd %?"

    for _ in range(2):
        database.choose(tmp_path, PLAIN, is_running=False, ask=ask)
    assert len(asked) == 1 and "me at db:5432/airflow" in asked[0]
    assert reached == [database.kept_file(tmp_path).read_text()]
    url = make_url(reached[0])
    assert (url.username, url.password, url.host, url.port) == ("me", "p@ss/w:rd %?", "db", 5432)


@pytest.mark.usefixtures("reached")
def test_without_a_person_the_address_is_kept_as_it_is(tmp_path: Path) -> None:
    database.choose(tmp_path, PLAIN, is_running=False)
    kept = database.kept_file(tmp_path)
    assert kept.read_text() == "postgresql+psycopg2://me@db:5432/airflow"
    database.keep(tmp_path, FULL)
    database.choose(tmp_path, PLAIN, is_running=True)
    assert PASSWORD in kept.read_text(), "it is the same database"


def test_airflow_that_runs_keeps_its_database(tmp_path: Path) -> None:
    database.keep(tmp_path, FULL)
    for other in ("sqlite", "postgresql://me@elsewhere/airflow"):
        with pytest.raises(ConfigError, match="(?s)another database.*make down"):
            database.choose(tmp_path, other, is_running=True)
    assert "@db:" in database.kept_file(tmp_path).read_text()
    database.choose(tmp_path, "sqlite", is_running=False)
    assert not database.kept_file(tmp_path).exists()


def test_an_address_that_nobody_answers_at_isn_t_kept(tmp_path: Path) -> None:
    port = free_ports("none")["none"]
    with pytest.raises(ConfigError, match=r"(?s)can't be used:.*refused.*\.pgpass") as refusal:
        database.choose(
            tmp_path,
            f"postgresql://me@127.0.0.1:{port}/a",
            is_running=False,
            ask=lambda _: PASSWORD,
        )
    assert PASSWORD not in str(refusal.value)
    assert not database.kept_file(tmp_path).exists()


@pytest.mark.parametrize("given", ["mysql://db/airflow", "postgresql://", "airflow"])
def test_another_kind_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigError, match=r"(?s)can't be of the kind.*DB=postgresql://"):
        database.choose(tmp_path, given, is_running=False)


def test_what_make_up_was_told_goes_no_further(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DB", "MAKEFLAGS", "MAKEOVERRIDES", "PGPASSWORD", database.VARIABLE):
        monkeypatch.setenv(name, f"postgresql://me:{PASSWORD}@db/airflow")
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", "smtp://a")
    environ = services.environ()
    assert not [name for name, value in environ.items() if PASSWORD in value]
    assert environ["AIRFLOW_CONN_SMTP_DEFAULT"] == "smtp://a", "connections are for the services"


@pytest.mark.parametrize(
    "given",
    [{"argument": f"DB={FULL}"}, {"variable": FULL}, {"argument": "DB=postgresql://db/a?password=x"}],
)  # fmt: skip
def test_make_refuses_a_password_before_it_starts_anything(
    given: dict[str, str], tmp_path: Path
) -> None:
    environ = {"PATH": os.environ["PATH"], "MAGNETON_AIRFLOW_HOME": str(tmp_path / "home")}
    if "variable" in given:
        environ[database.VARIABLE] = given["variable"]
    command = ["make", "-C", str(ROOT), f"STAMP={tmp_path}/none", "up"]
    command += [given["argument"]] if "argument" in given else []
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "holds a password" in done.stderr and "pgpass" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert "bootstrap" not in done.stdout + done.stderr and not (tmp_path / "home").exists()
