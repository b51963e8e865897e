"""Chunks of the output that were damaged after they were written: never green, and written again."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.base.geometry import Box
from magneton_tasks.base.lease import acquire, look
from magneton_tasks.errors import OutputError
from magneton_tasks.outcome import damage
from magneton_tasks.outcome.block_map import BlockMap
from magneton_tasks.plan import geometry as geometries
from magneton_tasks.stages import proof
from magneton_tasks.work import chunks
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record
from magneton_tasks.work.record_writer import RecordWriter
from magneton_tasks.work.stores import segmentation
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Array, Run, in_fork

# google-cloud-storage, which cloud-volume imports, warns of a package that it can do without.
pytestmark = [
    pytest.mark.usefixtures("childless"),
    pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning"),
]

Copy = Callable[..., Path]
#: A chunk of these is its voxels: what is damaged there can be read all the same.
RAW = {"apply.encoding": "raw", "apply.compress": None}
#: Cells of so many voxels hold one mip besides the finest; downsample makes the others.
SMALL_CELLS = 20_480


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def chunk_of(run: Run, mip: int, at: int = 3) -> Path:
    """The file of a chunk by its place in the raster order of its mip."""
    output = segmentation(run.attempt)
    box = list(output.scales[mip].box.tiles(output.scales[mip].chunk_size))[at]
    return output.objects.path(output.chunk_path(mip, box))


def assert_same(run: Run, expected: list[Array]) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))


def up_to_verify(config: Path, **options: Any) -> Run:
    """All stages but verify."""
    run = volumes.plan_run(config, **options)
    return volumes.run_stages(run, stages=[s for s in run.plan.work if run.plan.work[s].todo])


def then_verify(run: Run) -> Run:
    volumes.run_stages(run, stages=["verify"])
    volumes.release(run)
    return run


def failure(run: Run) -> str:
    (found,) = run.result("verify")["failures"]
    assert "rerun" in found["hint"]
    return str(found["cause"])


# ------------------------------------------------------------------ found and mended
@pytest.mark.parametrize("settings", [{}, RAW], ids=["gzip", "raw"])
@pytest.mark.parametrize("mip", [0, 1, 2])
def test_a_bit_flipped_between_apply_and_verify(
    settings: dict[str, Any], mip: int, copy_of: Copy, expected: list[Array]
) -> None:
    config = copy_of(work=True, settings=settings)
    run = up_to_verify(config)
    path = chunk_of(run, mip, at=0)
    flip_a_bit(path)
    then_verify(run)
    assert run.codes["verify"] == [65]
    cause = failure(run)
    assert "apply cell 0" in cause
    assert f"{path.parent.name}/{path.name}" in cause
    assert "checksum" in cause
    again = volumes.run_pipeline(config)
    assert again.plan.work["apply"].todo == [(0, 1)]
    assert again.made("apply") == {0}
    assert_same(again, expected)
    last = volumes.run_pipeline(config)
    assert last.plan.nothing_to_do
    assert last.result("verify")["checked"]["how"] == "all"


@pytest.mark.parametrize("mip", [2, 3])
def test_a_bit_flipped_in_a_chunk_of_downsample(
    mip: int, copy_of: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometries, "MAX_CELL_VOXELS", SMALL_CELLS)
    config = copy_of(work=True, settings={"apply.mips": 3, **RAW})
    run = volumes.run_pipeline(config)
    expected = volumes.all_mips(run)
    flip_a_bit(chunk_of(run, mip, at=0))
    run = volumes.run_pipeline(config, expect=65)
    assert run.plan.nothing_to_do
    assert "downsample cell 0" in failure(run)
    again = volumes.run_pipeline(config)
    assert (again.made("apply"), again.made("downsample")) == (set(), {0})
    assert_same(again, expected)


@pytest.mark.parametrize("settings", [{}, RAW], ids=["gzip", "raw"])
def test_damage_doesn_t_get_into_coarser_mips(
    settings: dict[str, Any], copy_of: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between apply and downsample, which reads what apply wrote."""
    monkeypatch.setattr(geometries, "MAX_CELL_VOXELS", SMALL_CELLS)
    config = copy_of(work=True, settings={"apply.mips": 3, **settings})
    run = volumes.run_stages(volumes.plan_run(config), stages=["apply"])
    path = chunk_of(run, 1, at=0)
    flip_a_bit(path)
    volumes.run_stages(run, stages=["downsample"])
    volumes.release(run)
    assert run.codes["downsample"] == [65]
    cause = run.result("downsample", 0)["failures"][0]["cause"]
    assert "apply cell 0" in cause
    assert path.name in cause
    again = volumes.run_pipeline(config)
    assert again.made("apply") == {0}
    other = {"paths.output": f"file://{config.parent}/other"}
    assert_same(again, volumes.all_mips(volumes.run_pipeline(config, other)))


