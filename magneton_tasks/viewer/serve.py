"""Serving the viewer on loopback, until Ctrl-C."""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

import click

from magneton_tasks.base.browser import has_display
from magneton_tasks.base.extras import require_extra
from magneton_tasks.base.geometry import Size3, Vec3
from magneton_tasks.errors import UsageError
from magneton_tasks.viewer.layers import Layer, resolve
from magneton_tasks.viewer.state import State, make_state

if TYPE_CHECKING:
    from starlette.applications import Starlette

_HOST = "127.0.0.1"
#: By any of these names the browser reaches this machine itself, and nothing else.
_NAMES = ("127.0.0.1", "localhost", "[::1]")


def serve(
    layers: Sequence[Layer],
    *,
    position_vox: Sequence[float],
    voxel_size_nm: Size3,
    shape_vox: Vec3 | None = None,
    side_by_side: bool = False,
    open_browser: bool = False,
    port: int = 0,
    announce: Callable[[str], None] = click.echo,
) -> None:
    """Show layers in Neuroglancer; returns after Ctrl-C.

    Parameters
    ----------
    layers
        A layer that can't be drawn is left out, with a line that says why.
    position_vox, voxel_size_nm, shape_vox, side_by_side
        As `state.make_state`.
    open_browser
        Open the link too, where there is a display.
    port
        On 127.0.0.1; 0: any free one.
    announce
        Gets the lines for the person, the link among them.

    Raises
    ------
    NoInputError
        No layer can be drawn.
    UsageError
        The packages aren't installed, or the port is taken.
    """
    require_packages()
    shown, notes = resolve(layers)
    token = secrets.token_urlsafe(24)
    closing = asyncio.Event()
    from magneton_tasks.viewer.app import make_app

    def state(base_url: str) -> State:
        return make_state(shown, base_url, position_vox, voxel_size_nm, side_by_side, shape_vox)

    app = make_app(shown, state, token, hosts=_NAMES, closing=closing)
    can_open = has_display(os.environ)
    if open_browser and not can_open:
        notes.append("there is no display here: open the link yourself")
    with _listen(port) as listener, suppress(KeyboardInterrupt):
        port = listener.getsockname()[1]
        link = f"http://{_HOST}:{port}/v/{token}/"
        for line in [*notes, *_greeting([one.layer.name for one in shown], link, port, os.environ)]:
            announce(line)
        if open_browser and can_open:
            # A text browser, or a command in $BROWSER, would keep its caller waiting.
            threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
        _run(app, listener, closing)
    announce("the viewer has ended")


def require_packages() -> None:
    """Refuse where what serves and draws isn't installed.

    Raises
    ------
    UsageError
    """
    require_extra(
        "view", ("neuroglancer", "starlette", "uvicorn"), "looking at volumes", UsageError
    )


def _listen(port: int) -> socket.socket:
    """Bound before anything is printed: a browser that comes at once waits its turn."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {port} on {_HOST} isn't available: {error.strerror}",
            "omit --port to use a free one",
        ) from None
    return listener


def _greeting(
    names: Sequence[str], link: str, port: int, environment: Mapping[str, str]
) -> list[str]:
    lines = [f"showing {', '.join(names)}", f"  {link}"]
    if environment.get("SSH_CONNECTION"):
        tunnel = _tunnel(port, environment["SSH_CONNECTION"])
        lines.append(f"over SSH, first run this where your browser is:  {tunnel}")
    return [*lines, "Ctrl-C ends it"]


def _tunnel(port: int, connection: str) -> str:
    """The ``ssh -L`` line; ``connection`` as in $SSH_CONNECTION: client, its port, server, its port."""
    server_port = connection.split()[-1]
    other = f"-p {server_port} " if server_port.isdigit() and server_port != "22" else ""
    try:
        user = f"{getpass.getuser()}@"
    except (KeyError, OSError):
        user = ""
    return f"ssh {other}-L {port}:localhost:{port} {user}{socket.gethostname()}"


def _run(app: Starlette, listener: socket.socket, closing: asyncio.Event) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            closing.set()  # the event streams end; without them nothing holds the server up
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )
    Server(config).run(sockets=[listener])
