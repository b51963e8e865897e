"""``magneton status`` as people and programs read it."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
import yaml

from magneton_tasks.base.lease import acquire
from magneton_tasks.work.record import Info
from magneton_tasks.work.record_writer import Given
from magneton_tasks.work.stores import label_store, segmentation, table_dir
from tests.helpers import volumes
from tests.helpers.calls import Caller, Done
from tests.helpers.volumes import Run

pytestmark = pytest.mark.usefixtures("warm", "childless")

Copy = Callable[..., Path]
STAGES = ("segment", "count", "pool", "apply", "verify")


def stages(done: Done, code: int = 0) -> dict[str, dict[str, Any]]:
    assert done.code == code, done.err
    return {s["stage"]: s for s in done.json["stages"]}


def kinds(done: Done, code: int = 0) -> dict[str, dict[str, int]]:
    """What isn't 0, stage by stage."""
    names = ("done", "empty", "running", "failed", "missing", "stale", "corrupt")
    return {s: {n: v[n] for n in names if v[n]} for s, v in stages(done, code).items()}


def edit(config: Path | str, **values: Any) -> None:
    """Change keys of a YAML file; ``section__key``."""
    path = Path(config)
    data = yaml.safe_load(path.read_text())
    for name, value in values.items():
        section, _, key = name.partition("__")
        data.setdefault(section, {})[key] = value
    path.write_text(yaml.safe_dump(data))


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file below a folder: time and content."""
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in folder.rglob("*")
        if p.is_file()
    }


# ------------------------------------------------------------------ the config or the input changed
def test_nothing_is_stale_while_nothing_changed(finished: Run, cli: Caller) -> None:
    done = cli("status", finished.plan.config_path, "--json")
    assert kinds(done) == {s: {"done": stages(done)[s]["total"]} for s in STAGES}
    assert (done.json["as_planned"], done.json["changed"]) == (True, [])
    text = cli("status", finished.plan.config_path)
    assert "stale" not in text.out.replace("stale  corrupt", "")
    assert text.out.splitlines()[0] == (
        f"run test, attempt 1, planned "
        f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(finished.plan.created))}"
    )


def test_a_changed_rule_leaves_the_blocks_and_tells_why_the_rest_is_stale(
    finished: Run, cli: Caller
) -> None:
    edit(finished.plan.config_path, pool__min_frac=0.61)
    done = cli("status", finished.plan.config_path, "--json")
    assert kinds(done) == {
        "segment": {"done": 8},
        "count": {"done": 8},
        "pool": {"stale": 1},
        "apply": {"stale": 2},
        "verify": {"stale": 1},
    }
    assert done.json["changed"] == ["pool.min_frac: 0.5 -> 0.61"]
    text = cli("status", finished.plan.config_path, "--missing").out
    assert "the config has changed since (see stale): pool.min_frac: 0.5 -> 0.61" in text
    assert "pool: 1 stale: the settings have changed since (pool.min_frac: 0.5 -> 0.61)" in text
    assert re.search(r"apply +1 \(1, 0, 0\) core \S+  stale: the settings have changed since", text)
    assert "segment:" not in text
    # and what is said is what a run does
    run = volumes.plan_run(Path(finished.plan.config_path))
    volumes.release(run)
    assert {s: w.todo for s, w in run.plan.work.items() if w.todo} == {
        "pool": [(0, 1)],
        "apply": [(0, 2)],
    }


def test_settings_of_a_later_stage_are_no_reason_for_an_earlier_one(
    finished: Run, cli: Caller
) -> None:
    edit(finished.plan.config_path, pool__min_frac=0.61, apply__chunk_size=[8, 16, 16])
    text = cli("status", finished.plan.config_path).out
    assert "pool: 1 stale: the settings have changed since (pool.min_frac: 0.5 -> 0.61)\n" in text
    assert "apply.chunk_size: [16, 16, 16] -> [8, 16, 16]; pool.min_frac" in text


def test_a_changed_grid_makes_every_block_stale(finished: Run, cli: Caller) -> None:
    edit(finished.plan.config_path, block__size=[40, 48, 48])
    found = kinds(cli("status", finished.plan.config_path, "--json"))
    assert (found["segment"], found["count"]) == ({"stale": 4}, {"stale": 4})


def test_a_setting_taken_back_finds_its_results_again(finished: Run, cli: Caller) -> None:
    config = Path(finished.plan.config_path)
    before = config.read_text()
    edit(config, pool__min_frac=0.61)
    volumes.run_pipeline(config, run="other")
    config.write_text(before)
    done = cli("status", config, "--json")
    assert kinds(done) == {
        "segment": {"done": 8},
        "count": {"done": 8},
        "pool": {"done": 1},
        # its records are there, but the output was written over since
        "apply": {"stale": 2},
        "verify": {"stale": 1},
    }
    assert stages(done)["apply"]["stale_why"] == {"the output holds another result now": 2}
    run = volumes.plan_run(config)
    volumes.release(run)
    assert {s: w.todo for s, w in run.plan.work.items() if w.todo} == {"apply": [(0, 2)]}


def test_a_key_that_decides_nothing_is_told_and_no_more(finished: Run, cli: Caller) -> None:
    edit(finished.plan.config_path, local__workers=2)
    done = cli("status", finished.plan.config_path, "--json")
    assert set(kinds(done)["segment"]) == {"done"}
    assert "but nothing that decides results" in cli("status", finished.plan.config_path).out


def test_a_changed_input_makes_everything_stale(finished: Run, cli: Caller) -> None:
    edit(finished.plan.config_path, input__version="second")
    text = cli("status", finished.plan.config_path).out
    assert "the input has changed since" in text
    assert "segment: 8 stale: the input has changed since" in text
    assert "count: 8 stale: the labels have changed since" in text
    found = kinds(cli("status", finished.plan.config_path, "--json"))
    assert set().union(*found.values()) == {"stale"}


def test_a_chunk_of_the_input_that_was_written_anew_makes_its_blocks_stale(
    copy_of: Copy, cli: Caller
) -> None:
    run = volumes.run_pipeline(copy_of(settings={"input.identity": "chunks"}))
    folder = Path(run.plan.config_path).parent / "affinity"
    chunk = next(p for p in sorted(folder.rglob("*-*_*-*_*-*")) if "_39-47" in p.name)
    os.utime(chunk, (1, 1))
    done = cli("status", run.plan.config_path, "--missing", "--json")
    todo = volumes.plan_run(Path(run.plan.config_path)).plan.work["segment"].todo
    stale = [b["key"] for b in done.json["missing"] if b["stage"] == "segment"]
    assert stale == [k for b, e in todo for k in range(b, e)]
    assert 0 < len(stale) < 8
    assert stages(done)["segment"]["stale_why"] == {"the input has changed since": len(stale)}


def test_an_input_that_is_away_doesn_t_keep_the_status_from_being_told(
    copy_of: Copy, cli: Caller
) -> None:
    run = volumes.run_pipeline(copy_of())
    folder = Path(run.plan.config_path).parent
    (folder / "affinity").rename(folder / "elsewhere")
    done = cli("status", run.plan.config_path, "--json")
    assert {tuple(k) for k in kinds(done).values()} == {("done",)}
    assert "it is unknown whether the input changed" in done.json["notes"][0]
    assert "note: it is unknown whether the input" in cli("status", run.plan.config_path).out


def test_values_given_for_one_run_aren_t_taken_for_a_changed_config(
    finished: Run, cli: Caller
) -> None:
    config = Path(finished.plan.config_path)
    volumes.run_pipeline(config, {"pool.min_frac": 0.61}, run="with")
    done = cli("status", config, "--json")
    assert {tuple(k) for k in kinds(done).values()} == {("done",)}
    assert (done.json["overrides"], done.json["changed"]) == ({"pool.min_frac": 0.61}, [])
    assert "with pool.min_frac=0.61 in place of what the file says" in cli("status", config).out


# ------------------------------------------------------------------ while something runs
def test_while_it_runs_the_status_is_that_of_the_run(finished: Run, cli: Caller) -> None:
    config = Path(finished.plan.config_path)
    run = volumes.plan_run(config, {"segment.threshold": 0.6}, run="next")
    with run.attempt.manifest("segment").writer("next", "segment", 0) as writer:
        writer.add(3, "started", attempt=1)
    edit(config, pool__min_frac=0.61)
    done = cli("status", config, "--json")
    assert kinds(done)["segment"] == {"running": 1, "missing": 7}
    assert done.json["holder"]["run"] == "next" and done.json["holder"]["pid"] == os.getpid()
    working = stages(done)["segment"]["working"]
    assert [(w["key"], w["position"], w["pid"]) for w in working] == [(3, [0, 1, 1], os.getpid())]
    assert abs(working[0]["since"] - time.time()) < 100
    text = cli("status", config).out
    assert f", working (host {os.uname().nodename}, pid {os.getpid()}, last sign of life" in text
    assert "what follows describes the run as planned" in text
    core = run.plan.geometry.grid.core(3)
    assert f"segment 3 (0, 1, 1) core {core} runs on " in text
    assert " since 2" in text
    # once it has ended, what the config says counts again
    volumes.release(run)
    done = cli("status", config, "--json")
    assert kinds(done)["segment"] == {"stale": 8}
    assert done.json["alive"] is False


def test_another_run_that_holds_the_volume_is_named(finished: Run, cli: Caller) -> None:
    config = Path(finished.plan.config_path)
    with acquire([config.parent / "work"], "somebody", process_bound=True):
        text = cli("status", config).out
    assert f"held by run somebody (host {os.uname().nodename}, pid {os.getpid()}" in text
    assert "working" not in text


# ------------------------------------------------------------------ failures and lists
def test_a_failure_says_block_place_cause_remedy_and_log(copy_of: Copy, cli: Caller) -> None:
    run = volumes.plan_run(copy_of())
    run.attempt.paths.log("segment", 0).write_text("what the task printed")
    with run.attempt.manifest("segment").writer("test", "segment", 0) as writer:
        info = Info(exit_code=75, cause="memory ran out", hint="take smaller blocks")
        writer.add(5, "failed", attempt=1, info=info)
    volumes.release(run)
    core = run.plan.geometry.grid.core(5)
    text = cli("status", run.plan.config_path).out
    assert "segment 5: memory ran out\n" in text
    assert f"where: 5 (1, 0, 1) core {core}, " in text
    assert "what to do: take smaller blocks" in text
    assert f"log: {run.attempt.paths.log('segment', 0)}" in text
    done = cli("status", run.plan.config_path, "--failed", "--json")
    (failure,) = done.json["failed"]
    expected = {
        "stage": "segment", "key": 5, "position": [1, 0, 1], "begin_vox": list(core.begin),
        "end_vox": list(core.end), "log": str(run.attempt.paths.log("segment", 0)), **info,
    }  # fmt: skip
    assert {k: failure[k] for k in expected} == expected


def test_a_failure_outside_any_block_is_told_too(copy_of: Copy, cli: Caller) -> None:
    run = volumes.plan_run(copy_of())
    volumes.run_stages(run, stages=["count"])  # the blocks aren't segmented yet
    volumes.release(run)
    text = cli("status", run.plan.config_path).out
    assert "count: segment isn't complete: 8 of 8 blocks without a valid record" in text
    assert str(run.attempt.paths.log("count", 0)) in text


def test_a_proof_that_is_torn_counts_as_none(copy_of: Copy, cli: Caller) -> None:
    run = volumes.plan_run(copy_of())
    proof = run.attempt.paths.result("verify")
    proof.parent.mkdir(exist_ok=True)
    proof.write_text('{"stage": "ver')
    assert kinds(cli("status", run.plan.config_path, "--json"))["verify"] == {"missing": 1}


def test_many_failures_are_cut_short_unless_asked_for(copy_of: Copy, cli: Caller) -> None:
    run = volumes.plan_run(copy_of(), {"block.size": [16, 24, 24], "block.overlap": [4, 8, 8]})
    n = len(run.plan.geometry.grid)
    with run.attempt.manifest("segment").writer("test", "segment", 0) as writer:
        for key in range(n):
            writer.add(key, "failed", attempt=1, info={"exit_code": 65, "cause": "it broke"})
    volumes.release(run)
    text = cli("status", run.plan.config_path).out
    assert text.count("it broke") == 20 < n
    assert f"segment: {n - 20} more; --failed lists them all" in text
    assert cli("status", run.plan.config_path, "--failed").out.count("it broke") == n


def test_missing_and_slow_list_blocks(copy_of: Copy, cli: Caller) -> None:
    run = volumes.plan_run(copy_of())
    with run.attempt.manifest("segment").writer("test", "segment", 0) as writer:
        for key in (0, 2, 5):
            writer.add(
                key,
                "done",
                attempt=1,
                input=run.plan.input_digest,
                output="o",
                info={"n": key},
                seconds=10.0 * key,
                cpu_s=9.0 * key,
                peak_bytes=key << 30,
            )
    volumes.release(run)
    config = run.plan.config_path
    found = cli("status", config, "--missing", "--slow", 2, "--json").json
    segment = [b for b in found["missing"] if b["stage"] == "segment"]
    assert [b["key"] for b in segment] == [1, 3, 4, 6, 7]
    core = run.plan.geometry.grid.core(3)
    assert segment[1] == {
        "stage": "segment",
        "key": 3,
        "position": [0, 1, 1],
        "begin_vox": list(core.begin),
        "end_vox": list(core.end),
        "state": "missing",
        "why": None,
    }
    assert {b["stage"] for b in found["missing"]} == {"segment", "count", "pool", "apply"}
    slow = [
        (b["key"], b["seconds"], b["cpu_s"], b["peak_bytes"], b["labels"]) for b in found["slow"]
    ]
    assert slow == [(5, 50.0, 45.0, 5 << 30, 5), (2, 20.0, 18.0, 2 << 30, 2)]
    text = cli("status", config, "--missing", "--slow", 2).out
    assert re.search(rf"segment +3 \(0, 1, 1\) core {core}  missing", text)
    assert re.search(r"segment +50 s +45 s +5.0 GiB +5  5 \(1, 0, 1\) core \S+, \w+", text)
    assert "missing" not in cli("status", config, "--json").json


# ------------------------------------------------------------------ --check
def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 5] ^= 0xFF  # of a table: in its rows
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def files_of(run: Run) -> dict[str, Path]:
    """A file of each kind, of block or cell 1."""
    store, at = label_store(run.attempt), run.plan.geometry.grid.index3(1)
    output = segmentation(run.attempt)
    box = list(output.scales[1].box.tiles(output.scales[1].chunk_size))[-1]
    pool = table_dir(run.attempt, run.records("pool")[0].input or "")
    return {
        "labels": store.shard_path(at),
        "sizes": store.sizes_path(at),
        "pairs": next(run.attempt.stage_dir("count").glob("pairs-*")),
        "pool": next(pool.glob("pool-*.parquet")),
        "chunk": output.objects.path(output.chunk_path(1, box)),
    }


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize(
    ("kind", "stage", "corrupt"),
    [
        ("labels", "segment", 1),
        ("sizes", "segment", 1),
        ("pairs", "count", 7),  # the last block has no pairs: nobody comes after it
        ("pool", "pool", 1),
        ("chunk", "apply", 1),
    ],
)
def test_check_finds_damaged_files_and_changes_no_result(
    kind: str, stage: str, corrupt: int, damage: Callable[[Path], None], finished: Run, cli: Caller
) -> None:
    path = files_of(finished)[kind]
    damage(path)
    config = Path(finished.plan.config_path)
    before = everything(config.parent)
    assert set(kinds(cli("status", config, "--json"))[stage]) == {"done"}  # nobody has looked
    done = cli("status", config, "--check", "--json")
    total = stages(done, 65)[stage]["total"]
    rest = {"done": total - corrupt} if total > corrupt else {}
    assert kinds(done, 65)[stage] == {**rest, "corrupt": corrupt}
    assert all(set(k) == {"done"} for s, k in kinds(done, 65).items() if s != stage)
    found = stages(done, 65)[stage]["damage"]
    assert all(str(path.parent if kind == "pool" else path) in d["file"] for d in found)
    again = cli("status", config, "--check")
    assert again.code == 65
    assert f"{stage} {found[0]['key']}: corrupt: {found[0]['file']}: " in again.out
    assert "what to do: " in again.out
    after = everything(config.parent)
    marks = [name for name in after if name not in before]
    assert len(marks) == (stage == "apply")  # one, however often somebody looks
    assert all(re.search(r"work/apply-\w+/records/[^/]+\.jsonl$", name) for name in marks)
    assert {name: after[name] for name in before} == before


def test_a_chunk_that_somebody_packed_anew_isn_t_the_one_that_was_recorded(
    finished: Run, cli: Caller
) -> None:
    path = files_of(finished)["chunk"]
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 0))
    done = cli("status", finished.plan.config_path, "--check", "--json")
    (found,) = stages(done, 65)["apply"]["damage"]
    assert f"it has {path.stat().st_size:,} bytes; its record says " in found["cause"]


def test_check_of_a_sound_volume_finds_nothing(finished: Run, cli: Caller) -> None:
    done = cli("status", finished.plan.config_path, "--check", "--json")
    assert {tuple(k) for k in kinds(done).values()} == {("done",)}
    assert done.json["checked"] is True
    row = cli("status", finished.plan.config_path).out.splitlines()[3].split()
    assert row[:9] == ["segment", "8", "0", "0", "0", "0", "0", "-", "8"]


def test_an_output_that_is_gone_is_noticed_and_not_made(finished: Run, cli: Caller) -> None:
    config = Path(finished.plan.config_path)
    shutil.rmtree(config.parent / "segmentation")
    for options in ((), ("--check",)):
        done = cli("status", config, "--json", *options)
        assert stages(done)["apply"]["stale_why"] == {"the output is gone": 2}
        assert kinds(done)["verify"] == {"stale": 1}
    assert not (config.parent / "segmentation").exists()


# ------------------------------------------------------------------ --watch
def test_watch_needs_a_terminal(finished: Run, cli: Caller) -> None:
    done = cli("status", finished.plan.config_path, "--watch")
    assert done.code == 64
    assert "--watch redraws a terminal" in done.err


def listen_to_ctrl_c() -> None:
    """Whoever runs the tests in the background ignores Ctrl-C, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def watching(config: Path) -> pexpect.spawn[str]:
    command = ["-m", "magneton_tasks", "status", str(config), "--watch"]
    return pexpect.spawn(
        sys.executable,
        command,
        encoding="utf-8",
        timeout=300,
        dimensions=(30, 140),
        preexec_fn=listen_to_ctrl_c,
    )


