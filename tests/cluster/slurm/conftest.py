"""Fixtures on a real Slurm cluster, which ``make test-slurm`` brings up and the tests may break."""

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

from magneton_tasks.airflow.service.ports import free_ports
from magneton_tasks.formats.volume import open_volume
from tests.cluster.slurm.cluster import STATE, USER, Place, bring_up, wait_for
from tests.helpers.tiny_volume import write_tiny_volume
from tests.helpers.volumes import run_pipeline

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session", autouse=True)
def cluster() -> None:
    """The cluster, all of it, with accounting."""
    assert os.geteuid() == 0, (
        "these tests stop daemons and submit as another user: run them as root"
    )
    bring_up()


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.remove()


@pytest.fixture
def mended() -> Iterator[None]:
    """For a test that breaks the cluster."""
    yield
    bring_up()


def _key(path: Path) -> str:
    """Make a key; its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text()


@pytest.fixture(scope="session")
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


def voxels(output: Path, mip: int = 0) -> np.ndarray:
    """All voxels of a segmentation."""
    volume = open_volume(f"file://{output}", mip)
    return np.asarray(volume.read(volume.info.box))


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """What the local runner makes of the tiny volume, at each mip."""
    folder = tmp_path_factory.mktemp("local")
    run_pipeline(write_tiny_volume(folder))
    return [voxels(folder / "segmentation", mip) for mip in (0, 1)]


def is_right(folder: Path, expected: list[np.ndarray]) -> bool:
    """Whether the segmentation in a folder has the voxels that are expected."""
    output = folder / "segmentation"
    return all(np.array_equal(voxels(output, mip), e) for mip, e in enumerate(expected))
