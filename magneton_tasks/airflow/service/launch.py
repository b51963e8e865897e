"""What the supervisor starts for each of Airflow's services: ``python -m magneton_tasks.airflow.service.launch NAME``.

It notes the process, waits for the api-server where that must answer first, and becomes the service.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from magneton_tasks.airflow.service import home
from magneton_tasks.airflow.service.services import FIRST, SERVICES, Services


def main() -> NoReturn:
    (name,) = sys.argv[1:]
    services = Services(Path(os.environ["AIRFLOW_HOME"]), home.project_root())
    # The supervisor reads what it started by a pipe: whoever outlives it writes to the file itself.
    log = os.open(services.log(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    services.supervision.began(name, os.getpid())
    arguments = SERVICES[name]
    if name == FIRST:
        # Only a proxy of this machine reaches it, and says for whom it asks.
        arguments = ["--host", "127.0.0.1", "--port", str(services.port), *arguments]
    else:
        # Tasks that start before it listens fail.
        while services.health() is None:
            time.sleep(1)
    os.execv(sys.executable, [sys.executable, "-m", "airflow", name, *arguments])


if __name__ == "__main__":
    main()
