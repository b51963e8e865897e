"""A volume of a release that joined blocks level by level: the plan says that it is computed again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from magneton_tasks.stages.planning import draft
from magneton_tasks.stages.planning.request import PlanRequest
from tests.helpers import volumes
from tests.helpers.calls import Caller

SETTINGS = {"method": "exact", "block": {"size": [20, 32, 32]}, "segment": {"threshold": 0.5}}
OLD = ("segment-0123456789abcdef", "count-0123456789abcdef", "join-0123456789abcdef")


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """Folders as version 0.2 named them."""
    config = volumes.make_volume(tmp_path, settings=SETTINGS)
    work = tmp_path / "work"
    for name in OLD:
        level = work / name / "level-1" if name.startswith("join") else work / name
        (level / "residuals" / "0000").mkdir(parents=True)
        (level / "residuals" / "0000" / "0.zip").write_bytes(b"open")
    (work / "magneton.json").write_text(json.dumps({"magneton": "work directory"}))
    return config


def test_the_plan_says_first_that_blocks_are_computed_again(begun: Path) -> None:
    request = PlanRequest(begun, "look", {})
    (note,) = [n for n in draft.draft(request, write=False).plan.notes if "CPU hours" in n]
    assert "computed again" in note and "magneton clean" in note
    volumes.run_pipeline(begun, run="now")
    assert all((begun.parent / "work" / name).is_dir() for name in OLD)
    after = PlanRequest(begun, "after", {})
    assert not [n for n in draft.draft(after, write=False).plan.notes if "CPU hours" in n]


def test_clean_knows_the_old_folders(begun: Path, cli: Caller) -> None:
    volumes.run_pipeline(begun, run="now")
    shutil.rmtree(begun.parent / "work" / OLD[1])  # of count nothing was there but a residual
    found = cli("clean", begun, "--what", "stale", "--dry-run", "--json").json
    assert {Path(i["path"]).name for i in found["items"]} == {OLD[0], OLD[2]}
    assert found["left_alone"] == []
    assert cli("clean", begun, "--what", "stale", "--yes").code == 0
    assert not any((begun.parent / "work" / name).exists() for name in OLD)
