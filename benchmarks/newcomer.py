"""A newcomer's path: commands, minutes and the longest silence from a fresh clone to Neuroglancer.

``python -m benchmarks.newcomer [sample] [own] [--layout NAME] [--cold]``: types README's commands into a
terminal, in a fresh clone with a home and an environment of its own, and prints a table. The downloads of
pip and uv are those of this machine's user, unless ``--cold``. The own map is made before the clock starts:
1024 x 1024 x 128 voxels of synthetic tissue, in one of `LAYOUTS`. Not part of ``python -m benchmarks``,
because it installs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from numpy.typing import NDArray

from magneton_tasks.sample import make_sample
from tests.e2e.newcomer import Newcomer
from tests.formats.test_n5 import written as write_n5
from tests.helpers import volumes
from tests.helpers.shell_blocks import README, Typed

#: Of a quarter of the map, which is four of them side by side: making it takes minutes.
QUARTER = (128, 512, 512)
#: Silence that is too long, in seconds.
SILENCE_S = 5.0
#: What README says for the sample, and for an own map.
SAMPLE = ("make run", ".venv/bin/magneton view sample/volume.yaml")
OWN = (
    "make venv",
    ".venv/bin/magneton config new volume.yaml --input {map}",
    ".venv/bin/magneton run volume.yaml",
    ".venv/bin/magneton view volume.yaml",
)

Array = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Step:
    """What a command took, and the longest time without output, in seconds; ``after`` what was shown."""

    command: str
    took_s: float
    silence_s: float
    after: str


class Watched:
    """Passes on what a terminal shows, and notes when."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown
        self.begin()

    def begin(self) -> None:
        """A command is typed."""
        self.longest_s, self._last = 0.0, time.monotonic()
        self.after = self._text = ""

    def write(self, text: str) -> None:
        """Something is shown."""
        now = time.monotonic()
        if now - self._last > self.longest_s:
            self.longest_s, self.after = now - self._last, self._text
        self._last, self._text = now, (self._text + text)[-60:]
        self._shown.write(text)

    def flush(self) -> None:
        self._shown.flush()

    def close(self) -> None:
        self._shown.close()


def main() -> int:
    """Measure what was asked for; 1 where it was silent for too long."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.newcomer")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="sample, own; default: both")
    parser.add_argument("--layout", choices=LAYOUTS, default="hdf5, x first")
    parser.add_argument("--cold", action="store_true", help="download everything anew")
    options = parser.parse_args()
    paths = options.paths or ["sample", "own"]
    began = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{began}; downloads {'anew' if options.cold else 'of this user, if there are any'}")
    silences = []
    for path in paths:
        with _folder() as folder:
            steps = _sample(folder, options.cold) if path == "sample" else _own(folder, options)
        silences.append(_tell(path if path == "sample" else f"{path}: {options.layout}", steps))
    return int(max(silences) > SILENCE_S)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="newcomer-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sample(folder: Path, cold: bool) -> list[Step]:
    return list(_typed(folder, SAMPLE, cold))


def _own(folder: Path, options: argparse.Namespace) -> list[Step]:
    (folder / "data").mkdir()
    affinity = np.tile(make_sample(QUARTER).affinity, (1, 1, 2, 2))
    where = LAYOUTS[options.layout](folder / "data", affinity)
    return list(_typed(folder, [command.format(map=where) for command in OWN], options.cold))


def _typed(folder: Path, commands: tuple[str, ...] | list[str], cold: bool) -> Iterator[Step]:
    if cold:
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        os.environ.pop("UV_CACHE_DIR", None)
    newcomer = Newcomer(folder)
    watched = newcomer.watch(Watched)
    with newcomer:
        for command in commands:
            began = time.monotonic()
            watched.begin()
            newcomer.types(Typed(README, 0, command))
            yield Step(command, time.monotonic() - began, watched.longest_s, watched.after)


def _tell(path: str, steps: list[Step]) -> float:
    print(f"\n{path}: {len(steps)} commands")
    print(f"  {'minutes':>7}  {'longest silence':>15}  command")
    for step in steps:
        print(f"  {step.took_s / 60:7.1f}  {step.silence_s:13.1f} s  {step.command}")
        if step.silence_s > SILENCE_S:
            print(f"{'':>29}silent after {step.after!r}")
    longest = max(step.silence_s for step in steps)
    print(
        f"  {sum(step.took_s for step in steps) / 60:7.1f}  {longest:13.1f} s  in all", flush=True
    )
    return longest


# ------------------------------------------------------------------ own maps
#: What most tools write beside an array.
ABOUT = {"resolution": [40, 4, 4], "offset": [0, 0, 0]}


def _hdf5(folder: Path, affinity: Array) -> str:
    with h5py.File(folder / "map.h5", "w") as file:
        made = file.create_dataset("volumes/affs", data=affinity, chunks=(3, 32, 64, 64))
        made.attrs.update(ABOUT)
    return f"{folder}/map.h5/volumes/affs"


def _n5(folder: Path, affinity: Array) -> str:
    return f"n5://{write_n5(folder / 'map.n5' / 'affs', affinity, (3, 64, 128, 128), **ABOUT)}"


def _zarr(version: int) -> Callable[[Path, Array], str]:
    def write(folder: Path, affinity: Array) -> str:
        about: Mapping[str, Any] = {"zarr_format": version, "chunks": (3, 64, 128, 128)}
        made = zarr.create_array(str(folder / "map.zarr"), data=affinity, **about)
        made.attrs.update(ABOUT)
        return str(folder / "map.zarr")

    return write


def _precomputed(folder: Path, affinity: Array) -> str:
    return volumes.write_precomputed(folder / "map", affinity, chunk_size=(64, 128, 128))


def _x_first(write: Callable[[Path, Array], str]) -> Callable[[Path, Array], str]:
    """Channel 0 is x, not z."""
    return lambda folder, affinity: write(folder, np.ascontiguousarray(affinity[::-1]))


_WRITERS = {
    "hdf5": _hdf5, "n5": _n5, "zarr 2": _zarr(2), "zarr 3": _zarr(3), "precomputed": _precomputed,
}  # fmt: skip
#: By name: writes a map (zyx) into a folder; returns what is typed for it.
LAYOUTS = {
    **{f"{name}, z first": write for name, write in _WRITERS.items()},
    **{f"{name}, x first": _x_first(write) for name, write in _WRITERS.items()},
}

if __name__ == "__main__":
    raise SystemExit(main())
