"""A whole run whose output lies in a bucket: whose it is, who works on it, whether it is complete."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magneton_tasks.base.lease import acquire
from magneton_tasks.errors import ConfigError, LeaseHeldError, MagnetonError
from magneton_tasks.plan.stage_table import STAGES
from magneton_tasks.work.stores import segmentation
from tests.buckets.conftest import GoogleStore, S3Store, Store
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.plain_maker import PlainMaker, plain_maker
from tests.helpers.tiny_volume import write_tiny_volume
from tests.outcome.test_checksums import sampled

__all__ = ["plain_maker"]
pytestmark = pytest.mark.usefixtures("warm", "childless")

Segmented = Callable[..., Path]

ROOT = Path(__file__).parents[2]
#: children of a test process are larger than those of a worker
MEMORY = "local: {workers: 1, memory: 8GiB}\n"


@pytest.fixture(scope="session")
def on_files(tmp_path_factory: pytest.TempPathFactory) -> volumes.Run:
    """The same volume, written to files."""
    config = write_tiny_volume(tmp_path_factory.mktemp("files"), MEMORY, method="exact")
    return volumes.run_pipeline(config)


@pytest.fixture(scope="session")
def expected(on_files: volumes.Run) -> list[volumes.Array]:
    """All its mips."""
    return volumes.all_mips(on_files)


def volume(folder: Path, store: Store, output: str = "seg") -> Path:
    """A tiny volume on files, of which nothing is done yet."""
    return to_bucket(write_tiny_volume(folder, MEMORY, method="exact"), folder, store, output)


@pytest.fixture
def segmented(on_files: volumes.Run, tmp_path: Path) -> Segmented:
    """Makes a config of that volume, of which all but the output is done."""
    source = Path(on_files.plan.config_path).parents[1]

    def make(store: Store, chunk: int = 32) -> Path:
        without = shutil.ignore_patterns("apply-*", "runs", "lease*")
        shutil.copytree(source / "work", tmp_path / "work", ignore=without)
        config = tmp_path / "tiny.yaml"
        config.write_text(
            Path(on_files.plan.config_path)
            .read_text()
            .replace(f"work: {source}", f"work: {tmp_path}")
        )
        return to_bucket(config, source, store, "seg", chunk)

    return make


def to_bucket(config: Path, source: Path, store: Store, output: str, chunk: int = 32) -> Path:
    """Let the output be in the bucket: in few chunks, for each costs requests."""
    text = config.read_text().replace(
        f"output: file://{source}/segmentation",
        f"output: {store.url}/{output}\n  visibility_wait_s: 0",
    )
    text = text.replace("chunk_size: [16, 16, 16]", f"chunk_size: [{chunk}, {chunk}, {chunk}]")
    assert store.url in text and f"[{chunk}, " in text
    config.write_text(text)
    return config


def is_same(run: volumes.Run, expected: list[volumes.Array]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))


INFO = {
    "@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "uint8",
    "num_channels": 3,
    "scales": [
        {"key": "8_8_8", "size": [8, 8, 8], "voxel_offset": [0, 0, 0], "resolution": [8, 8, 8],
         "chunk_sizes": [[8, 8, 8]], "encoding": "raw"}
    ],
}  # fmt: skip


def put_layer(store: Store, name: str) -> None:
    """A layer that another tool wrote."""
    store.put(f"{name}/info", json.dumps(INFO).encode())
    store.put(f"{name}/8_8_8/0-8_0-8_0-8", bytes(8**3 * 3))


# ------------------------------------------------------------------ a run
def test_the_result_is_that_of_files_and_a_rerun_has_nothing_to_do(
    tmp_path: Path, store: Store, expected: list[volumes.Array]
) -> None:
    config = volume(tmp_path, store)
    run = volumes.run_pipeline(config)
    assert is_same(run, expected)
    there = store.everything()
    assert "seg/lease" not in there and not any("probe" in name for name in there)
    owner = json.loads(there["seg/magneton.json"])
    assert owner["input"] == run.attempt.config.paths.input
    assert volumes.run_pipeline(config, run="again").plan.nothing_to_do
    after = store.everything()
    assert {n: d for n, d in after.items() if n != "seg/magneton.json"} == {
        n: d for n, d in there.items() if n != "seg/magneton.json"
    }


@pytest.mark.parametrize("kind", ["missing", "cut off", "a shard cut off"])
def test_a_damaged_chunk_is_found_and_written_again(
    segmented: Segmented, store: Store, expected: list[volumes.Array], kind: str
) -> None:
    config = segmented(store)
    if "shard" in kind:
        config.write_text(config.read_text().replace("[32, 32, 32]", "[32, 32, 32], sharding: on"))
    run = volumes.plan_run(config)
    volumes.run_stages(run, stages=[s for s in STAGES if s in run.plan.work])
    chunk = next(n for n in store.everything() if n.startswith("seg/8_8_8/"))
    assert chunk.endswith(".shard") == ("shard" in kind)
    if kind == "missing":
        store.delete(chunk)
    else:
        store.put(chunk, store.everything()[chunk][:-1])
    volumes.run_stages(run, stages=["verify"])
    volumes.release(run)
    assert run.code == 65
    found = run.result("verify")["failures"][0]["cause"]
    assert chunk.removeprefix("seg/") in found
    again = volumes.run_pipeline(config, run="again")
    assert len(again.made("apply")) == 1 and is_same(again, expected)


def test_meshes_lie_in_the_bucket_too(
    segmented: Segmented, store: Store, plain_maker: PlainMaker
) -> None:
    config = segmented(store)
    config.write_text(config.read_text() + "mesh: {mip: 1, dust_um3: 0}\n")
    run = volumes.run_pipeline(config)
    there = store.everything()
    made = {n: d for n, d in there.items() if n.startswith("seg/mesh/")}
    assert {"seg/mesh/info", "seg/mesh/magneton.json", "seg/mesh/0.shard"} == set(made)
    assert json.loads(there["seg/info"])["mesh"] == "mesh"
    assert run.result("verify")["mesh"]["objects"] == len(plain_maker.joined) > 0
    store.put("seg/mesh/0.shard", made["seg/mesh/0.shard"][:-1])
    again = volumes.run_pipeline(config, run="again", expect=65)
    assert "mesh/0.shard" in again.result("verify")["failures"][0]["cause"]
    volumes.run_pipeline(config, run="mended")
    assert store.everything()["seg/mesh/0.shard"] == made["seg/mesh/0.shard"]


def test_the_output_removed_is_written_again(
    segmented: Segmented, store: Store, expected: list[volumes.Array], cli: Caller
) -> None:
    config = segmented(store)
    volumes.run_pipeline(config)
    for name in store.everything():
        store.delete(name)
    assert "the output is gone" in cli("status", config).out
    assert is_same(volumes.run_pipeline(config, run="again"), expected)


def test_what_the_result_before_left_is_removed_and_nothing_else(
    segmented: Segmented, store: Store
) -> None:
    config = segmented(store)
    volumes.run_pipeline(config)
    first = store.everything()
    old = sorted(n for n in first if n.startswith("seg/8_8_8/"))
    others = {
        old[0]: first[old[0]] + b"x",
        "seg/8_8_8/9-9_0-9_0-9": b"x",
        "seg/mesh/0": b"y",
        "seg-2/a": b"z",
    }
    for name, data in others.items():
        store.put(name, data)
    config.write_text(config.read_text().replace("[32, 32, 32]", "[32, 32, 32], sharding: on"))
    run = volumes.run_pipeline(config, overwrite_output=True)
    there = store.everything()
    listed = pq.read_table(pa.BufferReader(there["seg/magneton-files.parquet"])).to_pylist()
    assert {f"seg/{row['name']}": row["size"] for row in listed} == {
        name: len(data)
        for name, data in there.items()
        if name not in others and not name.startswith("seg/magneton")
    }
    assert len(listed) == run.plan.files - 2 and others.items() <= there.items()
    assert run.result("verify")["left"] == 1 and not there.keys() & set(old[1:])


# ------------------------------------------------------------------ whose it is
def test_a_layer_of_another_tool_is_refused_before_anything_is_written(
    tmp_path: Path, store: Store, cli: Caller
) -> None:
    config = volume(tmp_path, store, "other")
    put_layer(store, "other")
    before = store.everything()
    done = cli("run", config)
    assert done.code == 78 and "holds a layer that Magneton didn't write" in done.err
    assert f"{store.url}/other" in done.err and "--overwrite-output" in done.err
    assert store.everything() == before and not (tmp_path / "work").exists()


@pytest.mark.parametrize("name", ["notes.txt", "8_8_8/0-8_0-8_0-8"])
def test_whatever_lies_there_is_somebodys(tmp_path: Path, store: Store, name: str) -> None:
    config = volume(tmp_path, store)
    store.put(f"seg/{name}", b"x")
    store.put("segmentation/info", b"a neighbour, whose name begins so")
    with pytest.raises(ConfigError, match="Magneton didn't write"):
        volumes.plan_run(config)
    store.delete(f"seg/{name}")
    volumes.release(volumes.plan_run(config))


def test_a_layer_is_replaced_where_that_is_asked_for(
    segmented: Segmented, store: Store, expected: list[volumes.Array]
) -> None:
    config = segmented(store)
    put_layer(store, "seg")
    assert is_same(volumes.run_pipeline(config, overwrite_output=True), expected)


def test_the_output_of_another_volume_is_refused(
    segmented: Segmented, tmp_path: Path, store: Store
) -> None:
    volumes.run_pipeline(segmented(store))
    two = tmp_path / "two"
    other = volume(two, store)
    before = store.everything()
    with pytest.raises(ConfigError, match="belongs to another volume"):
        volumes.plan_run(other)
    assert store.everything() == before
    volumes.run_pipeline(other, overwrite_output=True)
    owner = json.loads(store.everything()["seg/magneton.json"])
    assert owner["input"] == f"file://{two}/affinity"


@pytest.mark.parametrize("name", ["magneton.json", "info"])
def test_what_cannot_be_read_is_refused_and_replaced_where_that_is_asked_for(
    segmented: Segmented, store: Store, expected: list[volumes.Array], name: str
) -> None:
    config = segmented(store)
    store.put(f"seg/{name}", b"{ torn")
    before = store.everything()
    with pytest.raises(MagnetonError, match=name if name != "info" else "didn't write") as caught:
        volumes.plan_run(config)
    assert "--overwrite-output" in str(caught.value) and store.everything() == before
    assert is_same(volumes.run_pipeline(config, overwrite_output=True), expected)


# ------------------------------------------------------------------ nesting
@pytest.mark.parametrize("output", ["aff", "aff/", "aff/seg", "./aff", ""])
def test_the_input_is_never_written(tmp_path: Path, store: Store, output: str, cli: Caller) -> None:
    config = volume(tmp_path, store, output)
    put_layer(store, "aff")
    text = config.read_text().replace(
        f"input: file://{tmp_path}/affinity", f"input: precomputed://{store.url}/aff"
    )
    config.write_text(text)
    before = store.everything()
    for options in ((), ("--overwrite-output",)):
        done = cli("run", config, *options)
        assert done.code == 78 and "paths.input" in done.err
        assert "must not contain one another" in done.err
        assert store.everything() == before


def test_the_input_under_another_address_is_never_written(
    tmp_path: Path, s3_store: S3Store, s3_address: str, cli: Caller
) -> None:
    """Read by the address of a proxy, written by the bucket's name."""
    config = volume(tmp_path, s3_store, "aff")
    put_layer(s3_store, "aff")
    url = f"s3://{s3_address}/{s3_store.bucket}/aff"
    config.write_text(config.read_text().replace(f"file://{tmp_path}/affinity", url))
    before = s3_store.everything()
    done = cli("run", config, "--overwrite-output")
    assert done.code == 78 and "under another address" in done.err
    assert s3_store.everything() == before


