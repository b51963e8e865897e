"""The command line as people and runners use it: output, exit codes, signals."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from magneton_tasks.base.lease import acquire
from magneton_tasks.cli.run import place
from magneton_tasks.config.read import parse_config
from magneton_tasks.errors import OutputError
from magneton_tasks.outcome import report as reporting
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.attempts import latest_attempt
from magneton_tasks.work.record import Info
from tests.helpers import volumes
from tests.helpers.calls import Caller, Done
from tests.helpers.volumes import Array, Run
from tests.helpers.warm import Template, started_warm

Copy = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("warm")

#: two blocks along x, all memory settings as shipped
SMALL = (20, 40, 64)
SETTINGS: dict[str, Any] = {
    "block.size": [20, 40, 48], "block.overlap": [0, 0, 16], "apply.mips": 1, "local": {}
}  # fmt: skip


def magneton(*args: object) -> subprocess.CompletedProcess[str]:
    """The real thing, in a process of its own."""
    command = [sys.executable, "-m", "magneton_tasks", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    return volumes.make_volume(folder, volumes.affinities(volumes.cells(SMALL, n=12)), SETTINGS)


@pytest.fixture(scope="module")
def finished_run(small: Path, template: Template | None) -> subprocess.CompletedProcess[str]:
    """`magneton run`, with real workers."""
    with started_warm(template):
        done = magneton("run", small, "--workers", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


# ------------------------------------------------------------------ run
def test_run_says_what_it_did_and_where_the_result_is(
    finished_run: subprocess.CompletedProcess[str], small: Path
) -> None:
    out = finished_run.stdout
    assert "grid      2 blocks (1 x 1 x 2)" in out
    for stage in ("segment", "count", "pool", "apply", "verify"):
        assert any(line.startswith(stage) for line in out.splitlines())
    assert f"precomputed://file://{small.parent}/segmentation" in out
    report = re.search(r"^report +(\S+)$", out, re.MULTILINE)
    assert report
    assert Path(report[1]).read_text().startswith("<!doctype html>")
    assert "\x1b" not in out  # no terminal: no colours, no cursor movements
    assert finished_run.stderr == ""


def test_run_gives_what_the_stages_give(
    finished_run: subprocess.CompletedProcess[str], small: Path, tmp_path: Path
) -> None:
    config = parse_config(small.read_text(), str(small))
    one = volumes.run_pipeline(
        small,
        {
            "paths.output": f"file://{tmp_path}/s",
            "paths.work": f"{tmp_path}/w",
            "local.memory": "8GiB",
        },
    )
    assert np.array_equal(
        volumes.read_segmentation(one), volumes.read_segmentation(config.paths.output)
    )


def test_no_worker_took_more_memory_than_plan_said(
    finished_run: subprocess.CompletedProcess[str], small: Path
) -> None:
    attempt = Attempt.open(latest_attempt(small).root)
    run = Run(attempt.plan, attempt, None)  # type: ignore[arg-type]
    assert run.made("segment") == {0, 1}
    volumes.check_memory(run, honest=True)
    for stage in ("segment", "count", "pool", "apply"):
        result = run.result(stage, None if stage == "pool" else 0)
        assert 0 < result["peak_bytes"] <= attempt.plan.memory[stage].bound, stage


def test_a_rerun_says_that_there_is_nothing_to_do(
    finished_run: subprocess.CompletedProcess[str], small: Path
) -> None:
    done = magneton("run", small)
    assert done.returncode == 0
    assert "nothing to do; verifying" in done.stdout


def test_a_failed_block_is_told_with_cause_remedy_and_log(tmp_path: Path) -> None:
    affinity = volumes.affinities(volumes.cells((20, 40, 200), n=30)).astype(np.float32) / 255
    affinity[1, 5, 6, 180] = np.nan  # plan samples 5 to 151
    config = volumes.make_volume(tmp_path, affinity, SETTINGS | {"block.size": [20, 40, 60]})
    voxel = tuple(o + v for o, v in zip(volumes.OFFSET, (5, 6, 180), strict=True))
    done = magneton("run", config)
    assert done.returncode == 65
    assert f"segment 4: block 4: affinity nan at voxel {voxel}" in done.stdout
    assert "what to do: check input.scale" in done.stdout
    log = re.search(r"log: (\S+)", done.stdout)
    assert log
    assert "affinity nan" in Path(log[1]).read_text()
    assert "run the same command to continue" in done.stdout
    report = re.search(r"^report: (\S+)$", done.stdout, re.MULTILINE)
    assert report
    assert "affinity nan" in Path(report[1]).read_text()


def test_a_report_that_can_t_be_written_is_no_second_failure(
    finished: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: Attempt) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(reporting, "write_report", full)
    place._report(finished.attempt.paths)
    out = capsys.readouterr().out
    assert "WARNING: the report couldn't be written: OutputError: the disk is full" in out


def test_a_run_that_is_killed_is_gone_on_from(copy_of: Copy, expected: list[Array]) -> None:
    config = copy_of()
    command = [sys.executable, "-m", "magneton_tasks", "run", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    records = config.parent / "work"
    while not any('"done"' in p.read_text() for p in records.glob("segment-*/records/*.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    # its worker ends with it; its lease is that of a dead process: another run may begin at once
    attempt = Attempt.open(latest_attempt(config).root)
    worker = attempt.manifest("segment").read()[0].last.pid
    while Path(f"/proc/{worker}").exists():  # would be for ever if it worked on
        time.sleep(0.02)
    run = volumes.run_pipeline(config, run="another")
    assert len(run.made("segment")) < 8
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))


def test_a_dry_run_tells_all_and_writes_nothing(copy_of: Copy, cli: Caller) -> None:
    config = copy_of()
    before = sorted(config.parent.rglob("*"))
    done = cli("run", config, "--dry-run")
    assert done.code == 0
    for word in ("8 blocks", "8 of 8 in 1 batch", "memory at most", "CPU", "67 files", "sampled"):
        assert word in done.out
    assert sorted(config.parent.rglob("*")) == before


# ------------------------------------------------------------------ plan and stages
def test_plan_ends_with_json_that_names_the_attempt(finished: Run, cli: Caller) -> None:
    config = finished.plan.config_path
    done = cli(
        "plan",
        config,
        "--run-id",
        "manual__2024-05-01T00:00:00+00:00",
        "--set",
        "pool.min_frac=0.6",
    )
    assert done.code == 0
    attempt = Attempt.open(Path(done.json["attempt"]))
    assert attempt.plan.run == "manual__2024-05-01T00:00:00+00:00"
    assert attempt.config.pool.min_frac == 0.6
    assert done.json["batches"] == {"segment": 0, "count": 0, "apply": 1, "downsample": 0}
    assert done.json["nothing_to_do"] is False
    assert "changed since the last attempt: pool.min_frac: 0.5 -> 0.6" in done.out


def test_the_commands_of_the_stages_make_the_volume(
    copy_of: Copy, cli: Caller, expected: list[Array]
) -> None:
    """In this process, as a runner would call them; the last line is each task's result."""
    attempt = cli("plan", copy_of(), "--run-id", "r").json["attempt"]
    for part in (1, 0):
        done = cli("segment", "--run", attempt, "--batch", 0, "--part", f"{part}/2")
        assert (done.code, done.json["done"], done.json["part"]) == (0, 4, [part, 2])
    for stage in ("count", "pool", "apply", "verify", "release"):
        done = cli(stage, "--run", attempt)
        assert done.code == 0
    assert done.out == ""
    assert (
        cli("apply", "--run", attempt, "--batch", 7).json["done"] == 0
    )  # no such batch: nothing to do
    opened = Attempt.open(Path(attempt))
    assert np.array_equal(volumes.read_segmentation(opened.config.paths.output), expected[0])


