"""`make down`: end all processes of this Airflow; harmless where nothing runs."""

from __future__ import annotations

import sys

from magneton_tasks.airflow.service import home
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.errors import MagnetonError


def main() -> int:
    try:
        services = Services(home.airflow_home(), home.project_root())
        print("Airflow is down." if services.stop() else "Airflow isn't running.")
    except MagnetonError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
