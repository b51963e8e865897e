"""docker/compose.yaml on a real engine: what docs/docker.md tells people to type, up to a finished run."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks import __version__
from magneton_tasks.airflow.service.ports import free_ports
from magneton_tasks.runners.docker.engine import Engine
from tests.cluster.docker.conftest import MARKS, OWNER, own, records, wait_for
from tests.e2e.rest import RefusedError, Rest, fetched
from tests.helpers.clones import clone
from tests.helpers.shell_blocks import shown_to, typed
from tests.helpers.tiny_volume import OBJECTS, write_tiny_volume
from tests.helpers.volumes import read_segmentation

pytestmark = [
    *MARKS,
    pytest.mark.skipif(shutil.which("docker-compose") is None, reason="compose isn't installed"),
]

#: Built beside that of whoever uses this engine.
IMAGE = "magneton-airflow-typed"
LASTING = {"postgres", "api-server", "scheduler", "dag-processor", "triggerer"}
DAG = "instance_segmentation.tiny"
#: Seconds that anything here may take on a busy machine.
PATIENCE_S = 900.0
#: Debian's client has no plugins: what newer ones call `docker compose` is a program of its own there.
CLIENT = """#!/bin/sh
if [ "$1" = compose ]; then shift; exec docker-compose "$@"; fi
exec /usr/bin/docker "$@"
"""


@dataclass(frozen=True, slots=True)
class Stack:
    """compose.yaml in a clone of the project, started as docs/docker.md says.

    Attributes
    ----------
    clone
        Its root.
    lines
        Of its ``docker/.env``.
    environ
        Of the shell of whoever types.
    """

    clone: Path
    lines: dict[str, str]
    environ: dict[str, str]

    def compose(self, arguments: str) -> str:
        """What ``docker compose ARGUMENTS`` prints."""
        command = f"docker compose -f docker/compose.yaml {arguments}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.clone,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def containers(self, engine: Engine) -> dict[str, dict[str, Any]]:
        """The containers of this stack, those that ended too, by service."""
        label = "com.docker.compose"
        project = self.lines["COMPOSE_PROJECT_NAME"]
        found = engine.client.containers(all=True, filters={"label": f"{label}.project={project}"})
        return {c["Labels"][f"{label}.service"]: c for c in found}


def filled(place: Path, example: Path) -> dict[str, str]:
    """env.example as a person fills it in, and what only a test has beside it."""
    socket = os.environ["DOCKER_HOST"].removeprefix("unix://")
    given = {
        "AIRFLOW_UID": OWNER, "AIRFLOW_GID": OWNER, "DOCKER_GID": os.stat(socket).st_gid,
        "DATA_ROOT": place, "CONFIGS": place / "configs", "ADMIN_EMAIL": "admin@example.org",
        "FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        **{name: secrets.token_hex(24) for name in
           ("POSTGRES_PASSWORD", "JWT_SECRET", "API_SECRET_KEY", "ADMIN_PASSWORD")},
    }  # fmt: skip
    lines = example.read_text(encoding="utf-8").splitlines()
    asked = {line[:-1] for line in lines if line.endswith("=") and line[0] != "#"}
    assert asked == set(given), "compose.yaml asks for all of it and nothing else"
    # The engine isn't the machine's own, others may use it, and where no registry can be reached a
    # stand-in made of Debian packages is its PostgreSQL. Nothing else differs from what a person has.
    beside = {
        "COMPOSE_PROJECT_NAME": f"magneton-{secrets.token_hex(4)}", "AIRFLOW_IMAGE": IMAGE,
        "POSTGRES_IMAGE": os.environ.get("POSTGRES_IMAGE", "postgres:16"),
        "DOCKER_SOCKET": socket, "PORT": free_ports("api")["api"],
    }  # fmt: skip
    return {name: str(value) for name, value in {**given, **beside}.items()}


@pytest.fixture
def stack(place: Path, engine: Engine, tmp_path: Path) -> Iterator[Stack]:
    """It runs; nothing of it is left at the end."""
    write_tiny_volume(place, "runner: {offered: [docker], default: docker}\n", sizes="few")
    own(place)
    client = tmp_path / "bin" / "docker"
    client.parent.mkdir()
    client.write_text(CLIENT)
    client.chmod(0o755)
    path = f"{client.parent}{os.pathsep}{os.environ['PATH']}"
    project, environ = clone(tmp_path), {**os.environ, "PATH": path, "IMAGE": IMAGE}
    build, start = shown_to(__file__, "docker.md")
    typed([build], project, environ)
    file = project / "docker" / ".env"
    assert file.stat().st_mode & 0o777 == 0o600
    lines = filled(place, file)
    file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    made = Stack(project, lines, environ)
    try:
        typed([start], project, environ)
        yield made
    finally:
        print(made.compose("logs --no-color --tail 40"))  # pytest shows it where a test failed
        made.compose("down --volumes")
        assert made.containers(engine) == {}
        for kind in (engine.client.networks, engine.client.volumes):
            assert lines["COMPOSE_PROJECT_NAME"] not in str(kind()), "down leaves nothing"
        for tag in ("latest", __version__):
            engine.client.remove_image(f"{IMAGE}:{tag}")


def test_login_a_run_in_containers_and_down(stack: Stack, engine: Engine, place: Path) -> None:
    wait_for(
        lambda: (
            {n for n, c in stack.containers(engine).items() if "(healthy)" in c["Status"]}
            == LASTING
        ),
        "all services are healthy",
        PATIENCE_S,
    )
    migrate = stack.containers(engine)["migrate"]
    assert migrate["State"] == "exited" and "Exited (0)" in migrate["Status"]
    expect_on_this_machine_only(stack, engine)
    expect_no_secret(stack, engine)

    address = f"http://127.0.0.1:{stack.lines['PORT']}"
    assert "<html" in fetched(f"{address}/auth/login/")
    with pytest.raises(RefusedError) as refusal:
        Rest(lambda: address, lambda _: "wrong").token()
    assert refusal.value.status == 401
    rest = Rest(lambda: address, lambda _: stack.lines["ADMIN_PASSWORD"])
    expect_green(rest)

    assert {r.image for r in records(place / "work")} == {engine.image_digest("magneton-tasks")}
    output = f"file://{place}/segmentation"
    assert len({*read_segmentation(output, 0).ravel().tolist()} - {0}) == OBJECTS
    made = [p for p in place.rglob("*") if p.is_file()]
    assert {(p.stat().st_uid, p.stat().st_gid) for p in made} == {(OWNER, OWNER)}


def expect_on_this_machine_only(stack: Stack, engine: Engine) -> None:
    """One port is published, on loopback; in compose's own network nothing listens that needn't."""
    containers = stack.containers(engine)
    ports = {
        (p["IP"], str(p["PublicPort"]))
        for c in containers.values()
        for p in c["Ports"]
        if "PublicPort" in p
    }
    assert ports == {("127.0.0.1", stack.lines["PORT"])}
    listening = {n: beyond_loopback(engine.process_id(containers[n]["Id"])) for n in LASTING}
    assert {n: p for n, p in listening.items() if p} == {"postgres": {5432}, "api-server": {8080}}


def beyond_loopback(process: int) -> set[int]:
    """Ports on which something listens in a process's network, but for those on loopback."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, port = local.split(
                ":"
            )  # in hexadecimal, the bytes of a word the other way round
            is_loopback = address.endswith("7F") or address == f"{'0' * 24}01000000"
            if state == "0A" and not is_loopback:
                found.add(int(port, 16))
    return found


