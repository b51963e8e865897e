"""`make up`: start Airflow on this machine; harmless where it already runs."""

from __future__ import annotations

import os
import sys
from getpass import getpass

from magneton_tasks.airflow.dag.dag_names import named_configs
from magneton_tasks.airflow.service import database, home
from magneton_tasks.airflow.service.known import wait_for_dags
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.base.browser import open_apart
from magneton_tasks.config.places import CONFIGS_VARIABLE
from magneton_tasks.errors import MagnetonError

#: The page of volumes in Airflow's web interface: see `magneton_tasks.airflow.plugin`, which imports
#: Airflow.
VOLUMES = "/plugin/magneton-volumes"


def main() -> int:
    try:
        services = Services(home.airflow_home(), home.project_root())
        services.start(before=lambda: choose_database(services))
        environ = services.environ()
        configs, people_use = environ[CONFIGS_VARIABLE], environ["AIRFLOW__API__BASE_URL"]
        unknown = wait_for_dags(services, [dag_id for dag_id, _, _ in named_configs(configs)])
        print(f"\nAirflow is up:  {people_use}")
        if people_use != services.address:
            print(f"  for a proxy of this machine:  {services.address}")
        if services.password_file.exists():
            print(f"  user admin, password {services.password()}")
        volumes = f"{people_use.rstrip('/')}{VOLUMES}"
        print(f"  your volumes and their runs:  {volumes}")
        print(f"  volume configs from {configs}")
        if unknown:
            print(
                f"  not read yet: {', '.join(sorted(unknown))}; see {services.log('dag-processor')}"
            )
        print(f"  logs in {services.home / 'logs'}")
        print("Stop it with:  make down", flush=True)
        if open_apart(volumes, os.environ):
            print("The page of volumes opens in your browser.")
    except MagnetonError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def choose_database(services: Services) -> None:
    """As `database.choose`, where `make up` was told one."""
    if given := os.environ.get(database.VARIABLE):
        # The services don't get this, so it mustn't open the database here.
        os.environ.pop("PGPASSWORD", None)
        ask = getpass if sys.stdin.isatty() else None
        database.choose(services.home, given, is_running=services.is_up(), ask=ask)


if __name__ == "__main__":
    sys.exit(main())
