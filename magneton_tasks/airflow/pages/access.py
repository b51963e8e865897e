"""Who may see what: Airflow's own login and DAG permission, and the volumes that there are."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from fastapi import Depends
from sqlalchemy import select

from magneton_tasks.airflow.dag.dag_names import named_configs
from magneton_tasks.config import keys, renamed
from magneton_tasks.config.places import CONFIGS_VARIABLE, checkout, configs_places
from magneton_tasks.config.read import RunConfig, load_config
from magneton_tasks.config.roots import PATH_KEYS, allowed_roots, check_roots
from magneton_tasks.errors import MagnetonError, NoInputError

#: Any user who is logged in; 401 else.
LOGGED_IN = Depends(get_user)
#: A user who may read the DAG of the path's ``dag_id``; 401 without a login, 403 without the right.
MAY_READ = Depends(requires_access_dag("GET"))


def readable_dags(user: GetUserDep) -> set[str]:
    """The DAGs that a user may read."""
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


@dataclass(frozen=True, slots=True)
class VolumeDag:
    """A volume config and its DAG; ``problem`` says why the config can't be used."""

    dag_id: str
    path: Path
    config: RunConfig | None
    problem: str | None = None


_log = logging.getLogger(__name__)
_MOST_READ = 1000
_Stamp = tuple[int, int]
#: Configs that were read, by path and the paths that a run's form named.
_read: dict[tuple[Path, tuple[tuple[str, str], ...]], tuple[_Stamp, RunConfig]] = {}


def volumes() -> Iterator[VolumeDag]:
    """All that are known, by name."""
    for dag_id, path, other in named_configs(_places()):
        if other is not None:
            yield VolumeDag(dag_id, path, None, f"{path} would make the same DAG as {other}")
        else:
            yield _volume(dag_id, path)


def volume_of(dag_id: str) -> VolumeDag:
    """The volume of a DAG.

    Raises
    ------
    NoInputError
        It isn't a DAG of ours.
    """
    for found, path, other in named_configs(_places()):
        if found == dag_id and other is None:
            return _volume(dag_id, path)
    raise NoInputError(f"{dag_id} isn't the DAG of a volume config")


def _volume(dag_id: str, path: Path) -> VolumeDag:
    """With its config, or what is wrong with that: as the DAG of a broken config says."""
    try:
        return VolumeDag(dag_id, path, _config(path))
    except MagnetonError as error:
        return VolumeDag(dag_id, path, None, str(error))
    except Exception as error:
        _log.exception("the config %s can't be read", path)
        return VolumeDag(dag_id, path, None, f"{path}: {type(error).__name__}: {error}")


def config_of(dag_id: str, run_id: str | None = None) -> RunConfig:
    """The config of a DAG's volume, with the paths that this run's form named.

    Raises
    ------
    NoInputError
        It isn't a DAG of ours, or its config is broken.
    ConfigError
        A path from the form lies outside of ``$MAGNETON_ROOTS``.
    """
    volume = volume_of(dag_id)
    if volume.config is None:
        raise NoInputError(volume.problem or f"{dag_id} can't be used")
    given = _form_paths(dag_id, run_id) if run_id is not None else {}
    if not given:
        return volume.config
    config = _config(volume.path, given)
    changed = {k for k in given if keys.value(config, k) != keys.value(volume.config, k)}
    if not changed:
        return volume.config
    check_roots(config, changed, allowed_roots())
    return config


def _config(path: Path, given: Mapping[str, str] | None = None) -> RunConfig:
    """Read anew where the file has changed."""
    try:
        status = path.stat()
    except OSError:
        return load_config(path, given)  # says why
    stamp, key = (status.st_mtime_ns, status.st_size), (path, tuple(sorted((given or {}).items())))
    known = _read.get(key)
    if known is None or known[0] != stamp:
        if len(_read) > _MOST_READ:
            _read.clear()
        known = _read[key] = stamp, load_config(path, given)
    return known[1]


def _form_paths(dag_id: str, run_id: str) -> dict[str, str]:
    """The paths in the parameters of a run; none where Airflow doesn't know the run."""
    with create_session() as session:
        conf = session.scalar(
            select(DagRun.conf).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        )
    given = renamed.of(conf or {})
    return {k: v for k, v in given.items() if k in PATH_KEYS and isinstance(v, str)}


def _places() -> str:
    root = checkout()
    return configs_places(root) if root is not None else os.environ.get(CONFIGS_VARIABLE, "")
