"""``magneton doctor``: each check tells what it should, and none holds up another."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from magneton_tasks.base import checkup, files
from magneton_tasks.base.checkup import Check, Finding, ok, wrong
from magneton_tasks.base.mounts import Mount
from magneton_tasks.cli.doctor import airflow, installation, machine, runners, storage, volume
from magneton_tasks.config.mesh import Mesh
from magneton_tasks.config.read import RunConfig, load_config
from magneton_tasks.errors import NoInputError
from magneton_tasks.runners.arrays.scheduler import Limits
from tests.helpers.calls import Caller
from tests.helpers.tiny_volume import write_tiny_volume


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_volume(tmp_path, method="exact")


@pytest.fixture
def config(tiny: Path) -> RunConfig:
    return load_config(tiny)


@pytest.fixture
def without_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import takes seconds; tests/airflow/test_doctor.py looks at it."""
    monkeypatch.setattr(airflow, "find_spec", lambda _: None)


def levels(found: Iterator[Finding]) -> list[str]:
    return [finding.level for finding in found]


# ------------------------------------------------------------------ the command
@pytest.mark.usefixtures("without_airflow")
def test_a_sound_volume_is_told_so_and_nothing_is_left(tiny: Path, cli: Caller) -> None:
    root = tiny.parents[1]
    before = sorted(root.rglob("*"))
    done = cli("doctor", tiny)
    assert done.code == 0, done.out
    assert "40 x 48 x 56 voxels" in done.out and "\nwrong" not in done.out
    assert sorted(root.rglob("*")) == before
    (root / "work").mkdir()
    assert cli("doctor", tiny).code == 0
    assert list((root / "work").iterdir()) == []
    titles = {one["title"] for one in cli("doctor", tiny, "--json").json}
    assert {"Python", "extras", "umask", "disks", "file system", "input", "paths"} <= titles
    assert {one["title"] for one in cli("doctor", "--json").json} >= {"Docker", "Slurm", "limits"}


@pytest.mark.usefixtures("without_airflow")
def test_what_is_wrong_has_the_code_of_the_failure_and_hides_nothing_else(
    tiny: Path, cli: Caller
) -> None:
    text = tiny.read_text()
    tiny.write_text(text.replace("/affinity", "/afinity"))
    done = cli("doctor", tiny)
    assert done.code == 66 and "afinity" in done.out and "what to do: " in done.out
    assert "1 wrong, " in done.out and "no run holds it" in done.out
    tiny.write_text(text + "semgent: {}\n")
    done = cli("doctor", tiny)
    assert done.code == 78 and "semgent" in done.out
    assert "ok    Python" in done.out


# ------------------------------------------------------------------ how checks run
def test_a_check_that_hangs_is_told_and_holds_up_no_other() -> None:
    released = threading.Event()

    def hangs() -> Iterator[Finding]:
        released.wait()
        yield ok("late")

    def fails() -> Iterator[Finding]:
        yield ok("so far")
        raise NoInputError("no such volume", "mount it")

    def breaks() -> Iterator[Finding]:
        yield ok({"y": "z"}["x"])

    table = [Check("a", hangs), Check("b", fails), Check("c", breaks)]
    quick = checkup.run_all(table[1:], 600)
    hung = checkup.run_all(table[:1], 0.01)
    behind = checkup.run_all(table[:2], 0.01, in_turn=True)
    released.set()
    in_turn = checkup.run_all(table, 600, in_turn=True)
    assert [c.findings for c in in_turn[1:]] == [c.findings for c in quick]
    assert [c.findings[0].exit_code for c in behind] == [75, 75]
    assert hung[0].findings[0].exit_code == 75 and "no answer" in hung[0].findings[0].what
    assert [f.exit_code for f in quick[0].findings] == [0, 66]
    assert quick[0].findings[1].hint == "mount it"
    assert quick[1].findings[0].exit_code == 70 and "KeyError" in quick[1].findings[0].what
    assert checkup.exit_code(quick[:1]) == 66 and checkup.exit_code([*quick, *hung]) == 75
    assert checkup.exit_code([checkup.Checked("d", (checkup.odd("x", "y"),))]) == 0