# ------------------------------------------------------------------ status
def states(done: Done) -> dict[str, dict[str, Any]]:
    return {s["stage"]: s for s in done.json["stages"]}


def test_status_of_a_finished_volume(finished: Run, cli: Caller) -> None:
    done = cli("status", finished.plan.config_path, "--json")
    assert {s: (v["done"], v["total"], v["missing"]) for s, v in states(done).items()} == {
        "segment": (8, 8, 0),
        "count": (8, 8, 0),
        "pool": (1, 1, 0),
        "apply": (2, 2, 0),
        "verify": (1, 1, 0),
    }
    assert done.json["alive"] is False
    text = cli("status", finished.plan.config_path).out
    assert text.splitlines()[1].startswith("threshold ")
    assert text.splitlines()[2].split()[:6] == [
        "stage",
        "done",
        "running",
        "failed",
        "missing",
        "empty",
    ]


def test_status_tells_failed_running_and_missing(finished: Run, cli: Caller) -> None:
    config = finished.plan.config_path
    run = volumes.plan_run(Path(config), {"segment.threshold": 0.6}, run="next")
    manifest = run.attempt.manifest("segment")
    with manifest.writer("next", "segment", 0) as writer:
        source = run.plan.input_digest
        writer.add(0, "done", attempt=1, input=source, output="o", info={"n": 3})
        writer.add(1, "empty", attempt=1, input=source, output="empty", info={"n": 0})
        info = Info(exit_code=65, cause="a bad block", hint="mend it", log="/where")
        writer.add(2, "failed", attempt=1, info=info)
        writer.add(3, "started", attempt=1)
    done = cli("status", config, "--json")
    segment = states(done)["segment"]
    assert {k: segment[k] for k in ("done", "empty", "failed", "running", "missing")} == {
        "done": 1,
        "empty": 1,
        "failed": 1,
        "running": 1,
        "missing": 4,
    }
    assert [{k: f[k] for k in ("key", *info)} for f in segment["failures"]] == [{"key": 2, **info}]
    assert segment["left_s"] > 0
    assert done.json["alive"] is True
    text = cli("status", config).out
    assert "segment 2: a bad block" in text
    assert "what to do: mend it" in text
    assert "log: /where" in text
    # nobody works any more: what was started is missing
    volumes.release(run)
    segment = states(cli("status", config, "--json"))["segment"]
    assert (segment["running"], segment["missing"]) == (0, 5)