def test_a_verify_killed_before_it_records_what_it_found_finds_it_again(
    finished: Run, expected: list[Array]
) -> None:
    config = Path(finished.plan.config_path)
    flip_a_bit(chunk_of(finished, 0))
    run = volumes.plan_run(config)

    def killed() -> None:
        Attempt.invalidate = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        volumes.prove(run.attempt)

    assert in_fork(killed) == -signal.SIGKILL
    volumes.release(run)
    assert run.last("apply")[0].state == "done"  # nothing was recorded
    assert "checksum" in failure(volumes.run_pipeline(config, expect=65))
    assert_same(volumes.run_pipeline(config), expected)


def test_a_cell_that_is_taken_over_unchanged_keeps_its_checksums(
    finished: Run, expected: list[Array]
) -> None:
    """Another pool, the same ids in this cell: apply writes nothing, and a flipped bit is found."""
    config = Path(finished.plan.config_path)
    manifest, last = finished.attempt.manifest("apply"), finished.records("apply")[0]
    with manifest.writer("test", "apply", 0) as writer:
        info = last.info | {"pool": "0123456789abcdef"}
        writer.add(0, "done", after=manifest.read()[0], input=last.input, info=info)
    flip_a_bit(chunk_of(finished, 0))
    run = volumes.run_pipeline(config, expect=65)
    assert run.codes["apply"] == [0]
    assert "apply cell 0" in failure(run)
    assert_same(volumes.run_pipeline(config), expected)


def test_chunks_without_any_object_have_checksums_too(tmp_path: Path) -> None:
    shape = (20, 40, 64)
    settings = {"block.size": [20, 40, 48], "input": {"doubtful": "warn"}}
    config = volumes.make_volume(tmp_path, np.zeros((3, *shape), np.uint8), settings)
    flip_a_bit(chunk_of(volumes.run_pipeline(config), 0))
    assert "checksum" in failure(volumes.run_pipeline(config, expect=65))
    again = volumes.run_pipeline(config)
    assert again.made("apply")
    assert not volumes.read_segmentation(again).any()


# ------------------------------------------------------------------ records of earlier releases
#: As apply wrote it before there were checksums.
OLD_RECORD = (
    '{"key":0,"state":"done","time":1780000000.123456,"run":"base","attempt":1,"batch":0,'
    '"host":"node","pid":4711,"input":"0123456789abcdef","seconds":0.05,"peak_bytes":123456789,'
    '"info":{"pool":"fedcba9876543210","chunks":[[101,102,103,104],[99]]}}'
)


def without_checksums(run: Run) -> None:
    """Records as an earlier release left them."""
    for path in run.attempt.manifest("apply").directory.glob("*.jsonl"):
        lines = []
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if record.get("info", {}).pop("crc32", None) is not None:
                del record["info"]["files"], record["info"]["rows"]
                assert record["info"].keys() == Record.from_line(OLD_RECORD).info.keys()
            lines.append(json.dumps(record, separators=(",", ":")) + "\n")
        path.write_text("".join(lines))


def test_a_record_of_an_earlier_release_is_read() -> None:
    record = Record.from_line(OLD_RECORD)
    assert record.to_line() == OLD_RECORD
    assert record.info["chunks"] == [[101, 102, 103, 104], [99]]


