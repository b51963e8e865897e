"""The report of an attempt: its numbers are those of the records, its page asks for nothing."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.cli.main import cli
from magneton_tasks.cli.view import report as command
from magneton_tasks.errors import NoInputError, OutputError
from magneton_tasks.outcome import block_squares, report
from magneton_tasks.outcome.block_detail import as_json
from magneton_tasks.outcome.block_map import BlockMap
from magneton_tasks.outcome.page.frozen import data_of, render
from magneton_tasks.work.paths import AttemptPaths
from tests.helpers import many_blocks, volumes
from tests.helpers.volumes import Array, Run

Copy = Callable[..., Path]
#: What must come out as text, wherever it comes from.
EVIL = """</script><script>alert("it's")</script><img src=x onerror='a'>&amp;"""


def written(paths: AttemptPaths) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(paths.report.read_text())
    return found


class Page(HTMLParser):
    """A page taken apart: its elements, its scripts, its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def data(self) -> Any:
        """What the page shows."""
        return json.loads(self.scripts[0])

    @property
    def layers(self) -> Any:
        return json.loads(gzip.decompress(base64.b64decode(self.scripts[1])))


def page_of(paths: AttemptPaths) -> Page:
    return Page(paths.page.read_text())


# ------------------------------------------------------------------ numbers
def test_the_numbers_are_those_of_the_records(base: Run) -> None:
    data = written(base.attempt.paths)
    assert (data["state"], data["run"], data["attempt"]) == ("verified", "base", 1)
    stages, maps = ({e["stage"]: e for e in data[name]} for name in ("stages", "maps"))
    assert list(stages) == ["segment", "count", "pool", "apply"]
    for stage, row in stages.items():
        records = base.records(stage)
        states = Counter(r.state for r in records.values())
        assert (row["total"], row["done"], row["empty"]) == (
            len(records),
            states["done"],
            states["empty"],
        )
        assert row["failed"] == row["missing"] == row["running"] == row["before"] == 0
        assert row["peak_bytes"] == max(r.peak_bytes or 0 for r in records.values())
        assert records[row["peak_key"]].peak_bytes == row["peak_bytes"]
        assert row["bound_bytes"] == base.plan.memory[stage].bound
        began = min(r.began or 0 for r in records.values())
        assert row["seconds"] == pytest.approx(
            max(r.time for r in records.values()) - began, abs=2e-3
        )
        assert row["cpu_s"] >= sum(r.cpu_s or 0 for r in records.values()) - 1e-3
        if stage != "pool":
            found, keys = maps[stage], range(len(records))
            assert found["seconds"] == [records[k].seconds for k in keys]
            assert found["peak_bytes"] == [records[k].peak_bytes for k in keys]
            assert found["states"] == "d" * len(records)
            assert row["voxels"] == base.plan.geometry.box.voxels
            seconds = row["ended"] - row["began"]  # which aren't rounded
            assert row["voxels_per_s"] == pytest.approx(row["voxels"] / seconds)
    records = base.records("segment")
    assert maps["segment"]["labels"] == [records[k].info["n"] for k in range(8)]
    assert maps["segment"]["cpu_s"] == [records[k].cpu_s for k in range(8)]
    assert maps["segment"]["shape"] == [2, 2, 2]
    assert [tuple(c) for c in maps["segment"]["cuts"]] == list(base.plan.geometry.grid.cuts)
    assert maps["segment"]["hosts"] == maps["segment"]["runs"] == [0, 8]
    assert data["hosts"] == [records[0].host]
    assert [b["key"] for b in data["slowest"]] == sorted(
        records, key=lambda k: (-(records[k].seconds or 0), k)
    )


def test_objects_and_their_sizes_are_those_of_the_output(base: Run, expected: list[Array]) -> None:
    pool = written(base.attempt.paths)["pool"]
    ids, voxels = np.unique(expected[0][expected[0] > 0], return_counts=True)
    classes = np.floor(np.log2(voxels)).astype(int)
    assert pool["sizes"]["objects"] == np.bincount(classes).tolist()
    assert pool["sizes"]["voxels"] == np.bincount(classes, voxels).astype(int).tolist()
    assert (pool["objects"], pool["foreground_vox"]) == (len(ids), voxels.sum())
    assert pool["objects"] == base.result("verify")["objects"]
    largest = voxels.argmax()
    assert (pool["largest"][0]["global_id"], pool["largest"][0]["voxels"]) == (
        ids[largest],
        voxels[largest],
    )
    page = data_of(base.attempt.paths.page)
    assert page is not None  # scripts round numbers above 2^53
    assert page["summary"]["pool"]["largest"][0]["global_id"] == str(ids[largest])


