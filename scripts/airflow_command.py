"""What `scripts/airflow ARGS...` runs: ``airflow ARGS...`` as the services of `make up` have it.

It takes this process's place, so terminal, signals and exit code are Airflow's own.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from magneton_tasks.airflow.service import home
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.errors import MagnetonError, NoInputError


def main() -> NoReturn:
    try:
        services = Services(home.airflow_home(), home.project_root())
        if not services.state():
            raise NoInputError(
                f"Airflow has never been started with the home {services.home}",
                f"make up; if it lies elsewhere, set {home.HOME_VARIABLE}",
            )
        environ = services.environ()
    except MagnetonError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    # Of a drawing that nobody asked for; the advice to install it would mislead.
    environ.setdefault("PYTHONWARNINGS", "ignore:Could not import graphviz")
    # -P: a file or folder called airflow, where this is typed, isn't taken for the package.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "airflow", *sys.argv[1:]], environ)


if __name__ == "__main__":
    main()
