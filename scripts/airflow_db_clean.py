"""`make db-clean`: remove old runs, logs and events from Airflow's database.

Airflow's tasks have no access to it, so no DAG can do this. Of each DAG the newest run stays.
"""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta

from magneton_tasks.airflow.service import home
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.errors import MagnetonError


def main() -> int:
    parser = ArgumentParser(prog="scripts/airflow_db_clean.py")
    parser.add_argument("--keep-days", type=float, default=os.environ.get("KEEP_DAYS", "90"))
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args()
    before = (datetime.now(UTC) - timedelta(days=given.keep_days)).isoformat()
    command = [sys.executable, "-m", "airflow", "db", "clean", "--clean-before-timestamp", before]
    command += ["--skip-archive", "--yes", *(["--dry-run"] if given.dry_run else [])]
    try:
        services = Services(home.airflow_home(), home.project_root())
        if not services.state():
            print("Airflow has never been started here: make up")
            return 1
        return subprocess.run(command, env=services.environ(), check=False).returncode
    except MagnetonError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
