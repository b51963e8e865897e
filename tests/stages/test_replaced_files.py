"""What an earlier result left in the output goes once the new one is proved; nobody else's file does."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow.parquet as pq
import pytest

from magneton_tasks.base import files
from magneton_tasks.base.location import locate
from magneton_tasks.errors import ConfigError, OutputError
from magneton_tasks.formats import removing
from magneton_tasks.formats.listed import Listed
from magneton_tasks.formats.objects import Objects
from magneton_tasks.plan import geometry as geometries
from magneton_tasks.work import file_list
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Run, in_fork, kill_at

pytestmark = pytest.mark.usefixtures("childless")

Copy = Callable[..., Path]
Sets = Mapping[str, object]

LIST, OWNER = "magneton-files.parquet", "magneton.json"
SHARDED, CHUNKS = {"apply.sharding": "on"}, {"apply.sharding": "off"}
FEWER: Sets = {"apply.mips": 0}
#: few files
LARGE: Sets = {"apply.chunk_size": [32, 32, 32]}


def output(config: Path) -> Path:
    return config.parent / "segmentation"


def tree(config: Path) -> dict[str, bytes]:
    """Every file but those that tell of the run, and what killed writers left; by its path."""
    root = output(config)
    found = {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if name not in (OWNER, LIST, "lease") and not files.is_temporary(path.name)
    }


def folders(config: Path) -> set[str]:
    return {p.name for p in output(config).iterdir() if p.is_dir()}


def listed(config: Path) -> list[tuple[Any, ...]]:
    """The list, by another reader than ours."""
    found = pq.read_table(output(config) / LIST)
    assert found.column_names == ["name", "size", "crc32"]
    return list(zip(*found.to_pydict().values(), strict=True))


def rows_of(there: Mapping[str, bytes]) -> list[tuple[str, int, int]]:
    return sorted((name, len(data), crc32(data)) for name, data in there.items())


def replace(config: Path, sets: Sets, **options: Any) -> Run:
    return volumes.run_pipeline(config, sets, overwrite_output=True, **options)


@pytest.fixture
def made(copy_of: Copy, tmp_path: Path) -> Copy:
    """Configs of their own, of which all but the output is done."""
    config = copy_of(work=True)

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copytree(tmp_path / "work", folder / "work")
        text = config.read_text()
        for place in ("work", "segmentation"):
            text = text.replace(f"{tmp_path}/{place}", f"{folder}/{place}")
        (folder / config.name).write_text(text)
        return folder / config.name

    return make


# ------------------------------------------------------------------ the list
def test_every_file_is_listed_and_a_rerun_leaves_the_list(made: Copy) -> None:
    config = made("one")
    run = volumes.run_pipeline(config)
    there = tree(config)
    assert {"info", "objects.parquet", "segment_properties/info"} <= there.keys()
    assert listed(config) == rows_of(there)
    assert run.result("verify")["listed"] == len(there) == run.plan.files - 2  # owner, list
    before = (output(config) / LIST).stat().st_mtime_ns
    again = volumes.run_pipeline(config)
    assert again.plan.nothing_to_do and "removed" not in again.result("verify")
    assert (output(config) / LIST).stat().st_mtime_ns == before


def test_what_only_verify_wrote_is_checked_and_written_again(made: Copy, cli: Caller) -> None:
    config = made("one")
    volumes.run_pipeline(config)
    whole = (output(config) / LIST).read_bytes()
    assert cli("status", config, "--check").code == 0
    for name in (LIST, "objects.parquet", "segment_properties/info"):
        path = output(config) / name
        path.write_bytes(path.read_bytes()[:-9] + bytes(9))
        done = cli("status", config, "--check")
        assert done.code == 65 and f"verify 0: corrupt: {path}: " in done.out
        volumes.run_pipeline(config)
        assert cli("status", config, "--check").code == 0
        assert (output(config) / LIST).read_bytes() == whole


def test_clean_leaves_the_list_which_then_tells_all(made: Copy, cli: Caller) -> None:
    config = made("one")
    volumes.run_pipeline(config)
    before = tree(config), listed(config)
    assert cli("clean", config, "--yes", "--what", "all").code == 0
    assert not list((config.parent / "work").glob("apply-*"))
    assert (tree(config), listed(config)) == before
    run = volumes.run_pipeline(config, FEWER)
    assert run.result("verify")["removed"] == len(before[0].keys() - tree(config).keys()) > 0


# ------------------------------------------------------------------ another result
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, FEWER),
        (LARGE, {"apply.chunk_size": [16, 32, 64], "apply.mips": 1}),
        (LARGE, {**LARGE, **SHARDED}),
        (SHARDED, {**LARGE, **CHUNKS}),
        (SHARDED, {**SHARDED, **LARGE}),  # of another preshift
    ],
)
def test_nothing_of_the_result_before_stays(
    made: Copy, monkeypatch: pytest.MonkeyPatch, first: Sets, second: Sets
) -> None:
    monkeypatch.setattr(geometries, "MAX_CELL_VOXELS", 2**15)  # several cells, and downsample
    config = made("one")
    volumes.run_pipeline(config, first)
    old = tree(config)
    run = replace(config, second)
    assert run.result("verify")["removed"] == len(old.keys() - tree(config).keys()) > 0
    assert listed(config) == rows_of(tree(config))
    assert len(tree(config)) == run.plan.files - 2
    assert len(folders(config)) == len(run.plan.geometry.factors) + 2  # and segment_properties


def test_a_list_in_neuroglancer_that_is_asked_for_no_more(made: Copy) -> None:
    config = made("one")
    volumes.run_pipeline(config, LARGE)
    run = volumes.run_pipeline(config, {**LARGE, "apply.listed_objects": 0})
    assert run.result("verify")["removed"] == 1 and "segment_properties" not in folders(config)
    assert listed(config) == rows_of(tree(config))


def test_nothing_stays_of_a_larger_box(made: Copy) -> None:
    config = made("one")
    volumes.run_pipeline(config)
    z, y, x = volumes.OFFSET
    box = {"box": {"begin": [z, y, x], "end": [z + 16, y + 32, x + 32]}}
    with pytest.raises(ConfigError, match="belongs to another volume"):
        volumes.plan_run(config, box)
    run = replace(config, box)
    assert run.result("verify")["removed"] > 50
    assert len(tree(config)) == run.plan.files - 2 and listed(config) == rows_of(tree(config))


def test_of_another_threshold_all_chunks_are_written_over(made: Copy) -> None:
    config = made("one")
    volumes.run_pipeline(config)
    run = volumes.run_pipeline(config, {"segment.min_size_vox": 40})
    assert "removed" not in run.result("verify")
    assert listed(config) == rows_of(tree(config))


def test_the_other_form_has_to_be_asked_for(made: Copy) -> None:
    config = made("one")
    volumes.run_pipeline(config)
    before = tree(config)
    with pytest.raises(ConfigError, match="--overwrite-output"):
        volumes.plan_run(config, SHARDED)
    volumes.release(volumes.plan_run(config))
    (output(config) / OWNER).unlink()  # nobody's: its chunks aren't known to be ours
    with pytest.raises(ConfigError, match="shards would be written beside them"):
        volumes.plan_run(config, SHARDED, overwrite_output=True)
    assert tree(config) == before


# ------------------------------------------------------------------ of others
def test_what_others_put_there_or_changed_stays_and_is_named(
    made: Copy, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = made("one")
    volumes.run_pipeline(config)
    root = output(config)
    key = "16_16_16"
    others = {f"{key}/0-9_0-9_0-9.gz": b"x", f"{key}/notes": b"y", "mesh/1:0": b"z", "a": b"w"}
    for name, data in others.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)
    longer, flipped, linked, *_ = sorted((root / key).glob("1*.gz"))
    longer.write_bytes(longer.read_bytes() + b"x")
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"\xff")
    outside = tmp_path / "outside.gz"
    linked.rename(outside)
    linked.symlink_to(outside)
    changed = {str(p.relative_to(root)): p.read_bytes() for p in (longer, flipped, linked)}
    capfd.readouterr()
    run = volumes.run_pipeline(config, FEWER)
    there = tree(config)
    assert {n: d for n, d in there.items() if n.startswith(key) or n in others} == others | changed
    assert outside.is_file() and linked.is_symlink()
    assert run.result("verify")["left"] == 3
    said = capfd.readouterr().out
    assert all(str(root / name) in said for name in changed)
    # they aren't ours any more
    again = volumes.run_pipeline(config, {**FEWER, "apply.chunk_size": [32, 32, 32]})
    assert "left" not in again.result("verify")
    assert others.keys() | changed.keys() <= tree(config).keys()


@pytest.mark.parametrize("name", ["../kept", "{root}/../kept", "link/kept", "8_8_16/../../kept"])
def test_a_name_that_leads_elsewhere_is_never_followed(
    made: Copy, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    config = made("one")
    volumes.run_pipeline(config)
    root = output(config)
    kept = root.parent / "kept"
    kept.write_bytes(b"kept")
    (root / "link").symlink_to(root.parent)
    name = name.format(root=root)
    rows = [Listed._make(row) for row in listed(config)]
    objects = Objects(locate(str(root)))
    file_list.write(objects, sorted([*rows, Listed(name, 4, crc32(b"kept"))]), "")
    owner = json.loads((root / OWNER).read_text())
    owner["listed"]["size"] = (root / LIST).stat().st_size
    (root / OWNER).write_text(json.dumps(owner))
    capfd.readouterr()
    run = volumes.run_pipeline(config, FEWER)
    assert kept.read_bytes() == b"kept" and run.result("verify")["left"] == 1
    assert f"{name} is of an earlier result, and stays" in capfd.readouterr().out


def test_a_file_that_may_not_be_removed_is_told_and_removed_by_the_rerun(
    made: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = made("one")
    volumes.run_pipeline(config, LARGE)
    plain = os.unlink

    def refused(path: Any, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None:
            raise PermissionError(errno.EACCES, "Permission denied")
        plain(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refused)
        run = volumes.run_pipeline(config, {**LARGE, **FEWER}, expect=74)
    (failure,) = run.result("verify")["failures"]
    assert "can't remove" in failure["cause"] and "remove it yourself" in failure["hint"]
    again = volumes.run_pipeline(config, {**LARGE, **FEWER})
    assert len(tree(config)) == again.plan.files - 2


# ------------------------------------------------------------------ outputs of earlier releases
def made_by_an_earlier_release(config: Path) -> None:
    volumes.run_pipeline(config)
    (output(config) / LIST).unlink()
    path = output(config) / OWNER
    owner = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in owner.items() if k not in ("listed", "written")}))


def test_of_an_earlier_release_its_records_tell(made: Copy) -> None:
    config = made("one")
    made_by_an_earlier_release(config)
    run = replace(config, SHARDED)
    assert len(tree(config)) == run.plan.files - 2 and run.result("verify")["removed"] > 50


@pytest.mark.parametrize("gone", ["runs", "apply-*"])
def test_without_its_records_nothing_is_removed_and_that_is_said_once(
    made: Copy, capfd: pytest.CaptureFixture[str], gone: str
) -> None:
    config = made("one")
    made_by_an_earlier_release(config)
    for path in (config.parent / "work").glob(gone):
        path.rename(config.parent / f"gone-{path.name}")
    before = tree(config)
    with pytest.raises(ConfigError, match="would be written beside them"):
        volumes.plan_run(config, SHARDED, overwrite_output=True)
    capfd.readouterr()
    run = volumes.run_pipeline(config, FEWER)
    assert before.keys() <= tree(config).keys()
    assert capfd.readouterr().out.count("nothing tells which files") == 1
    assert run.result("verify")["listed"] == run.plan.files - 2


# ------------------------------------------------------------------ stopped
def test_a_result_that_was_never_proved_is_removed_too(
    made: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three results, the second was killed in apply: what it and the first left goes."""
    config, fresh = made("one"), made("fresh")
    monkeypatch.setattr(geometries, "MAX_CELL_VOXELS", 2**15)
    volumes.run_pipeline(config, LARGE)
    small: Sets = {"apply.chunk_size": [8, 8, 8], "apply.mips": 0}

    def killed() -> None:
        kill_at(250, "rename", when=lambda _, path: str(path).endswith(".gz"))
        volumes.run_pipeline(config, small)

    first = tree(config).keys()
    assert in_fork(killed) == -signal.SIGKILL
    written = tree(config).keys() - first
    run = volumes.run_pipeline(config, FEWER)
    volumes.run_pipeline(fresh, FEWER)
    left = tree(config).keys() - tree(fresh).keys()
    assert tree(fresh).items() <= tree(config).items()
    # nothing tells the sizes of the cell that was being written when the kill came
    assert left < written and len(left) <= 64 < len(written) and first - tree(fresh).keys()
    assert run.result("verify")["removed"] == len((first | written) - tree(fresh).keys() - left)


