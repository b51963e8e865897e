"""The plugin's pages inside Airflow's own web application, asked without a server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from airflow.api_fastapi.app import create_app, get_auth_manager, purge_cached_app
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

from magneton_tasks import __version__
from magneton_tasks.airflow.plugin import URL_PREFIX
from magneton_tasks.config import places
from magneton_tasks.outcome.block_map import BlockMap
from magneton_tasks.plan.plan import ThresholdChoice
from magneton_tasks.work.attempt import Attempt
from tests.helpers import volumes
from tests.helpers.many_blocks import plan_many, write_records
from tests.helpers.odd_configs import ODD, TYPICAL

RUN = "manual__2026-01-02T03:04:05+00:00"
GRID = (3, 4, 5)
N = 60
ROUTES = (
    "facts.json", "summary.json", "layer.json?stage=segment&z=0", "block.json?stage=segment&key=0",
    "log.txt?stage=segment&key=0", "preview.png", "report.html", "look/", "look/v/x/", "",
)  # fmt: skip


BOTH = {"instance_segmentation.many", "instance_segmentation.bad"}


class Site:
    """Airflow's web application, as somebody asks it."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def get(self, path: str, role: str | None = "viewer", **headers: str) -> httpx.Response:
        """An answer; ``role`` of the user, None: nobody is logged in."""
        if role is not None:
            user = SimpleAuthManagerUser(username=role, role=role)
            headers["Cookie"] = f"_token={get_auth_manager().generate_jwt(user)}"

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
                return await client.get(URL_PREFIX + path, headers=headers)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def site(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With a volume `many` in the middle of a run of 60 blocks, one of which has failed."""
    folder = tmp_path_factory.mktemp("site")
    made = plan_many(folder / "many", GRID, run=RUN)

    def record(key: int) -> dict[str, Any]:
        if key == 7:
            told = {"cause": "<b>boom</b>", "hint": "mend it", "exit_code": 65}
            return {"state": "failed", "info": told}
        return {"state": "started"} if key == 50 else {}

    write_records(made.attempt, "segment", 51, record)
    configs = folder / "configs"
    configs.mkdir()
    (folder / "many" / "volume.yaml").rename(configs / "many.yaml")
    (configs / "bad.yaml").write_text("paths: 1\n")
    before = os.environ.get(places.CONFIGS_VARIABLE)
    os.environ[places.CONFIGS_VARIABLE] = str(configs)
    purge_cached_app()
    yield Site(create_app())
    volumes.release(made)
    if before is not None:
        os.environ[places.CONFIGS_VARIABLE] = before


def run_path(dag: str = "many", run: str = RUN) -> str:
    return f"/runs/instance_segmentation.{dag}/{quote(run, safe='')}/"


def summary(site: Site, path: str) -> dict[str, Any]:
    """Once it has been read."""
    while (data := site.get(f"{path}summary.json").json())["state"] == "reading":
        pass
    return data  # type: ignore[no-any-return]


@pytest.mark.parametrize("route", ROUTES)
def test_no_login_no_answer(site: Site, route: str) -> None:
    assert site.get(run_path() + route, role=None).status_code == 401


@pytest.mark.parametrize("path", ["/volumes/", "/volumes/list.json", "/static/live.js"])
def test_no_login_no_list(site: Site, path: str) -> None:
    assert site.get(path, role=None).status_code == 401


def test_other_processes_of_airflow_import_no_pages() -> None:
    """Airflow loads plugins in each of its processes, tasks included."""
    code = (
        "import sys, magneton_tasks.airflow.plugin as plugin\n"
        "print([m for m in sys.modules if m.startswith(('magneton_tasks.airflow.pages', 'numpy'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_route_is_guarded() -> None:
    from magneton_tasks.airflow.pages.access import LOGGED_IN, MAY_READ
    from magneton_tasks.airflow.pages.app import make_app

    guards = {r.path: r.dependencies for r in make_app().routes}  # type: ignore[attr-defined]
    assert len(guards) >= 13
    for path, found in guards.items():
        assert found == ([MAY_READ] if "{dag_id}" in path else [LOGGED_IN]), path


def test_summary_of_a_run_that_goes_on(site: Site) -> None:
    data = summary(site, run_path())
    segment = {s["stage"]: s for s in data["stages"]}["segment"]
    assert data["state"] == "running"
    assert data["run"] == RUN
    counts = {k: segment[k] for k in ("done", "failed", "running", "queued", "missing")}
    assert counts == {"done": 49, "failed": 1, "running": 1, "queued": 9, "missing": 0}
    (failure,) = segment["failures"]
    assert (failure["key"], failure["cause"], failure["exit_code"]) == (7, "<b>boom</b>", 65)
    assert segment["voxels_per_s"] > 0
    assert segment["left_s"] > 0


def test_a_layer_and_a_block(site: Site) -> None:
    summary(site, run_path())
    layer = site.get(run_path() + "layer.json?stage=segment&z=2").json()
    assert layer["states"] == "d" * 10 + "r" + "q" * 9
    assert layer["seconds"][11] is None
    block = site.get(run_path() + "block.json?stage=segment&key=7").json()
    assert [t["state"] for t in block["tries"]] == ["failed"]
    assert block["position"] == [0, 1, 2]
    for bad in ("block.json?stage=segment&key=60", "layer.json?stage=nothing&z=0"):
        assert site.get(run_path() + bad).status_code == 404, bad


def test_the_page_finds_all_that_it_asks_for(site: Site) -> None:
    """Its styles, and its modules with all that these import."""
    page = site.get(run_path()).text
    wanted = re.findall(r"static/([\w.]+)", page)
    assert "live.js" in wanted
    for name in wanted:  # which grows meanwhile
        answer = site.get(f"/static/{name}")
        assert answer.status_code == 200, name
        found = re.findall(r'from "\./([\w.]+)"', answer.text)
        wanted += [other for other in found if other not in wanted]
    assert "squares.js" in wanted
    facts = site.get(run_path() + "facts.json").json()
    assert facts["config"].endswith("volume.yaml")
    assert "paths.input" in [s["key"] for s in facts["settings"]]


def test_an_unknown_run_says_so(site: Site) -> None:
    assert site.get(run_path(run="manual__other") + "summary.json").json()["state"] == "none"
    assert site.get(run_path(run="manual__other") + "preview.png").status_code == 404
    assert site.get("/runs/example/x/summary.json").status_code == 404


def test_to_the_newest_run(site: Site) -> None:
    answer = site.get("/volumes/instance_segmentation.many/")
    assert answer.status_code == 307
    assert answer.headers["location"] == "../.." + run_path()
    assert site.get("/volumes/example/").headers["location"] == "../"


def test_a_broken_config_says_what_is_wrong(site: Site) -> None:
    data = site.get(run_path("bad") + "summary.json").json()
    assert data["state"] == "none"
    assert "bad.yaml" in data["problem"]


def test_the_page_holds_no_markup_from_outside(site: Site) -> None:
    page = site.get(run_path(run='"><script>alert(1)'))
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert 'href="/' not in page.text, "addresses are relative"


def test_odd_config_files_are_rows_that_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from magneton_tasks.airflow.pages import listing

    for number, kind in enumerate(TYPICAL):
        ODD[kind][0](tmp_path / f"v{number}.yaml")
    monkeypatch.setenv(places.CONFIGS_VARIABLE, str(tmp_path))
    rows = list(listing.rows({f"instance_segmentation.v{n}" for n in range(len(TYPICAL))}))
    assert [row["name"] for row in rows] == [f"v{n}" for n in range(len(TYPICAL))]
    for row, kind in zip(rows, TYPICAL, strict=True):
        assert ODD[kind][1] in row["problem"]


def test_an_empty_list_for_who_may_read_nothing(site: Site) -> None:
    # Airflow has stored no DAG in this database: nobody may read one.
    assert site.get("/volumes/list.json").json() == {"volumes": []}


def test_logs_of_the_runs_alone(site: Site, tmp_path: Path) -> None:
    """What a record names as its log is another process's word."""
    from magneton_tasks.work.record import Record
    from magneton_tasks.work.task_logs import log_of

    run = plan_many(tmp_path / "one", (1, 1, 2))
    volumes.release(run)
    attempt: Attempt = run.attempt
    secret, link = tmp_path / "secret.log", attempt.paths.logs / "segment-block-1.log"
    secret.write_text("secret")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(secret)
    known = [Record(1, "failed", 1.0, attempt.name, 1, 0, info={"log": str(secret)})]
    assert log_of(attempt.work.runs, "segment", known) is None
    link.unlink()
    link.write_text("the block's own")
    found = log_of(attempt.work.runs, "segment", known)
    assert found is not None
    assert found.read_text() == "the block's own"


def test_files_of_a_run(site: Site) -> None:
    """The report gets no access to the site; a link that leads out is refused."""
    (plan,) = _work().glob("runs/*/1/plan.json")
    (plan.parent / "report.html").write_text("<p>told</p>")
    answer = site.get(run_path() + "report.html")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == "sandbox allow-scripts"
    (plan.parent / "preview.png").symlink_to("/etc/hostname")
    assert site.get(run_path() + "preview.png").status_code == 404
    assert site.get("/static/..%2Fapp.py").status_code == 404


@pytest.mark.parametrize("wrong", ["affinity", "segmentation"])
def test_neuroglancer_shows_only_what_the_config_names(site: Site, wrong: str) -> None:
    (path,) = _work().glob("runs/*/1/config.yaml")
    text = path.read_text()
    try:
        path.write_text(text.replace(f"/{wrong}", f"/{wrong}2"))
        page = site.get(run_path() + "look/")
        assert "of the volume&#39;s config isn&#39;t what this run worked with" in page.text
        assert "<iframe" not in page.text
    finally:
        path.write_text(text)


def test_neuroglancer_and_its_files(site: Site) -> None:
    page = site.get(run_path() + "look/")
    assert page.status_code == 200
    token = page.text.split('<iframe src="v/')[1].split("/")[0]
    client = run_path() + f"look/v/{token}/"
    assert "state.js" in site.get(client).text
    script = site.get(client + "state.js").text
    assert "EventSource" in script
    assert json.loads(site.get(client + "data/0/zarr.json").text)["shape"][0] == 3
    assert site.get(client + "data/0/..%2Fvolume.yaml").status_code == 404
    outside = _work().parent / "affinity" / "c"
    outside.mkdir(exist_ok=True)
    (outside / "0").symlink_to("/etc")
    assert site.get(client + "data/0/c/0/hostname").status_code == 404
    assert site.get(client + "data/0/zarr.json", role=None).status_code == 401


def _work() -> Path:
    (config,) = Path(os.environ[places.CONFIGS_VARIABLE]).glob("many.yaml")
    import yaml

    return Path(yaml.safe_load(config.read_text())["paths"]["work"])


#: What may stand in a file of JSON that others wrote to.
DAMAGE = {
    "list": b"[]",
    "null": b"null",
    "number": b"5",
    "empty": b"",
    "cut off": b'{"stage": "ver',
    "no text": b"\xff\xfe\x00",
    "deep list": b"[" * 100_000,
    "deep object": b'{"stage":' * 100_000,
    "empty object": b"{}",
    "other values": b'{"version": "%s", "run": [], "geometry": 5}' % __version__.encode(),
    "other result": b'{"stage": "verify", "chunks": []}',
}


@contextmanager
def damaged(path: Path, content: bytes) -> Iterator[None]:
    """The file holds something else."""
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content)
    try:
        yield
    finally:
        path.unlink()
        if before is not None:
            path.write_bytes(before)


