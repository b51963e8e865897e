"""What gets lost between blocks and objects is noticed by pool, and told with its place.

Each test loses one thing without an error: a slice, a group, a face, a block of a cut.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.errors import CorruptFileError
from magneton_tasks.kernels.exact.rounds.tables import FaceTables, HalfEdges, Nodes
from magneton_tasks.plan import cost_exact
from magneton_tasks.plan.cost_rest import Memory
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.stages import cut, slicing
from magneton_tasks.stages.open_blocks import OpenBlocks
from magneton_tasks.stages.planning import group_work
from magneton_tasks.stages.segment_exact import SUPERVOXELS
from magneton_tasks.work import group_work as work_of_groups
from magneton_tasks.work import slices
from magneton_tasks.work.slices import SliceFile, opened
from tests.helpers import volumes
from tests.helpers.volumes import Run

pytestmark = pytest.mark.usefixtures("childless")

SHAPE = (24, 40, 36)
BLOCK = [8, 14, 13]
EXACT: dict[str, Any] = {
    "method": "exact",
    "segment": {"threshold": 0.5},
    "exact": {"s2": 20, "dust": 15, "advanced": {"s_min": 6, "t_size": 5}},
    "pool": {},
    "block": {"size": BLOCK},
}


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 x 3 x 3 blocks, segmented; the tests copy what was made of them."""
    folder = tmp_path_factory.mktemp("segmented")
    array = volumes.affinities(volumes.cells(SHAPE, 30, 0), noise=0.3)
    volumes.write_precomputed(folder / "affinity", array)
    run = volumes.plan_run(volumes.write_config(folder, EXACT))
    volumes.release(volumes.run_stages(run, stages=["segment", "faces"]))
    assert run.code == 0, run.codes
    return folder


