"""``config new --yes``: what it writes, that it runs, and what it refuses."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
import zarr

from magneton_tasks.cli.config.new import new
from magneton_tasks.cli.config.places import as_url, beside
from magneton_tasks.config.read import RunConfig, known_keys, load_config, parse_config
from magneton_tasks.config.unread import unread_keys
from magneton_tasks.errors import BadDataError, ConfigError, MagnetonError, NoInputError, UsageError
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.precomputed import write as precomputed
from magneton_tasks.formats.zarr import read as zarr_volumes
from magneton_tasks.plan.plan import Plan
from magneton_tasks.stages.planning.draft import draft
from magneton_tasks.stages.planning.request import PlanRequest
from tests.helpers import volumes

Array = npt.NDArray[Any]
#: Children of a test process are as large as that.
TEST_SETS = {"local.memory": "8GiB", "local.workers": 1, "paths.visibility_wait_s": 0}


def make(config: Path, url: str | Path, **options: Any) -> Path:
    given: dict[str, Any] = {"output": None, "work": None, "mip": None, "yes": True}
    new(config, input_url=str(url), **(given | options))
    return config


@pytest.fixture(scope="module")
def affinity() -> Array:
    return volumes.affinities(volumes.cells(), noise=0.1)


#: enough for nearly all: as many cells in a quarter of the voxels, so that their order still shows
SMALL = (24, 40, 40)


@pytest.fixture(scope="module")
def small() -> Array:
    return volumes.affinities(volumes.cells(SMALL), noise=0.1)


@pytest.fixture(scope="module")
def expected(small: Array, tmp_path_factory: pytest.TempPathFactory) -> Array:
    """What a config by hand makes: the block and the settings that are proposed for so little."""
    folder = tmp_path_factory.mktemp("by-hand")
    volumes.write_precomputed(folder / "affinity", small)
    settings = {"method": "exact", "block": {"size": [*SMALL]}, "segment": {}, "apply": {}}
    run = volumes.run_pipeline(volumes.write_config(folder, settings))
    return volumes.read_segmentation(run)


def scrambled(affinity: Array) -> Array:
    """Stored as x, y, z, joined to the next voxel, inverted."""
    moved = np.stack([np.roll(affinity[d], -1, axis=d) for d in range(3)])
    return 255 - moved[::-1]


def written(folder: Path, kind: str, affinity: Array) -> Path:
    where = folder / "affinity"
    if kind == "precomputed":
        volumes.write_precomputed(where, affinity)
    elif kind == "scrambled":
        volumes.write_precomputed(where, scrambled(affinity))
    else:
        zarr_volumes.write_volume(
            f"file://{where}",
            affinity,
            volumes.VOXEL_NM,
            volumes.OFFSET,
            volumes.CHUNK,
            zarr_format=2 if kind == "zarr2" else 3,
        )
    return where


@pytest.mark.parametrize("kind", ["precomputed", "zarr2", "zarr3", "scrambled"])
def test_the_config_runs_and_gives_what_one_by_hand_gives(
    kind: str, small: Array, expected: Array, tmp_path: Path
) -> None:
    where = written(tmp_path, kind, small)
    config = make(tmp_path / "volume.yaml", where)
    made = load_config(config)
    turned = kind == "scrambled"
    assert made.paths.input == f"file://{where}"
    assert made.input.channels == ("xyz" if turned else "zyx")
    assert (made.input.offset_sign, made.input.invert) == ((1, True) if turned else (-1, False))
    assert made.block.size == SMALL
    run = volumes.run_pipeline(config, TEST_SETS)
    assert volumes.same_partition(volumes.read_segmentation(run), expected)


def test_what_is_written_explains_every_key(small: Array, tmp_path: Path) -> None:
    where = written(tmp_path, "precomputed", small)
    config = make(tmp_path / "volume.yaml", where, method="overlap")
    text = config.read_text()
    unread = {"segment.interior_threshold", "segment.min_distance", "pool.min_iou"}
    unread |= {key for key in known_keys() if key.startswith("exact.")}
    for key in set(known_keys()) - unread - {"box.begin", "box.end"}:
        assert f"{key.rpartition('.')[2]}: " in text, key
    for meaning in (
        "A lower value merges more",
        "in voxels",
        "told from the data",
        "fit beside each other",
    ):
        assert meaning in text
    # each default that stands in a comment can be had by removing its #
    bare = _uncommented(text)
    assert set(yaml.safe_load(bare)) >= {"paths", "input", "mask", "block", "pool", "runner"}


@pytest.mark.parametrize("method", ["exact", "overlap"])
def test_a_newcomer_sees_few_keys(small: Array, tmp_path: Path, method: str) -> None:
    where = written(tmp_path, "precomputed", small)
    config = make(tmp_path / "volume.yaml", where, method=method)
    data = yaml.safe_load(config.read_text())
    keys = [
        f"{section}.{key}" if isinstance(values, dict) else section
        for section, values in data.items()
        for key in (values if isinstance(values, dict) else [section])
    ]
    assert len(keys) <= 15
    assert keys[:3] == ["paths.input", "paths.output", "paths.work"]
    # what is set comes first: in the file, and in each section
    lines = config.read_text().splitlines()
    names = {f"{name}:" for name in data}
    last_set = max(i for i, line in enumerate(lines) if line.partition(" ")[0] in names)
    unset = [
        i for i, line in enumerate(lines) if re.match(r"# (mask|runner|notify|schedule):", line)
    ]
    assert len(unset) == 4 and last_set < min(unset)
    assert lines.index("  mip: 0") < lines.index("  # identity: metadata")
    # only who chose the other method finds it written
    assert data.get("method") == ("overlap" if method == "overlap" else None)
    threshold = None if method == "exact" else 0.7
    assert "segment.threshold" in keys and data["segment"]["threshold"] == threshold
    if method == "exact":
        before, after = config.read_text().split("  threshold: null\n")
        assert "from the map itself, and plan prints it" in before.splitlines()[-1]
        assert "  # merge_function" not in after


def _uncommented(text: str) -> str:
    """As a person would write it who removes the # before every default."""
    prose = ("# exact: mean", "# overlap: waterz")  # lines that look like keys
    return "\n".join(
        line.replace("# ", "", 1)
        if line.lstrip("# ").partition(":")[0] in _NAMES and not line.startswith(prose)
        else line
        for line in text.splitlines()
    )