# ------------------------------------------------------------------ here
def test_an_extra_that_is_there_in_part_or_is_needed_is_wrong(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*names: str) -> None:
        monkeypatch.setattr(installation, "_is_installed", lambda name: name not in names)

    extras = installation.packages_of_extras()
    assert {"numba", "zarr"} <= {*extras["compute"]} and "matplotlib" in extras["view"]
    without("numba")
    (part, told) = installation.extras(None)
    assert part.level == "wrong" and "numba missing" in part.what and part.exit_code == 78
    assert part.hint == "pip install 'magneton[compute]'" and "[view]" in told.what
    without(*extras["compute"])
    assert levels(installation.extras(None)) == ["ok"]
    assert levels(installation.extras(config)) == ["wrong", "ok"]
    without(*extras["mesh"])
    assert levels(installation.extras(config)) == ["ok"], "it makes no meshes"
    (part, _) = installation.extras(config.model_copy(update={"mesh": Mesh()}))
    assert (
        "bioimage-cpp" in part.what
        and " missing" in part.what
        and part.hint == "pip install 'magneton[mesh]'"
    )


def test_code_that_is_not_compiled_yet_is_odd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert levels(installation.compiled()) == ["ok"]
    monkeypatch.setenv("MAGNETON_KERNEL_CACHE", str(tmp_path / "none"))
    (cold,) = installation.compiled()
    assert cold.level == "odd" and "magneton warm" in (cold.hint or "")


def test_an_old_python_little_memory_and_small_limits_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(installation, "LEAST_PYTHON", (9, 0))
    assert levels(installation.python()) == ["wrong"]
    monkeypatch.setattr(machine, "LEAST_BYTES", 1 << 60)
    assert levels(machine.memory()) == ["odd"]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    found = list(machine.limits())
    assert [f.level for f in found] == ["odd", "odd", "ok"]
    assert found[0].hint == "ulimit -n 512"


@pytest.mark.parametrize(("mask", "level"), [(0o022, "ok"), (0o002, "ok"), (0o777, "wrong")])
def test_a_umask_that_keeps_oneself_out_is_wrong(
    mask: int, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "current_umask", lambda: mask)
    assert levels(machine.umask()) == [level]


def test_the_umask_is_read_not_set() -> None:
    before = os.umask(0o027)
    try:
        assert machine.current_umask() == 0o027
    finally:
        os.umask(before)


# ------------------------------------------------------------------ disks
@pytest.mark.parametrize(
    ("free", "inodes", "total", "level"),
    [(10, 10**6, 10**7, "wrong"), (1 << 40, 10, 10**7, "wrong"), (1 << 40, 0, 0, "ok")],
)
def test_little_room_in_bytes_or_files_is_wrong(
    config: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    inodes: int,
    total: int,
    level: str,
) -> None:
    status = SimpleNamespace(f_bavail=free, f_frsize=1, f_favail=inodes, f_files=total)
    monkeypatch.setattr(os, "statvfs", lambda _: status)
    found = list(storage.disks(config))
    assert {f.level for f in found} == {level}
    told = " ".join(f.what for f in found)
    assert "paths.work" in told and "paths.output" in told and "temporary files" in told


@pytest.mark.parametrize(
    ("mount", "level"),
    [
        (Mount("ext4", "rw"), "ok"),
        (Mount("nfs4", "rw,vers=4.2"), "ok"),
        (Mount("nfs4", "rw,acdirmax=300"), "odd"),
        (Mount("nfs4", "rw,actimeo=300,noac"), "ok"),
        (Mount("lustre", "rw"), "ok"),
    ],
)
def test_a_file_system_that_shows_files_later_than_they_are_waited_for_is_odd(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, mount: Mount, level: str
) -> None:
    kind = mount.kind if mount.is_network else None
    monkeypatch.setattr(files, "is_network_filesystem", lambda _: kind)
    monkeypatch.setattr(storage, "mount_of", lambda _: mount)
    monkeypatch.setattr(storage, "SLOW_S", 1e9)
    (found,) = storage.file_system(config)
    assert found.level == level
    assert ("visibility_wait_s" in (found.hint or "")) == (level == "odd")


def test_another_clock_of_the_file_system_is_told(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "SLOW_S", 1e9)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    _, skewed = storage.file_system(config)
    assert skewed.level == "odd" and "clock" in skewed.what and "NTP" in (skewed.hint or "")


