"""What `config new` proposes: the convention told from data, and sizes that fit."""

from __future__ import annotations

import io
from itertools import permutations, product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.affinity import AffinityReader
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.volume import open_volume
from magneton_tasks.plan import cost_exact, cost_overlap
from magneton_tasks.runners.resources import USABLE
from magneton_tasks.stages.planning.sizes import (
    exact_bound,
    overlap_bound,
    overlap_of,
    propose_block,
    propose_chunk,
)
from magneton_tasks.trials import propose_picture
from magneton_tasks.trials.propose import (
    Convention,
    Proposal,
    choose_boxes,
    find_scale,
    propose_convention,
    read_samples,
)
from tests.helpers import volumes

Array = npt.NDArray[Any]
CONVENTIONS = [
    Convention(vec3(order), sign, invert)
    for order, sign, invert in product(permutations(range(3)), (-1, 1), (False, True))
]


@pytest.fixture(scope="module")
def affinity() -> Array:
    """uint8 (3, z, y, x) in Magneton's convention."""
    return volumes.affinities(volumes.cells(), noise=0.1)


def stored(affinity: Array, convention: Convention) -> Array:
    """How a map would lie on disk that is to be read by this convention."""
    moved = affinity.copy()
    if convention.offset_sign == 1:  # the edge of v and v - e_d is kept at v - e_d
        for d in range(3):
            moved[d] = np.roll(affinity[d], -1, axis=d)
    out = np.empty_like(moved)
    for axis, number in enumerate(convention.channels):
        out[number] = moved[axis]
    return 255 - out if convention.invert else out


def proposed(stored_map: Array, dtype: str = "uint8") -> Proposal:
    return propose_convention([stored_map], dtype)


@pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
def test_each_convention_is_recovered(affinity: Array, convention: Convention) -> None:
    found = proposed(stored(affinity, convention))
    assert found.best.convention == convention
    assert found.decided and found.inversion_decided
    assert not any("NOT CLEAR" in reason for reason in found.reasons)


@pytest.mark.parametrize("convention", [CONVENTIONS[0], CONVENTIONS[13], CONVENTIONS[22]], ids=str)
def test_the_settings_it_stands_for_read_the_affinities_back(
    affinity: Array, convention: Convention, tmp_path: Path
) -> None:
    url = volumes.write_precomputed(tmp_path / "map", stored(affinity, convention))
    found = proposed(stored(affinity, convention)).best.convention
    reader = AffinityReader(
        url, 0, found.channels_setting(3), found.offset_sign, found.invert, found.scale
    )
    read = reader.read(reader.info.box)
    inner = (slice(None), *[slice(1, None)] * 3)
    np.testing.assert_allclose(read[inner], affinity[inner] / 255, atol=1e-6)


def test_the_three_direct_channels_are_found_among_more(affinity: Array) -> None:
    # long-range channels, a blurred one and a constant one beside them
    far = [np.minimum.reduce([np.roll(affinity[d], i, axis=d) for i in range(5)]) for d in range(3)]
    blurred = ndimage.gaussian_filter(affinity.mean(0), 2).astype(np.uint8)
    layers = [
        far[2],
        affinity[1],
        blurred,
        affinity[0],
        np.full_like(blurred, 128),
        far[0],
        far[1],
        affinity[2],
    ]
    found = proposed(np.stack(layers))
    assert found.best.convention == Convention((3, 1, 7), -1, False)
    assert found.best.convention.channels_setting(found.stored) == [3, 1, 7]
    assert "[3, 1, 7]" in " ".join(found.reasons)


def test_a_boundary_map_three_times_is_not_decided_and_read_as_usual(affinity: Array) -> None:
    found = proposed(np.stack([affinity.min(0)] * 3))
    assert not found.decided
    assert (found.best.convention.channels, found.best.convention.offset_sign) == ((0, 1, 2), -1)
    assert any("order and sign: NOT CLEAR" in reason for reason in found.reasons)


def test_where_the_data_don_t_tell_an_order_that_tools_write_is_proposed(affinity: Array) -> None:
    _, y, x = affinity
    found = proposed(np.stack([x, y, y]))  # y and z may be either of two channels
    assert not found.decided
    assert found.best.convention.channels == (2, 1, 0)
    assert found.others[0].convention.channels == (1, 2, 0), "as good, and no tool's"


