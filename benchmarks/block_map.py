"""The block map in Airflow's own web application: how long its answers take at 10^5 blocks.

The run goes on meanwhile: records are added all the time, and a thread of the server reads them.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from benchmarks.measure import ROOT, Row, magneton, row
from benchmarks.volumes import Planned, write_config, write_records, zarr_info
from magneton_tasks.airflow.service import home as homes
from magneton_tasks.base.geometry import vec3
from magneton_tasks.config.places import CONFIGS_VARIABLE
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import WorkPaths

GRID = (10, 100, 100)
BLOCKS, BEFORE = 100_000, 60_000
RUN = "bench"
#: Looks of a page that is seen for this long, one every 2 s, as the page looks.
LOOKS, EVERY_S = 20, 2.0
#: Blocks that the run finishes in a second.
PACE = 100


def run(full: bool = False) -> list[Row]:
    """Each answer of a page that is looked at while the run goes on."""
    with TemporaryDirectory() as directory:
        root = Path(directory)
        planned = _plan(root)
        home = root / "home"
        home.mkdir()
        os.environ.update(homes.settings(home, ROOT))
        os.environ[CONFIGS_VARIABLE] = str(root / "volume.yaml")
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True)
        with _working(planned), _serving() as (port, cookie):
            return _rows(port, cookie)


def _plan(root: Path) -> Planned:
    """A run with most blocks done before, the others to do."""
    zarr_info(root / "affinity", vec3([n * 12 for n in GRID]))
    config = write_config(
        root,
        {
            "paths": {"max_files": 10_000_000, "visibility_wait_s": 0},
            "block": {"size": [16] * 3, "overlap": [4] * 3},
        },
    )
    planned = Planned(config)
    info = {"n": 123, "files": {"labels": [123456, 1234567890], "sizes": [12345, 1234567890]}}
    values = {"input": planned.input_digest, "output": "0123456789abcdef", "info": info}
    records = planned.stage_dir("segment") / "records"
    write_records(records, "segment", range(BEFORE), lambda _: values)
    magneton("plan", config, "--run-id", RUN)
    return planned


@contextmanager
def _working(planned: Planned) -> Iterator[None]:
    """Blocks are finished meanwhile."""
    stop = threading.Event()
    manifest = Manifest(planned.stage_dir("segment") / "records")

    def work() -> None:
        name = WorkPaths(planned.work.work).run(RUN).name
        values: dict[str, Any] = {
            "input": planned.input_digest, "output": "0123456789abcdef", "attempt": 1
        }  # fmt: skip
        with manifest.writer(name, "segment", 0) as writer:
            for key in range(BEFORE, BLOCKS):
                if stop.wait(1 / PACE):
                    return
                writer.add(key, "done", seconds=1.0, peak_bytes=10**8, info={"n": 5}, **values)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _serving() -> Iterator[tuple[int, str]]:
    """Port of Airflow's web application in a process of its own, and the cookie of a user."""
    command = [sys.executable, "-c", "from benchmarks.block_map import serve; serve()"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            told = next(line for line in server.stdout if line.startswith("{"))
            yield json.loads(told)["port"], json.loads(told)["cookie"]
        finally:
            server.kill()


def serve() -> None:
    """Serve Airflow's web application; tells where in a line of JSON."""
    import socket

    import uvicorn
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    app = create_app()
    user = SimpleAuthManagerUser(username="viewer", role="viewer")
    token: str = get_auth_manager().generate_jwt(user)
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"port": listener.getsockname()[1], "cookie": f"_token={token}"}), flush=True)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_config=None))
    server.run(sockets=[listener])


def _rows(port: int, cookie: str) -> list[Row]:
    here = f"/magneton/runs/instance_segmentation.volume/{quote(RUN)}/"
    ask = _Asker(port, cookie, here)
    began = time.perf_counter()
    ask("static", "../../../static/live.js")  # the pages' modules are imported
    first = time.perf_counter() - began
    began = time.perf_counter()
    while (found := ask("reading", "summary.json"))["state"] == "reading":
        time.sleep(0.4)
    read_s = time.perf_counter() - began
    assert sum(s["total"] for s in found["stages"] if s["stage"] == "segment") == BLOCKS, found
    done = []
    for k in range(LOOKS):
        done.append(ask("summary", "summary.json")["stages"][0]["done"])
        ask("layer", f"layer.json?stage=segment&z={k % GRID[0]}")
        ask("block", f"block.json?stage=segment&key={k}")
        time.sleep(EVERY_S)
    assert done[-1] > done[0] > BEFORE, done
    rows = [
        row(f"block map, 10^5 blocks: {name}, median of {len(times)}", 1e3 * median(times), "ms")
        for name, times in ask.times.items()
        if name in ("summary", "layer", "block")
    ]
    slowest = {name: 1e3 * max(times) for name, times in ask.times.items() if name != "static"}
    return [
        *rows,
        row("  the slowest answer of all", max(slowest.values()), "ms", most=300, of=slowest),
        row("  until the records are read for the first time", read_s, "s"),
        row("  the very first answer of the pages", first, "s"),
    ]


class _Asker:
    """Asks over one connection, and keeps how long each answer took."""

    def __init__(self, port: int, cookie: str, here: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._cookie, self._here = cookie, here
        self.times: dict[str, list[float]] = {}

    def __call__(self, name: str, path: str) -> Any:
        path = path.replace("../../..", "/magneton") if path.startswith("..") else self._here + path
        began = time.perf_counter()
        self._connection.request("GET", path, headers={"Cookie": self._cookie})
        answer = self._connection.getresponse()
        body = answer.read()
        self.times.setdefault(name, []).append(time.perf_counter() - began)
        assert answer.status == 200, (path, answer.status, body[:500])
        return None if path.endswith(".js") else json.loads(body)