def test_written_bytes_are_those_on_disk(base: Run) -> None:
    stages = {s["stage"]: s for s in written(base.attempt.paths)["stages"]}
    output = Path(base.attempt.config.paths.output.removeprefix("file://"))
    chunks = [p for p in output.rglob("*.gz") if p.is_file()]
    chunks += (base.attempt.stage_dir("apply") / "objects").iterdir()
    assert stages["apply"]["stored_bytes"] == sum(p.stat().st_size for p in chunks)
    labels = base.attempt.stage_dir("segment")
    stored = [*(labels / "labels.zarr" / "c").rglob("*"), *(labels / "sizes").rglob("*.npy")]
    assert stages["segment"]["stored_bytes"] == sum(p.stat().st_size for p in stored if p.is_file())
    counted = base.attempt.stage_dir("count").glob("*.parquet")
    assert stages["count"]["stored_bytes"] == sum(p.stat().st_size for p in counted)


def test_settings_say_what_differs_from_the_default(base: Run) -> None:
    settings = {s["key"]: s for s in written(base.attempt.paths)["settings"]}
    changed = {key for key, s in settings.items() if s["changed"]}
    assert changed == {
        "paths.input",
        "paths.output",
        "paths.work",
        "paths.visibility_wait_s",
        "method",
        "block.size",
        "block.overlap",
        "segment.merge_function",
        "segment.threshold",
        "segment.aff_thresholds",
        "apply.chunk_size",
        "apply.mips",
        "local.workers",
        "local.memory",
    }
    threshold = settings["segment.threshold"]
    assert (threshold["value"], threshold["default"]) == (0.5, None)
    assert settings["block.size"]["default"] == [256, 256, 256]
    assert "default" not in settings["paths.input"]
    assert "pool.min_iou" not in settings  # rule mutual doesn't read it
    assert {"pool.rule", "box", "mask.path"} < settings.keys()


def test_the_page_holds_the_data_that_airflow_serves(base: Run) -> None:
    """The browser's tests see that it shows them."""
    page, live = page_of(base.attempt.paths), BlockMap(base.attempt)
    live.refresh()
    assert page.elements["h1"] == page.elements["footer"] == 1
    facts, summary = page.data["facts"], page.data["summary"]
    assert facts["look"]["view"] == f"magneton view {base.plan.config_path}"
    assert facts["look"]["source"] == f"precomputed://{base.attempt.config.paths.output}"
    assert {s["key"] for s in facts["settings"]} >= {"local.memory", "segment.threshold"}
    served = json.loads(as_json(live.summary))
    written_before = ("ended", "alive", "version", "verify", "has_report", "has_preview")
    assert {k: v for k, v in summary.items() if k not in written_before} == {
        k: v for k, v in served.items() if k not in written_before
    }
    for stage, found in page.layers.items():
        for z, columns in enumerate(found["layers"]):
            answer = json.loads(as_json(live.layer(stage, z)))
            del answer["times"], answer["z"]
            assert {**found["head"], **columns} == answer
    labels = [n for layer in page.layers["segment"]["layers"] for n in layer["labels"]]
    assert labels == [base.records("segment")[k].info["n"] for k in range(8)]


def test_without_a_script_the_page_says_how_it_stands(base: Run) -> None:
    text = page_of(base.attempt.paths).text
    assert "Run base, attempt 1: verified (complete), 25 objects." in text
    assert f"magneton status {base.plan.config_path}" in text