# ------------------------------------------------------------------ runners
def test_an_engine_that_does_not_answer_is_told(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"unix://{tmp_path}/no.sock"
    tiny.write_text(
        f"{tiny.read_text()}runner: {{offered: [local, docker]}}\ndocker: {{engine: '{address}'}}\n"
    )
    checks = runners.checks(load_config(tiny))
    assert [check.title for check in checks] == ["Docker"]
    (found,) = checkup.run_all(checks, 600)
    assert found.findings[0].level == "wrong" and found.findings[0].exit_code == 75
    assert address in found.findings[0].what
    monkeypatch.setenv("DOCKER_HOST", address)
    (here,) = checkup.run_all([Check("Docker", runners.docker_here)], 600)
    assert here.findings[0].exit_code == 75


class Cluster:
    """A batch scheduler with a partition of one hour and 64 GiB."""

    section, partition_key = "slurm", "slurm.slurm_partition"

    def __init__(self, memory: int | None, nodes: set[str]) -> None:
        self.settings: Any = SimpleNamespace(
            time_s=600, max_time_s=None, memory=memory, max_memory=None, cpus=1
        )
        self._nodes = nodes

    def limits(self) -> Limits:
        return Limits("short", 1001, 3600, 64 << 30, 16)

    def working_nodes(self, _: Limits) -> set[str]:
        return self._nodes


def test_a_cluster_tells_what_it_allows_and_whether_nodes_work() -> None:
    def of(cluster: Any) -> list[Finding]:
        (found,) = checkup.run_all([Check("Slurm", lambda: runners.cluster(cluster))], 600)
        return list(found.findings)

    (fine,) = of(Cluster(None, {"n1", "n2"}))
    assert fine.level == "ok" and "partition short" in fine.what and "2 nodes work" in fine.what
    assert of(Cluster(None, set()))[0].level == "odd"
    (large,) = of(Cluster(128 << 30, {"n1"}))
    assert large.exit_code == 78 and "slurm.memory is 128.0 GiB" in large.what


# ------------------------------------------------------------------ users
def test_the_first_folder_that_keeps_a_user_out_is_named(tmp_path: Path) -> None:
    me, group = 4242, 77
    folder = tmp_path / "private" / "data"
    folder.mkdir(parents=True)
    for path in (folder, folder.parent):
        os.chown(path, me, group)
    opened = [*folder.parents]
    modes = {path: path.stat().st_mode for path in opened}
    try:
        for path in opened[1:-1]:
            if path.stat().st_uid == os.getuid():
                path.chmod(0o755)
        folder.parent.chmod(0o750)
        folder.chmod(0o2770)
        write = os.R_OK | os.W_OK
        assert volume.barrier(folder, me, set(), write) is None
        assert volume.barrier(folder, 4243, {group}, write) is None
        assert volume.barrier(folder, 4243, {1}, write) == folder.parent
        folder.parent.chmod(0o755)
        assert volume.barrier(folder, 4243, {1}, write) == folder
        folder.chmod(0o2750)
        assert volume.barrier(folder, 4243, {group}, os.R_OK) is None
        assert volume.barrier(folder, 4243, {group}, write) == folder
        assert volume.barrier(folder, 0, set(), write) is None
    finally:
        for path, mode in modes.items():
            path.chmod(mode & 0o7777)


def test_users_are_asked_for_by_name(config: RunConfig) -> None:
    found = list(volume.who(config, ["nobody", "no such user"]))
    assert found[0].level == "ok"
    assert found[-1].exit_code == 64 and "no such user" in found[-1].what


# ------------------------------------------------------------------ Airflow's process
def test_airflows_part_is_told_as_its_process_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(out: str, err: str = "") -> Callable[..., Any]:
        return lambda command, **_: subprocess.CompletedProcess(command, 0, out, err)

    finding = {"level": "wrong", "what": "no pool", "hint": "make it", "exit_code": 78}
    told = json.dumps([{"title": "Airflow pool", "findings": [finding]}])
    monkeypatch.setattr(subprocess, "run", answers(f"a warning\n{told}\n"))
    assert list(airflow.airflow()) == [wrong("Airflow pool: no pool", "make it", 78)]
    monkeypatch.setattr(subprocess, "run", answers("", "Traceback\nImportError: libx\n"))
    (broken,) = airflow.airflow()
    assert broken.level == "wrong" and "ImportError: libx" in broken.what

    def hangs(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", hangs)
    (silent,) = airflow.airflow()
    assert silent.exit_code == 75
