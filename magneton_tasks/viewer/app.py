"""The viewer as an ASGI application: Neuroglancer's client, its state, and the volumes' files.

::

    v/<token>/                  the client; state.js puts the state into the address
    v/<token>/data/<n>/...      files of the n-th layer
    events/<token>              the stream that the client keeps open: nothing ever comes; or none,
                                and the client is told that all is well

All links are relative and the state's addresses are made in the browser, so that the application
works below any prefix and behind any proxy.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from magneton_tasks.errors import ConfigError
from magneton_tasks.viewer.data import NO_STORE, data_endpoint
from magneton_tasks.viewer.layers import Shown
from magneton_tasks.viewer.state import State

#: Stands for the address of the page's directory, which only the browser knows.
_BASE = "magneton-base:/"
#: Below the idle time-outs of proxies, in seconds.
_STILL_HERE_S = 15.0
#: Names of the client's files hold a hash of what is in them.
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
_TYPES = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".map": "application/json",
    ".wasm": "application/wasm",
}
_HOST = re.compile(r"(\[[0-9a-f:]+\]|[^:\[\]]+)(?::\d*)?")
_METHODS = ("GET", "HEAD", "OPTIONS")

#: The icon is empty: the browser would ask for one outside our paths.
_HEAD = b'<script src="state.js"></script><link rel="icon" href="data:,">'
_SET_STATE = """(() => {
  "use strict";
  if (location.hash.length > 2) return;  // a state of the person's own, or a reload
  const base = new URL("./", location.href).href;
  const place = (key, value) =>
    typeof value === "string" ? value.replaceAll(%(mark)s, base) : value;
  history.replaceState(null, "", "#!" + encodeURI(JSON.stringify(%(state)s, place)));
})();
"""
#: Instead of a stream on which nothing would come.
_NO_STREAM = """window.EventSource = class {
  constructor() { setTimeout(() => this.onopen?.(), 0); }
  close() {}
};
"""


def make_app(
    shown: Sequence[Shown],
    state: Callable[[str], State],
    token: str,
    *,
    hosts: Collection[str] | None = None,
    closing: asyncio.Event | None = None,
    stream: bool = True,
) -> Starlette:
    """The application; to be served as it is or mounted below a prefix.

    Parameters
    ----------
    shown
        From `layers.resolve`; only their files are served.
    state
        Makes the state for an address (that ends with a slash) below which ``data/<n>/`` lies;
        called at each opening of the page.
    token
        Each path must hold it.
    hosts
        Names that a ``Host`` header may have, without a port; None: whoever mounts it checks.
    closing
        Ends the event streams, when the server is about to end.
    stream
        False: no event streams, for a server that mustn't be held up at its end.

    Raises
    ------
    ConfigError
        Neuroglancer's Python package isn't here, or holds no client.
    """
    client = client_files()
    stop = closing or asyncio.Event()

    async def page(request: Request) -> Response:
        name = request.path_params["name"]
        if name == "":
            return Response(_index(client), media_type=_TYPES[".html"], headers=NO_STORE)
        if name == "state.js":
            script = _state_script(state) + ("" if stream else _NO_STREAM)
            return Response(script, media_type=_TYPES[".js"], headers=NO_STORE)
        path = client.get(name)
        if path is None:
            return PlainTextResponse("no such file", 404, NO_STORE)
        content = await asyncio.to_thread(path.read_bytes)
        return Response(content, media_type=_TYPES.get(path.suffix), headers=_FOR_EVER)

    async def without_slash(request: Request) -> Response:
        return RedirectResponse(f"{request.path_params['token']}/", headers=NO_STORE)

    async def events(_: Request) -> Response:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_events(stop), media_type="text/event-stream", headers=headers)

    routes = [
        Route("/v/{token}", without_slash),
        Route("/v/{token}/data/{n:int}/{name:path}", data_endpoint(shown), methods=_METHODS),
        Route("/v/{token}/{name:path}", page),
    ]
    if stream:
        routes.append(Route("/events/{token}", events))
    guard = Middleware(_Guard, token=token, hosts=None if hosts is None else frozenset(hosts))
    app = Starlette(routes=routes, middleware=[guard])
    app.router.redirect_slashes = False  # it would build an address from the Host header
    return app


def client_files() -> dict[str, Path]:
    """Neuroglancer's client: name -> file, from its Python package (which isn't imported).

    Raises
    ------
    ConfigError
        It isn't installed, or comes without the client.
    """
    spec = importlib.util.find_spec("neuroglancer")
    places = list(spec.submodule_search_locations or ()) if spec else []
    folder = Path(places[0]) / "static" / "client" if places else None
    if folder is None or not (folder / "index.html").is_file():
        raise ConfigError(
            "Neuroglancer's client isn't installed"
            if folder is None
            else f"{folder} holds no client",
            "pip install 'magneton[view]'",
        )
    return {path.name: path for path in folder.iterdir() if path.is_file()}


def _index(client: dict[str, Path]) -> bytes:
    """The client's page, with our script before its own (which wait until the page is parsed)."""
    page = client["index.html"].read_bytes()
    return page.replace(b"<head>", b"<head>" + _HEAD, 1)


def _state_script(state: Callable[[str], State]) -> str:
    return _SET_STATE % {"mark": json.dumps(_BASE), "state": json.dumps(state(_BASE))}


async def _events(stop: asyncio.Event) -> AsyncIterator[bytes]:
    """Comments that keep the stream open; a waiting coroutine, no thread."""
    yield b": the state is in the address; nothing will come\n\n"
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), _STILL_HERE_S)
        except TimeoutError:
            yield b": still here\n\n"


class _Guard:
    """Host, method and token of each request, before anything else."""

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),  # the address holds the token
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        request = Request(scope)
        if self._hosts is not None and _host(request.headers.get("host", "")) not in self._hosts:
            return PlainTextResponse(
                "this viewer answers to localhost only; over SSH, forward the port", 421, NO_STORE
            )
        if request.method not in _METHODS:
            headers = {"Allow": ", ".join(_METHODS), **NO_STORE}
            return PlainTextResponse("only reading", 405, headers)
        given = _token_of(scope)
        if given is None:
            return PlainTextResponse("no such page", 404, NO_STORE)
        if not secrets.compare_digest(given.encode(), self._token):
            return PlainTextResponse(
                "this link belongs to an earlier viewer: use the link that the running one printed",
                403,
                NO_STORE,
            )
        return None


def _token_of(scope: dict[str, Any] | Scope) -> str | None:
    """The token in a request's path: behind the mount's prefix, ``v/<token>`` or ``events/<token>``."""
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    _, _, rest = path.partition("/")
    kind, _, rest = rest.partition("/")
    return rest.partition("/")[0] or None if kind in ("v", "events") else None


def _host(header: str) -> str:
    """The name in a Host header, without the port; "" where it isn't one."""
    match = _HOST.fullmatch(header.lower())
    return match[1] if match else ""