def test_noise_decides_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 64, 64)).astype(np.uint8)
    found = proposed(noise)
    assert not found.decided and not found.inversion_decided
    assert found.best.convention == Convention()


@pytest.mark.parametrize(
    ("dtype", "factor", "scale"),
    [
        ("uint8", 255, None),
        ("uint8", 100, 100),  # percent
        ("uint8", 1, 1),  # binary
        ("uint16", 65535, None),
        ("uint16", 255, 255),  # bytes in a wider type
        ("uint16", 1000, 1000),
        ("float32", 1, None),
        ("float32", 0.4, None),
        ("float32", 255, 255),
    ],
)
def test_the_scale_follows_the_highest_value(
    dtype: str, factor: float, scale: float | None
) -> None:
    values = (np.linspace(0, 1, 50) * factor).astype(dtype)
    found, note = find_scale([values], dtype)
    assert found == scale
    assert (note is None) == (scale is None)


def test_a_scale_just_above_one_covers_every_value() -> None:
    values = np.array([0, 0.5, 1.0001], np.float32)
    scale, _ = find_scale([values], "float32")
    assert scale is not None and (values / np.float32(scale)).max() <= 1


def test_values_below_zero_are_named() -> None:
    scale, note = find_scale([np.array([-7.0, 5.0], np.float32)], "float32")
    assert scale is None and note is not None and "sigmoid" in note


# ------------------------------------------------------------------ boxes
def test_boxes_that_hold_nothing_are_passed_over(affinity: Array, tmp_path: Path) -> None:
    big = np.zeros((3, 80, 240, 240), np.uint8)
    big[:, 30:70, 150:214, 150:214] = affinity
    url = volumes.write_precomputed(tmp_path / "map", big)
    found = read_samples(open_volume(url, 0))
    assert found and all(sample.max() > 0 for _, sample in found)


def test_an_empty_volume_says_so(tmp_path: Path) -> None:
    url = volumes.write_precomputed(tmp_path / "map", np.zeros((3, 20, 30, 30), np.uint8))
    with pytest.raises(BadDataError, match="one value each"):
        read_samples(open_volume(url, 0))


def test_every_box_lies_in_the_volume() -> None:
    whole = Box((5, -7, 30), (6, 400, 33))
    assert all(whole.contains(box) and not box.is_empty for box in choose_boxes(whole))