def test_status_before_any_run(copy_of: Copy, cli: Caller) -> None:
    done = cli("status", copy_of())
    assert done.code == 66
    assert "holds no run yet" in done.err
    assert "magneton run" in done.err


# ------------------------------------------------------------------ evaluate, config
def test_evaluate_scores_against_truth(base: Run, tmp_path: Path, cli: Caller) -> None:
    url = base.attempt.config.paths.output
    truth = volumes.write_precomputed(
        tmp_path / "truth",
        volumes.cells(),
        layer_type="segmentation",
        encoding="compressed_segmentation",
    )
    same = cli("evaluate", url, url, "--json").json
    assert (same["vi"], same["arand"]) == (0, 0)
    scores = cli("evaluate", url, truth, "--json").json
    assert 0 < scores["vi"] < 0.3
    assert scores["vi"] == pytest.approx(scores["vi_split"] + scores["vi_merge"])
    assert scores["voxels"] == volumes.cells().size
    assert "ARAND" in cli("evaluate", url, truth).out
    refused = cli("evaluate", url, base.attempt.config.paths.input)
    assert refused.code == 78
    assert "3 channels of uint8" in refused.err


def test_config_commands(small: Path, cli: Caller) -> None:
    assert cli("config", "check", small).out == f"{small}: ok\n"
    shown = cli("config", "show", small, "--set", "segment.threshold=0.25")
    data = yaml.safe_load(shown.out)
    assert data["segment"]["threshold"] == 0.25
    assert data["pool"]["rule"] == "mutual"
    assert parse_config(shown.out, "shown").segment.threshold == 0.25
    schema = json.loads(cli("config", "schema").out)
    assert set(schema["properties"]) >= {"paths", "input", "block", "segment", "pool", "apply"}
    assert all("description" in v for v in schema["$defs"]["Segment"]["properties"].values())


