"""Slurm reached over ssh, from a machine that calls the file system by other names: a real sshd."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.airflow.services import free_ports
from tests.cluster.slurm.cluster import STATE, USER, Place, wait_for
from tests.cluster.slurm.conftest import is_right


def _key(path: Path) -> str:
    """Make a key; its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text()


@pytest.fixture(scope="module")
def host(cluster: None) -> Iterator[str]:
    """A login node: an sshd on loopback that lets the submitting user in by key."""
    folder = Path(tempfile.mkdtemp(prefix="sshd-", dir=STATE))
    folder.chmod(0o755)
    about, home = pwd.getpwnam(USER), STATE / "home" / ".ssh"
    home.mkdir(exist_ok=True)
    port = free_ports("sshd")["sshd"]
    for name in ("id_ed25519", "id_ed25519.pub"):
        (home / name).unlink(missing_ok=True)
    (folder / "authorized_keys").write_text(_key(home / "id_ed25519"))
    public = _key(folder / "host_key")
    (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    for one in (home, *home.iterdir()):
        os.chown(one, about.pw_uid, about.pw_gid)
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\nPidFile {folder}/pid\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    subprocess.run(["usermod", "-p", "*", USER], check=True)  # no password, but not locked either
    subprocess.run(["/usr/sbin/sshd", "-f", f"{folder}/sshd_config"], check=True)
    wait_for((folder / "pid").exists, "sshd listens")
    yield f"{USER}@127.0.0.1:{port}"
    os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
    wait_for(lambda: not (folder / "pid").exists(), "sshd ends")  # it removes that file itself
    shutil.rmtree(folder)


def test_over_ssh(host: str, expected: list[np.ndarray]) -> None:
    name = "a b'c\"d $(touch PWNED); `id` & x"
    place = Place(name)
    there = Path(tempfile.mkdtemp(prefix="cluster-", dir=STATE / "tests"))
    there.chmod(0o755)
    try:
        link = there / f"files {name}"
        link.symlink_to(place.path)
        path_map = {str(place.path): str(link)}
        told = place.run(place.volume({"host": host, "path_map": path_map, "probe": True}))
        assert is_right(place.path, expected), told
        assert place.calls() == [], "nothing of Slurm was run on this side"
        assert set(place.count("done").values()) == {1}
        assert not list(place.path.rglob("PWNED")) and not (STATE / "home" / "PWNED").exists()
    finally:
        place.remove()
        shutil.rmtree(there)


def test_a_host_that_isn_t_there_is_said(place: Place) -> None:
    told = place.run(place.volume({"host": "127.0.0.1:1", "give_up_s": 1}), code=None)
    assert "ssh to 127.0.0.1:1 failed" in told