# ------------------------------------------------------------------ states
def test_a_failed_block_is_named_with_its_cause(tmp_path: Path) -> None:
    affinity = (volumes.affinities(volumes.cells()) / 255).astype(np.float32)
    config = volumes.make_volume(tmp_path, affinity)
    run = volumes.plan_run(config)  # which looks at samples: it would find the damage first
    affinity[:, 30, 50, 50] = np.nan
    volumes.write_precomputed(tmp_path / "affinity", affinity)
    volumes.release(volumes.run_stages(run))
    assert run.code == 65 and not run.attempt.paths.page.exists()
    report.write_report(run.attempt)
    data, page = written(run.attempt.paths), page_of(run.attempt.paths)
    assert data["state"] == "failed"
    failed = {k for k, r in run.last("segment").items() if r.state == "failed"}
    assert failed
    assert {f["key"] for f in data["failures"]} == failed
    assert data["failed"] == len(failed)
    letters = Counter(data["maps"][0]["states"])
    assert (letters["f"], letters["d"]) == (len(failed), 8 - len(failed))
    for failure in data["failures"]:
        record = run.last("segment")[failure["key"]]
        assert (failure["cause"], failure["hint"]) == (record.info["cause"], record.info["hint"])
        assert Path(failure["log"]).exists()
        for text in (failure["cause"], failure["hint"]):
            assert " ".join(text.split()) in page.text
    (segment, *_) = page.data["summary"]["stages"]
    shown = [{k: f[k] for k in data["failures"][0]} for f in segment["failures"]]
    assert shown == data["failures"]
    assert page.data["facts"]["look"]["run"] == f"magneton run {config}"
    assert data["pool"] is None


def test_a_failed_verification_is_in_the_report(finished: Run) -> None:
    chunk = next(
        p for p in volumes.output_files(Path(finished.plan.config_path)) if p.suffix == ".gz"
    )
    chunk.unlink()
    assert volumes.prove(finished.attempt) == 65
    data = written(finished.attempt.paths)
    assert data["state"] == "failed"
    (failure,) = data["failures"]
    assert (failure["stage"], failure["key"]) == ("verify", None)
    assert "isn't complete: 1 finding; the first: " in failure["cause"]
    assert f"/{chunk.name}: it is gone" in failure["cause"]
    page = page_of(finished.attempt.paths)
    assert f"/{chunk.name}: it is gone" in page.text
    assert page.data["summary"]["outside"] == [failure]


def test_a_run_that_goes_on_and_one_that_was_stopped(copy_of: Copy) -> None:
    run = volumes.plan_run(copy_of(work=True))
    assert report.collect(run.attempt)["state"] == "running"
    volumes.release(run)
    data = report.collect(run.attempt)
    assert data["state"] == "stopped"
    stages = {s["stage"]: s for s in data["stages"]}
    assert (stages["segment"]["before"], stages["apply"]["missing"]) == (
        8,
        stages["apply"]["total"],
    )
    assert stages["segment"]["seconds"] is stages["segment"]["cpu_s"] is None
    assert data["runs"] == ["test/1", "base/1"]
    assert data["maps"][0]["runs"] == [1, 8]
    report.write_report(run.attempt)
    summary = page_of(run.attempt.paths).data["summary"]
    stages = {s["stage"]: s["asked"] for s in summary["stages"]}
    assert stages == dict.fromkeys(("segment", "count", "pool", "apply", "verify"), True)
    assert (summary["state"], summary["left_s"]) == ("stopped", None)


def test_stages_that_were_not_asked_for(copy_of: Copy) -> None:
    run = volumes.run_pipeline(copy_of(work=True), stages=("segment",))
    data = written(run.attempt.paths)
    assert data["state"] == "verified"
    assert {s["stage"]: s["asked"] for s in data["stages"]} == {
        "segment": True,
        "count": False,
        "pool": False,
        "apply": False,
    }
    shown = page_of(run.attempt.paths).data["summary"]["stages"]
    assert [s["asked"] for s in shown] == [True, False, False, False, True], "and verify"


