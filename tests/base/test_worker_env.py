"""What processes that Airflow's tasks start get of the environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from magneton_tasks.base.worker_env import DIE_WITH_PARENT, settle_libraries, worker_environ
from magneton_tasks.config.docker import Docker
from magneton_tasks.config.slurm import Slurm as SlurmSettings
from magneton_tasks.runners.local import run_stage
from magneton_tasks.runners.slurm.programs import Slurm
from tests.helpers.told import Sentences

SECRET = "pa55"
AIRFLOWS = {
    "AIRFLOW_CONN_SMTP_DEFAULT", "AIRFLOW_VAR_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW_HOME",
    "AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "_AIRFLOW_PROCESS_CONTEXT", "__AIRFLOW_SUPERVISOR_FD", "MAGNETON_AIRFLOW_DATABASE", "PGPASSWORD",
    "DB", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL",
}  # fmt: skip
WORKERS = {
    "AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "HTTPS_PROXY", "no_proxy",
    "LD_LIBRARY_PATH", "MAGNETON_ROOTS", "MAGNETON_CONFIGS", "MAGNETON_AIRFLOW_HOME", "TMPDIR", "DBUS",
}  # fmt: skip


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AIRFLOWS | {"AWS_SECRET_ACCESS_KEY"}:
        monkeypatch.setenv(name, SECRET)


def test_airflow_s_secrets_stay_and_what_workers_need_is_passed_on() -> None:
    assert set(worker_environ(dict.fromkeys(AIRFLOWS | WORKERS, SECRET))) == WORKERS


def has_airflows(text: str) -> bool:
    names = {line.partition("=")[0] for line in text.splitlines()}
    assert "AWS_SECRET_ACCESS_KEY" in names
    return bool(names & AIRFLOWS)


@pytest.mark.usefixtures("secrets")
def test_slurm_s_programs_don_t_get_them() -> None:
    assert not has_airflows(Slurm().run(["env"]).out)


@pytest.mark.usefixtures("secrets")
def test_workers_of_the_local_runner_don_t_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("magneton_tasks.runners.local.stage_command", lambda *_: ["env"])
    lines = Sentences()
    assert run_stage(tmp_path, "segment", None, 1, lines.take) == {None: 0}
    assert not has_airflows("\n".join(lines))


@pytest.mark.parametrize("name", ["AIRFLOW_CONN_S3", "AIRFLOW__CORE__FERNET_KEY", "MAKEFLAGS"])
def test_a_config_can_t_hand_them_on_either(name: str) -> None:
    for section in (Docker, SlurmSettings):
        with pytest.raises(ValueError, match=f"{name} holds what only Airflow may know"):
            section(environment=(name,))
        section(environment=("AWS_ACCESS_KEY_ID",))


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process of its parent's end"
)
def test_a_worker_whose_runner_has_ended_before_it_began_ends_too() -> None:
    code = "from magneton_tasks.base.worker_env import die_with_parent as d; d(); print('works on')"
    for parent, ended in ((os.getpid(), (0, b"works on\n")), (1, (-signal.SIGTERM, b""))):
        environ = {**os.environ, DIE_WITH_PARENT: str(parent)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, check=False
        )
        assert (done.returncode, done.stdout) == ended


def test_numpy_asks_for_no_large_pages_unless_somebody_wants_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "")
    monkeypatch.delenv("NUMPY_MADVISE_HUGEPAGE", raising=False)
    settle_libraries()
    assert os.environ["NUMPY_MADVISE_HUGEPAGE"] == "0"
    monkeypatch.setenv("NUMPY_MADVISE_HUGEPAGE", "1")
    settle_libraries()
    assert os.environ["NUMPY_MADVISE_HUGEPAGE"] == "1"