def expect_no_secret(stack: Stack, engine: Engine) -> None:
    """Airflow's services show none, whoever may inspect them."""
    hidden = [
        v for k, v in stack.lines.items() if any(w in k for w in ("PASSWORD", "SECRET", "KEY"))
    ]
    assert len(hidden) == 5
    for name in LASTING - {"postgres"}:
        shown = str(engine.client.inspect_container(stack.containers(engine)[name]["Id"]))
        assert not [value for value in hidden if value in shown], name


def expect_green(rest: Rest) -> None:
    """The volume's DAG is there, a run of it succeeds, and its logs can be read."""

    def known() -> bool:
        try:
            return not rest.call(f"/api/v2/dags/{DAG}")["is_stale"]
        except RefusedError:  # 404
            return False

    wait_for(known, "Airflow knows the volume", PATIENCE_S)
    run = rest.call(f"/api/v2/dags/{DAG}/dagRuns", {"logical_date": None, "conf": {}})
    path = f"/api/v2/dags/{DAG}/dagRuns/{run['dag_run_id']}"
    deadline = time.monotonic() + PATIENCE_S
    while (state := rest.call(path)["state"]) not in ("success", "failed"):
        assert time.monotonic() < deadline, f"the run is still {state}"
        time.sleep(1)
    tasks = rest.call(f"{path}/taskInstances?limit=100")["task_instances"]
    assert state == "success", [(t["task_id"], t["map_index"], t["state"]) for t in tasks]
    log = rest.call(f"{path}/taskInstances/verify/logs/1?map_index=0&full_content=true")["content"]
    told = " ".join(str(line) for line in log)
    assert "verify" in told and "Could not read" not in told