# ------------------------------------------------------------------ nothing to do
def test_nothing_to_do_takes_over_what_the_attempt_before_found(
    finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = volumes.run_pipeline(Path(finished.plan.config_path))
    assert again.plan.nothing_to_do and again.plan.attempt == 2
    data = written(again.attempt.paths)
    assert (data["state"], data["attempt"], data["nothing_to_do"]) == ("verified", 2, True)
    assert again.attempt.paths.preview.read_bytes() == finished.attempt.paths.preview.read_bytes()
    page = page_of(again.attempt.paths)
    assert page.data["summary"]["nothing_to_do"]
    (picture,) = [a for t, n, a in page.attributes if (t, n) == ("img", "src")]
    assert picture.startswith("data:")
    told, layers = page_of(finished.attempt.paths).data["summary"], page.layers
    assert layers == page_of(finished.attempt.paths).layers
    assert page.data["summary"]["pool"] == told["pool"]
    *stages, verify = page.data["summary"]["stages"]
    assert [s["before"] for s in stages] == [8, 8, 1, 2]
    assert [s["own"] for s in stages] == [0, 0, 0, 0]
    assert (verify["stage"], verify["done"], verify["own"]) == ("verify", 1, 1), "it was done again"
    third = volumes.run_pipeline(Path(finished.plan.config_path))
    monkeypatch.setattr(report, "earlier", lambda _: None)
    anew = report.collect(third.attempt)
    taken = written(third.attempt.paths)
    assert taken["attempt"] == 3 and taken["maps"][0]["seconds"] == anew["maps"][0]["seconds"]
    assert taken["slowest"] == anew["slowest"]
    different = [
        (a["stage"], name)
        for a, b in zip(taken["stages"], anew["stages"], strict=True)
        for name in a
        # with nothing to do plan doesn't sample: it projects from what is typical
        if a[name] != b[name]
        and name not in ("expected_cpu_s", "expected_bytes", "bound_bytes", "voxels")
    ]
    assert different == []


def test_nothing_is_taken_over_from_before_a_run_that_was_killed(finished: Run) -> None:
    """Attempt 2 does all anew and is killed before verify; attempt 3 finds nothing to do."""
    config = Path(finished.plan.config_path)
    killed = volumes.plan_run(config, restart=True, run="killed")
    volumes.run_stages(killed, stages=("segment", "count", "pool", "apply"))
    volumes.release(killed)
    after = volumes.run_pipeline(config, run="after")
    assert after.plan.nothing_to_do
    data = written(after.attempt.paths)
    assert data["runs"] == ["after/1", "killed/1"]
    assert data["maps"][0]["seconds"] == [killed.records("segment")[k].seconds for k in range(8)]


# ------------------------------------------------------------------ never in the way
def test_a_report_that_cannot_be_written_turns_nothing_red(
    finished: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OutputError("no space left on /data")

    monkeypatch.setattr(report, "write_report", full)
    assert volumes.prove(finished.attempt) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [x for x in lines if "WARNING" in x] == [
        "verify: WARNING: the report couldn't be written: OutputError: no space left on /data"
    ]
    assert json.loads(lines[-2])["stage"] == "verify"  # the proof was told before


def test_damage_beside_the_records_is_no_obstacle(finished: Run) -> None:
    """A pool report of an older version, a torn result, no preview."""
    attempt = finished.attempt
    pool = attempt.stage_dir("pool") / "report.json"
    old = json.loads(pool.read_text())
    del old["sizes"]
    pool.write_text(json.dumps(old))
    attempt.paths.result("apply", 0).write_text('{"stage": "app')
    attempt.paths.preview.unlink()
    report.write_report(attempt)
    page = page_of(attempt.paths)
    assert "sizes" not in page.data["summary"]["pool"]
    assert not [a for a in page.attributes if a[:2] == ("img", "src")]


# ------------------------------------------------------------------ text from people
def test_a_path_with_markup_stays_text(tmp_path: Path) -> None:
    folder = tmp_path / '"<script>alert(1)<' / "script>'&amp;"
    run = volumes.plan_run(volumes.make_volume(folder))
    report.write_report(run.attempt)
    page = page_of(run.attempt.paths)
    assert page.elements["script"] == 3
    assert page.data["facts"]["config"].startswith(str(folder))
    assert str(folder) == Path(written(run.attempt.paths)["config"]).parent.as_posix()


def test_no_text_becomes_markup(base: Run) -> None:
    """Every string of a page turned against it: it has the elements that it always has."""
    usual = page_of(base.attempt.paths)
    plain = {**usual.data, "layers": usual.layers}
    failure = {"stage": "segment", "key": 1, "exit_code": 65, "cause": "c", "hint": "h", "log": "l"}
    plain["summary"]["outside"] = [failure]
    plain["summary"]["partition"] = "p"

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: turned(v) for k, v in value.items()}
        if isinstance(value, list):
            return [turned(v) for v in value]
        return value + EVIL if isinstance(value, str) else value

    usual, attacked = Page(render(plain)), Page(render(turned(plain)))
    assert attacked.elements == usual.elements
    assert {(t, n) for t, n, _ in attacked.attributes} == {(t, n) for t, n, _ in usual.attributes}
    assert attacked.scripts[2] == usual.scripts[2]
    assert attacked.data == {name: turned(plain[name]) for name in ("facts", "summary")}
    assert attacked.text.count("alert") > 5


def test_the_page_asks_for_nothing(base: Run) -> None:
    html = base.attempt.paths.page.read_text().replace("http://www.w3.org/2000/svg", "")
    page = Page(html)
    addresses = [
        v for _, name, v in page.attributes if name in ("src", "href", "srcset", "action", "data")
    ]
    assert addresses and all(a.startswith("data:") for a in addresses)
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest|import\(", html)
    assert page.elements["link"] == 1 and page.elements["iframe"] == 0
    policies = [v for t, n, v in page.attributes if n == "content" and "default-src" in v]
    assert policies and policies[0].startswith("default-src 'none'")


# ------------------------------------------------------------------ very many blocks
@pytest.mark.parametrize(
    "grid", [(10, 40, 40), pytest.param((10, 100, 100), marks=pytest.mark.long)]
)
def test_very_many_blocks(tmp_path: Path, grid: Vec3) -> None:
    run = many_blocks.plan_many(tmp_path, grid)
    n = math.prod(grid)

    def host(key: int) -> dict[str, Any]:
        return {"host": f"node{key // 257 % 23}"}

    many_blocks.write_records(run.attempt, "segment", n, host)
    many_blocks.write_records(run.attempt, "count", n, lambda k: {"cpu_s": None, **host(k)})
    cells = len(run.plan.geometry.cells)
    many_blocks.write_records(run.attempt, "apply", cells, lambda k: {"cpu_s": None, **host(k)})
    report.write_report(run.attempt)
    data = written(run.attempt.paths)
    assert data["stages"][0]["done"] == len(data["maps"][0]["seconds"]) == n
    assert run.attempt.paths.page.stat().st_size < 20 * n + 500_000
    assert page_of(run.attempt.paths).layers["segment"]["head"]["factor"] == [1, 1, 1]


def test_more_blocks_than_squares_are_summed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_squares, "MOST_OF_ALL", 20)
    run = many_blocks.plan_many(tmp_path, (3, 5, 4))
    failed = {
        "state": "failed",
        "peak_bytes": None,
        "info": {"cause": "c", "hint": "h", "exit_code": 65},
    }
    many_blocks.write_records(
        run.attempt,
        "segment",
        59,
        lambda k: (
            {"seconds": float(k), "peak_bytes": k, "info": {"n": 1}} | (failed if k == 27 else {})
        ),
    )
    found = report.collect(run.attempt)["maps"][0]
    assert (found["shape"], found["factor"]) == ([3, 3, 2], [1, 2, 2])
    assert found["cuts"][1] == [0, 24, 48, 60] and found["cuts"][2] == [0, 24, 48]
    states = found["states"]
    assert states.count("f") == 1 and states[1 * 6 + 0 * 2 + 1] == "f"  # block 27 is (1, 1, 3)
    assert states[-1] == "m"  # block 59 has no record: worse than its neighbour
    assert found["seconds"][0] == np.mean([0, 1, 4, 5])
    assert found["peak_bytes"][0] == 5 and found["labels"][0] == 4
    assert "hosts" not in found


@pytest.mark.parametrize("shape", [(1, 1, 10**7), (100, 100, 100), (3, 2000, 2000), (1, 1, 1)])
def test_a_map_has_squares_within_bounds(shape: tuple[int, int, int]) -> None:
    factor = block_squares.whole_factor(shape)
    n = np.prod([-(-s // f) for s, f in zip(shape, factor, strict=True)])
    assert n <= block_squares.MOST_OF_ALL
    assert n == np.prod(shape) or n > block_squares.MOST_OF_ALL / 4


# ------------------------------------------------------------------ the command
def test_the_command_writes_it_anew_and_says_where(
    finished: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    config, paths = Path(finished.plan.config_path), finished.attempt.paths
    before = written(paths)
    paths.page.unlink()
    cli.main(args=["report", str(config)], standalone_mode=False)
    assert capsys.readouterr().out == f"{paths.page}\n"
    after = written(paths)
    assert after["state"] == "verified" and paths.page.exists()
    assert after["seconds"] == pytest.approx(before["seconds"], abs=1)  # its run's, not till now
    moving = {"made", "ended", "seconds", "verify"}
    assert {k: v for k, v in after.items() if k not in moving} == {
        k: v for k, v in before.items() if k not in moving
    }


def test_the_command_without_any_run(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="holds no run yet"):
        command.write(volumes.make_volume(tmp_path))
