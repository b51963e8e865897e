"""Tasks' logs are read from the disk, by the web server itself: no service serves them to others.

Airflow asks the log server of the host that a running task is on, beside looking for the file itself.
Those servers listen on all interfaces of a machine, which no setting changes. Here every task of a
home runs on the machine of its web server, or (docker/compose.yaml) writes to a volume that both have:
`services` starts no log server, and what is read here asks for none.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.config_templates.airflow_local_settings import (
    DEFAULT_LOGGING_CONFIG,
    DEFAULT_REMOTE_CONN_ID,
    REMOTE_TASK_LOG,
)
from airflow.utils.log.file_task_handler import FileTaskHandler

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory

# Airflow looks for the last two beside LOGGING: whoever keeps logs in a bucket has set it there.
__all__ = ["DEFAULT_REMOTE_CONN_ID", "LOGGING", "REMOTE_TASK_LOG", "DiskTaskHandler"]


class DiskTaskHandler(FileTaskHandler):
    """Airflow's own handler of tasks' logs, but for its questions to log servers."""

    def _read_from_logs_server(
        self, ti: TaskInstance | TaskInstanceHistory, worker_log_rel_path: str
    ) -> tuple[list[str], list[Any]]:
        """No log of a server; where there is no file either, a line that says which one is missing."""
        path = Path(self.local_base, worker_log_rel_path)
        if any(path.parent.glob(f"{path.name}*")):
            return [], []
        return [f"No log is there: {path}"], []


def _logging() -> dict[str, Any]:
    """Airflow's settings of logging, with our handler in the place of its own."""
    settings = deepcopy(DEFAULT_LOGGING_CONFIG)
    handler = settings["handlers"]["task"]
    if handler["class"] == f"{FileTaskHandler.__module__}.{FileTaskHandler.__name__}":
        handler["class"] = f"{__name__}.{DiskTaskHandler.__name__}"
    return settings


#: For Airflow's ``[logging] logging_config_class``.
LOGGING = _logging()