def test_results_of_an_earlier_release_stay_valid_and_are_checked_by_size(
    finished: Run, expected: list[Array], cli: Caller
) -> None:
    config = Path(finished.plan.config_path)
    without_checksums(finished)
    run = volumes.run_pipeline(config)
    assert run.plan.nothing_to_do
    n = run.result("verify")["chunks"]
    assert run.result("verify")["checked"] == {"how": "sizes", "chunks": n, "read": 0}
    told = f"complete by size: {n} of {n} chunks were written without a checksum"
    assert told in run.attempt.paths.page.read_text()
    assert told in cli("status", config).out
    path = chunk_of(run, 0)
    path.write_bytes(path.read_bytes()[:-1])
    assert f"/{path.name}: it has" in failure(volumes.run_pipeline(config, expect=65))
    again = volumes.run_pipeline(config)
    assert again.result("verify")["checked"]["read"] > 0  # those of the cell that was written anew
    assert_same(again, expected)


def test_what_the_preview_can_t_decode_is_written_again(
    finished: Run, expected: list[Array]
) -> None:
    """Its size is right, and its record has no checksum: nothing else would notice."""
    config = Path(finished.plan.config_path)
    box, output = finished.plan.geometry.box, segmentation(finished.attempt)
    middle = Box((box.begin[0] + box.shape[0] // 2, *box.begin[1:]), box.end)
    tiles = list(output.scales[0].box.tiles(output.scales[0].chunk_size))
    at = next(k for k, t in enumerate(tiles) if t.begin[0] <= middle.begin[0] < t.end[0])
    flip_a_bit(chunk_of(finished, 0, at))
    without_checksums(finished)
    for path in finished.attempt.paths.root.parent.glob("*/report.json"):
        path.unlink()  # nobody has verified it yet
    run = volumes.run_pipeline(config, expect=65)
    assert run.plan.nothing_to_do
    assert chunk_of(finished, 0, at).name in failure(run)
    assert_same(volumes.run_pipeline(config), expected)


# ------------------------------------------------------------------ samples
@pytest.fixture
def reading_is_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "SHARE", 0)


def block_map_of(run: Run) -> dict[str, Any]:
    found = BlockMap(run.attempt)
    found.refresh()
    return found.summary


def sampled(run: Run) -> set[str]:
    """Names of the chunks of mip 0 that a sample reads."""
    output, names = segmentation(run.attempt), set[str]()
    pool = run.records("pool")[0].input
    for key, record in run.records("apply").items():
        parts = list(chunks.parts(output, run.plan.geometry, "apply", key, record))
        every = [n for part in parts for n in part.names]
        names |= {every[k] for k in proof.chosen(len(every), 0, f"{pool} apply {key}")}
    return names


@pytest.mark.usefixtures("reading_is_dear")
def test_a_sample_is_called_one_everywhere(
    copy_of: Copy, cli: Caller, capfd: pytest.CaptureFixture[str]
) -> None:
    config = copy_of(work=True)
    run = volumes.run_pipeline(config)
    log = capfd.readouterr().out
    n = run.result("verify")["chunks"]
    assert run.result("verify")["checked"] == {"how": "sampled", "chunks": n, "read": 2}
    told = f"sampled: sizes of all {n} chunks, checksums of 2"
    page = run.attempt.paths.page.read_text()
    said = [line for line in log.splitlines() if line.startswith("verify: ")]
    assert [told in line for line in said] == [True]
    assert f'"proof":"{told}"' in page and f"({told})" in page
    assert json.loads(run.attempt.paths.report.read_text())["proof"] == told
    assert f"verify: {told}; --check reads every chunk" in cli("status", config).out
    (row,) = [s for s in cli("status", config, "--json").json["stages"] if s["stage"] == "verify"]
    assert row["proof"] == told
    done = cli("run", config)
    assert f"verified      {told}" in done.out
    assert block_map_of(run)["proof"] == told
    assert not any("complete" in text for text in (page.split('id="settings"')[0], *said, done.out))


@pytest.mark.usefixtures("reading_is_dear")
def test_the_same_result_gives_the_same_sample(finished: Run, expected: list[Array]) -> None:
    """So that a kill after the first finding hides nothing."""
    config = Path(finished.plan.config_path)
    (path,) = [p for p in volumes.output_files(config) if p.name in sampled(finished)][:1]
    flip_a_bit(path)
    run = volumes.plan_run(config)

    def killed() -> None:
        Attempt.invalidate = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        volumes.prove(run.attempt)

    assert [in_fork(killed) for _ in range(2)] == [-signal.SIGKILL] * 2
    volumes.release(run)
    assert path.name in failure(volumes.run_pipeline(config, expect=65))
    assert_same(volumes.run_pipeline(config), expected)


@pytest.mark.usefixtures("reading_is_dear")
def test_what_check_finds_outside_of_a_sample_is_written_again(
    finished: Run, expected: list[Array], cli: Caller
) -> None:
    config = Path(finished.plan.config_path)
    others = [p for p in volumes.output_files(config) if p.suffix == ".gz"]
    path = next(p for p in others if p.name not in sampled(finished))
    flip_a_bit(path)
    assert volumes.run_pipeline(config).plan.nothing_to_do  # green, and says that it is a sample
    told = f"{path.parent.name}/{path.name}: its checksum isn't that of its record"
    for _ in range(2):
        done = cli("status", config, "--check")
        assert done.code == 65
        assert re.search(
            f"{re.escape(told)}\n  what to do: the next run writes it again\n", done.out
        )
    run = volumes.run_pipeline(config)
    assert len(run.made("apply")) == 1
    assert_same(run, expected)
    sound = cli("status", config, "--check")
    assert sound.code == 0 and "corrupt: " not in sound.out


def test_check_marks_what_is_gone_or_has_no_checksum(
    finished: Run, expected: list[Array], cli: Caller
) -> None:
    config = Path(finished.plan.config_path)
    without_checksums(finished)
    chunk_of(finished, 0, at=0).unlink()
    truncated = chunk_of(finished, 1, at=0)
    truncated.write_bytes(truncated.read_bytes()[:-1])
    out = cli("status", config, "--check").out
    assert out.count("corrupt: ") == out.count("what to do: the next run writes it again") == 2
    assert_same(volumes.run_pipeline(config), expected)


@pytest.mark.usefixtures("reading_is_dear")
def test_check_marks_nothing_while_a_run_is_going_on(
    finished: Run, expected: list[Array], cli: Caller
) -> None:
    config, work = Path(finished.plan.config_path), finished.attempt.work.work
    others = [p for p in volumes.output_files(config) if p.suffix == ".gz"]
    flip_a_bit(next(p for p in others if p.name not in sampled(finished)))
    with acquire([work], "another", process_bound=False):
        os.utime(work / "lease", (0, 0))  # jobs of a cluster may wait in a queue for hours
        done = cli("status", config, "--check")
        assert done.code == 65
        assert f"it isn't marked for the next run: {work} is in use by run 'another'" in done.out
        assert "check again when nothing works on this volume" in done.out
        assert "'another'" in str(look(work)), "its lease is left alone"
    assert volumes.plan_run(config).plan.nothing_to_do
    volumes.release(finished)
    assert "the next run writes it again" in cli("status", config, "--check").out
    assert_same(volumes.run_pipeline(config), expected)


def test_check_says_what_it_could_not_mark(
    finished: Run, cli: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_a_bit(chunk_of(finished, 0))

    def refused(*_: object) -> None:
        raise OutputError("can't write here: read-only file system")

    monkeypatch.setattr(RecordWriter, "write", refused)
    done = cli("status", finished.plan.config_path, "--check")
    assert done.code == 65
    assert "isn't marked for the next run: can't write here: read-only file system" in done.out
    assert look(finished.attempt.work.work) is None


def test_check_doesn_t_mark_what_a_run_wrote_meanwhile(
    finished: Run, cli: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Path(finished.plan.config_path)
    flip_a_bit(chunk_of(finished, 0))
    real = damage.find

    def slow(attempt: Attempt, stage: str, looks: Any) -> Any:
        yield from real(attempt, stage, looks)
        if stage == "apply":
            volumes.run_pipeline(config, run="meanwhile", restart=True, stages=("apply",))

    monkeypatch.setattr(damage, "find", slow)
    done = cli("status", config, "--check")
    monkeypatch.undo()
    assert "a run worked on this cell meanwhile: check again" in done.out
    assert cli("status", config, "--check").code == 0
    assert volumes.plan_run(config).plan.nothing_to_do
