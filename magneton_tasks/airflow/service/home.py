"""A project-local ``AIRFLOW_HOME``: where it lies and how Airflow is set there.

Nothing here imports Airflow: the settings go into the environment before it is imported, or into
that of the processes that :mod:`magneton_tasks.airflow.service.services` starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from magneton_tasks.airflow.service import database as databases
from magneton_tasks.airflow.service.at_once import tasks_at_once
from magneton_tasks.base.files import is_network_filesystem
from magneton_tasks.config.places import CONFIGS_VARIABLE, configs_places
from magneton_tasks.errors import ConfigError

#: Where `make run` and `make up` keep Airflow's database, logs and state.
HOME_VARIABLE = "MAGNETON_AIRFLOW_HOME"

#: In the home: what whoever runs this Airflow sets beside, or instead of, what the project does.
SETTINGS_FILE = "airflow.env"
#: Of the api-server; without it `make up` takes a free one at each start.
PORT = "AIRFLOW__API__PORT"
_SETTABLE = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_")
#: What follows from where things are.
_FIXED = {
    f"AIRFLOW__{key}"
    for key in (
        "CORE__DAGS_FOLDER",
        "CORE__PLUGINS_FOLDER",
        "CORE__EXECUTION_API_SERVER_URL",
        "DATABASE__SQL_ALCHEMY_CONN",
        "DATABASE__SQL_ALCHEMY_CONN_CMD",
        "DATABASE__SQL_ALCHEMY_CONN_SECRET",
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC",
        "CORE__SQL_ALCHEMY_CONN",
        "CORE__SQL_ALCHEMY_CONN_CMD",
        "LOGGING__BASE_LOG_FOLDER",
    )
}


def project_root() -> Path:
    """The checkout that holds ``dags/``."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "dags" / "instance_segmentation.py").is_file():
        raise ConfigError(
            f"{root} has no dags/instance_segmentation.py",
            "run this from a checkout of the project, installed with `make venv`",
        )
    return root


def airflow_home() -> Path:
    """``$MAGNETON_AIRFLOW_HOME``, or ``airflow_home`` in the project; made, for this user alone.

    Raises
    ------
    ConfigError
        It lies on a network file system, where SQLite's locks don't hold.
    """
    home = Path(os.environ.get(HOME_VARIABLE) or project_root() / "airflow_home").absolute()
    kind = is_network_filesystem(home)
    if kind is not None:
        raise ConfigError(
            f"Airflow's database would lie on a network file system ({kind}): {home}. "
            "SQLite loses data there",
            f"set {HOME_VARIABLE} to a directory on a local disk, such as /var/tmp/$USER-airflow",
        )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


def settings(home: Path, root: Path, database: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables for every process that uses this home.

    Parameters
    ----------
    database
        The variable that tells the database (`database.setting`); None: SQLite in the home.

    Raises
    ------
    ConfigError
        See `given_settings`.
    """
    airflow = {
        "CORE__DAGS_FOLDER": root / "dags",
        "CORE__PLUGINS_FOLDER": home / "plugins",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__EXECUTOR": "LocalExecutor",
        # What works at once is capped by the Airflow pool, see pools.py. The scheduler keeps a process
        # for each of these, whether there is a task for it or not.
        "CORE__PARALLELISM": tasks_at_once(),
        "CORE__MAX_ACTIVE_TASKS_PER_DAG": 64,
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "LOGGING__BASE_LOG_FOLDER": home / "logs",
        "LOGGING__LOGGING_CONFIG_CLASS": "magneton_tasks.airflow.service.task_logs.LOGGING",
        "USAGE_DATA_COLLECTION__ENABLED": False,
        # Where blocks take all cores the api-server answers late: with 5 s, tasks failed at their start.
        "WORKERS__EXECUTION_API_TIMEOUT": 60,
        # A killed scheduler is replaced at once, which takes over what the other had queued by this.
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 30,
        # A changed or new volume config shows up within half a minute.
        "DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 30,
    }
    return {
        "AIRFLOW_HOME": str(home),
        CONFIGS_VARIABLE: configs_places(root),
        **{f"AIRFLOW__{key}": str(value) for key, value in airflow.items()},
        **(database or {databases.SETTING: databases.sqlite(home)}),
        **given_settings(home),
    }


def given_settings(home: Path) -> dict[str, str]:
    """What `SETTINGS_FILE` in the home sets: lines ``AIRFLOW__API__BASE_URL=https://...``.

    Raises
    ------
    ConfigError
        A line isn't such a one, or sets what can't be set there.
    """
    file = home / SETTINGS_FILE
    found = {}
    for number, line in enumerate(file.read_text().splitlines() if file.is_file() else (), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, is_set, value = (part.strip() for part in line.partition("="))
        if not is_set or not name.startswith(_SETTABLE):
            raise ConfigError(
                f"{file}, line {number}: not a setting of Airflow's",
                f"lines begin with one of {', '.join(_SETTABLE)}, such as AIRFLOW__API__PORT=8080",
            )
        if name in _FIXED:
            raise ConfigError(
                f"{file}, line {number}: {name} can't be set here",
                "the places of the project and of Airflow's home decide it (make up DB=postgresql://user@host/name for the database)",
            )
        if name == PORT and not value.isdecimal():
            raise ConfigError(f"{file}, line {number}: {value!r} is no port", "give a number: 8080")
        found[name] = value
    return found
