"""What Airflow's api-server says of the services' health."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

_PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


def asked(address: str) -> dict[str, Any] | None:
    """The answer of the api-server at an address; None while it doesn't answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address}/api/v2/monitor/health", timeout=10) as answer:
            health: dict[str, Any] = json.load(answer)
    except (OSError, json.JSONDecodeError):
        return None
    return health


def complaints(health: Mapping[str, Any]) -> list[str]:
    """What isn't healthy by such an answer, each in a line."""
    states = {name: (health.get(name) or {}).get("status") for name in _PARTS}
    return [f"{name} says: {state}" for name, state in states.items() if state != "healthy"]
