"""The pages as an ASGI application, mounted by Airflow's web server below its own prefix.

::

    volumes/                           the list of volumes; list.json: its data
    volumes/<dag>/                     to the block map of the volume's newest run
        runs.json  runs.csv            the table over all its runs
    runs/<dag>/<run>/                  the block map of a run's newest attempt, and its data:
        facts.json  summary.json  layer.json?stage=&z=  block.json?stage=&key=  log.txt?stage=&key=
        preview.png  report.html
        look/                          Neuroglancer, on that attempt's volumes
    static/<name>                      styles, scripts, icon

Every route asks for Airflow's login, and every one below a DAG for the right to read that DAG.
Nothing is written. Links are relative.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import jinja2
from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from magneton_tasks import __version__
from magneton_tasks.airflow.pages import access, listing
from magneton_tasks.airflow.pages.access import LOGGED_IN, MAY_READ
from magneton_tasks.airflow.pages.keeper import Keeper
from magneton_tasks.airflow.pages.look import Forward, Viewers, token_of
from magneton_tasks.errors import MagnetonError, NoInputError
from magneton_tasks.outcome import block_detail, page, run_rows, run_table
from magneton_tasks.outcome.block_detail import as_json
from magneton_tasks.outcome.block_map import BlockMap
from magneton_tasks.outcome.page import data
from magneton_tasks.work import attempts
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.attempts import Found

_HERE = Path(__file__).parent
_STATIC = _HERE / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
#: Nothing from elsewhere; the web interface shows the pages in a frame.
_PAGE_HEADERS = {
    **_NO_STORE,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; "
    "form-action 'none'",
    "Referrer-Policy": "same-origin",
}
#: A report lies where others may write: it gets no access to Airflow's origin.
_REPORT_HEADERS = {**_NO_STORE, "Content-Security-Policy": "sandbox allow-scripts"}

Readable = Annotated[set[str], Depends(access.readable_dags)]


def make_app() -> FastAPI:
    """The application."""
    app = FastAPI(title="Magneton", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.redirect_slashes = False  # it would build an address from the Host header
    pages = _Pages()
    get, logged_in, may_read = app.get, [LOGGED_IN], [MAY_READ]
    get("/static/{name}", dependencies=logged_in)(static)
    get("/volumes/", dependencies=logged_in)(pages.volumes)
    get("/volumes/list.json", dependencies=logged_in)(pages.volumes_data)
    get("/volumes/{dag_id}/", dependencies=may_read)(pages.newest)
    get("/volumes/{dag_id}/runs.json", dependencies=may_read)(pages.runs)
    get("/volumes/{dag_id}/runs.csv", dependencies=may_read)(pages.runs_csv)
    run = "/runs/{dag_id}/{run_id}"
    get(f"{run}/", dependencies=may_read)(pages.run)
    get(f"{run}/facts.json", dependencies=may_read)(pages.facts)
    get(f"{run}/summary.json", dependencies=may_read)(pages.summary)
    get(f"{run}/layer.json", dependencies=may_read)(pages.layer)
    get(f"{run}/block.json", dependencies=may_read)(pages.block)
    get(f"{run}/log.txt", dependencies=may_read)(pages.log)
    get(f"{run}/preview.png", dependencies=may_read)(pages.preview)
    get(f"{run}/report.html", dependencies=may_read)(pages.report)
    get(f"{run}/look/", dependencies=may_read)(pages.look)
    methods = ["GET", "HEAD", "OPTIONS"]
    app.api_route(f"{run}/look/v/{{rest:path}}", methods=methods, dependencies=may_read)(
        pages.look_on
    )
    app.add_exception_handler(MagnetonError, _told)
    app.add_middleware(_NoZeros)
    return app


class _NoZeros:
    """Refuses paths with a zero byte: no file, DAG or run has one, and databases fail at it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _json({"problem": "no such page"}, 404) if "\0" in scope.get("path", "") else None
        await (answer or self._app)(scope, receive, send)


def _told(_: Request, error: Exception) -> Response:
    """What is wrong and what to do, in the error's own words."""
    status = 404 if isinstance(error, NoInputError) else 409
    return _json({"problem": str(error)}, status)


def static(name: str) -> Response:
    """Styles, scripts and the icon."""
    path = next((p for folder in (_STATIC, page.FOLDER) if (p := folder / name).is_file()), None)
    if "/" in name or path is None or path.suffix not in _TYPES:
        raise HTTPException(404, "no such file")
    headers = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=_TYPES[path.suffix], headers=headers)