def test_watch_redraws_until_nothing_runs_any_more(finished: Run) -> None:
    config = Path(finished.plan.config_path)
    run = volumes.plan_run(config, {"segment.threshold": 0.6}, run="next")
    manifest = run.attempt.manifest("segment")
    with manifest.writer("next", "segment", 0) as writer:
        writer.add(6, "started", attempt=1)
        terminal = watching(config)
        terminal.expect(r"segment +0 +1 ")
        terminal.expect(r"segment 6 \(1, 1, 0\)")
        given = Given(attempt=1, input=run.plan.input_digest, output="o", info={"n": 1})
        writer.add(6, "done", after=manifest.read()[6], **given)
        terminal.expect(r"segment +1 +0 ")
    volumes.release(run)
    terminal.expect("no run works on this volume now")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_ctrl_c_leaves_the_watch(finished: Run) -> None:
    config = Path(finished.plan.config_path)
    with acquire([config.parent / "work"], "test", process_bound=True):
        terminal = watching(config)
        terminal.expect(r"segment +8 ")
        terminal.kill(signal.SIGINT)
        terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert "Traceback" not in (terminal.before or "")


def test_no_colours_without_a_terminal(finished: Run) -> None:
    command = [sys.executable, "-m", "magneton_tasks", "status", finished.plan.config_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