_NAMES = {part for key in known_keys() for part in key.split(".")} - {"begin", "end"}


def test_the_exact_method_has_a_config_of_its_own(small: Array, tmp_path: Path) -> None:
    where = written(tmp_path, "precomputed", small)
    config = make(tmp_path / "volume.yaml", where, method="exact")
    text, made = config.read_text(), load_config(config)
    assert (made.method, made.block.size) == ("exact", SMALL)
    read = (
        set(known_keys())
        - set(unread_keys(RunConfig, "method", "exact"))
        - {"box.begin", "box.end"}
    )
    for key in read:
        assert f"{key.rpartition('.')[2]}: " in text, key
    bare = _uncommented(text).replace("box: {begin: [0, 0, 0], end: [512, 2048, 2048]}", "")
    assert parse_config(bare, "").model_copy(update={"skeleton": None}) == made
    assert made.mesh is not None
    run = volumes.run_pipeline(config, TEST_SETS)
    by_hand = {"method": "exact", "block": {"size": [12, 24, 24]}, "segment": {}, "apply": {}}
    other = tmp_path / "by-hand"
    other.mkdir()
    again = volumes.run_pipeline(volumes.write_config(other, by_hand, input=f"file://{where}"))
    assert volumes.same_partition(volumes.read_segmentation(run), volumes.read_segmentation(again))


