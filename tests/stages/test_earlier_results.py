"""Nobody's result changes silently because a default did: what is refused, and how to go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from magneton_tasks.config.read import load_config
from magneton_tasks.errors import ConfigError
from magneton_tasks.stages.planning import earlier
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Run

pytestmark = pytest.mark.usefixtures("childless")

KEEP_OVERLAP = "`method: overlap` keeps it, `method: exact` computes it again"
KEEP_THRESHOLD = (
    "`segment.threshold: 0.7` keeps it, `segment.threshold: null`, written out, takes the map's"
)
#: a config of three paths, in which small blocks stand for the large ones of a real volume
PLAIN: dict[str, Any] = {"local": {"workers": 1, "memory": "8GiB"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain config beside its volume; nothing was run yet."""
    folder = tmp_path_factory.mktemp("plain")
    volumes.write_precomputed(folder / "affinity", volumes.affinities(volumes.cells((24, 40, 40))))
    return folder


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "affinity", tmp_path / "affinity")
    return write(tmp_path / "volume.yaml")


def write(path: Path, partition: bool = False, **more: Any) -> Path:
    folder, part = path.parent, "/{partition}" if partition else ""
    paths = {
        "input": f"file://{folder}/affinity",
        "output": f"file://{folder}/segmentation{part}",
        "work": f"{folder}/work{part}",
    }
    path.write_text(yaml.safe_dump({"paths": paths, **PLAIN, **more}))
    return path


def plan(config: Path, run: str = "next", **options: Any) -> Run:
    found = volumes.plan_run(config, run=run, **options)
    volumes.release(found)
    return found


def carried(config: Path, run: str, **options: Any) -> Run:
    """A run that got as far as the first stage's end."""
    found = plan(config, run, **options)
    result = found.attempt.paths.result("segment", 0)
    result.parent.mkdir(exist_ok=True)
    result.write_text("{}")
    return found


def of_release(run: Run, version: str, **segment: Any) -> None:
    """As another release left an attempt (and its output): its defaults stood in the config."""
    paths = run.attempt.paths
    data = yaml.safe_load(paths.config.read_text())
    data["segment"] |= segment
    paths.config.write_text(yaml.safe_dump(data))
    planned = json.loads(paths.plan.read_text())
    # what only later releases have isn't there
    old = {k: v for k, v in planned.items() if k != "threshold"} | {"version": version}
    paths.plan.write_text(json.dumps(old))
    marker = Path(run.attempt.config.paths.output.removeprefix("file://")) / "magneton.json"
    owner = json.loads(marker.read_text())
    owner["config"]["segment"] |= segment
    marker.write_text(json.dumps(owner | {"magneton": version}))


def by_overlap(config: Path, **options: Any) -> Run:
    """What 0.1.0 made of a plain config."""
    run = plan(config, "before", sets={"method": "overlap"}, **options)
    of_release(run, "0.1.0", threshold=0.7)
    return run


def by_exact(config: Path, threshold: float = 0.7, version: str = "0.1.0", **options: Any) -> Run:
    sets = {"method": "exact", "segment.threshold": threshold}
    run = plan(config, "before", sets=sets, **options)
    of_release(run, version, threshold=threshold)
    return run