def test_the_mask_is_never_written(tmp_path: Path, store: Store, cli: Caller) -> None:
    config = volume(tmp_path, store, "mask")
    put_layer(store, "mask")
    config.write_text(config.read_text() + f"mask: {{path: '{store.url}/mask'}}\n")
    before = store.everything()
    done = cli("run", config, "--overwrite-output")
    assert (
        done.code == 78 and "mask.path" in done.err and "must not contain one another" in done.err
    )
    assert store.everything() == before


def test_an_output_that_can_only_be_read_is_refused(tmp_path: Path, store: Store) -> None:
    config = volume(tmp_path, store)
    config.write_text(config.read_text().replace(f"{store.url}/seg", "https://example.com/seg"))
    with pytest.raises(ConfigError, match="can't be written: http and https are read-only"):
        volumes.plan_run(config)


def test_missing_rights_are_told_before_work_begins(
    tmp_path: Path, google_store: GoogleStore
) -> None:
    config = volume(tmp_path, google_store)
    google_store.server.is_read_only = True
    with pytest.raises(MagnetonError, match="may not write") as caught:
        volumes.plan_run(config)
    assert caught.value.exit_code == 78


# ------------------------------------------------------------------ who works on it
def test_a_dry_run_writes_nothing(tmp_path: Path, store: Store, cli: Caller) -> None:
    config = volume(tmp_path, store)
    done = cli("run", config, "--dry-run")
    assert done.code == 0, done.err
    assert store.everything() == {} and not (tmp_path / "work").exists()