# ------------------------------------------------------------------ picture
def test_the_picture_shows_the_proposed_way_in_a_frame_and_wrong_ones(
    affinity: Array, tmp_path: Path
) -> None:
    convention = Convention((2, 1, 0), 1, False)
    url = volumes.write_precomputed(tmp_path / "map", stored(affinity, convention))
    volume = open_volume(url, 0)
    samples = read_samples(volume)
    found = propose_convention([s for _, s in samples], "uint8")
    ways = propose_picture.ways_to_show(found)
    assert ways[0].convention == convention
    assert {way.convention.offset_sign for way in ways} == {-1, 1}
    assert {way.convention.invert for way in ways} == {False, True}
    assert len({way.convention.channels for way in ways}) == 2
    # the picture has the number that the text has
    (said,) = [reason for reason in found.reasons if reason.startswith("order and sign")]
    assert any(said.endswith(way.loops) for way in ways[1:3])
    assert all("times as much" in way.loops for way in ways[1:3])
    data = propose_picture.draw(
        url, 0, propose_picture.shown_box(volume.info.box, samples[0][0]), found
    )
    image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert image.shape[0] > 600 and image.shape[1] > 1000
    # the frame around the proposed way: the first column only
    green = (image == (0, 128, 60)).all(-1)
    assert green.any() and green[:, image.shape[1] // 3 :].sum() == 0


def test_contradictions_are_few_in_the_right_way_and_many_in_a_wrong_one(affinity: Array) -> None:
    right = affinity.astype(np.float32) / np.float32(255)
    wrong = np.stack([np.roll(right[d], -1, axis=d) for d in range(3)]).astype(np.float32)
    share = propose_picture.contradictions(right).mean()
    assert share < propose_picture.contradictions(wrong).mean() / 3


# ------------------------------------------------------------------ sizes
GIB = 2**30
DENSITY = cost_overlap.TYPICAL_DENSITY
WATERZ = overlap_bound("aff50_his256", "waterz", DENSITY)
MEAN = overlap_bound("mean", "waterz", DENSITY)


@pytest.mark.parametrize(
    ("shape", "chunk", "gib", "cores"),
    [
        ((128, 128, 128), (64, 64, 64), 24, 2),
        ((2048, 2048, 2048), (64, 64, 64), 24, 2),
        ((2048, 4096, 4096), (128, 128, 128), 256, 32),
        ((40, 5000, 5000), (16, 64, 64), 64, 16),  # few sections
        ((3000, 3000, 3000), (1, 1024, 1024), 8, 8),  # chunks of whole sections
        ((40, 64, 64), (16, 32, 32), 2, 64),  # a small volume on a large machine
        ((1000, 1000, 1000), (64, 64, 64), 1, 4),  # next to no memory
    ],
)
def test_blocks_fit_the_machine_and_the_volume(
    shape: Vec3, chunk: Vec3, gib: int, cores: int
) -> None:
    found = propose_block(shape, chunk, WATERZ, gib * GIB, cores)
    assert found.bound_bytes * found.workers <= gib * GIB * USABLE
    assert 1 <= found.workers <= cores
    assert all(s <= n for s, n in zip(found.size, shape, strict=True))
    assert all(s == n or s >= 64 for s, n in zip(found.size, shape, strict=True))
    assert all(2 * o < s for o, s in zip(found.overlap, found.size, strict=True))
    voxels = found.size[0] * found.size[1] * found.size[2]
    bound = cost_overlap.segment_bound_bytes(voxels, "aff50_his256", "waterz", DENSITY)
    assert found.bound_bytes == bound


def test_more_memory_makes_larger_blocks_and_chunks_are_respected() -> None:
    sizes = [
        propose_block((4096,) * 3, (64,) * 3, WATERZ, g * GIB, 4).size[0] for g in (8, 32, 128, 512)
    ]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] <= 512
    assert all(size % 32 == 0 for size in sizes)


def test_a_volume_that_fits_one_block_is_cut_for_several_cores() -> None:
    found = propose_block((400,) * 3, (64,) * 3, MEAN, 512 * GIB, 8)
    assert found.size[0] < 400
    assert propose_block((400,) * 3, (64,) * 3, MEAN, 512 * GIB, 1).size == (400,) * 3


def test_the_exact_method_takes_larger_blocks_that_do_not_overlap() -> None:
    shape, chunk, densest = (4096,) * 3, (64,) * 3, (0.01, 0.1)
    found = propose_block(shape, chunk, exact_bound(densest), 16 * GIB, 4, overlaps=False)
    assert found.overlap == (0, 0, 0)
    assert found.bound_bytes == cost_exact.block_bound_bytes(prod(found.size), densest)
    assert prod(found.size) > 4 * prod(propose_block(shape, chunk, WATERZ, 16 * GIB, 4).size)


def test_the_overlap_is_32_and_less_where_a_block_is_thin() -> None:
    assert overlap_of((40, 128, 256)) == (10, 32, 32)


@pytest.mark.parametrize(
    ("voxel_size_nm", "sharding", "chunk"),
    [
        ((8, 8, 8), "on", (64, 64, 64)),
        ((40, 4, 4), "on", (16, 128, 128)),
        ((30, 8, 8), "on", (16, 128, 128)),
        ((40, 4, 4), "off", (64, 64, 64)),  # each further shape would be more files
        ((40, 4, 4), "auto", (64, 64, 64)),
    ],
)
def test_chunks_of_shards_are_as_cubic_as_can_be(
    tmp_path: Path, voxel_size_nm: Any, sharding: str, chunk: Vec3
) -> None:
    url = volumes.write_precomputed(
        tmp_path / "affinity", np.zeros((3, 8, 8, 8), np.uint8), voxel_size_nm=voxel_size_nm
    )
    config = volumes.write_config(tmp_path, {"apply": {"sharding": sharding}}, input=url)
    found, files = propose_chunk(load_config(config), read_metadata(url))
    assert found == chunk
    assert prod(found) == 64**3
    assert files > 2