class _Pages:
    """The routes; plain functions, which the server calls in threads."""

    def __init__(self) -> None:
        self._keeper, self._viewers = Keeper(), Viewers()

    # -------------------------------------------------------------- all volumes
    def volumes(self) -> Response:
        return _page("volumes.html.j2")

    def volumes_data(self, readable: Readable) -> Response:
        return _json({"volumes": list(listing.rows(readable))})

    def runs(self, dag_id: str) -> Response:
        """The table over the runs of a volume."""
        return _json(run_table.as_data(run_rows.of_volume(access.config_of(dag_id))))

    def runs_csv(self, dag_id: str) -> Response:
        text = run_table.as_csv(run_rows.of_volume(access.config_of(dag_id)))
        name = f"{dag_id.removeprefix('instance_segmentation.')}-runs.csv"
        headers = {
            **_NO_STORE,
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
        }
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    def newest(self, dag_id: str) -> Response:
        """To the newest run, or to the list, which says why: there's none, it or the config is damaged."""
        with suppress(MagnetonError, OSError, ValueError, KeyError):
            found = attempts.newest_of_each(access.config_of(dag_id))
            if found:
                return self._to(dag_id, found[0])
        return RedirectResponse("../", headers=_NO_STORE)

    def _to(self, dag_id: str, found: Found) -> Response:
        run_id = listing.run_id_of(found)
        place = f"../../runs/{quote(dag_id, safe='')}/{quote(run_id, safe='')}/"
        return RedirectResponse(place, headers=_NO_STORE)

    # -------------------------------------------------------------- one run
    def run(self, dag_id: str, run_id: str) -> Response:
        name = dag_id.removeprefix("instance_segmentation.")
        return _page("page.html.j2", r=None, picture=None, name=name, dag_id=dag_id, run_id=run_id)

    def facts(self, dag_id: str, run_id: str) -> Response:
        return _json(data.facts(self._map(dag_id, run_id).attempt))

    def summary(self, dag_id: str, run_id: str) -> Response:
        """Where the run stands; ``none``: no attempt (yet), ``reading``: what is known at once, ask again."""
        volume = access.volume_of(dag_id)
        if volume.config is None:
            return _json({"state": "none", "problem": volume.problem})
        found = attempts.newest_of_run(access.config_of(dag_id, run_id), run_id)
        if found is None:
            return _json({"state": "none", "config": str(volume.path)})
        block_map, problem = self._keeper.look(found.paths.root)
        if block_map is None:
            if problem:
                return _json({"state": "unreadable", "problem": problem})
            return _json({"state": "reading", **data.first_look(Attempt.open(found.paths.root))})
        attempt = block_map.attempt
        return _json(
            {
                **block_map.told(),
                "problem": problem,
                "task_suffix": _task_suffix(attempt),
            }
        )

    def layer(self, dag_id: str, run_id: str, stage: str, z: int) -> Response:
        try:
            return _json(self._map(dag_id, run_id).layer(stage, z))
        except KeyError:
            raise HTTPException(404, f"no map of {stage}") from None

    def block(self, dag_id: str, run_id: str, stage: str, key: int) -> Response:
        attempt = self._map(dag_id, run_id).attempt
        try:
            return _json(block_detail.detail(attempt, stage, key))
        except KeyError:
            raise HTTPException(404, f"no {stage} of {key}") from None

    def log(self, dag_id: str, run_id: str, stage: str, key: int) -> Response:
        block_map = self._map(dag_id, run_id)
        if stage not in block_map.stages:
            raise HTTPException(404, f"no stage {stage}")
        text = block_detail.log_tail(block_map.attempt, stage, key)
        if text is None:
            raise HTTPException(404, "there is no log of it (any more)")
        return Response(text, media_type="text/plain; charset=utf-8", headers=_NO_STORE)

    def preview(self, dag_id: str, run_id: str) -> Response:
        return _file(self._found(dag_id, run_id).paths.preview, "image/png", _NO_STORE)

    def report(self, dag_id: str, run_id: str) -> Response:
        return _file(self._found(dag_id, run_id).paths.page, "text/html", _REPORT_HEADERS)

    # -------------------------------------------------------------- Neuroglancer
    def look(self, dag_id: str, run_id: str) -> Response:
        """Neuroglancer, below a line that leads back; what it shows is looked up anew."""
        token: str | None = None
        notes, problem = tuple[str, ...](), ""
        try:
            root = self._found(dag_id, run_id).paths.root
            notes, token = (
                self._viewers.open(root, access.config_of(dag_id, run_id)),
                token_of(root),
            )
        except MagnetonError as error:
            problem = str(error)
        told = {"token": token, "notes": notes, "problem": problem}
        return _page("look.html.j2", dag_id=dag_id, run_id=run_id, **told)

    def look_on(self, dag_id: str, run_id: str, rest: str) -> Response:
        root = self._found(dag_id, run_id).paths.root
        return Forward(self._viewers.get(root, access.config_of(dag_id, run_id)), f"/v/{rest}")

    # -------------------------------------------------------------- finding
    def _map(self, dag_id: str, run_id: str) -> BlockMap:
        block_map, problem = self._keeper.look(self._found(dag_id, run_id).paths.root)
        if block_map is None:
            raise HTTPException(503, problem or "the records are still being read: ask again")
        return block_map

    def _found(self, dag_id: str, run_id: str) -> Found:
        found = attempts.newest_of_run(access.config_of(dag_id, run_id), run_id)
        if found is None:
            raise NoInputError(f"nothing was planned for the run {run_id}")
        return found


def _task_suffix(attempt: Attempt) -> str:
    """What the tasks of a stage are called beside its name: see `airflow.dag.tasks`."""
    runner = attempt.config.runner
    return f"_{runner.default}" if len(runner.offered) > 1 else ""


def _json(data: Any, status: int = 200) -> Response:
    return Response(as_json(data), status, _NO_STORE, "application/json")


def _file(path: Path, kind: str, headers: dict[str, str]) -> Response:
    """A small file of an attempt; a link that leads out of the attempt is none."""
    real = path.resolve()
    if not real.is_file() or not real.is_relative_to(path.parent.resolve()):
        raise HTTPException(404, "no such file (yet)")
    return FileResponse(real, media_type=kind, headers=headers)


@cache
def _templates() -> Callable[[str], jinja2.Template]:
    loader = jinja2.FileSystemLoader([_HERE / "templates", page.FOLDER])
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template


def _page(template: str, **values: Any) -> Response:
    text = _templates()(template).render(version=__version__, **values)
    return HTMLResponse(text, headers=_PAGE_HEADERS)
