"""One AIRFLOW_HOME for all DAG tests of a process: the first `dag.test()` costs seconds, the next less."""

from __future__ import annotations

import os
import runpy
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.airflow.service import home as homes
from magneton_tasks.config import places

ROOT = Path(__file__).resolve().parents[2]
_HOME = Path(tempfile.mkdtemp(prefix="magneton-airflow-"))

# Airflow reads its settings when it is imported, which the test modules of this folder do.
os.environ.update(homes.settings(_HOME, ROOT))
os.environ[places.CONFIGS_VARIABLE] = str(_HOME / "configs")
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
# The library that signs logins warns of shorter ones, such as Airflow makes by itself.
os.environ["AIRFLOW__API_AUTH__JWT_SECRET"] = secrets.token_hex(32)


from airflow.utils import db  # noqa: E402 (after its settings)


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def database() -> Path:
    """Airflow's metadata database, made in this process, which has imported Airflow anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of Airflow's own server code
        db.initdb()
    return _HOME / "airflow.db"


@pytest.fixture
def load_dags(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], dict[str, Any]]:
    """Runs the project's DAG file over the configs in a folder; DAGs by id."""

    def load(configs: Path) -> dict[str, Any]:
        monkeypatch.setenv(places.CONFIGS_VARIABLE, str(configs))
        made = runpy.run_path(str(ROOT / "dags" / "instance_segmentation.py"))
        return {k: v for k, v in made.items() if k.startswith("instance_segmentation.")}

    return load


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Writes a volume config into ``tmp_path/configs``; ``more`` is YAML that is added to it.

    Of the overlap method, which has more parameters, where that names none.
    """

    def write(name: str, more: str = "", *, partition: bool = False) -> Path:
        folder = tmp_path / "configs"
        folder.mkdir(exist_ok=True)
        part = "/{partition}" if partition else ""
        path = folder / f"{name}.yaml"
        path.write_text(
            "paths:\n"
            f"  input: file://{tmp_path}/no-such-volume{part}\n"
            f"  output: file://{tmp_path}/segmentation{part}\n"
            f"  work: {tmp_path}/work{part}\n"
            + more
            + ("" if "method:" in more else "\nmethod: overlap\n")
        )
        return path

    return write