def refused(config: Path, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        plan(config, **options)
    assert caught.value.exit_code == 78
    return str(caught.value)


def forget(what: str, folder: Path) -> None:
    """Leave only the work, or only the output."""
    shutil.rmtree(folder / ("segmentation" if what == "work" else "work"))


# ------------------------------------------------------------------ a plain config
def test_a_plain_config_of_a_new_volume_is_exact_and_never_asked(config: Path) -> None:
    first = plan(config, "first")
    assert (first.attempt.config.method, first.plan.threshold.source) == ("exact", "map")
    for k in range(2):
        assert plan(config, f"again{k}").plan.fingerprints == first.plan.fingerprints


def test_a_run_by_the_other_method_asks_nothing_later(config: Path) -> None:
    """The plain config was accepted before; overlap was chosen for one run."""
    carried(config, "first")
    carried(config, "once", sets={"method": "overlap"})
    assert plan(config).attempt.config.method == "exact"


# ------------------------------------------------------------------ made by overlap
@pytest.mark.parametrize("left", ["work", "output", "both"])
def test_a_result_of_overlap_is_kept_until_the_config_says_what_it_wants(
    config: Path, left: str, cli: Caller
) -> None:
    run = by_overlap(config)
    if left != "both":
        forget(left, config.parent)
    before = {p: p.stat().st_mtime_ns for p in config.parent.rglob("*")}
    told = refused(config)
    assert KEEP_OVERLAP in told and str(config.parent) in told
    assert {p: p.stat().st_mtime_ns for p in config.parent.rglob("*")} == before
    for command in (("plan", "--run-id", "x"), ("run", "--dry-run"), ("run", "--yes")):
        done = cli(command[0], config, *command[1:])
        assert (done.code, KEEP_OVERLAP in done.err) == (78, True), command
    kept = plan(write(config, method="overlap"), "kept")
    assert kept.plan.fingerprints == run.plan.fingerprints
    assert carried(write(config, method="exact"), "anew").plan.threshold.source == "map"
    # the line may go again: nothing is asked any more
    assert plan(write(config), "plain").attempt.config.method == "exact"


def test_one_of_any_partition_counts(config: Path) -> None:
    config = write(config, partition=True)
    by_overlap(config, partition="a")
    for left in ("both", "output"):
        if left == "output":
            shutil.rmtree(config.parent / "work")
        assert KEEP_OVERLAP in refused(config, partition="b")
    assert KEEP_OVERLAP in refused(config, partition="a")
    write(config, partition=True, method="exact")
    carried(config, "b", partition="b")
    assert plan(write(config, partition=True), "c", partition="c").attempt.config.method == "exact"


def test_an_explicit_method_is_never_asked(config: Path) -> None:
    by_overlap(config)
    assert plan(config, sets={"method": "exact"}).attempt.config.method == "exact"


def test_a_config_of_this_release_that_lost_its_line_is_asked(config: Path) -> None:
    plan(write(config, method="overlap"), "before")
    assert KEEP_OVERLAP in refused(write(config))


# ------------------------------------------------------------------ made at the old threshold
@pytest.mark.parametrize("left", ["work", "output", "both"])
@pytest.mark.parametrize("method", [None, "exact"])
def test_a_result_at_the_old_threshold_is_kept_until_the_config_says_what_it_wants(
    config: Path, left: str, method: str | None
) -> None:
    run = by_exact(config)
    if left != "both":
        forget(left, config.parent)
    more: dict[str, Any] = {"method": method} if method else {}
    write(config, **more)
    assert KEEP_THRESHOLD in refused(config)
    kept = plan(write(config, **more, segment={"threshold": 0.7}), "kept")
    assert kept.plan.fingerprints == run.plan.fingerprints
    taken = carried(write(config, **more, segment={"threshold": None}), "taken")
    assert taken.plan.threshold.source == "map"
    assert plan(write(config, **more), "plain").plan.threshold == taken.plan.threshold


@pytest.mark.parametrize(("threshold", "version"), [(0.6, "0.1.0"), (0.7, "0.2.0"), (0.7, "1.0.3")])
def test_another_threshold_or_a_later_release_asks_nothing(
    config: Path, threshold: float, version: str
) -> None:
    by_exact(config, threshold, version)
    assert plan(config).plan.threshold.source == "map"


def test_overlap_goes_on_at_its_own(config: Path) -> None:
    run = by_overlap(config)
    assert plan(write(config, method="overlap")).plan.fingerprints == run.plan.fingerprints


# ------------------------------------------------------------------ what answers for the file
def test_one_stopped_run_of_another_partition_says_nothing_of_the_file(
    config: Path, cli: Caller
) -> None:
    config = write(config, partition=True)
    by_overlap(config, partition="a")
    plan(config, "once", partition="b", sets={"method": "exact"})  # and was killed
    done = cli("run", config, "--partition", "a", "--yes")
    assert (done.code, KEEP_OVERLAP in done.err) == (78, True)
    assert KEEP_OVERLAP in refused(config, partition="b")


@pytest.mark.parametrize("partition", ["a", "b"])
def test_what_was_set_for_one_run_is_asked_again_without_it(config: Path, partition: str) -> None:
    config = write(config, partition=True)
    by_overlap(config, partition="a")
    carried(config, "once", partition=partition, sets={"method": "exact"})
    assert KEEP_OVERLAP in refused(config, partition="a")


def test_a_stopped_run_doesn_t_answer_although_the_file_had_the_line(config: Path) -> None:
    by_overlap(config)
    shutil.rmtree(config.parent / "segmentation")
    plan(write(config, method="exact"), "stopped")
    assert KEEP_OVERLAP in refused(write(config))


def test_a_run_of_another_partition_doesn_t_answer_for_a_result_of_this_one(config: Path) -> None:
    config = write(config, partition=True)
    by_overlap(config, partition="a")
    carried(write(config, partition=True, method="exact"), "b", partition="b")
    assert KEEP_OVERLAP in refused(write(config, partition=True), partition="a")
    carried(write(config, partition=True, method="exact"), "a", partition="a")
    assert plan(write(config, partition=True), partition="a").attempt.config.method == "exact"


def test_partitions_that_share_a_work_directory_are_told_apart(config: Path) -> None:
    def shared(**more: Any) -> Path:
        data = yaml.safe_load(write(config, partition=True, **more).read_text())
        data["paths"]["work"] = f"{config.parent}/work"
        config.write_text(yaml.safe_dump(data))
        return config

    by_overlap(shared(), partition="a")
    carried(shared(method="exact"), "b", partition="b")
    assert KEEP_OVERLAP in refused(shared(), partition="a")
    assert plan(shared(), partition="c").attempt.config.method == "exact"


def test_an_output_of_overlap_stands_while_only_its_labels_were_made_anew(config: Path) -> None:
    by_overlap(config)
    shutil.rmtree(config.parent / "work")
    carried(write(config, method="exact"), "labels", stages=("segment",))
    assert KEEP_OVERLAP in refused(write(config))


@pytest.mark.parametrize("left", ["work", "output", "both"])
@pytest.mark.parametrize("by", ["set", "file"])
def test_the_old_threshold_that_was_kept_is_asked_about_again(
    config: Path, by: str, left: str
) -> None:
    run = by_exact(config)
    if by == "set":
        kept = carried(config, "kept", sets={"segment.threshold": 0.7})
    else:
        kept = carried(write(config, segment={"threshold": 0.7}), "kept")
    assert kept.plan.fingerprints == run.plan.fingerprints
    if left != "both":
        forget(left, config.parent)
    assert KEEP_THRESHOLD in refused(write(config))


def test_a_whole_run_with_the_line_answers_once_the_line_is_gone(config: Path) -> None:
    by_overlap(config)
    volumes.run_pipeline(write(config, method="exact"), run="anew")
    again = volumes.run_pipeline(write(config), run="plain")
    assert again.plan.nothing_to_do and again.attempt.config.method == "exact"


# ------------------------------------------------------------------ what can't be read
def test_damaged_and_foreign_files_are_no_hindrance(config: Path) -> None:
    by_overlap(config)
    (run,) = (config.parent / "work" / "runs").glob("*/*")
    (run / "config.yaml").write_text("{ broken")
    (config.parent / "segmentation" / "magneton.json").unlink()
    shutil.rmtree(config.parent / "segmentation")
    assert plan(config).attempt.config.method == "exact"


def test_of_a_bucket_only_this_run_s_output_is_looked_at(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def read(url: str) -> dict[str, Any]:
        asked.append(url)
        return {"magneton": "0.1.0", "config": {"method": "overlap", "segment": {"threshold": 0.7}}}

    monkeypatch.setattr(earlier, "read_owner", read)
    data = yaml.safe_load(write(config, partition=True).read_text())
    data["paths"]["output"] = "gs://bucket/segmentation/{partition}"
    config.write_text(yaml.safe_dump(data))
    check: Callable[..., None] = earlier.check
    with pytest.raises(ConfigError, match="`method: overlap` keeps it"):
        check(load_config(config, partition="b"), load_config(config))
    assert asked == ["gs://bucket/segmentation/b"]


# ------------------------------------------------------------------ a threshold without a method
def test_a_threshold_without_a_method_is_told_which_it_is_for(config: Path, cli: Caller) -> None:
    write(config, segment={"threshold": 0.7})
    shown = cli("plan", config, "--run-id", "next").out
    assert "segment.threshold 0.7 applies to method: exact, because the config names none" in shown
    assert "0.7 is usual for method: overlap" in shown
    silent: list[dict[str, Any]] = [{"method": "exact", "segment": {"threshold": 0.4}}, {}]
    for more in silent:
        shown = cli("plan", write(config, **more), "--run-id", "next").out
        assert "is usual for method: overlap" not in shown
