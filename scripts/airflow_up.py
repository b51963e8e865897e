"""`make up`: start Airflow on this machine; harmless where it already runs."""

from __future__ import annotations

import sys

from magneton_tasks import places
from magneton_tasks.airflow import home
from magneton_tasks.airflow.services import Services
from magneton_tasks.errors import MagnetonError


def main() -> int:
    try:
        services = Services(home.airflow_home(), home.project_root())
        if not (services.running().keys() >= {"api-server", "scheduler"} and services.healthy()):
            services.start()
        print(f"\nAirflow is up:  {services.address}")
        print(f"  user admin, password {services.password()}")
        print(f"  volume configs from {places.configs_places(services.root)}")
        print(f"  logs in {services.home / 'logs'}")
        print("Stop it with:  make down")
    except MagnetonError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
