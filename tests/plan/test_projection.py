"""Projected memory against the memory of real forked children."""

from __future__ import annotations

import faulthandler
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from magneton_tasks.base.methods import SegmentSettings, Supervoxels
from magneton_tasks.kernels.overlap.density import graph_density
from magneton_tasks.kernels.overlap.segment import Float32, segment_block, warm_up
from magneton_tasks.plan import cost_overlap
from tests.helpers.memory import fresh_process, grown_by

MIB = 1 << 20
#: Along each axis; the more, the less the pages count that a child has anyway.
N = 72
#: of noise, whose bound leaves the least room
NOISE_N = 96
FUNCTIONS = ["mean", "aff50_his256"]


def eight_bits(values: NDArray[np.generic]) -> Float32:
    """Affinities as 8-bit volumes have them."""
    return np.divide(values.astype(np.uint8), np.float32(255), dtype=np.float32)


def noise() -> Float32:
    return eight_bits(np.random.RandomState(0).randint(0, 256, (3, NOISE_N, NOISE_N, NOISE_N)))


def grain() -> Float32:
    """Correlated noise: about as dense as a bad affinity map."""
    rng = np.random.RandomState(0)
    value = np.stack([ndimage.gaussian_filter(rng.rand(N, N, N), 1.2) for _ in range(3)])
    value = (value - value.min()) / np.ptp(value)
    return eight_bits(value * 255)


def grown_bytes(affinity: Float32, settings: SegmentSettings) -> int:
    """By a block; runs in a process of its own, and so do the functions below."""
    tiny = np.full((3, 4, 4, 4), 0.5, np.float32)
    return grown_by(
        lambda: segment_block(affinity.copy(), settings),
        lambda: segment_block(tiny.copy(), settings),
    )


def code_within(affinity: Float32, settings: SegmentSettings, limit: int) -> int:
    """The exit code of a child that may allocate this much to segment a block."""
    held = _allocated_bytes()
    pid = os.fork()
    if pid == 0:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        resource.setrlimit(resource.RLIMIT_DATA, (held + limit, held + limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            segment_block(affinity, settings)
            os._exit(0)
        except MemoryError:
            os._exit(75)
        finally:
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture(scope="module")
def fresh() -> Iterator[Executor]:
    with fresh_process() as process:
        for kind in ("waterz", "3d", "2d"):
            process.submit(warm_up, kind).result()
        yield process


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in KiB and fork are Linux's")
@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("waterz", "mean"),
        pytest.param("waterz", "aff50_his256", marks=pytest.mark.long),
        ("3d", "mean"),
        ("3d", "aff50_his256"),
    ],
)
def test_expected_peak_is_near_the_measured_one(
    fresh: Executor, kind: Supervoxels, function: str
) -> None:
    settings = SegmentSettings(0.7, function, kind, interior_threshold=0.4)
    box = grain()[:, :64, :64, :64]
    density = graph_density(np.ascontiguousarray(box), settings)
    expected = cost_overlap.segment_expected_bytes(N**3, function, kind, *density[:2])
    grown = fresh.submit(grown_bytes, grain(), settings).result()
    measured = cost_overlap.FORKED_BASE_BYTES + grown
    assert 0.8 <= expected / measured <= 1.3


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in KiB and fork are Linux's")
@pytest.mark.parametrize("kind", ["waterz", "3d", "2d"])
def test_noise_stays_below_the_bound(fresh: Executor, kind: Supervoxels) -> None:
    settings = SegmentSettings(0.7, "mean", kind)
    bound = cost_overlap.segment_bound_bytes(NOISE_N**3, "mean", kind)
    grown = fresh.submit(grown_bytes, noise(), settings).result()
    assert cost_overlap.WORKER_BASE_BYTES + grown < bound


def test_bound_is_above_expected_and_falls_with_samples() -> None:
    for kind in ("waterz", "3d", "2d"):
        for function in FUNCTIONS:
            fragments, edges = (d / 8 for d in cost_overlap.NOISE_DENSITY[kind])
            expected = cost_overlap.segment_expected_bytes(256**3, function, kind, fragments, edges)
            bound = cost_overlap.segment_bound_bytes(256**3, function, kind, (fragments, edges))
            blind = cost_overlap.segment_bound_bytes(256**3, function, kind)
            assert expected < bound < blind


def test_histograms_cost_a_staircase_of_powers_of_two() -> None:
    def bytes_of(edges_per_voxel: float) -> int:
        return cost_overlap.segment_expected_bytes(
            1 << 20, "aff50_his256", "waterz", 0, edges_per_voxel
        )

    assert bytes_of(0.24) - bytes_of(0.13) < 20 * MIB
    assert bytes_of(0.26) - bytes_of(0.24) > 256 * MIB


def test_quantiles_and_voxels_cost_time() -> None:
    mean = cost_overlap.segment_cpu_s(10**6, "mean", "waterz", 0.03, 0.15)
    assert mean < cost_overlap.segment_cpu_s(10**6, "aff50_his256", "waterz", 0.03, 0.15)
    assert mean * 2 == pytest.approx(
        cost_overlap.segment_cpu_s(2 * 10**6, "mean", "waterz", 0.03, 0.15)
    )


def test_projecting_needs_the_standard_library_only() -> None:
    code = (
        "import sys, magneton_tasks.plan.cost_overlap, magneton_tasks.base.scoring;"
        "print(sorted({'numpy', 'waterz', 'numba', 'zarr'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux")
def test_a_block_within_its_bound_passes_under_the_allocation_limit(fresh: Executor) -> None:
    """Memory is refused beyond the limit, and the child dies of it instead of the machine."""
    settings = SegmentSettings(0.7, "aff50_his256")
    affinity = grain()
    density = graph_density(affinity, settings)
    bound = cost_overlap.segment_bound_bytes(N**3, "aff50_his256", "waterz", density[:2])

    allowed = cost_overlap.segment_allocation_bytes(bound - cost_overlap.WORKER_BASE_BYTES)
    assert fresh.submit(code_within, affinity, settings, allowed).result() == 0
    assert fresh.submit(code_within, affinity, settings, allowed // 8).result() in (75, -6)


ALLOCATING = """
import resource
from pathlib import Path
from magneton_tasks.stages import child
from magneton_tasks.work import parquet
import numpy as np

def work():
    before = child._allocated_bytes()
    data = bytes(parquet.encode([{"a": np.arange(1000)}]))
    parquet.read(parquet.from_bytes(data), [0])
    return child._allocated_bytes() - before

print(child.run_in_child(work, Path("log"), 2**30).value)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux")
def test_reading_and_writing_tables_takes_nothing_of_a_childs_allowance(tmp_path: Path) -> None:
    """Arrow reserves a GiB of addresses at its first use: before the child's limit is set."""
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATING],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert int(done.stdout) < 100 * MIB


def _allocated_bytes() -> int:
    """What RLIMIT_DATA counts of this process: VmData."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmData")