@pytest.mark.parametrize("name", ["plan.json", "results/verify.json"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_a_row_that_says_so(site: Site, name: str, kind: str) -> None:
    """The page of all volumes goes on with the others."""
    from magneton_tasks.airflow.pages import listing

    (root,) = _work().glob("runs/*/1")
    with damaged(root / name, DAMAGE[kind]):
        rows = {row["name"]: row for row in listing.rows(BOTH)}
        # Airflow has stored no DAG in this database, so the page itself would be empty.
        runs = site.get("/volumes/instance_segmentation.many/runs.json")
        assert (runs.status_code, len(runs.json()["runs"])) == (200, 1)
        answer = site.get("/volumes/instance_segmentation.many/")
        assert answer.status_code == 307
        assert site.get(run_path() + "summary.json").status_code == 200
    assert set(rows) == {"many", "bad"}
    assert "bad.yaml" in rows["bad"]["problem"]
    assert str(root) in rows["many"]["problem"]
    if name != "plan.json":
        assert rows["many"]["run"] == RUN, "which run it is can still be told"


@pytest.mark.parametrize("kind", sorted(DAMAGE.keys() - {"other result"}))
def test_what_a_row_can_do_without_isnt_a_problem(site: Site, kind: str) -> None:
    from magneton_tasks.airflow.pages import listing

    (root,) = _work().glob("runs/*/1")
    attempt = Attempt.open(root)
    with (
        damaged(attempt.work.freed, DAMAGE[kind]),
        damaged(attempt.stage_dir("pool") / "report.json", DAMAGE[kind]),
        damaged(root / "results" / "segment-0.json", DAMAGE[kind]),
    ):
        rows = {row["name"]: row for row in listing.rows(BOTH)}
    assert rows["many"]["run"] == RUN
    assert rows["many"]["problem"] is None
    assert rows["many"]["state"] == "running"


def test_a_work_directory_that_is_none_is_a_row_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from magneton_tasks.airflow.pages import listing

    (tmp_path / "file").write_text("no directory")
    paths = f"{{input: file:///a, output: file:///b, work: {tmp_path}/%s}}"
    for name, work in (("loop", "loop/work"), ("none", "nowhere"), ("file", "file")):
        (tmp_path / f"{name}.yaml").write_text(f"paths: {paths % work}\n")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv(places.CONFIGS_VARIABLE, str(tmp_path))
    dags = {f"instance_segmentation.{name}" for name in ("loop", "none", "file")}
    rows = {row["name"]: row for row in listing.rows(dags)}
    assert set(rows) == {"loop", "none", "file"}
    assert "can't be read" in rows["loop"]["problem"]
    assert rows["none"]["problem"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/runs/instance_segmentation.many/a%00b/",
        *(f"/runs/instance_segmentation.many/%00/{route}" for route in ROUTES),
        "/runs/%00/x/summary.json", "/volumes/%00/", "/static/%00", "/static/live.js%00",
        f"/runs/instance_segmentation.many/{quote(RUN, safe='')}/look/v/x/data/0/%00",
    ],
)  # fmt: skip
def test_a_zero_byte_names_nothing(site: Site, path: str) -> None:
    assert site.get(path).status_code == 404


def test_what_was_only_sampled_isn_t_called_complete(site: Site) -> None:
    """In the list of volumes and in the block map's summary."""
    from magneton_tasks.airflow.pages import listing

    (root,) = Path(os.environ[places.CONFIGS_VARIABLE]).parent.glob("many/work/runs/*/1")
    result = root / "results" / "verify.json"
    checked = {"how": "sampled", "chunks": 4711, "read": 64}
    result.parent.mkdir(exist_ok=True)
    result.write_text(json.dumps({"stage": "verify", "chunks": 4711, "checked": checked}))
    try:
        (row,) = listing.rows({"instance_segmentation.many"})
        found = BlockMap(Attempt.open(root))
        found.refresh()
    finally:
        result.unlink()
    assert row["state"] == found.summary["state"] == "verified"
    words = "sampled: sizes of all 4,711 chunks, checksums of 64"
    assert row["proof"] == found.summary["proof"] == words


def test_a_threshold_that_the_map_asked_for_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from magneton_tasks.airflow.pages import listing

    (root,) = _work().glob("runs/*/1")
    attempt = Attempt.open(root)
    chosen = ThresholdChoice(0.315, "map", 0.1, 0.873, ("look at it",))
    warned = replace(attempt, plan=replace(attempt.plan, threshold=chosen))
    monkeypatch.setattr(Attempt, "open", classmethod(lambda *_: warned))
    (row,) = listing.rows({"instance_segmentation.many"})
    assert row["threshold"]["value"] == 0.315 and row["threshold"]["warnings"] == ["look at it"]
