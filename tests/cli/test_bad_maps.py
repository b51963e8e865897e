"""Maps that can't be segmented as they are read: each command refuses them before any work, with the way out.

The config is what a person writes by hand: three paths.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import zarr

from tests.formats.test_n5 import written as write_n5
from tests.formats.test_over_the_web import Server
from tests.helpers import volumes
from tests.helpers.calls import Caller

Array = npt.NDArray[Any]
#: Makes a map in a folder; returns the address of what it made.
Maker = Callable[[Path], Any]
SHAPE = (16, 32, 32)
AFFINITY = volumes.affinities(volumes.cells(SHAPE, 12), noise=0.1)
FLOATS = AFFINITY.astype(np.float32) / 255
WARN = "set input.doubtful: warn"


def of(array: Array, **attributes: Any) -> Maker:
    def make(folder: Path) -> Path:
        made = zarr.create_array(str(folder / "map"), data=array)
        made.attrs.update({"voxel_size": [40, 8, 8], **attributes})
        return folder / "map"

    return make


def hdf5(change: Callable[[bytearray], None]) -> Maker:
    """A file that is good but for what is changed in its bytes."""

    def make(folder: Path) -> str:
        with h5py.File(folder / "map.h5", "w") as file:
            file.create_dataset("affs", data=AFFINITY, chunks=(3, 16, 16, 16), compression="gzip")
        data = bytearray((folder / "map.h5").read_bytes())
        change(data)
        (folder / "map.h5").write_bytes(data)
        return f"{folder}/map.h5/affs"

    return make


def cut_off(data: bytearray) -> None:
    del data[len(data) // 2 :]


def garbage(data: bytearray) -> None:
    data[:] = b"no HDF5" * 99


def damaged(data: bytearray) -> None:
    """In the middle, where chunks are."""
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)


def n5_without_attributes(folder: Path) -> Path:
    write_n5(folder / "map", AFFINITY)
    (folder / "map" / "attributes.json").unlink()
    return folder / "map"


def precomputed_of_no_size(folder: Path) -> str:
    url = volumes.write_precomputed(folder / "map", AFFINITY)
    info = json.loads((folder / "map" / "info").read_text())
    info["scales"][0]["resolution"] = [8, 8, 0]
    (folder / "map" / "info").write_text(json.dumps(info))
    return url


@contextmanager
def writer_of(file: Path) -> Iterator[None]:
    """Another process has the file open for writing, as long as nothing was told to it."""
    (told, tell), (heard, say) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            opened = h5py.File(file, "r+")
            os.write(say, b"open")
            os.read(told, 1)
            opened.close()
        os._exit(0)
    try:
        assert os.read(heard, 4) == b"open"
        yield
    finally:
        os.write(tell, b"x")
        os.waitpid(child, 0)
        for pipe in (told, tell, heard, say):
            os.close(pipe)


#: What is there, how it ends, what is said, and whether `config new` finds out how it is to be read.
BAD: dict[str, tuple[Maker, int, str, bool]] = {
    "HDF5 cut off": (hdf5(cut_off), 65, "take it from a backup", False),
    "no HDF5": (hdf5(garbage), 65, "isn't an HDF5 file", False),
    "HDF5 damaged": (hdf5(damaged), 65, "take them from a backup", False),
    "N5 without attributes": (n5_without_attributes, 66, "that file of it is missing", False),
    "NaN": (of(np.full_like(FLOATS, np.nan)), 65, "(?i)nan", False),
    "zeros": (of(np.zeros_like(AFFINITY)), 65, "the map written yet", False),
    "one value": (of(np.full_like(FLOATS, 0.5)), 65, "the map written yet", False),
    "0 and 1": (of((FLOATS > 0.5).astype(np.float32)), 65, "0 and 1 only", False),
    "0 and 1 in bytes": (
        of((FLOATS > 0.5).astype(np.uint8)), 65, "set input.scale|0 and 1 only", False,
    ),
    "upside down": (of(255 - AFFINITY), 65, "set input.invert", True),
    "x, y, z": (of(AFFINITY[::-1].copy()), 65, r"input.channels: \[2, 1, 0\] \(xyz\)", True),
    "four channels": (
        of(np.concatenate([AFFINITY, AFFINITY[:1] // 2])), 78, r"input.channels: \[0, 1, 2\]", True,
    ),
    "two channels": (of(AFFINITY[:2]), 78, "2 channels", False),
    "voxel size 0": (of(AFFINITY, voxel_size=[0, 8, 8]), 65, "set input.voxel_size_nm", False),
    "precomputed of voxel size 0": (precomputed_of_no_size, 65, "set input.voxel_size_nm", False),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_map_is_refused_before_any_work(name: str, cli: Caller, tmp_path: Path) -> None:
    make, code, said, is_found_out = BAD[name]
    refuse(cli, tmp_path, make(tmp_path), code, said, is_found_out)


def refuse(
    cli: Caller, folder: Path, address: object, code: int, said: str, is_found_out: bool = False
) -> None:
    """Each command ends so, says so, and leaves nothing behind."""
    config = folder / "volume.yaml"
    config.write_text(
        f"paths: {{input: '{address}', output: 'file://{folder}/s', work: '{folder}/w'}}\n"
        "local: {workers: 1, memory: 8GiB}\n"
    )
    before = files_of(folder)
    commands = [("config", "check", config), ("run", config), ("plan", config, "--run-id", "a")]
    new = ("config", "new", folder / "new.yaml", "--input", address, "--yes")
    for command in [*commands, *([] if is_found_out else [new])]:
        done = cli(*command)
        told = " ".join(done.err.split())
        assert done.code == code, (command[0], done.err)
        assert "what to do: " in told, told
        assert re.search(said, told), told
    assert files_of(folder) - before == set()


def files_of(folder: Path) -> set[Path]:
    """But what was sampled, which is kept."""
    return {path for path in folder.rglob("*") if path.is_file() and path.name != "samples.json"}


def test_a_file_that_a_writer_holds_is_refused_for_now(cli: Caller, tmp_path: Path) -> None:
    address = hdf5(lambda _: None)(tmp_path)
    with writer_of(tmp_path / "map.h5"):
        refuse(cli, tmp_path, address, 75, "open for writing.*close it there, or wait")


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("deny", 66, "the server answers 403.*check your rights"),
        ("files/not", 66, "no precomputed, Zarr or N5 volume there.*check the bucket, the path"),
        ("page", 65, "a page of HTML.*the address of the volume's files"),
        ("no-chunks", 66, "the server answers 403"),
    ],
)
def test_what_a_server_doesn_t_give_is_refused(
    kind: str, code: int, said: str, cli: Caller, tmp_path: Path
) -> None:
    of(AFFINITY)(tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(tmp_path)))
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{kind}/map"
        refuse(cli, tmp_path, address, code, said)
        server.shutdown()


def test_who_says_that_the_map_is_right_is_believed(cli: Caller, tmp_path: Path) -> None:
    """The way out that each refusal names, and that of a map of 0 and 1."""
    for name, way_out in (
        ("upside down", "input.doubtful=warn"),
        ("zeros", "input.doubtful=warn"),
        ("0 and 1", "segment.threshold=0.5"),
        ("precomputed of voxel size 0", "input.voxel_size_nm=[40,8,8]"),
        ("four channels", "input.channels=[0,1,2]"),
        ("upside down", "input.invert=true"),
    ):
        folder = tmp_path / f"{name} {way_out}"
        folder.mkdir()
        address = BAD[name][0](folder)
        config = folder / "volume.yaml"
        config.write_text(
            f"paths: {{input: '{address}', output: 'file://{folder}/s', work: '{folder}/w'}}\n"
        )
        done = cli("config", "check", config, "--set", way_out)
        assert done.code == 0, done.err
        assert done.out.startswith(f"{config}: ok\n")
        assert ("  note: " in done.out) == ("doubtful" in way_out or "size" in way_out)


def test_a_map_that_isn_t_there_yet_is_waited_for(cli: Caller, tmp_path: Path) -> None:
    config = volumes.write_config(tmp_path)
    assert cli("config", "check", config).code == 66
    assert cli("config", "check", config, "--file-only").code == 0
    done = cli("config", "check", config, "--set", "wait_for_input.timeout=1h")
    assert (done.code, "isn't there yet" in done.out) == (0, True)
    dated = volumes.write_config(
        tmp_path,
        input=f"file://{tmp_path}/{{partition}}/a",
        output=f"file://{tmp_path}/{{partition}}/s",
        work=f"{tmp_path}/{{partition}}/w",
    )
    done = cli("config", "check", dated)
    assert (done.code, "the map wasn't looked at" in done.out) == (0, True)
