"""`make health`: whether Airflow on this machine is well.

For cron, systemd and monitoring call this script itself: `make` has exit codes of its own.

Exit codes: 0 all services are healthy, 1 something isn't (named on stdout), 2 Airflow isn't running.
"""

from __future__ import annotations

import sys

from magneton_tasks.airflow.service import home
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.errors import MagnetonError

OK, SICK, DOWN = 0, 1, 2


def main() -> int:
    try:
        services = Services(home.airflow_home(), home.project_root())
    except MagnetonError as error:
        print(error, file=sys.stderr)
        return SICK
    if not services.is_up():
        print("Airflow isn't running")
        return DOWN
    problems = services.problems()
    for problem in problems:
        print(problem)
    if not problems:
        print(f"healthy: {services.address}")
    return SICK if problems else OK


if __name__ == "__main__":
    sys.exit(main())
