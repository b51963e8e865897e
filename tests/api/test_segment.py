"""`magneton.segment` and `cut`: arrays in memory give what a run of one block gives."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

import magneton
from magneton_tasks.api import compiling
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.config.exact import Exact
from magneton_tasks.kernels.compiled import archives
from magneton_tasks.kernels.exact.map_threshold import choose
from magneton_tasks.kernels.exact.threshold_sums import threshold_sums
from tests.helpers import volumes
from tests.helpers.exact.real_data import needs_shared_data, pub128
from tests.helpers.volumes import Array

SHAPE = (20, 28, 24)
#: Small volumes need small sizes, or all becomes one object.
SIZES: dict[str, Any] = {"s2": 20, "s_min": 6, "t_size": 5}


@pytest.fixture(scope="module")
def tissue() -> Array:
    """uint8 (3, z, y, x)."""
    array = volumes.affinities(volumes.cells(SHAPE, 20, 0), noise=0.3)
    array.flags.writeable = False  # whatever writes to what it is given fails
    return array


@pytest.fixture(scope="module")
def labels(tissue: Array) -> Array:
    found: Array = magneton.segment(tissue, 0.5, **SIZES)
    assert 8 < found.max() < 100 and len(np.unique(found)) == found.max()
    return found


# ------------------------------------------------------------------ the same as a run
def run_of(folder: Path, array: Array, settings: dict[str, Any]) -> Array:
    volumes.write_precomputed(folder / "affinity", array)
    exact = {"s2": 20, "advanced": {"s_min": 6, "t_size": 5}}
    given = {"method": "exact", "exact": exact, "block": {"size": list(SHAPE)}, "pool": {}}
    config = volumes.write_config(folder, {**given, "segment": {"threshold": 0.5}, **settings})
    run = volumes.run_pipeline(config)
    assert len(run.plan.geometry.grid) == 1
    return volumes.read_segmentation(run)


def test_it_is_what_a_run_of_one_block_gives(tmp_path: Path, tissue: Array, labels: Array) -> None:
    found = run_of(tmp_path, tissue, {})
    assert volumes.same_partition(found, labels)
    ids = np.unique(found)  # all is foreground
    assert (np.searchsorted(ids, found) + 1 == labels).all()  # numbered in the order of global ids


def test_conventions_and_masks_mean_what_they_mean_in_a_config(
    tmp_path: Path, tissue: Array
) -> None:
    stored = 1 - np.ascontiguousarray(tissue[::-1]).astype(np.float32) / 255
    mask = np.ones(SHAPE, np.uint8)
    mask[:, 9:12, :] = mask[:4, :5, :6] = 0
    url = volumes.write_precomputed(tmp_path / "mask", mask[None])
    given = {"channels": "xyz", "offset_sign": 1, "invert": True}
    found = run_of(
        tmp_path, stored, {"input": {**given, "doubtful": "warn"}, "mask": {"path": url}}
    )
    made = magneton.segment(
        stored, 0.5, mask=mask, channels=(2, 1, 0), offset_sign=1, invert=True, **SIZES
    )
    assert made.max() > 5 and (made[mask == 0] == 0).all()
    assert volumes.same_partition(found, made)


@needs_shared_data
def test_without_a_threshold_it_is_the_maps_own() -> None:
    array = pub128()
    labels, tree = magneton.segment(array, return_tree=True)
    asked = choose(threshold_sums(array.copy(), ExactSettings(0.5)))
    assert tree.threshold == asked.value and 0.2 < tree.threshold < 0.5
    assert (labels == magneton.segment(array, tree.threshold)).all()


def test_what_is_doubtful_about_the_maps_threshold_is_warned_of(tissue: Array) -> None:
    with pytest.warns(UserWarning, match="too few contacts"):
        _, tree = magneton.segment(tissue[:, :6, :9, :9], return_tree=True, **SIZES)
    assert tree.threshold == 0.5


def test_defaults_are_those_of_the_config() -> None:
    config, given = Exact(), magneton.segment.__kwdefaults__ or {}
    expected = {"s2": config.s2, "lowest_threshold": config.lowest_threshold}
    expected |= {name: getattr(config.advanced, name) for name in SIZES if name != "s2"}
    expected |= {"t_low": config.advanced.t_low, "t_high": config.advanced.t_high}
    assert {name: given[name] for name in expected} == expected


# ------------------------------------------------------------------ what arrays may be
LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "uint16": lambda a: a.astype(np.uint16) * 257,
    "float16": lambda a: (a / 255).astype(np.float16),
    "float32": lambda a: (a / np.float32(255)).astype(np.float32),
    "float64": lambda a: a / 255,
    "big endian": lambda a: (a / 255).astype(">f4"),
    "channels last in memory": lambda a: np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0),
    "Fortran order": np.asfortranarray,
    "negative strides": lambda a: a[:, ::-1, ::-1].copy()[:, ::-1, ::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_dtype_and_strides_give_the_same(tissue: Array, labels: Array, layout: str) -> None:
    given = LAYOUTS[layout](tissue)
    before = given.copy()
    assert (magneton.segment(given, 0.5, **SIZES) == labels).all()
    assert (given == before).all()


def test_other_scales_and_other_channels(tissue: Array, labels: Array) -> None:
    six = np.concatenate([np.zeros_like(tissue), tissue]).astype(np.float32) * 2
    assert (magneton.segment(six, 0.5, channels=[3, 4, 5], scale=510, **SIZES) == labels).all()


def with_nan(array: Array) -> Array:
    found = (array / 255).astype(np.float32)
    found[1, 7, 3, 2] = np.nan
    return found


WRONG: list[tuple[Callable[[Array], Any], dict[str, Any], str]] = [
    (with_nan, {}, r"nan at voxel \(7, 3, 2\) \(z, y, x\) of the y channel"),
    (lambda a: a.astype(np.float32), {}, r"isn't in \[0, 1\]\n  what to do: give scale"),
    (lambda a: a[0], {}, r"shape \(20, 28, 24\) isn't \(channels, z, y, x\)"),
    (lambda a: a[:, :0], {}, "isn't"),
    (lambda a: a[:2], {}, "2 channels"),
    (lambda a: np.concatenate([a, a]), {}, "6 channels, .*\n.*the numbers"),
    (lambda a: a, {"channels": [0, 1, 3]}, "three different numbers from 0 to 2"),
    (lambda a: a, {"channels": "zyz"}, "'zyz'"),
    (lambda a: a.astype(np.int64), {}, "dtype int64\n  what to do: give one of uint8"),
    (lambda a: a, {"mask": np.ones((2, 2, 2))}, r"mask: shape \(2, 2, 2\)"),
    (lambda a: a, {"threshold": 1.5}, r"threshold is 1.5\n  what to do: .*waterz"),
    (lambda a: a, {"threshold": float("nan")}, "threshold is nan"),
    (lambda a: a, {"lowest_threshold": -1}, "lowest_threshold is -1"),
    (lambda a: a, {"offset_sign": 0}, "offset_sign is 0"),
    (lambda a: a, {"scale": 0}, "scale is 0"),
    (lambda a: a, {"t_low": 9, "t_high": 3}, "t_low 9 and t_high 3"),
]


@pytest.mark.parametrize(("make", "options", "message"), WRONG, ids=[w[2][:20] for w in WRONG])
def test_what_is_wrong_is_told_with_the_way_out(
    tissue: Array, make: Callable[[Array], Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        magneton.segment(make(tissue), **{"threshold": 0.5, **options})
    assert "what to do" in str(caught.value)


def test_nothing_in_it_is_nothing() -> None:
    empty, tree = magneton.segment(np.zeros((3, 2, 3, 4), np.uint8), 0.5, return_tree=True)
    assert empty.shape == (2, 3, 4) and not empty.any() and not magneton.cut(tree, 0.9).any()


# ------------------------------------------------------------------ the tree
def test_a_cut_is_what_segment_gives_at_that_threshold(tissue: Array, labels: Array) -> None:
    made, tree = magneton.segment(tissue, 0.9, return_tree=True, **SIZES)
    few = magneton.segment(tissue, 0.9, **SIZES)
    assert (made == few).all() and made.max() > labels.max() and tree.threshold == 0.9
    before = tree.supervoxels.copy()
    for threshold in (0.5, 0.05):
        expected = magneton.segment(tissue, threshold, **SIZES)
        assert (magneton.cut(tree, threshold) == expected).all()
    assert (tree.supervoxels == before).all()
    with pytest.raises(ValueError, match="segment again, with lowest_threshold"):
        magneton.cut(tree, 0.04)


def test_the_tree_tells_supervoxels_and_at_which_affinity_each_merged(
    tissue: Array, labels: Array
) -> None:
    _, tree = magneton.segment(tissue, 0.5, return_tree=True, **SIZES)
    assert (tree.voxels[1:] == np.bincount(tree.supervoxels.ravel())[1:]).all()
    objects = np.arange(tree.up.size)
    for k in range(1, tree.up.size):  # by hand: up while the affinity is enough
        while tree.up[objects[k]] != objects[k] and tree.affinity[objects[k]] >= 0.5:
            objects[k] = tree.up[objects[k]]
    assert volumes.same_partition(objects[tree.supervoxels], labels)


def test_a_threshold_below_the_lowest_is_merged_down_to(tissue: Array) -> None:
    _, tree = magneton.segment(tissue, 0.02, return_tree=True, **SIZES)
    assert tree.lowest_threshold == 0.02
    assert (magneton.cut(tree, 0.02) == magneton.segment(tissue, 0.02, **SIZES)).all()


# ------------------------------------------------------------------ in a program
def test_threads_may_segment_at_once(tissue: Array, labels: Array) -> None:
    found: list[Array] = []
    threads = [
        threading.Thread(target=lambda: found.append(magneton.segment(tissue, 0.5, **SIZES)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and all((f == labels).all() for f in found)


def test_every_compiled_kernel_lets_other_threads_work() -> None:
    """Those that others call from compiled code, too, for each may be called by itself."""
    kernels = [
        value
        for package in archives.PACKAGES
        if package.startswith("kernels")
        for info in pkgutil.iter_modules(
            [archives.folder(package)], f"magneton_tasks.{package.replace('/', '.')}."
        )
        for value in vars(importlib.import_module(info.name)).values()
        if isinstance(value, Dispatcher)
    ]
    assert len(kernels) > 100
    assert {k.py_func.__name__ for k in kernels if not k.targetoptions.get("nogil")} == set()


def test_the_first_call_says_that_it_compiles(
    tissue: Array, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warmed(say: Callable[[str], object]) -> bool:
        say("compiling Magneton's code for this CPU, once: up to 60 CPU seconds")
        return True

    monkeypatch.setattr(compiling, "ensure_warm", warmed)
    monkeypatch.setattr(compiling, "_is_ready", False)
    for _ in range(2):
        magneton.segment(tissue[:, :4], 0.5)
    told = "magneton: compiling Magneton's code for this CPU, once: up to 60 CPU seconds\n"
    assert capsys.readouterr().err == told


def test_importing_it_is_cheap_and_its_names_are_known() -> None:
    code = """
import sys, magneton
heavy = {"numpy", "numba", "pyarrow", "pydantic", "click", "yaml"} & set(sys.modules)
names = set(magneton.__all__) - set(dir(magneton))
print(heavy or names or magneton.__version__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == magneton.__version__
    with pytest.raises(AttributeError, match="'magneton' has no attribute 'sement'"):
        _ = magneton.sement  # type: ignore[attr-defined]