def test_the_second_of_two_runs_is_told(tmp_path: Path, store: Store, cli: Caller) -> None:
    """With another work directory, so that nothing but the output is shared."""
    config = volume(tmp_path / "one", store)
    first = volumes.plan_run(config, run="first")
    before = store.everything()
    assert json.loads(before["seg/lease"])["run"] == "first"
    second = tmp_path / "second.yaml"
    second.write_text(config.read_text().replace(f"{tmp_path}/one/work", f"{tmp_path}/work-2"))
    done = cli("run", second)
    assert done.code == 75
    for part in (f"{store.url}/seg is in use by run 'first'", str(os.getpid())):
        assert part in done.err
    assert store.everything() == before
    assert not (tmp_path / "work-2" / "lease").exists()
    volumes.release(first)
    assert "seg/lease" not in store.everything()


def start(config: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "magneton_tasks", "run", str(config)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_a_killed_run_is_gone_on_with(
    tmp_path: Path, store: Store, expected: list[volumes.Array]
) -> None:
    config = volume(tmp_path, store)
    process = start(config)
    while "seg/info" not in store.everything():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "seg/lease" in store.everything(), "nobody gave it back"
    # bound to a process of this machine that is dead: another run may begin at once
    assert is_same(volumes.run_pipeline(config, run="again"), expected)
    assert "seg/lease" not in store.everything()


def test_stages_take_the_lease_of_their_run_and_release_gives_it_back(
    tmp_path: Path, store: Store, cli: Caller
) -> None:
    """As Airflow and clusters do it: a process a stage."""
    run = volumes.plan_run(volume(tmp_path, store), run="dag")
    for stage in ("segment", "faces"):
        assert cli(stage, "--run", run.attempt.paths.root, "--batch", 0).code == 0
        assert "seg/lease" in store.everything()
    done = cli("count", "--run", run.attempt.paths.root, "--batch", 0)
    assert done.code == 64 and "a run by method: exact has no stage count" in done.out + done.err
    store.make_old("seg/lease", 700)
    with acquire([f"{store.url}/seg"], "thief", process_bound=False):
        done = cli("faces", "--run", run.attempt.paths.root, "--batch", 0)
        assert done.code == 75 and "thief" in done.out + done.err
    with pytest.raises(LeaseHeldError):
        acquire([tmp_path / "work"], "another", process_bound=False)
    assert cli("release", "--run", run.attempt.paths.root).code == 0
    assert "seg/lease" not in store.everything()
    assert not (tmp_path / "work" / "lease").exists()


def test_a_kill_between_owner_and_info_needs_no_flag(
    segmented: Segmented,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    expected: list[volumes.Array],
) -> None:
    from magneton_tasks.formats.objects import Objects

    config = segmented(store)
    real, calls = Objects.put_json, []

    def killed(self: Any, name: str, content: dict[str, Any]) -> None:
        calls.append(name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(self, name, content)

    monkeypatch.setattr(Objects, "put_json", killed)
    with pytest.raises(KeyboardInterrupt):
        volumes.plan_run(config)
    monkeypatch.setattr(Objects, "put_json", real)
    assert sorted(calls) == ["info", "magneton.json"]
    assert is_same(volumes.run_pipeline(config, run="again"), expected)


# ------------------------------------------------------------------ damage
def flip_a_bit(run: volumes.Run, name: str) -> None:
    store = segmentation(run.attempt)
    file = f"{store.scales[0].key}/{name}"
    data = bytearray(store.objects.get(file, raw=True) or b"")
    data[len(data) // 2] ^= 1
    store.objects.put(file, bytes(data), "gzip")


def test_a_sample_is_read_and_check_reads_all(
    segmented: Segmented, s3_store: S3Store, expected: list[volumes.Array], cli: Caller
) -> None:
    config = segmented(s3_store, chunk=16)
    run = volumes.run_pipeline(config)
    checked = run.result("verify")["checked"]
    assert checked["how"] == "sampled"
    assert 0 < checked["read"] < checked["chunks"]
    names = sorted(segmentation(run.attempt).sizes_on_disk(0))
    flip_a_bit(run, outside := next(n for n in names if n not in sampled(run)))
    assert volumes.run_pipeline(config).plan.nothing_to_do
    done = cli("status", config, "--check")
    assert done.code == 65
    assert f"{outside}: its checksum isn't" in done.out
    assert "what to do: the next run writes it again" in done.out
    again = volumes.run_pipeline(config)
    assert len(again.made("apply")) == 1
    assert is_same(again, expected)
    assert cli("status", config, "--check").code == 0
    flip_a_bit(run, inside := next(n for n in names if n in sampled(run)))
    (found,) = volumes.run_pipeline(config, expect=65).result("verify")["failures"]
    assert inside in str(found["cause"])
    assert is_same(volumes.run_pipeline(config, restart=True, stages=("apply",)), expected)
    assert "corrupt: " not in cli("status", config, "--check").out
