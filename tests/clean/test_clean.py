"""``magneton clean``: what it frees, and above all what it leaves alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pexpect
import pytest
import yaml

from magneton_tasks.base.lease import acquire
from magneton_tasks.clean import find as clean
from magneton_tasks.clean import remove as clean_remove
from magneton_tasks.clean.kinds import IN_WORK
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import ConfigError, LeaseHeldError
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Array, Run, in_fork, kill_at

pytestmark = pytest.mark.usefixtures("childless")

Copy = Callable[..., Path]
HEX = "0123456789abcdef"
Tree = dict[str, tuple[int, int, str]]


@pytest.fixture
def config(finished: Run) -> Path:
    """Of a finished volume."""
    return Path(finished.plan.config_path)


def tree(folder: Path, *, times: bool = True) -> Tree:
    """Everything below a folder: kind, time, and content or target."""
    found: Tree = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else ""
        if stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        name = str(path.relative_to(folder))
        found[name] = status.st_mode, status.st_mtime_ns if times else 0, content
    return found


def top(config: Path) -> set[str]:
    """Kinds of what is left in the work directory."""
    return {p.name.partition("-")[0] for p in (config.parent / "work").iterdir()}


def size_of(folder: Path) -> tuple[int, int]:
    found = [p.lstat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
    return sum(found), len(found)


def same_as(run: Run, expected: list[Array]) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))


def age(path: Path, seconds: float) -> None:
    """Let everything at and below a path look so old."""
    then = time.time() - seconds
    for one in [path, *path.rglob("*")]:
        os.utime(one, (then, then), follow_symlinks=False)


# ------------------------------------------------------------------ what goes
@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("cache", {"segment", "count", "pool", "apply", "runs"}),
        ("records", {"segment", "runs"}),
        ("stale", {"segment", "count", "pool", "apply", "runs"}),
        ("runs", {"segment", "count", "pool", "apply", "runs"}),
        ("all", {"runs"}),
    ],
)
def test_each_kind_frees_what_it_says_and_the_rerun_gives_the_same_voxels(
    what: str, left: set[str], config: Path, cli: Caller, expected: list[Array]
) -> None:
    work, output = config.parent / "work", tree(config.parent / "segmentation")
    before = size_of(work)
    done = cli("clean", config, "--what", what, "--yes", "--json")
    assert done.code == 0, done.err
    after = size_of(work)
    marked = sum(p.stat().st_size for p in work.rglob("clean-segment-*"))
    freed = before[0] - after[0] + marked, before[1] - after[1] + bool(marked)
    assert (done.json["freed_bytes"], done.json["freed_files"]) == freed
    assert (done.json["bytes"], done.json["files"]) == freed
    assert (freed[1] > 0) == (what not in ("stale", "runs"))  # it has one attempt, nothing stale
    assert top(config) == left | {"magneton.json", "samples.json"}
    assert done.json["left_alone"] == []
    assert tree(config.parent / "segmentation") == output
    run = volumes.run_pipeline(config, run="again")
    same_as(run, expected)
    assert run.plan.nothing_to_do == (what in ("cache", "stale", "runs"))


def test_the_labels_of_a_finished_volume_may_go_and_it_is_still_finished(
    config: Path, cli: Caller
) -> None:
    done = cli("clean", config, "--yes")
    assert "labels of a verified volume: needed only if pool or apply are done again" in done.out
    assert "freed " in done.out
    assert not list((config.parent / "work").glob("segment-*/labels.zarr"))
    assert not list((config.parent / "work").glob("segment-*/sizes"))
    assert volumes.run_pipeline(config, run="again").plan.nothing_to_do
    text = cli("status", config).out
    assert "segment: files of 8 blocks were cleaned; they are computed again if" in text
    # nothing is left of them, so there's nothing to clean
    assert cli("clean", config, "--yes", "--json").json["items"] == []


def test_labels_that_went_are_made_again_where_they_are_read(
    config: Path, cli: Caller, tmp_path: Path
) -> None:
    """Another rule: the pairs are there, but apply reads the labels."""
    other = {"pool.rule": "both", "pool.min_frac": 0.3}
    elsewhere = {"paths.work": f"{tmp_path}/w", "paths.output": f"file://{tmp_path}/s"}
    shutil.copytree(config.parent / "work", tmp_path / "w")
    whole = volumes.run_pipeline(config, {**other, **elsewhere}, run="whole")
    assert whole.made("segment") == set()
    assert cli("clean", config, "--yes").code == 0
    run = volumes.run_pipeline(config, other, run="again")
    assert run.made("segment") == set(range(8))
    assert run.made("count") == set()  # the labels are those of the last time
    same_as(run, volumes.all_mips(whole))


def test_only_the_blocks_that_are_read_are_made_again(
    config: Path, cli: Caller, expected: list[Array]
) -> None:
    assert cli("clean", config, "--yes").code == 0
    run = volumes.run_pipeline(config, run="again")
    cells = run.plan.geometry.cells
    record = run.records("apply")[1]
    run.attempt.invalidate("apply", {1: "a chunk was lost"})
    again = volumes.run_pipeline(config, run="third")
    assert record.state == "done" and again.made("apply") == {1}
    assert again.made("segment") == set(run.plan.geometry.grid.cores_meeting(cells.core(1)))
    assert 0 < len(again.made("segment")) < 8
    same_as(again, expected)


def test_the_labels_of_an_unfinished_volume_cost_their_blocks(
    copy_of: Copy, cli: Caller, expected: list[Array]
) -> None:
    config = copy_of()
    run = volumes.run_stages(volumes.plan_run(config), stages=["segment", "count"])
    volumes.release(run)
    done = cli("clean", config, "--yes")
    assert "of a volume that isn't verified: the next run computes them again" in done.out
    # whoever goes on with the old plan is told
    volumes.run_stages(run, stages=["pool", "apply"])
    volumes.release(run)
    assert run.codes["apply"] == [75]
    cause = run.result("apply", 0)["failures"][0]["cause"]
    assert "its labels were removed by `magneton clean`" in cause
    again = volumes.run_pipeline(config, run="again")
    assert again.made("segment") == set(range(8))
    same_as(again, expected)


def test_stale_is_what_neither_the_config_nor_the_newest_attempt_has(
    config: Path, cli: Caller, expected: list[Array]
) -> None:
    volumes.run_pipeline(config, {"pool.min_frac": 0.7}, run="b")
    newest = volumes.run_pipeline(config, {"pool.min_frac": 0.8}, run="c")
    found = cli("clean", config, "--what", "stale", "--yes", "--json").json
    # of the config: all stages; of the newest attempt: pool and apply of 0.8; so 0.7 goes
    assert [Path(i["path"]).name.partition("-")[0] for i in found["items"]] == ["apply", "pool"]
    left = {p.name for p in (config.parent / "work").iterdir()}
    assert f"pool-{newest.plan.fingerprints.pool}" in left
    run = volumes.run_pipeline(config, run="d")
    assert run.made("pool") == set()
    same_as(run, expected)


def test_nothing_is_stale_while_the_input_can_t_be_read(copy_of: Copy, cli: Caller) -> None:
    """Which results are those of the config can't be known then."""
    config = copy_of()
    volumes.run_pipeline(config)
    (config.parent / "affinity").rename(config.parent / "elsewhere")
    before = tree(config.parent)
    assert cli("clean", config, "--what", "stale", "--yes").code == 66
    assert tree(config.parent) == before


