"""The command itself: what it prints, and how it ends."""

from __future__ import annotations

import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from magneton_tasks.errors import UsageError
from magneton_tasks.viewer import serve as serving
from magneton_tasks.viewer.layers import Layer
from tests.helpers import volumes
from tests.helpers.viewing import link_of, view
from tests.viewer.conftest import layers_in
from tests.viewer.test_app import open_stream

pytestmark = pytest.mark.usefixtures("warm")


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    """Also with a browser that listens; the exit code says that all is well."""
    with view(volumes.make_volume(tmp_path)) as (process, lines):
        port, path = link_of(lines)
        token = path.strip("/").partition("/")[2]
        assert len(token) >= 32
        with open_stream(port, f"/events/{token}?c=1&gc="):
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert rest == "the viewer has ended\n"


def test_it_listens_on_loopback_only_and_with_a_new_token_each_time(tmp_path: Path) -> None:
    config = volumes.make_volume(tmp_path)
    with view(config) as (_, first), view(config) as (_, second):
        port, path = link_of(first)
        assert link_of(second)[1] != path
        listening = Path("/proc/net/tcp").read_text().split("\n")[1:]
        mine = [line.split()[1] for line in listening if line and f":{port:04X}" in line.split()[1]]
        assert set(mine) == {f"0100007F:{port:04X}"}  # 127.0.0.1
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("GET", path)
        assert connection.getresponse().status == 200
        connection.close()


def test_over_ssh_it_says_how_to_reach_it(tmp_path: Path) -> None:
    environment = {
        "SSH_CONNECTION": "10.0.0.7 51000 10.0.0.1 2222",
        "USER": "ada",
        "LOGNAME": "ada",
    }
    with view(volumes.make_volume(tmp_path), **environment) as (_, lines):
        port, _ = link_of(lines)
        (tunnel,) = [line for line in lines if "ssh " in line]
        assert f"ssh -p 2222 -L {port}:localhost:{port} ada@{socket.gethostname()}" in tunnel


def test_without_a_display_it_opens_nothing(tmp_path: Path) -> None:
    with view(volumes.make_volume(tmp_path), "--open") as (_, lines):
        link_of(lines)
    assert any("no display" in line for line in lines)


def test_it_opens_the_link_and_goes_on(tmp_path: Path) -> None:
    """A command in $BROWSER that doesn't come back (as a text browser doesn't) holds nothing up."""
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\necho "$$ $1" > {opened}.part\nmv {opened}.part {opened}\n'
        "exec sleep 60 > /dev/null 2>&1\n"
    )
    browser.chmod(0o755)
    config = volumes.make_volume(tmp_path / "volume")
    with view(config, "--open", BROWSER=str(browser)) as (process, lines):
        port, path = link_of(lines)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("GET", path)
        assert connection.getresponse().status == 200
        connection.close()
        while not opened.exists():
            assert process.poll() is None
        pid, link = opened.read_text().split()
        os.kill(int(pid), signal.SIGKILL)
        assert link == f"http://127.0.0.1:{port}{path}"


def test_a_port_can_be_chosen_and_a_taken_one_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        layers = [
            Layer(
                "a",
                "affinity",
                volumes.write_precomputed(tmp_path / "a", volumes.affinities(volumes.cells())),
            )
        ]
        with pytest.raises(UsageError, match=f"port {port}"):
            serving.serve(layers, position_vox=(0, 0, 0), voxel_size_nm=(1, 1, 1), port=port)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, small_volumes: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "uvicorn" else found(name, *a)
    )
    with pytest.raises(UsageError, match="uvicorn") as caught:
        serving.serve(layers_in(small_volumes), position_vox=(0, 0, 0), voxel_size_nm=(1, 1, 1))
    assert "magneton[view]" in (caught.value.hint or "")


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--nonsense"]])
def test_wrong_arguments(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "magneton_tasks", "view", str(tmp_path / "x.yaml"), *arguments]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 64
