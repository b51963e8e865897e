"""Any batch scheduler will do: arrays are submitted, watched, judged and tried again on one that is made up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.errors import EXIT_CONFIG, EXIT_OK, EXIT_TEMPORARY

ROOT = Path(__file__).resolve().parents[3]
Endings = dict[tuple[int, int], str]


def run(folder: Path, endings: Endings, room: int = 100) -> dict[str, Any]:
    """In a process of its own, which has imported nothing else; ``endings``: by part and try."""
    code = (
        "from pathlib import Path\nfrom tests.runners.arrays.made_up import main\n"
        f"main(Path({str(folder)!r}), {endings!r}, {room})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_run_on_it_needs_nothing_of_slurm(tmp_path: Path) -> None:
    """Memory and time grow for the parts that ran out of them; what a node lost goes again as it was."""
    endings = {(0, 1): "too big", (1, 1): "too long", (2, 1): "broken", (3, 1): "broken"}
    told = run(tmp_path, endings)
    assert told["codes"] == [EXIT_OK]
    assert told["jobs"][0] == [[0, 1, 2, 3], 1, 600, []]
    again = told["jobs"][1:]
    assert [[0], 2, 600, []] in again and [[1], 1, 1200, []] in again
    assert [[2, 3], 1, 600, []] in again, "a node that falls fails once, however many were on it"
    assert any("out of memory with 1.0 GiB; trying again with 2.0 GiB" in n for n in told["notes"])
    assert len(told["left"]) == len(told["jobs"])
    assert "20 s CPU" in told["usage"][0], "as accounted"
    assert "memory at most 512.0 MiB" in told["usage"][0], "as its worker measured"
    assert "next time  made_up: {" in told["usage"][-1]
    assert not [name for name in told["modules"] if name.startswith("magneton_tasks.runners.slurm")]


@pytest.mark.parametrize(
    ("endings", "code", "words"),
    [
        ({(1, n): "broken" for n in (1, 2)}, EXIT_TEMPORARY, "node failed (2 tries)"),
        ({(1, n): "too long" for n in (1, 2)}, EXIT_CONFIG, "raise made_up.max_time"),
    ],
)
def test_tries_have_an_end_and_name_its_own_keys(
    endings: Endings, code: int, words: str, tmp_path: Path
) -> None:
    told = run(tmp_path, endings)
    assert told["codes"] == [code]
    assert any(words in note for note in told["notes"]), told["notes"]


def test_its_limits_make_smaller_arrays(tmp_path: Path) -> None:
    told = run(tmp_path, {}, room=2)
    assert told["codes"] == [EXIT_OK]
    assert [job[0] for job in told["jobs"]] == [[0, 1], [2, 3]]