def test_two_configs_that_share_a_work_directory_keep_both_their_results(
    config: Path, cli: Caller, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    data = yaml.safe_load(config.read_text())
    data["pool"] = {"min_frac": 0.7}
    data["paths"]["output"] = f"file://{tmp_path}/other"
    other.write_text(yaml.safe_dump(data))
    volumes.run_pipeline(other, run="other")
    volumes.run_pipeline(config, run="newest")
    for what in ("stale", "runs"):
        assert cli("clean", config, "--what", what, "--yes").code == 0
    assert volumes.run_pipeline(other, run="again").plan.nothing_to_do
    assert (config.parent / "work" / "runs" / "other").exists()


def test_of_the_attempts_the_newest_stays(config: Path, cli: Caller) -> None:
    for name in ("b", "b", "c"):
        volumes.run_pipeline(config, run=name)
    runs = config.parent / "work" / "runs"
    assert {p.name for p in runs.iterdir()} == {"test", "b", "c"}
    newest = tree(runs / "c")
    done = cli("clean", config, "--what", "runs", "--yes", "--json")
    assert [Path(i["path"]).relative_to(runs) for i in done.json["items"]] == [
        Path("b/1"),
        Path("b/2"),
        Path("test/1"),
    ]
    assert {p.name for p in runs.iterdir()} == {"c"}
    assert tree(runs / "c") == newest
    assert [k["reason"] for k in done.json["kept"]] == ["the newest attempt"]


def test_older_than(config: Path, cli: Caller) -> None:
    work = config.parent / "work"
    (segment,), (count,) = work.glob("segment-*"), work.glob("count-*")
    age(segment, 10 * 86400)
    age(count, 3 * 86400)
    found = cli("clean", config, "--what", "all", "--older-than", "7d", "--dry-run", "--json").json
    assert [Path(i["path"]) for i in found["items"]] == [segment]
    assert abs(found["items"][0]["age_s"] - 10 * 86400) < 1000
    kept = {Path(k["path"]).name: k["reason"] for k in found["kept"]}
    assert kept[count.name] == "not old enough: written to 3 d 0 h ago"
    # one file that was written lately makes all of it new
    next(iter((segment / "sizes").rglob("*.npy"))).touch()
    found = cli("clean", config, "--what", "all", "--older-than", "7d", "--dry-run", "--json").json
    assert found["items"] == []
    done = cli("clean", config, "--older-than", "7 moons")
    assert done.code == 64
    assert "is not a duration" in done.err


def layers_of_try(work: Path) -> Path:
    """As `magneton try` leaves them."""
    folder = work / f"try-{HEX}"
    (folder / "0.5" / "8_8_16").mkdir(parents=True)
    for name in ("try.json", "0.5/info", "0.5/magneton.json", "0.5/8_8_16/-16-48_0-64_7-39.gz"):
        (folder / name).write_text("{}")
    return folder


def test_layers_of_try_are_cache_unless_one_is_being_written(config: Path, cli: Caller) -> None:
    folder = layers_of_try(config.parent / "work")
    writing = folder / f".layers.node1-12-{HEX[:8]}.tmp" / "0.7" / "8_8_16"
    writing.mkdir(parents=True)
    (writing / "0-64_0-64_7-39.gz").write_text("")
    done = cli("clean", config, "--yes", "--json")
    assert folder.exists()
    assert [k["reason"] for k in done.json["kept"]] == ["`magneton try` may be writing to it"]
    age(folder, 7200)
    assert cli("clean", config, "--yes").code == 0
    assert not folder.exists()


def test_temporaries_of_killed_writers_go_once_they_are_old(config: Path, cli: Caller) -> None:
    work, output = config.parent / "work", config.parent / "segmentation"
    names = [f".{n}.node1-77-{HEX[:8]}.tmp" for n in ("plan.json", "samples.json")]
    old, young = work / names[0], work / names[1]
    probe, inside = work / f".magneton-probe-node1-7-{HEX[:8]}", output / names[0]
    for path in (old, young, probe, inside):
        path.write_text("partial")
    for path in (old, probe, inside):
        age(path, 7200)
    done = cli("clean", config, "--what", "runs", "--yes", "--json")
    (item,) = done.json["items"]
    assert (item["kind"], item["files"], item["bytes"]) == ("temporaries", 2, 14)
    assert [p.exists() for p in (old, probe, young, inside)] == [False, False, True, True]
    (left,) = done.json["left_alone"]
    assert left["path"] == str(output)
    assert "never touched: 1 temporary of killed writers (7 B)" in left["reason"]


# ------------------------------------------------------------------ decoys
def test_nothing_that_isn_t_ours_goes_and_no_link_is_followed(
    config: Path, cli: Caller, tmp_path: Path
) -> None:
    work, outside = config.parent / "work", tmp_path / "outside"
    (segment,), (count,) = work.glob("segment-*"), work.glob("count-*")
    shutil.copytree(segment, outside / "segment")
    shutil.copytree(count, outside / "count")
    (outside / "notes.txt").write_text("somebody's")
    links = {
        work / f"segment-{HEX}": outside / "segment",  # looks like one of ours
        work / "linked": outside,
        work / "runs" / "linked": outside,
        work / "pointer": outside / "notes.txt",
        segment / "sizes" / "0001": outside / "segment" / "sizes",
        segment / "sizes" / "0000" / "9.npy": outside / "segment" / "sizes" / "0000" / "0.npy",
        count / "records" / f"r-count-0-0-h-1-{HEX[:8]}.jsonl": outside / "notes.txt",
    }
    for link, target in links.items():
        link.symlink_to(target)
    foreign = [
        work / "notes.txt",
        work / "data" / "volume.h5",
        work / "segment-of-mine" / "labels.zarr",
        work / f"segment-{HEX[::-1]}x" / "records" / "a.jsonl",
        work / "runs" / "test" / "1" / "notes.txt",
        segment / "notes.txt",
        segment / "labels.zarr" / "c" / "0" / "0" / "0.bak",
        segment / "labels.zarr" / "mine" / "0",
        count / "pairs.parquet",
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("somebody's")
    before, contents = tree(outside), {p: tree(p) for p in foreign}
    done = cli("clean", config, "--what", "all", "--yes", "--json")
    assert done.code == 0, done.err
    assert tree(outside) == before
    assert {p: tree(p) for p in foreign} == contents
    assert all(os.readlink(link) == str(target) for link, target in links.items())
    left = {Path(a["path"]): a["reason"] for a in done.json["left_alone"]}
    for link in links:
        assert left[link] == "a link: never followed, never removed"
    named = {p if p in left else next(q for q in p.parents if q in left) for p in foreign}
    assert {left[p] for p in named} == {"not ours"}
    # what is ours beside them went
    assert not list(work.glob("pool-*"))
    assert sorted(p.name for p in segment.iterdir()) == ["labels.zarr", "notes.txt", "sizes"]
    assert [p for p in count.rglob("*") if p.is_file() and not p.is_symlink()] == [foreign[-1]]
    assert not list(work.glob(".clean-*"))
    text = cli("clean", config, "--what", "all", "--dry-run").out
    assert f"left alone: {segment.name}/notes.txt: not ours" in text


def test_a_rerun_after_cleaning_beside_a_foreign_file(
    config: Path, cli: Caller, expected: list[Array]
) -> None:
    (segment,) = (config.parent / "work").glob("segment-*")
    (segment / "labels.zarr" / "notes.txt").write_text("mine")
    assert cli("clean", config, "--yes").code == 0
    assert [p.name for p in (segment / "labels.zarr").rglob("*")] == ["notes.txt"]
    same_as(volumes.run_pipeline(config, {"segment.min_size_vox": 1}, run="again"), expected)


def test_labels_whose_records_are_a_link_stay(config: Path, cli: Caller, tmp_path: Path) -> None:
    """Their records must say that the labels are gone, and they would be written to elsewhere."""
    (segment,) = (config.parent / "work").glob("segment-*")
    (segment / "records").rename(tmp_path / "records")
    (segment / "records").symlink_to(tmp_path / "records")
    before = tree(tmp_path / "records"), tree(segment)
    done = cli("clean", config, "--yes", "--json")
    assert (tree(tmp_path / "records"), tree(segment)) == before
    assert [a["path"] for a in done.json["left_alone"]] == [str(segment / "records")]


def test_a_folder_that_becomes_a_link_in_the_meantime_is_left(config: Path, tmp_path: Path) -> None:
    work, outside = config.parent / "work", tmp_path / "outside"
    loaded = load_config(config)
    (segment,), (count,) = work.glob("segment-*"), work.glob("count-*")
    items = clean.find(loaded, "all").items
    shutil.move(segment, outside / "segment")
    segment.symlink_to(outside / "segment")
    before = tree(outside)
    removed = clean_remove.remove(work, items, lambda: None)
    assert tree(outside) == before
    assert segment.is_symlink()
    assert segment in {a.path for a in removed.alone}
    assert not count.exists()


def test_a_folder_that_is_exchanged_at_the_last_moment_is_put_back(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, outside = config.parent / "work", tmp_path / "outside"
    (count,) = work.glob("count-*")
    shutil.copytree(count, outside)
    before = tree(outside)
    items = [i for i in clean.find(load_config(config), "records").items if i.path == count]
    plain = os.rename

    def exchange(source: Any, target: Any, **options: Any) -> None:
        monkeypatch.setattr(os, "rename", plain)
        shutil.rmtree(count)
        count.symlink_to(outside)
        plain(source, target, **options)

    monkeypatch.setattr(os, "rename", exchange)
    removed = clean_remove.remove(work, items, lambda: None)
    assert tree(outside) == before
    assert os.readlink(count) == str(outside)
    assert [a.reason for a in removed.alone] == ["was exchanged while it was looked at"]


def test_a_parent_that_becomes_a_link_isn_t_walked_through(config: Path, tmp_path: Path) -> None:
    work, outside = config.parent / "work", tmp_path / "outside"
    volumes.run_pipeline(config, run="b")
    items = clean.find(load_config(config), "runs").items
    shutil.move(work / "runs", outside)
    (work / "runs").symlink_to(outside)
    before = tree(outside)
    clean_remove.remove(work, items, lambda: None)
    assert tree(outside) == before


def test_all_that_a_pipeline_writes_is_known_to_be_ours(finished: Run) -> None:
    config, attempt = Path(finished.plan.config_path), finished.attempt
    paths = attempt.paths
    given = [
        paths.preview, paths.shapes, paths.shapes_picture, paths.report, paths.page, paths.block_log("segment", 12), paths.log("pool"),
        paths.log("segment", 3), paths.log("apply", 3, 14), paths.result("count", 3),
        paths.result("downsample", 12, 0), attempt.work.work / "lease.breaking",
    ]  # fmt: skip
    for path in given:
        path.touch()
    run = volumes.plan_run(config, run="manual__2024-05-01T00:00:00+00:00")
    volumes.release(run)
    for stage in ("segment", "downsample"):
        with run.attempt.manifest(stage).writer(run.attempt.name, stage, -1) as writer:
            writer.add(0, "invalid")
        run.attempt.manifest(stage).compact(min_files=0, quiet_s=0)
    layers_of_try(attempt.work.work)
    found = clean.find(load_config(config), "all")
    assert found.alone == ()
    assert len([i for i in found.items if i.kind == "runs"]) == 1


# ------------------------------------------------------------------ where it refuses
def refused(cli: Caller, config: Path, code: int, *options: object) -> str:
    """Clean everything, in vain; what is said."""
    before = tree(config.parent)
    done = cli("clean", config, "--what", "all", "--yes", *options)
    assert done.code == code
    assert tree(config.parent) == before
    return done.err


HOLD = """
import sys, time
from pathlib import Path
from magneton_tasks.base.lease import acquire
acquire([Path(sys.argv[1])], "busy", process_bound=sys.argv[2] == "bound")
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("bound", ["bound", "loose"])
def test_what_a_running_pipeline_holds_is_left_alone(bound: str, config: Path, cli: Caller) -> None:
    work = config.parent / "work"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, work, bound], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        said = refused(cli, config, 75)
        assert f"is in use by run 'busy' (host {os.uname().nodename}, pid {holder.pid}" in said
        dry = cli("clean", config, "--what", "all", "--dry-run")
        assert dry.code == 0
        assert "works on this volume: nothing can be cleaned until it ends" in dry.out
    finally:
        holder.kill()
        holder.communicate()
    if bound == "loose":  # any process of the run may go on with it
        assert "in use by run 'busy'" in refused(cli, config, 75)
        then = time.time() - 700
        os.utime(work / "lease", (then, then))
    assert cli("clean", config, "--what", "all", "--yes").code == 0
    assert top(config) == {"runs", "magneton.json", "samples.json"}  # and no lease


def test_a_run_that_begins_while_the_question_stands_is_left_alone(config: Path) -> None:
    """The lease is taken after the question."""
    items = clean.find(load_config(config), "all").items
    with acquire([config.parent / "work"], "busy", process_bound=True):
        before = tree(config.parent)
        with pytest.raises(LeaseHeldError, match="'busy'"):
            clean_remove.run(load_config(config), "all", None, items)
        assert tree(config.parent, times=False) == {k: (m, 0, c) for k, (m, _, c) in before.items()}


def test_no_pipeline_may_begin_while_it_cleans(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, refusals = os.unlink, []

    def unlink(*args: Any, **options: Any) -> None:
        if args[0] == "zarr.json":
            with pytest.raises(LeaseHeldError, match="in use by run 'clean-") as refusal:
                acquire([config.parent / "work"], "busy", process_bound=True)
            refusals.append(refusal)
        plain(*args, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    clean_remove.run(load_config(config), "cache")
    assert len(refusals) == 1
    assert not (config.parent / "work" / "lease").exists()


def test_what_wasn_t_listed_isn_t_removed(config: Path, cli: Caller) -> None:
    loaded = load_config(config)
    items = clean.find(loaded, "all").items
    some = [i for i in items if i.kind == "records"]
    clean_remove.run(loaded, "all", None, some)
    assert top(config) == {"segment", "runs", "magneton.json", "samples.json"}


def test_a_directory_without_our_marker_is_refused(config: Path, cli: Caller) -> None:
    marker = config.parent / "work" / "magneton.json"
    marker.unlink()
    assert "isn't a work directory of Magneton" in refused(cli, config, 78)
    # the output's is no marker, nor is a link to one
    shutil.copy(config.parent / "segmentation" / "magneton.json", marker)
    refused(cli, config, 78)
    marker.unlink()
    (config.parent / "marker").write_text('{"magneton": "work directory"}')
    marker.symlink_to(config.parent / "marker")
    refused(cli, config, 78)


def test_a_work_directory_that_isn_t_there_is_refused(copy_of: Copy, cli: Caller) -> None:
    config = copy_of()
    assert "before that there is nothing to clean" in refused(cli, config, 78)


@pytest.mark.parametrize("inside", [True, False])
def test_an_output_within_the_work_directory_or_around_it_is_refused(
    inside: bool, config: Path, cli: Caller
) -> None:
    data = yaml.safe_load(config.read_text())
    work = config.parent / "work"
    place = work / "segmentation" if inside else config.parent
    if inside:
        shutil.move(config.parent / "segmentation", place)
        (config.parent / "link").symlink_to(place)
        place = config.parent / "link"  # nor by way of a link
    data["paths"]["output"] = f"file://{place}"
    config.write_text(yaml.safe_dump(data))
    assert "must not contain one another" in refused(cli, config, 78)
    assert cli("clean", config, "--dry-run").code == 78
    with pytest.raises(ConfigError, match="must not contain one another"):
        clean_remove.run(load_config(config), "all")


# ------------------------------------------------------------------ asking
def test_a_dry_run_changes_nothing(config: Path, cli: Caller) -> None:
    before = tree(config.parent)
    for what in IN_WORK:
        done = cli("clean", config, "--what", what, "--dry-run")
        assert done.code == 0
        done = cli("clean", config, "--what", what, "--dry-run", "--json")
        assert (done.json["freed_bytes"], done.json["dry_run"]) == (0, True)
    assert tree(config.parent) == before
    assert len(done.json["items"]) == 4


def test_nobody_is_asked_without_a_terminal(config: Path, cli: Caller) -> None:
    before = tree(config.parent)
    for options in ((), ("--json",)):
        done = cli("clean", config, *options)
        assert done.code == 64
        assert "add --yes" in done.err
    assert tree(config.parent) == before


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("answer", "cleans"), [("n", False), ("", False), ("q", False), ("y", True)]
)
def test_the_question(answer: str, cleans: bool, config: Path) -> None:
    work = config.parent / "work"
    before = tree(work)
    command = ["-m", "magneton_tasks", "clean", str(config), "--what", "all"]
    terminal = pexpect.spawn(
        sys.executable, command, encoding="utf-8", timeout=300, dimensions=(40, 200)
    )
    terminal.expect(r"cache [^\n]+segment-[^\n]+the next run computes everything again")
    terminal.expect(r"together [^\n]+ files")
    terminal.expect(rf"free [^\n]+ in \d+ files in {work}\? \(y/n\) \[n\]: ")
    terminal.sendline(answer)
    terminal.expect("freed [^\n]+ files" if cleans else "left; nothing was changed")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert (tree(work) == before) == (not cleans)


# ------------------------------------------------------------------ killed
CALLS = ("unlink", "rename", "mkdir", "rmdir")
#: at which of them
KILLS = (1, 3, 6, 9, 14, 25)


@pytest.mark.parametrize("what", ["cache", "all"])
@pytest.mark.parametrize("n", KILLS)
def test_killed_while_cleaning_the_next_clean_goes_on(
    what: str, n: int, config: Path, cli: Caller, expected: list[Array]
) -> None:
    layers_of_try(config.parent / "work")
    output, loaded = tree(config.parent / "segmentation"), load_config(config)

    def killed() -> None:
        kill_at(n, *CALLS)
        clean_remove.run(loaded, what)

    assert in_fork(killed) == -signal.SIGKILL
    # a run in between goes on with what is there
    run = volumes.run_pipeline(config, run="between")
    same_as(run, expected)
    done = cli("clean", config, "--what", what, "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json["left_alone"] == []
    assert not list((config.parent / "work").glob(f".clean-*-{8 * '[0-9a-f]'}"))
    if what == "all":  # a temporary of the lease stays until it is old
        assert {n for n in top(config) if n[0] != "."} == {"runs", "magneton.json", "samples.json"}
    if what == "cache" or n == KILLS[-1]:  # whatever came before, all of it is gone
        run = volumes.run_pipeline(config, run="after")
        same_as(run, expected)
    if what == "cache":
        assert run.plan.nothing_to_do
        assert tree(config.parent / "segmentation", times=False).keys() == output.keys()


def test_no_reader_finds_half_a_folder(config: Path) -> None:
    """Killed at any call: a folder of ours is there as it was, or not at all."""
    work, loaded = config.parent / "work", load_config(config)
    before = {p.name: tree(p) for p in work.glob("*-*") if p.is_dir()}

    def killed(n: int) -> int:
        kill_at(n, *CALLS)
        clean_remove.run(loaded, "all")
        return 0

    for n in (2, 5, 8, 12):
        if in_fork(lambda n=n: killed(n)) == 0:  # type: ignore[misc]
            break
        for name, content in before.items():
            assert not (work / name).exists() or tree(work / name) == content