def test_the_picture_lies_beside_the_config(
    small: Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make(tmp_path / "cortex.yaml", written(tmp_path, "precomputed", small))
    picture = tmp_path / "cortex-convention.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert f"wrote {config}, and the picture {picture}" in out
    assert f"magneton run {config} --dry-run" in out and f"magneton try {config} --box" in out
    assert "--thresholds" not in out, "the map says which"
    # what plan says: memory, time, files
    for said in ("memory at most", "time ", "files, about"):
        assert said in out


def test_a_level_can_be_chosen_and_all_are_listed(
    affinity: Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = volumes.write_precomputed(tmp_path / "affinity", affinity)
    half = volumes.affinities(volumes.cells((20, 32, 32)), noise=0.1)
    _add_level(tmp_path / "affinity", half)
    made = load_config(make(tmp_path / "volume.yaml", url, mip=1))
    assert made.input.mip == 1
    assert made.block.size == tuple(n // 2 for n in volumes.SHAPE)
    out = capsys.readouterr().out
    assert "mip 0: 40 x 64 x 64 voxels" in out and "mip 1: 20 x 32 x 32 voxels" in out
    with pytest.raises(UsageError, match="mip 2 isn't there"):
        make(tmp_path / "other.yaml", url, mip=2)


def _add_level(layer: Path, half: Array) -> None:
    """A second scale beside the first, as downsampling tools make it."""
    other = layer.with_name("half")
    precomputed.write_volume(
        f"file://{other}", half, (32.0, 16.0, 16.0), (3, -8, 150), volumes.CHUNK
    )
    info, second = (yaml.safe_load((p / "info").read_text()) for p in (layer, other))
    info["scales"] += second["scales"]
    (layer / "info").write_text(json.dumps(info))
    os.rename(other / second["scales"][0]["key"], layer / second["scales"][0]["key"])


def test_given_places_are_taken(small: Array, tmp_path: Path) -> None:
    where = written(tmp_path, "precomputed", small)
    made = load_config(
        make(tmp_path / "v.yaml", where, output=str(tmp_path / "s"), work=f"{tmp_path}/w")
    )
    assert (made.paths.output, made.paths.work) == (f"file://{tmp_path}/s", f"{tmp_path}/w")


def test_channels_that_come_last_without_a_name_are_recognised(
    small: Array, expected: Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = zarr.create_array(str(tmp_path / "a.zarr"), data=np.moveaxis(small, 0, -1))
    assert stored.shape == (*SMALL, 3)
    config = make(tmp_path / "volume.yaml", tmp_path / "a.zarr")
    made = load_config(config)
    assert made.input.axes == "zyxc" and made.input.channels == "zyx"
    assert made.block.size == SMALL
    out = capsys.readouterr().out
    assert "by its shape, the channels come last" in out
    assert "1 nm is assumed, and voxel offset 0; set input.voxel_size_nm" in out
    # who writes a config by hand is told, too
    with pytest.raises(
        ConfigError, match=r"24 channels of 40 x 40 x 3 voxels\n.*set input.axes: zyxc"
    ):
        plan_of(config, **{"input.axes": None})
    place = {"input.voxel_size_nm": [40, 8, 4], "input.voxel_offset": [5, 6, 7]}
    assert not any("assumed" in note for note in plan_of(config, **place).notes)
    run = volumes.run_pipeline(config, TEST_SETS | place)
    result = read_metadata(load_config(config).paths.output)
    assert (result.voxel_size_nm, result.box.begin) == ((40, 8, 4), (5, 6, 7))
    assert volumes.same_partition(volumes.read_segmentation(run), expected)


def plan_of(config: Path, **sets: Any) -> Plan:
    return draft(PlanRequest(config, "dry", {**TEST_SETS, **sets}), write=False).plan


# ------------------------------------------------------------------ refusals
def test_nothing_is_replaced(small: Array, tmp_path: Path) -> None:
    where = written(tmp_path, "precomputed", small)
    for name in ("volume.yaml", "volume-convention.png"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(UsageError, match="already"):
            make(tmp_path / "volume.yaml", where)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"output": "{input}/inside"}, ConfigError, "must not contain one another"),
        ({"work": "{input}"}, ConfigError, "must not contain one another"),
        (
            {"work": "{folder}/affinity-segmentation/work"},
            ConfigError,
            "must not contain one another",
        ),
        ({"output": "ftp://host/x"}, ConfigError, "can't be opened"),
        ({"output": "/dev/null/x"}, ConfigError, "no directory"),
        ({"mip": 7}, UsageError, "mip 7 isn't there"),
    ],
)
def test_what_can_t_work_writes_nothing(
    options: dict[str, Any], error: type[MagnetonError], said: str, small: Array, tmp_path: Path
) -> None:
    where = written(tmp_path, "precomputed", small)
    given = {
        k: v.format(input=where, folder=tmp_path) if isinstance(v, str) else v
        for k, v in options.items()
    }
    with pytest.raises(error, match=said):
        make(tmp_path / "volume.yaml", where, **given)
    assert [p.name for p in tmp_path.iterdir()] == ["affinity"]


def test_an_input_that_is_no_affinity_map_writes_nothing(small: Array, tmp_path: Path) -> None:
    labels = volumes.cells().astype(np.uint32)
    volumes.write_precomputed(tmp_path / "labels", labels, layer_type="segmentation")
    volumes.write_precomputed(tmp_path / "blank", np.zeros((3, 20, 30, 30), np.uint8))
    cases = [
        ("labels", ConfigError, "1 channel"),
        ("blank", BadDataError, "one value each"),
        ("none", NoInputError, "doesn't exist"),
    ]
    for name, error, said in cases:
        with pytest.raises(error, match=said):
            make(tmp_path / "volume.yaml", tmp_path / name)
    with pytest.raises(ConfigError, match="partition"):
        make(tmp_path / "volume.yaml", tmp_path / "{partition}" / "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blank", "labels"]


def test_a_plan_that_refuses_writes_nothing(
    small: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = written(tmp_path, "precomputed", small)
    monkeypatch.setattr("magneton_tasks.base.files.free_bytes", lambda path: 10)
    with pytest.raises(MagnetonError, match="free"):
        make(tmp_path / "volume.yaml", where)
    assert [p.name for p in tmp_path.iterdir()] == ["affinity"]


def test_yes_needs_an_input_and_questions_a_terminal(tmp_path: Path) -> None:
    options: dict[str, Any] = {"output": None, "work": None, "mip": None}
    with pytest.raises(UsageError, match="--yes needs --input"):
        new(tmp_path / "v.yaml", input_url=None, yes=True, **options)
    with pytest.raises(UsageError, match="no terminal"):
        new(tmp_path / "v.yaml", input_url=None, yes=False, **options)
    with pytest.raises(UsageError, match=".yaml"):
        new(tmp_path / "volume.json", input_url="/x", yes=True, **options)


# ------------------------------------------------------------------ places
@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("/data/a/", "file:///data/a"),
        ("file:///data/a/", "file:///data/a"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("zarr:///data/a", "zarr://file:///data/a"),
        ("precomputed://gs://bucket/a/", "precomputed://gs://bucket/a"),
    ],
)
def test_what_people_type_becomes_a_url(typed: str, url: str) -> None:
    assert as_url(typed) == url


def test_proposals_lie_beside_a_zarr_group_not_in_it(small: Array, tmp_path: Path) -> None:
    where = written(tmp_path, "zarr3", small)
    assert beside(f"file://{where}/0", tmp_path / "v.yaml") == (f"file://{tmp_path}", "affinity")


def test_a_place_that_is_taken_isn_t_proposed(small: Array, tmp_path: Path) -> None:
    where = written(tmp_path, "precomputed", small)
    (tmp_path / "affinity-segmentation").mkdir()
    made = load_config(make(tmp_path / "volume.yaml", where))
    assert made.paths.output == f"file://{tmp_path}/affinity-segmentation-2"
