"""The Airflow plugin: the block map of a run, the page of all volumes, and Neuroglancer.

Airflow loads plugins into each of its processes, tasks included. So nothing is imported here that
only the web server needs: the application comes with its first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

#: Where the web server serves the pages, below its own prefix.
URL_PREFIX = "/magneton"
_ICON = "magneton/static/icon.svg"

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


class LazyApplication:
    """The ASGI application of the pages, imported when somebody asks for one."""

    def __init__(self) -> None:
        self._application: Application | None = None

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if self._application is None:
            self._application = await asyncio.to_thread(_make)
        await self._application(scope, receive, send)


def _make() -> Application:
    from magneton_tasks.airflow.pages.app import make_app

    return make_app()


class MagnetonPlugin(AirflowPlugin):
    """What it adds to the web interface; addresses are relative, for proxies with a prefix."""

    name = "magneton"
    fastapi_apps = [  # noqa: RUF012 (Airflow's base class has it so)
        {"app": LazyApplication(), "url_prefix": URL_PREFIX, "name": "Magneton"}
    ]
    external_views = [  # noqa: RUF012
        {
            "name": "Block map",
            "href": "magneton/runs/{DAG_ID}/{RUN_ID}/",
            "destination": "dag_run",
            "url_route": "block-map",
            "icon": _ICON,
        },
        {
            "name": "Block map",
            "href": "magneton/volumes/{DAG_ID}/",
            "destination": "dag",
            "url_route": "newest-block-map",
            "icon": _ICON,
        },
        {
            "name": "Volumes",
            "href": "magneton/volumes/",
            "destination": "nav",
            "url_route": "magneton-volumes",
            "icon": _ICON,
        },
    ]
