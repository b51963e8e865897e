"""Arrays of HDF5 files: as each tool describes them, damaged ones, and ones that a process writes to."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from magneton_tasks.base.geometry import Box
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import (
    BadDataError,
    ConfigError,
    MagnetonError,
    NoInputError,
    TemporaryError,
)
from magneton_tasks.formats.container import outermost
from magneton_tasks.formats.given import NO_VOXEL_SIZE
from magneton_tasks.formats.metadata import check_free, chunk_identity, read_metadata
from magneton_tasks.formats.volume import open_volume
from tests.helpers import volumes

ARRAY = np.arange(3 * 8 * 9 * 10, dtype=np.uint16).reshape(3, 8, 9, 10)
INNER = Box((2, 3, 1), (5, 9, 10))


def written(file: Path, array: Any = ARRAY, name: str = "volumes/affs", **options: Any) -> str:
    attributes = options.pop("attributes", {})
    with h5py.File(file, "a") as f:
        made = f.create_dataset(name, data=array, **options)
        made.attrs.update(attributes)
    return f"{file}/{name}"


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (1, 4, 4, 4), "compression": "gzip"}, {"chunks": True, "compression": "lzf"},
     {"chunks": (3, 4, 4, 4), "shuffle": True, "fletcher32": True}],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["u1", ">u2", "<f2", "f4"])
def test_boxes_are_read(tmp_path: Path, options: dict[str, Any], dtype: str) -> None:
    array = (ARRAY % 251).astype(dtype)
    url = written(tmp_path / "a.h5", array, **options)
    volume = open_volume(f"file://{url}")
    np.testing.assert_array_equal(volume.read(INNER), array[(slice(None), *INNER.slices())])
    found = volume.read(volume.info.box, slice(1, 2))
    np.testing.assert_array_equal(found, array[1:2])
    assert found.flags.c_contiguous and found.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize("name", ["a.h5", "a.hdf", "a.HDF5", "no-suffix", "a.cremi"])
def test_a_file_is_known_by_its_signature(tmp_path: Path, name: str) -> None:
    assert read_metadata(written(tmp_path / name)).format == "hdf5"
    assert outermost(tmp_path / name / "volumes" / "affs") == tmp_path / name


TAGS = json.dumps({"axes": [{"key": k, "typeFlags": 2, "resolution": 0} for k in "zyxc"]})


@pytest.mark.parametrize(
    ("attributes", "axes", "size", "begin"),
    [
        # CREMI, gunpowder, LSD
        ({"resolution": [40.0, 4.0, 4.0], "offset": [80, 8, 0]}, "czyx", (40, 4, 4), (2, 2, 0)),
        ({"voxel_size": [1, 40, 8, 4]}, "czyx", (40, 8, 4), (0, 0, 0)),
        ({"voxel_size": [0.04, 0.004, 0.004], "units": ["um"] * 3}, "czyx", (40, 4, 4), (0, 0, 0)),
        # PlantSeg, ImageJ
        ({"element_size_um": [0.04, 0.004, 0.004]}, "czyx", (40, 4, 4), (0, 0, 0)),
        # ilastik
        ({"axistags": TAGS, "resolution": [40, 8, 4]}, "zyxc", (40, 8, 4), (0, 0, 0)),
        ({"axistags": np.bytes_(TAGS)}, "zyxc", (1, 1, 1), (0, 0, 0)),
        ({}, "czyx", (1, 1, 1), (0, 0, 0)),
    ],
)
def test_attributes_are_those_of_common_tools(
    attributes: dict[str, Any], axes: str, size: Any, begin: Any, tmp_path: Path
) -> None:
    array = ARRAY if axes == "czyx" else np.moveaxis(ARRAY, 0, -1)
    volume = open_volume(written(tmp_path / "a.h5", array, attributes=attributes))
    assert volume.info.axes == axes
    assert volume.info.voxel_size_nm == pytest.approx(size)
    assert volume.info.box == Box.of_shape((8, 9, 10), begin)
    assert volume.info.notes == (() if size != (1, 1, 1) else (NO_VOXEL_SIZE,))
    np.testing.assert_array_equal(volume.read(volume.info.box), ARRAY)


def test_dimension_labels_name_the_axes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as f:
        made = f.create_dataset("affs", data=np.moveaxis(ARRAY, 0, -1))
        for dimension, label in zip(made.dims, ["z", "y", "x", "channel"], strict=True):
            dimension.label = label
    info = read_metadata(f"{tmp_path}/a.h5/affs")
    assert (info.axes, info.channels, info.axes_assumed) == ("zyxc", 3, False)


def test_a_whole_run_reads_it_where_it_lies(tmp_path: Path) -> None:
    """Many workers, each with children that read: the result is that of the same map in files."""
    shape = (24, 40, 40)
    affinity = volumes.affinities(volumes.cells(shape), noise=0.1)
    (tmp_path / "files").mkdir()
    settings = {"method": "exact", "block": {"size": [24, 24, 24]}, "segment": {}, "apply": {}}
    volumes.write_precomputed(tmp_path / "files" / "affinity", affinity)
    by_files = volumes.run_pipeline(volumes.write_config(tmp_path / "files", settings))
    place = {
        "resolution": volumes.VOXEL_NM,
        "offset": [o * s for o, s in zip(volumes.OFFSET, volumes.VOXEL_NM, strict=True)],
    }
    url = written(
        tmp_path / "a.h5",
        affinity,
        chunks=(3, *volumes.CHUNK),
        compression="gzip",
        attributes=place,
    )
    config = volumes.write_config(tmp_path, settings, input=f"file://{url}")
    by_hdf5 = volumes.run_pipeline(config)
    assert (tmp_path / "a.h5").is_file() and load_config(config).paths.input.endswith("/affs")
    np.testing.assert_array_equal(
        volumes.read_segmentation(by_hdf5), volumes.read_segmentation(by_files)
    )


# ------------------------------------------------------------------ who writes to it
WRITER = """
import sys, h5py
f = h5py.File(sys.argv[1], "r+")
print("open", flush=True)
sys.stdin.read()
"""


def test_a_file_that_a_process_writes_to_is_refused_by_plan_and_read_by_workers(
    tmp_path: Path,
) -> None:
    url = written(tmp_path / "a.h5")
    info = read_metadata(url)
    assert check_free(info) == ()
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a.h5")]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        with pytest.raises(TemporaryError, match=r"a\.h5: a process has it open for writing"):
            check_free(info)
        np.testing.assert_array_equal(open_volume(url).read(info.box), ARRAY)
        writer.communicate("")
    assert check_free(info) == ()


def test_where_there_are_no_locks_a_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = read_metadata(written(tmp_path / "a.h5"))

    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    (note,) = check_free(info)
    assert note.startswith(f"{tmp_path}/a.h5") and "has no locks" in note


def test_a_reader_doesn_t_keep_a_writer_out(tmp_path: Path) -> None:
    volume = open_volume(written(tmp_path / "a.h5"))
    volume.read(INNER)
    assert check_free(volume.info) == (), "this process has it open, too"
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path / "a.h5")],
        input="",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "open\n"), done.stderr


# ------------------------------------------------------------------ what is wrong with it
def test_what_isn_t_there_is_told_with_what_is(tmp_path: Path) -> None:
    written(tmp_path / "a.h5")
    written(tmp_path / "a.h5", ARRAY[0, 0], "flat")
    for address in ("a.h5", "a.h5/volumes"):
        with pytest.raises(ConfigError, match=r"holds volumes/affs: use .*/a\.h5/volumes/affs"):
            read_metadata(f"{tmp_path}/{address}")
    with pytest.raises(NoInputError, match=r"a\.h5 holds no affs\n.*volumes/affs"):
        read_metadata(f"{tmp_path}/a.h5/affs")
    with pytest.raises(ConfigError, match="no mip 1"):
        read_metadata(f"{tmp_path}/a.h5/volumes/affs", 1)


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwritten(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:100] + bytes(range(256)) * ((len(data) - 100) // 256))


def not_closed(file: Path) -> None:
    """As a writer leaves it that is killed."""
    code = "import h5py, os, sys; f = h5py.File(sys.argv[1], 'w', libver='latest'); f['volumes/affs'] = [1]; f.flush(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, file], check=True)


@pytest.mark.parametrize(
    ("damage", "said"),
    [(cut_off, "truncated"), (overwritten, "can't be read as HDF5"), (not_closed, "h5clear -s"),
     (lambda f: f.write_bytes(b"<html>"), "has no signature"), (lambda f: f.write_bytes(b""), "has no signature")],
)  # fmt: skip
def test_a_damaged_file_is_told(damage: Any, said: str, tmp_path: Path) -> None:
    url = written(tmp_path / "a.h5")
    damage(tmp_path / "a.h5")
    with pytest.raises(BadDataError, match=said):
        read_metadata(url)


def test_a_damaged_chunk_is_told_with_its_box(tmp_path: Path) -> None:
    url = written(tmp_path / "a.h5", chunks=(3, 8, 9, 10), compression="gzip")
    with h5py.File(tmp_path / "a.h5") as f:
        at = f["volumes/affs"].id.get_chunk_info(0).byte_offset
    with (tmp_path / "a.h5").open("r+b") as stream:
        stream.seek(at)
        stream.write(b"not gzip")
    with pytest.raises(BadDataError, match=r"a\.h5/volumes/affs, box .*filter returned failure"):
        open_volume(url).read(INNER)


def test_other_errors_have_their_way_out(tmp_path: Path) -> None:
    cases: list[tuple[str, type[MagnetonError], str]] = [
        ("https://host/a.h5/affs", ConfigError, "read from file systems only"),
        (f"{tmp_path}/a.tif", NoInputError, "a format that isn't read.*\n.*convert"),
        (f"{tmp_path}/a.tif/affs", NoInputError, "a format that isn't read"),
    ]
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    for url, error, said in cases:
        with pytest.raises(error, match=said) as told:
            read_metadata(url)
        assert "mounted" not in str(told.value)


def test_a_filter_that_isn_t_installed_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = written(tmp_path / "a.h5", chunks=True, compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(
        ConfigError, match=r"HDF5's filter 1 \(deflate\).*\n.*pip install hdf5plugin"
    ):
        read_metadata(url)


def test_a_virtual_array_needs_all_its_files(tmp_path: Path) -> None:
    written(tmp_path / "part.h5")
    layout = h5py.VirtualLayout(ARRAY.shape, ARRAY.dtype)
    layout[...] = h5py.VirtualSource("part.h5", "volumes/affs", ARRAY.shape)
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f.create_virtual_dataset("affs", layout)
    url = f"{tmp_path}/a.h5/affs"
    np.testing.assert_array_equal(open_volume(url).read(Box.of_shape((8, 9, 10))), ARRAY)
    (tmp_path / "part.h5").unlink()
    with pytest.raises(NoInputError, match=r"part\.h5 isn't there"):
        read_metadata(url)


def test_a_file_that_changes_changes_the_identity_of_its_blocks(tmp_path: Path) -> None:
    url = written(tmp_path / "a.h5")
    before = chunk_identity(url, 0, INNER)
    assert chunk_identity(url, 0, INNER) == before
    os.utime(tmp_path / "a.h5", (1, 1))
    assert chunk_identity(url, 0, INNER) != before


def test_plan_refuses_before_any_work(tmp_path: Path) -> None:
    url = written(tmp_path / "a.h5", volumes.affinities(volumes.cells()))
    config = volumes.write_config(tmp_path, input=f"file://{url}")
    cut_off(tmp_path / "a.h5")
    with pytest.raises(BadDataError, match="truncated"):
        volumes.plan_run(config)
    assert not (tmp_path / "work").exists()
    assert yaml.safe_load(config.read_text())["paths"]["input"].endswith("a.h5/volumes/affs")
