"""The sample volume: tissue-like, deterministic, neither trivial nor hopeless to segment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import ConfigError, UsageError
from magneton_tasks.formats.volume import open_volume
from magneton_tasks.kernels.evaluate import evaluate
from magneton_tasks.sample import write as write_module
from magneton_tasks.sample.prediction import Faults, predict_affinity
from magneton_tasks.sample.skeletons import grow_skeletons
from magneton_tasks.sample.tissue import connected_pieces, fill_tissue
from magneton_tasks.sample.volume import MIN_SHAPE, SampleVolume, make_sample
from magneton_tasks.sample.write import write_sample

SHAPE: Vec3 = (40, 80, 96)


@pytest.fixture(scope="module")
def sample() -> SampleVolume:
    return make_sample(SHAPE, seed=3)


@pytest.fixture(scope="module")
def sample128() -> SampleVolume:
    return make_sample((128, 128, 128), seed=0)


def test_shapes_and_types(sample: SampleVolume) -> None:
    assert sample.affinity.shape == (3, *SHAPE)
    assert sample.affinity.dtype == np.uint8
    assert sample.truth.shape == SHAPE
    assert sample.truth.dtype == np.uint32
    assert all(sample.voxel_offset)
    z_nm, y_nm, x_nm = sample.voxel_size_nm
    assert z_nm > y_nm == x_nm


def test_one_seed_one_sample(sample: SampleVolume) -> None:
    again = make_sample(SHAPE, seed=3)
    np.testing.assert_array_equal(again.affinity, sample.affinity)
    np.testing.assert_array_equal(again.truth, sample.truth)
    assert not np.array_equal(make_sample(SHAPE, seed=4).truth, sample.truth)


def test_another_number_of_threads_makes_the_same_sample(sample: SampleVolume) -> None:
    code = (
        "import zlib; from magneton_tasks.sample.volume import make_sample;"
        f"s = make_sample({SHAPE}, 3); print(zlib.crc32(s.affinity), zlib.crc32(s.truth))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n},
            capture_output=True,
            check=True,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        ).stdout
        for n in ("1", "4")
    }
    assert len(printed) == 1


@pytest.mark.parametrize("shape", [MIN_SHAPE, (33, 65, 111)])
def test_small_and_odd_shapes(shape: Vec3) -> None:
    small = make_sample(shape, seed=1)
    assert small.truth.shape == shape
    assert small.truth.max() > 5


@pytest.mark.parametrize(("shape", "seed"), [((31, 64, 64), 0), (SHAPE, -1)])
def test_what_cant_be_made_is_refused(shape: Vec3, seed: int) -> None:
    with pytest.raises(UsageError):
        make_sample(shape, seed)


def test_each_object_is_one_piece(sample: SampleVolume) -> None:
    objects = np.unique(sample.truth)
    assert objects.tolist() == list(range(sample.truth.max() + 1))  # dense, some unlabelled
    boxes = ndimage.find_objects(sample.truth.astype(np.int32))
    for label, box in enumerate(boxes, 1):
        assert ndimage.label(sample.truth[box] == label)[1] == 1, f"object {label} is in pieces"


def test_pieces_of_one_neurite_get_labels_of_their_own() -> None:
    labels = np.zeros((3, 4, 5), np.uint32)
    labels[0], labels[2] = 7, 7  # cut by the crop of a section
    labels[1, 0, 0] = 9  # too small
    pieces = connected_pieces(labels, 2)
    assert [pieces[z, 1, 1] for z in range(3)] == [1, 0, 2]
    assert pieces[1, 0, 0] == 0


def test_most_of_the_volume_is_labelled(sample128: SampleVolume) -> None:
    assert 0.9 < (sample128.truth > 0).mean() < 1


def test_calibres_vary_and_neurites_are_long(sample128: SampleVolume) -> None:
    n_vox = np.bincount(sample128.truth.ravel())[1:]
    assert np.percentile(n_vox, 95) > 5 * np.median(n_vox)
    # A plane in the middle is crossed by many objects: blocks must be joined there.
    for axis in range(3):
        low, high = (np.take(sample128.truth, k, axis) for k in (63, 64))
        crossing = np.unique(np.where(low == high, low, 0))
        assert crossing.size > 20


def test_affinities_know_inside_from_across(sample: SampleVolume) -> None:
    for d in range(3):
        here = np.moveaxis(sample.truth, d, 0)
        affinity = np.moveaxis(sample.affinity[d], d, 0)[1:]
        same = (here[1:] == here[:-1]) & (here[1:] > 0)
        assert affinity[same].mean() > 200
        assert affinity[~same].mean() < 80
        assert not np.moveaxis(sample.affinity[d], d, 0)[0].any()  # unused


def test_faults_are_there(sample128: SampleVolume) -> None:
    truth, affinity = sample128.truth, sample128.affinity
    same = (truth[1:] == truth[:-1]) & (truth[1:] > 0)
    by_section = np.array([a[s].mean() for a, s in zip(affinity[0, 1:], same, strict=True)])
    assert by_section.min() < np.median(by_section) - 20, "no bad section"
    across = (truth[..., 1:] != truth[..., :-1]) & (truth[..., 1:] > 0) & (truth[..., :-1] > 0)
    assert (affinity[2][..., 1:][across] > 128).mean() > 2e-3, "no gaps"


def test_false_membranes_cut_objects() -> None:
    """The same tissue with and without: low affinities deep inside of objects (some are murk)."""
    shape, size = (48, 96, 96), (40.0, 16.0, 16.0)
    rng = np.random.default_rng(0)
    skeletons = grow_skeletons(np.array(shape) * np.array(size), rng)
    truth = fill_tissue(shape, size, skeletons, rng)
    deep = (ndimage.minimum_filter(truth, 5) == ndimage.maximum_filter(truth, 5)) & (truth > 0)

    def cut_edges(per_um3: float) -> int:
        faults = Faults(false_membranes_per_um3=per_um3)
        affinity = predict_affinity(truth, size, skeletons, np.random.default_rng(0), faults)
        return int((affinity[1:, deep] < 16).sum())

    assert cut_edges(30.0) > 1.5 * cut_edges(0.0)


@pytest.mark.parametrize(
    ("scoring", "bins"),
    [
        ("OneMinus<HistogramQuantileAffinity<RegionGraphType,50,ScoreValue,256,true>>", 256),
        ("OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>", 0),
    ],
)
def test_waterz_finds_it_neither_trivial_nor_hopeless(
    sample128: SampleVolume, scoring: str, bins: int
) -> None:
    import waterz

    thresholds = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    segmentations = waterz.agglomerate(
        sample128.affinity.astype(np.float32) / np.float32(255),
        [1 - t for t in thresholds],
        scoring_function=scoring,
        discretize_queue=bins,
    )
    vi = {
        t: evaluate(np.asarray(s), sample128.truth).vi
        for t, s in zip(thresholds, segmentations, strict=True)
    }
    assert 0.3 < min(vi.values()) < 1.0, vi
    assert vi[0.7] < min(vi.values()) + 0.35, f"the default threshold is a bad one: {vi}"


@pytest.mark.parametrize("form", ["precomputed", "zarr"])
def test_a_written_sample_reads_back_and_its_config_is_valid(
    tmp_path: Path, sample: SampleVolume, form: write_module.Format
) -> None:
    directory = tmp_path / "a sample"
    paths = load_config(write_sample(directory, SHAPE, 3, form)).paths
    assert (paths.output, paths.work) == (
        f"file://{directory}/segmentation",
        f"{directory}/work",
    )
    truth = f"file://{directory}/truth"
    for url, array in ((paths.input, sample.affinity), (truth, sample.truth[None])):
        volume = open_volume(url)
        assert volume.info.box.begin == sample.voxel_offset
        assert volume.info.voxel_size_nm == sample.voxel_size_nm
        read = volume.read(volume.info.box)
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


def no_second_sample(*_: object) -> SampleVolume:
    raise AssertionError("the sample was made again")


def test_a_complete_sample_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_sample(tmp_path, MIN_SHAPE, 0)
    config.write_text("# edited\n")
    monkeypatch.setattr(write_module, "make_sample", no_second_sample)
    assert write_sample(tmp_path, MIN_SHAPE, 0) == config
    assert config.read_text() == "# edited\n"
    for shape, seed, form in (
        ((32, 64, 65), 0, "precomputed"),
        (MIN_SHAPE, 1, "precomputed"),
        (MIN_SHAPE, 0, "zarr"),
    ):
        with pytest.raises(ConfigError, match="other parameters"):
            write_sample(tmp_path, shape, seed, form)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["precomputed", "zarr"])
def test_an_interrupted_sample_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: write_module.Format
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(write_module, "_config_text", no_second_sample)
        with pytest.raises(AssertionError):
            write_sample(tmp_path, MIN_SHAPE, 0, form)
    assert (tmp_path / "affinity").exists()
    config = load_config(write_sample(tmp_path, MIN_SHAPE, 0, form))
    assert open_volume(config.paths.input).info.box.shape == MIN_SHAPE


def test_a_directory_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "affinity").mkdir()
    (tmp_path / "affinity" / "precious").touch()
    with pytest.raises(ConfigError, match="isn't empty"):
        write_sample(tmp_path, MIN_SHAPE)
    assert (tmp_path / "affinity" / "precious").exists()


def test_a_lost_layer_is_noticed(tmp_path: Path) -> None:
    write_sample(tmp_path, MIN_SHAPE)
    (tmp_path / "volume.yaml").unlink()
    with pytest.raises(ConfigError, match=r"volume\.yaml of the sample is gone"):
        write_sample(tmp_path, MIN_SHAPE)