def step_of(*args: Any) -> str | None:
    """What an os call changes in the output, but chunks: a name, or ``stale``."""
    path = str(args[-1] if len(args) > 1 else args[0])
    known = (LIST, OWNER, "segmentation/info")
    return next((n for n in known if path.endswith(n)), None if "/" in path else "stale")


#: Before which call of which step: the list of what is replaced; owner; info; files that are
#: removed, and their folders; the list of the new result; the owner once more.
KILLS = [
    (LIST, 1),
    (OWNER, 1),
    ("segmentation/info", 1),
    ("stale", 1),
    ("stale", 3),
    ("stale", 11),
    (LIST, 2),
    (OWNER, 2),
]
SOME = [KILLS[1], KILLS[4], KILLS[6]]


@pytest.mark.parametrize(
    ("first", "kills"),
    [
        pytest.param("chunks", SOME),
        pytest.param("chunks", KILLS, marks=pytest.mark.long),
        pytest.param("shards", KILLS[:5] + KILLS[6:], marks=pytest.mark.long),
    ],
)
def test_killed_at_a_step_it_comes_to_the_same_end(
    made: Copy, monkeypatch: pytest.MonkeyPatch, first: str, kills: list[tuple[str, int]]
) -> None:
    """The form changes; whatever another tool put there stays."""
    monkeypatch.setattr(removing, "_REMOVERS", 1)  # calls are counted one by one
    config, fresh = made("one"), made("fresh")
    sets: list[Sets] = [{**CHUNKS, **LARGE}, SHARDED]
    before, after = sets if first == "chunks" else sets[::-1]
    volumes.run_pipeline(config, before)
    (output(config) / "notes").write_bytes(b"theirs")
    volumes.run_pipeline(fresh, after)
    (output(config) / LIST).unlink()  # it has to be written, too
    was = json.loads((output(config) / OWNER).read_text())["written"]
    for name in ("segmentation", "work"):
        (config.parent / name).rename(config.parent / f"saved-{name}")
    for step, number in kills:
        for name in ("segmentation", "work"):
            shutil.rmtree(config.parent / name, ignore_errors=True)
            shutil.copytree(config.parent / f"saved-{name}", config.parent / name)

        def killed(step: str = step, number: int = number) -> None:
            names = ("unlink", "rmdir") if step == "stale" else ("rename",)
            kill_at(number, *names, when=lambda *args: step_of(*args) == step)
            replace(config, after)

        assert in_fork(killed) == -signal.SIGKILL, (step, number)
        # the form has to be asked for until the output is this result's
        is_claimed = json.loads((output(config) / OWNER).read_text())["written"] != was
        volumes.run_pipeline(config, after, overwrite_output=not is_claimed)
        assert tree(config) == {**tree(fresh), "notes": b"theirs"}, (step, number)
        assert listed(config) == listed(fresh)


