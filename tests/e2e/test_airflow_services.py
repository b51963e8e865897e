"""`make up`, a run over REST as a scheduler runs it, `make down`: SQLite, on loopback, without root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from playwright.sync_api import Page, expect

from magneton_tasks.airflow.service import home as homes
from magneton_tasks.airflow.service.ports import free_ports
from magneton_tasks.config import places
from tests.e2e.airflow import ROOT, Airflow, clean_environ, wait_until
from tests.e2e.proxy import proxy
from tests.helpers.tiny_volume import OBJECTS
from tests.helpers.volumes import run_pipeline


def test_up_run_down(airflow_of: Callable[..., Airflow]) -> None:
    airflow = airflow_of()
    airflow.write_volume("tiny", "local: {workers: 2}\n", sizes="few")
    for told in _twice_at_once(airflow, "airflow_up"):
        assert airflow.address in told
        assert airflow.services.password() in told
        assert f"{airflow.address}/plugin/magneton-volumes" in told
    assert "is at work: waiting for it" in told
    assert airflow.services.password_file.stat().st_mode & 0o777 == 0o600
    started = airflow.services.running()
    assert set(started) == {"api-server", "scheduler", "dag-processor", "triggerer"}
    groups = {os.getpgid(p.pid) for p in started.values()}
    assert len(groups) == 4, "each service has a process group of its own"

    assert airflow.address in _script(airflow, "airflow_up"), "twice is harmless"
    assert airflow.services.running() == started

    run_id, state = airflow.run("tiny", {"segment.threshold": 0.6})
    tasks = airflow.tasks("tiny", run_id)
    assert state == "success", tasks
    assert tasks["segment", 1]["rendered_map_index"] == "block 1"
    assert tasks["segment", 1]["pool"] == "magneton_local"
    assert airflow.result("tiny", "verify")["objects"] == OBJECTS

    assert _listening(airflow) == {airflow.address.removeprefix("http://")}, "and nowhere else"
    assert airflow.address in _script(airflow, "airflow_health")
    assert "dag_run" in _script(airflow, "airflow_db_clean", "--dry-run")
    killed = {q for n in ("scheduler", "triggerer") for q in _family(started[n])}
    for name in ("scheduler", "triggerer"):
        started[name].kill()
        started[name].wait()
    assert [p for p in killed if _lives(p)], "Airflow's own children outlive it"
    wait_until(lambda: len(airflow.services.running()) == 4, "what was killed is started again")
    assert airflow.address in _script(airflow, "airflow_up"), "it waits until all is well"
    again = airflow.services.running()
    for name, process in started.items():
        assert (again[name] == process) == (name not in ("scheduler", "triggerer"))

    supervisor = airflow.services.supervision.supervisor()
    assert supervisor is not None
    everything = {*killed, *_family(supervisor)}
    for process in (supervisor, *again.values()):
        process.kill()
        process.wait()
    assert [p for p in everything if _lives(p)], "Airflow's own children outlive it"
    assert "Airflow is down" in _script(airflow, "airflow_down")
    assert airflow.services.running() == {}
    assert not [p for p in everything if _lives(p)]
    assert not _of_home(airflow)
    assert "isn't running" in _script(airflow, "airflow_down")
    assert "isn't running" in _script(airflow, "airflow_health", code=2)


def test_behind_a_proxy_with_a_prefix(
    airflow_of: Callable[..., Airflow], new_page: Callable[..., Page]
) -> None:
    """What `airflow.env` says holds; the pages and Neuroglancer work below the prefix."""
    airflow = airflow_of()
    run_pipeline(airflow.write_volume("lab"))
    port, outside = free_ports("airflow", "proxy").values()
    public = f"http://127.0.0.1:{outside}/lab"
    given = airflow.home / homes.SETTINGS_FILE
    given.write_text(f"# of this site\n{homes.PORT}={port}\nAIRFLOW__API__BASE_URL={public}\n")
    told = _script(airflow, "airflow_up")
    assert public in told and f"http://127.0.0.1:{port}" in told
    with proxy(outside, "/lab", airflow.address):
        page = new_page()
        failed: list[str] = []
        page.goto(f"{public}/")
        for field, text in (("username", "admin"), ("password", airflow.services.password())):
            page.locator(f"input[name={field}]").fill(text)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{public}/")
        page.on("response", lambda r: failed.append(r.url) if r.status >= 400 else None)
        page.goto(f"{public}/plugin/magneton-volumes")
        inner = page.frame_locator("iframe[title='Volumes']")
        inner.get_by_role("link", name="Look at it").click()
        client = inner.frame_locator("iframe[title='Neuroglancer']")
        expect(client.get_by_text("segmentation").first).to_be_visible()
        assert not failed


def _twice_at_once(airflow: Airflow, name: str) -> list[str]:
    """What a script prints that is run twice; last, what the one prints that came second."""
    both = [_begun(airflow, name) for _ in range(2)]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    return sorted(told, key=lambda text: "waiting for it" in text)


def _script(airflow: Airflow, name: str, *arguments: str, code: int = 0) -> str:
    """What a script of the project prints, run as `make` runs it."""
    process = _begun(airflow, name, *arguments)
    said, errors = process.communicate()
    assert process.returncode == code, said + errors
    return said


def _begun(airflow: Airflow, name: str, *arguments: str) -> subprocess.Popen[str]:
    environ = {
        **clean_environ(),
        homes.HOME_VARIABLE: str(airflow.home),
        places.CONFIGS_VARIABLE: str(airflow.configs),
    }
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *arguments]
    return subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _lives(process: psutil.Process) -> bool:
    """Whether it hasn't ended; the system may not have collected it yet."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _of_home(airflow: Airflow) -> list[psutil.Process]:
    """Every process whose environment tells of the home."""
    return [p for p in psutil.process_iter() if str(airflow.home) in _environ(p)]


def _listening(airflow: Airflow) -> set[str]:
    """Where the processes of a home listen, by IPv4 and IPv6."""
    found = set()
    for process in _of_home(airflow):
        with suppress(psutil.NoSuchProcess):
            found |= {
                f"{c.laddr.ip}:{c.laddr.port}"
                for c in process.net_connections("inet")
                if c.status == psutil.CONN_LISTEN
            }
    return found


def _environ(process: psutil.Process) -> str:
    """All that stands where the kernel keeps the environment."""
    try:
        return Path(f"/proc/{process.pid}/environ").read_text(errors="replace")
    except OSError:
        return ""