@pytest.fixture
def planned(segmented: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Their rounds: a task of round 0 holds one block or two, and that of round 1 all."""
    monkeypatch.setattr(
        group_work, "budget_of", lambda _, rows, *__: 12_000 if rows > 50_000 else rows
    )
    for done in (segmented / "work").glob("*-*"):
        shutil.copytree(done, tmp_path / "work" / done.name)
    # paths.input decides fingerprints
    affinity = f"file://{segmented}/affinity"
    return volumes.plan_run(volumes.write_config(tmp_path, EXACT, input=affinity))


def refused(run: Run, stage: str = "pool") -> str:
    """Why a stage wasn't done."""
    volumes.run_stages(run)
    assert run.codes[stage] == [65], run.codes
    failures = run.result(stage)["failures"]
    return "; ".join(failure["cause"] for failure in failures)


def stopped_before_cut(run: Run) -> None:
    """A later round misses the names of what is lost, where one follows; else pool misses the rows."""
    volumes.run_stages(run)
    assert run.code in (65, 70), run.codes
    assert "cut" not in run.codes


def losing(kinds: Collection[type[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first file that is read for destinations has nothing of these tables for the first of them."""
    real, lost = SliceFile.read, list[int]()

    def read(self: SliceFile, kind: type[Any], **wanted: Any) -> Any:
        to = wanted.get("to")
        if to and kind in kinds and any(self.rows(kind)):
            first = next((t for _, t in sorted(self.rows(kind)) if t in to), None)
            if first is not None and (not lost or first == lost[0]) and len(lost) < len(kinds):
                lost.append(first)
                wanted["to"] = [t for t in to if t != first]
        return real(self, kind, **wanted)

    monkeypatch.setattr(SliceFile, "read", read)


def test_lost_half_edges_of_a_slice(planned: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    losing((HalfEdges,), monkeypatch)
    found = refused(planned)
    assert "round 1, fine group" in found
    assert "were read" in found


def test_a_lost_slice(planned: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    losing((Nodes, HalfEdges), monkeypatch)
    stopped_before_cut(planned)


@pytest.mark.parametrize("number", [0, 1])
def test_a_lost_group(planned: Run, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of round 0 (18), and of round 1, in which there are some here."""
    real = group_work._made

    def made(*args: Any) -> Any:
        attempt, chain, groups, fine, active, rows, budget = args
        if len(chain.steps) == number:
            active = sorted(active)[1:]
        return real(attempt, chain, groups, fine, active, rows, budget)

    monkeypatch.setattr(group_work, "budget_of", lambda *_: 12_000)
    monkeypatch.setattr(group_work, "_made", made)
    stopped_before_cut(planned)


def test_a_lost_face(planned: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real, lost = OpenBlocks.faces, list[int]()

    def faces(self: OpenBlocks, numbers: Any) -> FaceTables:
        found = real(self, numbers)
        a = found.contacts.a
        if not lost and a.size:
            lost.append(int(a[0] >> 32))
            kept = (a >> 32 != a[0] >> 32) | (found.contacts.b >> 32 != found.contacts.b[0] >> 32)
            contacts = type(found.contacts)._make(c[kept] for c in found.contacts)
            found = found._replace(contacts=contacts)
        return found

    monkeypatch.setattr(OpenBlocks, "faces", faces)
    found = refused(planned)
    assert "round 0, group" in found
    assert "contacts" in found


# ------------------------------------------------------------------ cut
def tables(run: Run) -> dict[int, np.ndarray[Any, Any]]:
    """What cut wrote, by block."""
    found = {}
    directory = run.attempt.stage_dir("cut")
    for record in run.records("cut").values():
        for name in record.info.get("slices", {}).values():
            with opened(directory / name, None, 0) as file:
                for block, _ in file.rows(cut.ObjectIds):
                    found[block] = file.read(cut.ObjectIds, sources=[block]).id
    return found


def rows_read(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts rows of names that are read from now on."""
    real, counts = slices.SliceFile.read, {"Names": 0}

    def read(self: SliceFile, kind: type[Any], **wanted: Any) -> Any:
        found = real(self, kind, **wanted)
        if kind.__name__ in counts:
            counts[kind.__name__] += len(found[0])
        return found

    monkeypatch.setattr(slices.SliceFile, "read", read)
    return counts


def test_groups_that_are_cut_together_have_the_same_ids_and_read_less(
    planned: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_work, "budget_of", lambda *_: 12_000)  # many tables of names
    volumes.run_stages(planned)
    assert planned.code == 0, planned.codes
    together = tables(planned)
    before = {k: r.output for k, r in planned.records("cut").items()}
    assert len(before) > 8
    rows = []
    for most in (0, 1 << 26):
        with monkeypatch.context() as patch:
            patch.setattr(cost_exact, "CUT_TOGETHER", most)
            counts = rows_read(patch)
            stage = cut.CutStage(planned.attempt, sorted(before))
            made = {key: stage.one(key) for key in sorted(before)}
            rows.append(counts["Names"])
        assert {k: m.outcome.output for k, m in made.items()} == before
        for found in made.values():
            for table in found.rows:
                assert table.source is not None
                np.testing.assert_array_equal(table.table.id, together[table.source])
    assert rows[1] < rows[0] / 2
    tables_of_rounds = [
        r for n in range(len(stage.plans)) for r in planned.records(f"round{n}").values()
    ]
    assert rows[1] <= sum(r.info["n"] for r in tables_of_rounds)  # none is opened twice
    little = work_of_groups.GroupWork("", StagePlan(0), Memory(bound=1, expected=1))
    monkeypatch.setattr(work_of_groups, "read", lambda *_: little)
    stage = cut.CutStage(planned.attempt, sorted(before))
    assert stage._together(stage.keys[0]) == stage.keys[:1]


def test_a_damaged_table_costs_its_own_group_alone(
    planned: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though groups are cut together."""
    volumes.run_stages(planned)
    keys = sorted(planned.records("cut"))
    stage = cut.CutStage(planned.attempt, keys)
    real = slicing.SliceReader.read
    bad = stage.plans[0].groups.blocks_of(keys[3])[0]

    def read(self: Any, name: str, kinds: Any, wanted: Any, **options: Any) -> Any:
        if bad in wanted and name == SUPERVOXELS:
            raise CorruptFileError("damaged")
        return real(self, name, kinds, wanted, **options)

    monkeypatch.setattr(slicing.SliceReader, "read", read)
    done = []
    for key in keys:
        if key == keys[3]:
            with pytest.raises(CorruptFileError, match="damaged"):
                stage.one(key)
        else:
            done.append(stage.one(key))
    assert len(done) == len(keys) - 1