@pytest.mark.parametrize("place", ["plan", "apply"])
def test_a_full_disk_stops_it_before_the_owner_changes(
    made: Copy, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    config = made("one")
    volumes.run_pipeline(config)
    plain = os.write

    def full(descriptor: int, data: bytes) -> int:
        if LIST in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(descriptor, data)

    run = volumes.plan_run(config, FEWER) if place == "apply" else None
    (output(config) / LIST).unlink()
    before = tree(config), (output(config) / OWNER).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        if run is None:
            with pytest.raises(OutputError, match="No space left") as caught:
                volumes.plan_run(config, FEWER)
            assert caught.value.exit_code == 74
        else:
            volumes.run_stages(run, stages=["apply"])
            assert run.codes["apply"] == [74]
            volumes.release(run)
    assert (tree(config), (output(config) / OWNER).read_bytes()) == before
    assert "removed" in volumes.run_pipeline(config, FEWER).result("verify")


# ------------------------------------------------------------------ many
def test_files_are_sorted_and_of_one_name_the_last_counts(tmp_path: Path) -> None:
    names = [f"8_8_8/{n}-{n + 64}" for n in range(0, 7000, 7)] + ["ü", "z", "z/a", "z.b", "Z"]
    first = [Listed(name, 1, None) for name in names[::-1]]
    last = [Listed(name, 2**40, 2**32 - 1) for name in names[::3]]
    objects = Objects(locate(str(tmp_path)))
    with file_list.Sorted() as found:
        found.add(first)
        found.add(last)
        assert file_list.write(objects, found, "whose") == len(names)
    wanted = {file.name: file for file in (*first, *last)}
    told = list(file_list.read(objects))
    assert told == [wanted[name] for name in sorted(names)]
    assert file_list.whose(objects) == "whose"