# ------------------------------------------------------------------ exit codes
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["frobnicate"], "No such command"),
        (["run"], "Missing argument"),
        (["run", "{config}", "--set", "threshold"], "is not key=value"),
        (["run", "{config}", "--set", "segment.threshold=[1"], "is not YAML"),
        (["run", "{config}", "--stages", "segmnt"], "unknown stage segmnt; did you mean segment?"),
        (["run", "{config}", "--workers", "0"], "--workers"),
        (["segment", "--run", "x", "--part", "2/2"], "is not I/K with 0 <= I < K"),
        (["segment", "--run", "x", "--part", "²/3"], "is not I/K with 0 <= I < K"),
        (["segment", "--run", "x", "--batch", "-1"], "--batch"),
    ],
)
def test_a_wrong_command_line_is_64(
    args: list[str], message: str, small: Path, cli: Caller
) -> None:
    done = cli(*(a.format(config=small) for a in args))
    assert done.code == 64
    assert message in done.err


def test_bad_data_is_65(tmp_path: Path, cli: Caller) -> None:
    config = volumes.make_volume(tmp_path, np.full((3, 9, 9, 9), 7, np.float32))
    done = cli("plan", config, "--run-id", "r")
    assert done.code == 65
    assert done.err.startswith(f"error: file://{tmp_path}/affinity: affinity 7 at voxel")
    assert "\n  what to do: " in done.err


def test_no_input_is_66(tmp_path: Path, cli: Caller) -> None:
    assert cli("run", tmp_path / "none.yaml").code == 66
    assert cli("run", volumes.write_config(tmp_path)).code == 66
    assert cli("segment", "--run", tmp_path / "no" / "attempt").code == 66


def test_a_place_that_can_t_be_written_is_74(copy_of: Copy, cli: Caller) -> None:
    config = copy_of()
    (config.parent / "work").write_text("a file")
    done = cli("run", config)
    assert done.code == 74
    assert str(config.parent / "work") in done.err


def test_a_volume_in_use_is_75_for_another_process(finished: Run) -> None:
    """The holder lives in this process, the second run is one of its own."""
    config = Path(finished.plan.config_path)
    with acquire([config.parent / "work"], "mine", process_bound=True):
        done = magneton("run", config)
        assert done.returncode == 75
        assert f"in use by run 'mine' (host {os.uname().nodename}, pid {os.getpid()}" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_wrong_config_is_78(small: Path, cli: Caller) -> None:
    done = cli("run", small, "--set", "segment.treshold=1")
    assert done.code == 78
    assert "did you mean segment.threshold?" in done.err
    broken = small.parent / "broken.yaml"
    broken.write_text("paths: {input: a\nsegment")
    done = cli("config", "check", broken)
    assert done.code == 78
    assert f"{broken}, line 3, column" in done.err or f"{broken}, line 2, column" in done.err


def test_a_plan_of_another_version_is_78(finished: Run, cli: Caller) -> None:
    path = finished.attempt.paths.plan
    path.write_text(
        path.read_text().replace(f'"version": "{finished.plan.version}"', '"version": "0.0.0"')
    )
    done = cli("verify", "--run", finished.attempt.paths.root)
    assert done.code == 78
    assert "was planned by Magneton 0.0.0" in done.err
    config = finished.plan.config_path
    for command in ("status", "report"):
        done = cli(command, config)
        assert done.code == 78
        assert "the newest run is of Magneton 0.0.0" in done.err
        assert (
            f"`magneton run {config} --dry-run` shows what is still valid; after the next run"
            in done.err
        )
        assert "compute node" not in done.err


@pytest.mark.parametrize("module", ["magneton", "magneton_tasks"])
def test_help_is_there_without_heavy_imports(module: str) -> None:
    code = (
        "import runpy, sys; sys.argv = ['magneton', '--help']\n"
        f"try: runpy.run_module('{module}', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'numpy', 'zarr', 'pyarrow', 'cloudvolume', 'numba', 'airflow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = [
        line.split()[0]
        for line in done.stdout.splitlines()
        if line.startswith("  ") and line.split()
    ]
    for command in (
        "run",
        "try",
        "status",
        "evaluate",
        "config",
    ):
        assert command in listed
