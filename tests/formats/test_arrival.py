"""What a run waits for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest

from magneton_tasks.config.read import parse_config
from magneton_tasks.errors import EXIT_CONFIG, ConfigError
from magneton_tasks.formats.arrival import NOT_YET, Awaited
from tests.helpers.tiny_volume import write_tiny_volume


def awaited(config: Path, more: str = "", partition: str | None = None) -> Awaited:
    return Awaited.of(parse_config(config.read_text() + more, "c.yaml", partition=partition))


def test_metadata_tell_that_the_input_is_there(tmp_path: Path) -> None:
    config = write_tiny_volume(tmp_path)
    info = tmp_path / "affinity" / "info"
    whole = info.read_text()
    assert awaited(config).is_there()
    info.write_text(whole[:-5])
    assert not awaited(config).is_there(), "it is being written"
    info.unlink()
    assert not awaited(config).is_there()


def test_a_marker_is_waited_for_instead(tmp_path: Path) -> None:
    config = write_tiny_volume(tmp_path)
    inside = awaited(config, "wait_for_input: {timeout: 1h, marker: DONE}\n")
    beside = awaited(config, f"wait_for_input: {{timeout: 1h, marker: '{tmp_path}/DONE'}}\n")
    assert not inside.is_there() and not beside.is_there()
    (tmp_path / "affinity" / "DONE").touch()
    assert inside.is_there() and not beside.is_there()
    (tmp_path / "DONE").touch()
    assert beside.is_there()


def test_the_partition_stands_in_the_marker_too() -> None:
    text = (
        "paths: {input: 'file:///in/{partition}', output: 'file:///out/{partition}', work: '/work/{partition}'}\n"
        "wait_for_input: {timeout: 90s, marker: '/done/{partition}.txt'}\n"
    )
    config = parse_config(text, "c.yaml", partition="2026-01-31")
    assert Awaited.of(config).marker == "/done/2026-01-31.txt"
    assert config.wait_for_input.timeout == 90


def test_what_can_never_come_is_an_error(tmp_path: Path) -> None:
    config = write_tiny_volume(tmp_path, "input: {mip: 7}\n")
    with pytest.raises(ConfigError, match="mip"):
        awaited(config).is_there()


def test_buckets_are_asked_by_a_process_of_their_own(tmp_path: Path) -> None:
    assert Awaited("gs://bucket/volume", 0, None).is_remote
    config = write_tiny_volume(tmp_path)
    there, late = awaited(config), Awaited(f"file://{tmp_path}/nowhere", 0, None)
    never = Awaited(there.url, 7, None)
    assert not there.is_remote and there.command()[0] == sys.executable
    codes = [
        subprocess.run(a.command(), env=os.environ, check=False, capture_output=True).returncode
        for a in (there, late, never)
    ]
    assert codes == [0, NOT_YET, EXIT_CONFIG]


def test_what_a_trigger_keeps_of_it_is_the_same_question(tmp_path: Path) -> None:
    given = "input: {voxel_size_nm: [40, 4, 4], voxel_offset: [1, 2, 3]}\n"
    asked = awaited(write_tiny_volume(tmp_path, given))
    again = Awaited(**json.loads(json.dumps(asdict(asked))))
    assert again == asked and again.given.voxel_offset == (1, 2, 3)
    assert again.command() == asked.command()


def test_an_hdf5_file_is_there_once_nobody_writes_to_it(tmp_path: Path) -> None:
    waits = Awaited(f"file://{tmp_path}/a.h5/affs", 0, None)
    assert not waits.is_there()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["affs"] = np.zeros((3, 4, 4, 4), np.uint8)
        file.flush()
        assert waits.is_remote, "asked by a process of its own"
        assert subprocess.run(waits.command(), check=False).returncode == NOT_YET
    assert subprocess.run(waits.command(), check=False).returncode == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("wait_for_input: {timeout: soon}\n", "wait_for_input.timeout.*duration"),
        ("wait_for_input: {missing: maybe}\n", "wait_for_input.missing"),
        ("notify: {failure: [{notifier: mail}]}\n", "notify.failure"),
        ("notify: {failure: [{notifier: a.B, to: me}]}\n", "notify.failure"),
    ],
)
def test_wrong_values_are_refused_by_name(tmp_path: Path, more: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        awaited(write_tiny_volume(tmp_path), more)
