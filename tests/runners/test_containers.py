"""What a container is asked to be; no engine is needed."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import pytest
import requests
from docker.errors import APIError

from magneton_tasks.base.worker_env import allowed_memory
from magneton_tasks.config.read import RunConfig, parse_config
from magneton_tasks.errors import ConfigError, MagnetonError, TemporaryError
from magneton_tasks.runners.docker import containers
from magneton_tasks.runners.docker.containers import Task
from magneton_tasks.runners.docker.engine import errors as engine_errors
from magneton_tasks.runners.resources import first_memory

MIB, GIB = 2**20, 2**30
TASK = Task("cortex", "/w", "manual__2026-01-01T00:00:00+00:00", 2, "segment", 7, ("segment",), 3)


def config(tmp_path: Path, more: str = "", **paths: str) -> RunConfig:
    (tmp_path / "work").mkdir(exist_ok=True)
    given = {"input": f"{tmp_path}/in", "output": f"{tmp_path}/out", "work": f"{tmp_path}/work"}
    return parse_config(
        json.dumps({"paths": given | paths})[:-1] + f", {more}}}"
        if more
        else json.dumps({"paths": given | paths}),
        "x",
    )


def test_a_name_is_readable_and_takes_any_run() -> None:
    assert TASK.name.startswith(
        "magneton-cortex-manual__2026-01-01T00-00-00-00-00-2-segment-0007-3-"
    )
    odd = Task("a b'$(x)", "/w", "run/;" * 50, 1, "pool", None, ())
    assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", odd.name) and len(odd.name) < 200
    other = Task("cortex", "/v", TASK.run, 2, "segment", 7, ("segment",), 3)
    assert other.name != TASK.name  # two volumes of one name


def test_tries_share_the_key_by_which_they_are_found() -> None:
    again = Task("cortex", "/w", TASK.run, 2, "segment", 7, ("segment",), 4)
    assert again.key == TASK.key and again.name != TASK.name
    assert containers.is_of(again.labels, TASK.key)
    for other in (
        Task("cortex", "/w", TASK.run, 2, "segment", 8, ()),
        Task("cortex", "/w", TASK.run, 3, "segment", 7, ()),
        Task("cortex", "/w", "other", 2, "segment", 7, ()),
        Task("cortex", "/w", TASK.run, 2, "segment", None, ()),
    ):
        assert not containers.is_of(other.labels, TASK.key)


def test_only_other_runs_and_attempts_are_others() -> None:
    found = [
        {"Labels": Task("v", "/w", run, attempt, "segment", 0, ()).labels}
        for run, attempt in (("a", 1), ("a", 2), ("b", 2))
    ]
    assert containers.others(found, "a", 2) == [found[0], found[2]]


def test_input_is_read_only_and_paths_stay_where_they_are(tmp_path: Path) -> None:
    odd = "/data/it's $(x), a:b ;`y`"
    found = {
        m["Target"]: m
        for m in containers.mounts(config(tmp_path, input=f"file://{odd}"), tmp_path / "v.yaml")
    }
    assert all(m["Source"] == m["Target"] and m["Type"] == "bind" for m in found.values())
    assert {t: m["ReadOnly"] for t, m in found.items()} == {
        odd: True,
        f"{tmp_path}/v.yaml": True,
        f"{tmp_path}/out": False,
        f"{tmp_path}/work": False,
    }


@pytest.mark.parametrize("metadata", ["zarr.json", ".zgroup", ".zattrs"])
def test_groups_around_a_zarr_array_are_mounted_with_it(metadata: str, tmp_path: Path) -> None:
    array = tmp_path / "volume.zarr" / "affs" / "s0"
    array.mkdir(parents=True)
    for group in (array.parent, array.parent.parent):
        (group / metadata).write_text("{}")
    sources = {m["Source"] for m in containers.mounts(config(tmp_path, input=f"file://{array}"))}
    assert f"{tmp_path}/volume.zarr" in sources and str(array) not in sources


def test_of_several_thresholds_the_folder_around_all_outputs_is_mounted(tmp_path: Path) -> None:
    several = config(tmp_path, output=f"file://{tmp_path}/cuts/at-{{threshold}}/seg")
    writable = {m["Source"] for m in containers.mounts(several) if not m["ReadOnly"]}
    assert writable == {f"{tmp_path}/cuts", f"{tmp_path}/work"}
    with pytest.raises(ConfigError, match="write to all of /"):
        containers.mounts(config(tmp_path, output="file:///at-{threshold}"))


def test_a_network_only_where_a_volume_is_remote(tmp_path: Path) -> None:
    assert containers.network(config(tmp_path)) == "none"
    assert containers.network(config(tmp_path, input="gs://b/affs")) == "bridge"
    remote = config(tmp_path, '"docker": {"network": "lab"}', output="s3://b/seg")
    assert containers.network(remote) == "lab"
    assert [m["Source"] for m in containers.mounts(remote)] == [
        f"{tmp_path}/in",
        f"{tmp_path}/work",
    ]


def test_limits_and_locks(tmp_path: Path) -> None:
    asked = containers.specification(config(tmp_path), TASK, "sha256:1f", 3 * GIB)
    host = asked["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 3 * GIB, "swap would hide it"
    assert host["NanoCpus"] == 10**9
    assert host["ReadonlyRootfs"] is True and host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"] and "/tmp" in host["Tmpfs"]
    owner = (tmp_path / "work").stat()
    assert asked["User"] == f"{owner.st_uid}:{owner.st_gid}"
    assert asked["Image"] == "sha256:1f" and "MAGNETON_IMAGE_DIGEST=sha256:1f" in asked["Env"]
    assert f"MAGNETON_MEMORY_BYTES={3 * GIB}" in asked["Env"]
    assert asked["Cmd"] == ["segment"]
    unlimited = containers.specification(config(tmp_path), TASK, "i", None, is_limited=False)
    assert not {"Memory", "NanoCpus"} & set(unlimited["HostConfig"])


def test_credentials_are_mounts_and_named_variables(tmp_path: Path) -> None:
    more = (
        '"docker": {"credentials": ["/home/u/.cloudvolume"], "environment": ["AWS_ACCESS_KEY_ID"]}'
    )
    asked = config(tmp_path, more, input="s3://b/affs")
    found = containers.environment(asked, None, "i", {"AWS_ACCESS_KEY_ID": "k", "AIRFLOW__X": "no"})
    assert found["AWS_ACCESS_KEY_ID"] == "k" and "AIRFLOW__X" not in found
    assert found["CLOUD_VOLUME_DIR"] == "/home/u/.cloudvolume"
    mount = next(m for m in containers.mounts(asked) if m["Source"] == "/home/u/.cloudvolume")
    assert mount["ReadOnly"] is True
    with pytest.raises(
        ConfigError, match="AWS_ACCESS_KEY_ID, which the runner's environment lacks"
    ):
        containers.environment(asked, None, "i", {})


@pytest.mark.parametrize(
    ("more", "bound", "expected"),
    [
        ("", 2 * GIB, 2 * GIB + 128 * MIB),  # what plan projects, and the parent's own pages
        ("", 10 * MIB, 512 * MIB),  # the libraries alone take 0.3 GB
        ("", 40 * GIB, 20 * GIB),  # never more than the machine has
        ('"docker": {"memory": "1GiB"}', 2 * GIB, GIB),  # as the config says
    ],
)
def test_memory_at_first(tmp_path: Path, more: str, bound: int, expected: int) -> None:
    memory = config(tmp_path, more).docker.memory
    assert first_memory(memory, bound, 20 * GIB) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("1024", 1024), ("", None), ("0", None), ("x", None)]
)
def test_a_worker_is_told_its_memory(
    text: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAGNETON_MEMORY_BYTES", text)
    assert allowed_memory() == expected


def test_missing_directories_belong_to_whoever_owns_what_they_lie_in(tmp_path: Path) -> None:
    given = config(tmp_path, output=f"file://{tmp_path}/a/b/out", work=f"{tmp_path}/c/work")
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, 12345)
    containers.make_directories(given)
    for made in ("a", "a/b", "a/b/out", "c", "c/work"):
        assert (tmp_path / made).stat().st_uid == tmp_path.stat().st_uid


def refusal(status: int) -> Exception:
    response = requests.Response()
    response.status_code = status
    error: Exception = APIError("it says no", response=response)
    return error


ENGINE_ERRORS: list[tuple[Exception, type[MagnetonError]]] = [
    (PermissionError(errno.EACCES, "Permission denied"), ConfigError),
    (refusal(403), ConfigError),
    (refusal(400), ConfigError),  # it is too old, for instance
    (refusal(500), TemporaryError),
    (requests.exceptions.ReadTimeout("403"), TemporaryError),
    (FileNotFoundError(errno.ENOENT, "no socket"), TemporaryError),  # it isn't started yet
    (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), TemporaryError),
]


@pytest.mark.parametrize(("error", "kind"), ENGINE_ERRORS)
def test_an_engine_that_may_not_be_used_is_not_asked_again(
    error: Exception, kind: type[MagnetonError]
) -> None:
    with pytest.raises(kind) as told, engine_errors("unix:///run/docker.sock"):
        raise error
    assert type(told.value) is kind and "group docker" in str(told.value.hint)
