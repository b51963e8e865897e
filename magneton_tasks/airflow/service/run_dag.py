"""Runs the DAG of one volume config to its end in this process: ``python -m magneton_tasks.airflow.service.run_dag CONFIG``.

No server is needed: Airflow's database is made in the project-local home on first use. Tasks run
one after the other. Exit code 0 means that the run is green.
"""

from __future__ import annotations

import argparse
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magneton_tasks.airflow.service import home as homes
from magneton_tasks.base.signs import Signs
from magneton_tasks.base.units import human_time
from magneton_tasks.config import places
from magneton_tasks.errors import EXIT_BAD_DATA, MagnetonError, OutputError

if TYPE_CHECKING:
    from airflow.sdk import DAG


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run; messages for people go to stdout as they come."""
    parser = argparse.ArgumentParser(prog="python -m magneton_tasks.airflow.service.run_dag")
    parser.add_argument("config", type=Path, help="the volume's YAML file")
    config = parser.parse_args(argv).config.absolute()
    try:
        root = homes.project_root()
        home = homes.airflow_home()
        with Signs(_at_work) as signs:
            prepare(home, root, config, signs)
            return 0 if run(load_dag(root, config), signs) else EXIT_BAD_DATA
    except MagnetonError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _at_work(seconds: float) -> str:
    return f"    at work for {human_time(seconds)}"


def prepare(home: Path, root: Path, config: Path, signs: Signs) -> None:
    """Set this process's environment for Airflow, and make its database where it isn't there.

    Must come before Airflow is imported.
    """
    for key in [k for k in os.environ if k.startswith("AIRFLOW__")]:
        del os.environ[key]
    os.environ.update(homes.settings(home, root))
    os.environ[places.CONFIGS_VARIABLE] = str(config)
    # What went wrong is told by Progress; a traceback of Airflow's own would only bury it.
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
    database = home / "airflow.db"
    marker = home / "migrated"
    if database.is_file() and marker.is_file():
        signs.say("starting Airflow")
        return
    signs.say("preparing Airflow's database (once)")
    log = home / "logs" / "migrate.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        if subprocess.run(command, stdout=out, stderr=out, check=False).returncode != 0:
            raise OutputError(f"Airflow's database could not be prepared; see {log}")
    marker.touch()
    signs.say("starting Airflow")


def load_dag(root: Path, config: Path) -> DAG:
    """The one DAG that the project's DAG file makes of ``config``."""
    made = runpy.run_path(str(root / "dags" / "instance_segmentation.py"))
    (dag,) = {
        v.dag_id: v for k, v in made.items() if k.startswith("instance_segmentation.")
    }.values()
    return dag  # type: ignore[no-any-return]


def run(dag: DAG, signs: Signs, conf: dict[str, Any] | None = None) -> bool:
    """Run the DAG, tell what happens by ``signs``; whether it ended green."""
    from airflow.sdk import DagRunState
    from airflow.sdk.listener import get_listener_manager

    from magneton_tasks.airflow.service.progress import Progress

    signs.say(f"DAG {dag.dag_id}")
    manager: Any = get_listener_manager()
    manager.add_listener(Progress(signs))
    began = time.monotonic()
    try:
        state = dag.test(run_conf=conf).state
    finally:
        manager.clear()
    green = bool(state == DagRunState.SUCCESS)
    signs.say(f"run {'green' if green else 'RED'} after {human_time(time.monotonic() - began)}")
    return green


if __name__ == "__main__":
    sys.exit(main())
