"""What the output holds: ids, masks, empty blocks, left-out objects, rules, mips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan import geometry as geometries
from magneton_tasks.work.stores import pool_table
from tests.helpers import volumes
from tests.helpers.volumes import OFFSET, SHAPE, VOXEL_NM, Array, Run, write_precomputed

pytestmark = pytest.mark.usefixtures("childless")

#: two blocks along x
TWO_BLOCKS: dict[str, Any] = {
    "block.size": [20, 40, 48], "block.overlap": [0, 0, 16], "apply.mips": 0
}  # fmt: skip
SMALL = (20, 40, 64)


# ------------------------------------------------------------------ ids
def test_an_object_s_id_is_that_of_its_smallest_member(base: Run, expected: list[Array]) -> None:
    """(block index + 1) << 32 | label, of the first block that has a label of it."""
    table = pool_table(base.attempt, base.records("pool")[0])
    members: dict[int, list[int]] = {}
    for block, record in base.records("segment").items():
        ids = table.global_ids(block)
        assert len(ids) == record.info["n"]  # every label has one
        for label, id_ in enumerate(ids.tolist(), 1):
            members.setdefault(id_, []).append((block + 1) << 32 | label)
    assert all(id_ == min(own) for id_, own in members.items())
    assert max(map(len, members.values())) > 2  # objects that span blocks
    assert set(np.unique(expected[0]).tolist()) == set(members)


def test_noisy_cells_come_out_as_cells(expected: list[Array]) -> None:
    voxels, truth = expected[0], volumes.cells()
    objects, counts = np.unique(voxels[voxels > 0], return_counts=True)
    assert len(objects) == truth.max()
    for id_, count in zip(objects, counts, strict=True):
        most = np.bincount(truth[voxels == id_]).max()
        assert most > 0.95 * count


@pytest.mark.parametrize("seed", [0, 1])
def test_well_separated_objects_are_those_of_a_single_block(seed: int, tmp_path: Path) -> None:
    labels = np.roll(volumes.balls(), 5 * seed, axis=(0, 1, 2))
    labels[[0, -1]] = labels[:, [0, -1]] = labels[:, :, [0, -1]] = 0  # none wraps around
    config = volumes.make_volume(tmp_path, volumes.affinities(labels, noise=0))
    many = volumes.run_pipeline(config)
    voxels = volumes.read_segmentation(many)
    assert len(many.plan.geometry.grid) == 8
    assert len(np.unique(voxels)) > 20
    one = volumes.run_pipeline(config, {"block.size": [64, 64, 64], "block.overlap": [0, 0, 0]})
    assert len(one.plan.geometry.grid) == 1
    assert volumes.same_partition(voxels, volumes.read_segmentation(one))


# ------------------------------------------------------------------ foreground
def half_mask(shape: tuple[int, int, int] = SMALL) -> Array:
    mask = np.ones(shape, np.uint8)
    mask[:, :20, :40] = 0
    return mask


@pytest.mark.parametrize("factor", [(1, 1, 1), (1, 2, 2)])
def test_nothing_is_segmented_outside_a_mask(factor: tuple[int, int, int], tmp_path: Path) -> None:
    affinity = volumes.affinities(volumes.cells(SMALL, n=12))
    coarse = half_mask()[tuple(slice(None, None, f) for f in factor)]
    write_precomputed(
        tmp_path / "mask",
        coarse,
        voxel_size_nm=[v * f for v, f in zip(VOXEL_NM, factor, strict=True)],
        voxel_offset=vec3(o // f for o, f in zip(OFFSET, factor, strict=True)),
    )
    config = volumes.make_volume(
        tmp_path, affinity, TWO_BLOCKS | {"mask.path": f"file://{tmp_path}/mask"}
    )
    voxels = volumes.read_segmentation(volumes.run_pipeline(config))
    mask = half_mask() > 0
    assert (voxels[~mask] == 0).all()
    assert (voxels[mask] > 0).mean() > 0.9


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "mask", np.ones((20, 40, 63), np.uint8))
    affinity = volumes.affinities(volumes.cells(SMALL, n=3))
    config = volumes.make_volume(
        tmp_path, affinity, TWO_BLOCKS | {"mask.path": f"file://{tmp_path}/mask"}
    )
    with pytest.raises(ConfigError, match="doesn't fit the affinity map") as caught:
        volumes.plan_run(config)
    assert "(20, 40, 63)" in str(caught.value)


def test_blocks_without_foreground_are_recorded_and_cost_no_file(tmp_path: Path) -> None:
    affinity = volumes.affinities(volumes.cells(SMALL, n=12))
    affinity[..., :50] = 0
    run = volumes.run_pipeline(volumes.make_volume(tmp_path, affinity, TWO_BLOCKS))
    assert {k: r.state for k, r in run.records("segment").items()} == {0: "empty", 1: "done"}
    stage = run.attempt.stage_dir("segment")
    shards = [p for p in (stage / "labels.zarr" / "c").rglob("*") if p.is_file()]
    assert len(shards) == len(list((stage / "sizes").rglob("*.npy"))) == 1
    assert (volumes.read_segmentation(run)[..., :48] == 0).all()
    assert run.result("verify")["empty_blocks"] == 1


def test_a_volume_without_any_foreground_gives_an_empty_segmentation(tmp_path: Path) -> None:
    config = volumes.make_volume(
        tmp_path, np.zeros((3, *SMALL), np.uint8), TWO_BLOCKS | {"input": {"doubtful": "warn"}}
    )
    run = volumes.run_pipeline(config)
    assert (volumes.read_segmentation(run) == 0).all()
    assert (run.result("verify")["objects"], run.result("verify")["empty_blocks"]) == (0, 2)
    assert volumes.run_pipeline(config).plan.nothing_to_do


def test_small_objects_are_left_out_by_their_size_over_all_blocks(tmp_path: Path) -> None:
    """Cubes of 6^3: one on the border of two blocks, half of it in each, stays; a smaller one goes."""
    labels = np.zeros(SMALL, np.uint32)
    labels[5:11, 5:11, 29:35] = 1  # 216 voxels, 108 in each core: the cut is at 32
    labels[5:11, 20:26, 5:10] = 2  # 180
    labels[5:11, 20:26, 29:34] = 3  # 180, on the border too
    labels[5:11, 5:11, 50:56] = 4  # 216
    config = volumes.make_volume(tmp_path, volumes.affinities(labels, noise=0), TWO_BLOCKS)
    all_ = volumes.read_segmentation(volumes.run_pipeline(config))
    assert volumes.same_partition(all_, labels)
    run = volumes.run_pipeline(config, {"segment.min_size_vox": 200})
    assert run.made("segment") == set()  # reuses the blocks
    voxels = volumes.read_segmentation(run)
    kept = np.isin(labels, [1, 4])
    assert (voxels[~kept] == 0).all()
    assert np.array_equal(voxels[kept], all_[kept])
    exact = volumes.run_pipeline(config, {"segment.min_size_vox": 216})
    assert (volumes.read_segmentation(exact)[kept] > 0).all()  # fewer are left out, not as many


# ------------------------------------------------------------------ rules and supervoxels
def test_each_rule_joins_over_borders_and_any_joins_most(base: Run, copy_of: Any) -> None:
    config = copy_of(work=True)
    objects, joins = {}, {}
    for rule in ("mutual", "both", "iou", "any"):
        run = volumes.run_pipeline(config, {"pool.rule": rule})
        assert run.made("segment") == run.made("count") == set()
        objects[rule] = run.result("verify")["objects"]
        joins[rule] = run.result("verify")["joins"]
    labels = base.result("verify")["labels"]
    assert all(0 < o < labels for o in objects.values())
    assert objects["any"] <= min(objects.values())
    assert joins["any"] == max(joins.values())


@pytest.mark.parametrize("supervoxels", ["3d", "2d"])
def test_seeded_supervoxels(supervoxels: str, tmp_path: Path) -> None:
    """Six columns between membranes of four voxels; the middle ones cut by the border of the blocks."""
    truth = np.zeros(SMALL, np.uint32)
    corners = [(y, x) for y in (0, 22) for x in (0, 22, 44)]
    for label, (y, x) in enumerate(corners, 1):
        truth[:, y : y + 18, x : x + 18] = label
    settings: dict[str, Any] = TWO_BLOCKS | {
        "segment": {
            "supervoxels": supervoxels,
            "merge_function": "mean",
            "threshold": 0.5,
            "interior_threshold": 0.5,
            "min_distance": 5,
        },
    }
    config = volumes.make_volume(tmp_path, volumes.affinities(truth, noise=0.05), settings)
    voxels = volumes.read_segmentation(volumes.run_pipeline(config))
    found = []
    for label in range(1, 7):
        ids, counts = np.unique(voxels[truth == label], return_counts=True)
        assert counts.max() > 0.95 * counts.sum()
        found.append(ids[counts.argmax()])
    assert len(set(found)) == 6
    assert 0 not in found


@pytest.mark.parametrize("name", ["aff75_his256", "aff50_his256_que0", "size"])
def test_other_merge_functions_run(name: str, tmp_path: Path) -> None:
    config = volumes.make_volume(
        tmp_path,
        volumes.affinities(volumes.cells(SMALL, n=6)),
        TWO_BLOCKS | {"segment.merge_function": name},
    )
    assert (volumes.read_segmentation(volumes.run_pipeline(config)) > 0).any()


def test_an_object_that_swallows_the_volume_is_warned_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labels = np.ones(SMALL, np.uint32)
    labels[:, 20:, :] = 2
    labels[:, 30:, :] = 3
    config = volumes.make_volume(tmp_path, volumes.affinities(labels, noise=0), TWO_BLOCKS)
    volumes.run_pipeline(config, {"pool.largest_object_warning": 0.4})
    assert "pool: WARNING: the largest object holds 50%" in capfd.readouterr().out


# ------------------------------------------------------------------ mips
def test_mips_are_the_mode_of_the_mip_before(expected: list[Array], base: Run) -> None:
    for k, factor in enumerate(base.plan.geometry.factors):
        assert np.array_equal(expected[k + 1], mode(expected[k], factor))


def mode(labels: Array, factor: tuple[int, int, int]) -> Array:
    """The commonest label of each group of voxels, of equals the first, by plain loops."""
    shape = vec3(-(-s // f) for s, f in zip(labels.shape, factor, strict=True))
    out = np.zeros(shape, labels.dtype)
    for at in np.ndindex(shape):
        group = labels[tuple(slice(i * f, (i + 1) * f) for i, f in zip(at, factor, strict=True))]
        values = group.ravel().tolist()
        out[at] = max(values, key=lambda v: (values.count(v), -values.index(v)))
    return out


def test_cloud_volume_reads_all_mips_at_their_places(base: Run, expected: list[Array]) -> None:
    from cloudvolume import CloudVolume

    url = "precomputed://" + base.attempt.config.paths.output
    for mip, voxels in enumerate(expected):
        volume = CloudVolume(url, mip=mip, progress=False)
        factor = base.plan.geometry.cumulative[mip]
        assert (
            tuple(volume.resolution)
            == tuple(v * f for v, f in zip(VOXEL_NM, factor, strict=True))[::-1]
        )
        assert (
            tuple(volume.voxel_offset)
            == tuple(o // f for o, f in zip(OFFSET, factor, strict=True))[::-1]
        )
        assert (
            tuple(volume.volume_size)
            == tuple(-(-s // f) for s, f in zip(SHAPE, factor, strict=True))[::-1]
        )
        assert np.array_equal(np.asarray(volume[:])[..., 0].T, voxels)


@pytest.mark.parametrize(
    ("most", "mips", "in_cells"),
    [
        (20_480, 3, 1),  # apply makes one mip, downsample two
        (16_000, 1, 0),  # all by downsample
    ],
)
def test_mips_that_don_t_fit_into_a_cell_are_the_same(
    most: int,
    mips: int,
    in_cells: int,
    copy_of: Any,
    expected: list[Array],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = copy_of(work=True, settings={"apply.mips": mips})
    plain = volumes.all_mips(volumes.run_pipeline(config))
    assert all(np.array_equal(a, b) for a, b in zip(plain, expected, strict=False))
    monkeypatch.setattr(geometries, "MAX_CELL_VOXELS", most)
    run = volumes.run_pipeline(config)
    assert run.plan.geometry.cell_mips == in_cells
    assert run.codes["downsample"]
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), plain, strict=True))
    assert volumes.run_pipeline(config).plan.nothing_to_do


def test_encodings_hold_the_same_voxels(copy_of: Any, expected: list[Array]) -> None:
    config = copy_of(work=True)
    for encoding, compress in (("raw", "gzip"), ("crackle", None)):
        sets = {"apply.encoding": encoding, "apply.compress": compress}
        folder = config.parent / encoding
        run = volumes.run_pipeline(config, sets | {"paths.output": f"file://{folder}"})
        assert np.array_equal(volumes.read_segmentation(run), expected[0])


def test_odd_chunks_tile_the_volume_at_each_mip(copy_of: Any, expected: list[Array]) -> None:
    run = volumes.run_pipeline(copy_of(work=True, settings={"apply.chunk_size": [7, 9, 11]}))
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))


@pytest.mark.parametrize("chunk", [[16, 16, 16], [7, 9, 11]])
def test_a_cell_of_many_slabs_holds_the_same_voxels(
    chunk: list[int], copy_of: Any, expected: list[Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometries, "_SLAB", 1)
    run = volumes.run_pipeline(copy_of(work=True, settings={"apply.chunk_size": chunk}))
    geometry = run.plan.geometry
    assert geometry.slab_shape(vec3(chunk))[0] < geometry.cells.largest_read[0]
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))


# ------------------------------------------------------------------ what is left behind
def test_work_holds_few_files_and_no_temporary(base: Run) -> None:
    work = base.attempt.work.work
    found = [p for p in work.rglob("*") if p.is_file() and "runs" not in p.relative_to(work).parts]
    blocks = len(base.plan.geometry.grid)
    assert not [p for p in found if p.name.startswith(".")]
    assert len(found) <= 3 * blocks + 12
    output = Path(base.attempt.config.paths.output.removeprefix("file://"))
    assert not [p for p in output.rglob(".*") if p.is_file()]
    chunks = [p for p in output.rglob("*.gz") if p.is_file()]
    written = [p for p in volumes.output_files(Path(base.plan.config_path)) if p.name != "lease"]
    assert len(chunks) + 5 == base.plan.files == len(written)


def test_the_preview_shows_affinity_beside_labels(base: Run) -> None:
    from PIL import Image

    with Image.open(base.attempt.paths.preview) as image:
        width, height = image.size
        pixels = np.asarray(image)
    assert width == 2 * SHAPE[2]
    assert height % SHAPE[1] == 0
    left, right = pixels[:, : SHAPE[2]], pixels[:, SHAPE[2] :]
    assert (left[..., 0] == left[..., 1]).all()  # grey
    assert len(np.unique(right.reshape(-1, 3), axis=0)) > 10


def test_read_segmentation_takes_a_part(base: Run, expected: list[Array]) -> None:
    box = Box.of_shape((3, 4, 5), vec3(o + 2 for o in OFFSET))
    assert np.array_equal(volumes.read_segmentation(base, 0, box), expected[0][2:5, 2:6, 2:7])
