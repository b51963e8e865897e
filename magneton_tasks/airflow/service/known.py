"""Whether the Airflow that runs knows the DAGs of all volume configs yet: a new one is read within half a minute."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from magneton_tasks.airflow.service.services import Services

#: How long `make up` waits for the dag-processor, in seconds: twice its interval, and for its work.
PATIENCE_S = 90
_PAGE = 100  # Airflow gives no more at once
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def wait_for_dags(
    services: Services, wanted: Collection[str], patience_s: float = PATIENCE_S
) -> set[str]:
    """Wait until Airflow knows these DAGs; returns those that it doesn't know in time.

    Without the simple logins nobody here may ask: then it doesn't wait.
    """
    token = _token(services)
    if token is None:
        return set()
    address = f"{services.address}/api/v2/dags"
    deadline = time.monotonic() + patience_s
    missing = set(wanted)
    while missing:
        with suppress(OSError):  # a database that is locked just now, say
            missing -= known_dags(lambda query: _call(f"{address}?{query}", token=token))
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return missing


def _token(services: Services) -> str | None:
    """Of any of the simple logins; None where there are others."""
    if not services.password_file.exists():
        return None
    for user, password in services.passwords().items():
        with suppress(OSError):
            asked = {"username": user, "password": password}
            return str(_call(f"{services.address}/auth/token", asked)["access_token"])
    return None


def known_dags(ask: Callable[[str], Any]) -> set[str]:
    """Ids of all DAGs; ``ask`` gives what Airflow answers to a query, decoded."""
    found: set[str] = set()
    while True:
        page = ask(f"limit={_PAGE}&offset={len(found)}")
        found.update(dag["dag_id"] for dag in page["dags"])
        if not page["dags"] or len(found) >= page["total_entries"]:
            return found


def _call(address: str, data: object = None, token: str | None = None) -> Any:
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = None if data is None else json.dumps(data).encode()
    with _OPENER.open(urllib.request.Request(address, body, headers), timeout=60) as answer:
        return json.load(answer)
