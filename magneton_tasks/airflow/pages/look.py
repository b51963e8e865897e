"""Neuroglancer through the web server: the viewer's own application, one for each attempt.

Its files are those of the attempt's own volumes on ``file://``, each really looked up at each request
(`viewer.volume_files`). It has no event stream: nothing is held open.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import NoInputError
from magneton_tasks.viewer.app import make_app
from magneton_tasks.viewer.layers import resolve
from magneton_tasks.viewer.of_config import view_of
from magneton_tasks.viewer.state import State, make_state
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.paths import safe_name

#: Viewers that are kept; another one costs some reads of metadata.
_KEPT = 32


class Viewers:
    """The viewers of attempts, by their directories; anew where the volume's config has changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, tuple[RunConfig, Starlette]] = OrderedDict()

    def open(self, root: Path, config: RunConfig) -> tuple[str, ...]:
        """Make the viewer of an attempt, as what it shows is now; notes on what it leaves out.

        Raises
        ------
        MagnetonError
            There is nothing to see, or it isn't the config's, or Neuroglancer isn't installed.
        """
        attempt = Attempt.open(root)
        require_known(attempt, config)
        app, notes = make_viewer(attempt)
        with self._lock:
            self._kept[root] = config, app
            self._kept.move_to_end(root)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return notes

    def get(self, root: Path, config: RunConfig) -> Starlette:
        """The viewer as it was opened last; another process of the web server may have done that."""
        known = self._kept.get(root)
        if known is None or known[0] is not config:
            self.open(root, config)
            known = self._kept[root]
        return known[1]


def require_known(attempt: Attempt, config: RunConfig) -> None:
    """Refuse an attempt on other volumes than the config names.

    Its frozen config lies where others may write: it alone can't make a directory readable.

    Raises
    ------
    NoInputError
    """
    partition = attempt.plan.partition or ""
    for name in ("input", "output"):
        named = str(getattr(config.paths, name)).replace("{partition}", partition)
        if named != getattr(attempt.config.paths, name):
            raise NoInputError(
                f"paths.{name} of the volume's config isn't what this run worked with",
                "look at a newer run, or use `magneton view` on a config that names it",
            )


def token_of(root: Path) -> str:
    """What the viewer's addresses hold; no secret, because the login guards them."""
    return safe_name(f"{root.parent.name}-{root.name}")


def make_viewer(attempt: Attempt) -> tuple[Starlette, tuple[str, ...]]:
    """The viewer's application, and notes for people."""
    view = view_of(attempt.config, attempt, count=False)
    shown, notes = resolve(view.layers)

    def state(base_url: str) -> State:
        return make_state(
            shown,
            base_url,
            view.position_vox,
            view.voxel_size_nm,
            view.side_by_side,
            view.shape_vox,
        )

    app = make_app(shown, state, token_of(attempt.paths.root), stream=False)
    return app, (*view.notes, *notes)


class Forward(Response):
    """An answer that another application gives, which sees ``path`` alone."""

    def __init__(self, app: Starlette, path: str) -> None:
        super().__init__()
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        inner: dict[str, Any] = {
            **scope, "path": self._path, "raw_path": self._path.encode(), "root_path": ""
        }  # fmt: skip
        await self._app(inner, receive, send)
