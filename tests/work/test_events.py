"""What commands tell: the same events reach a program and a person, each in its own form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from magneton_tasks.runners import local
from magneton_tasks.work.events import (
    EVENTS_VARIABLE,
    Began,
    Ended,
    Event,
    Failed,
    Note,
    Refused,
    Settled,
    Text,
    Told,
    read,
    to_line,
)
from tests.helpers import volumes

EVENTS: list[tuple[Event, str]] = [
    (Began("apply", 2, 1200, 3), "apply batch 2: 1,200 cells to do, 3 settled before"),
    (
        Settled("segment", 7, "done", 1e9, 2.5, 2**29, 8, 10, "409 labels"),
        "segment block 7: done, 409 labels, 2.5 s, 512.0 MiB (8/10)",
    ),
    (
        Settled("round1", 0, "empty", 1e9, 0.004, 2**20, 1, 1),
        "round1 group 0: empty, 4 ms, 1.0 MiB (1/1)",
    ),
    (
        Failed("apply", 3, 74, "disk full: /o", "free space", time=1e9),
        "apply cell 3: FAILED (74): disk full: /o\n  what to do: free space",
    ),
    (Failed("pool", None, 75, "stopped"), "pool: FAILED (75): stopped"),
    (
        Failed("segment", 3, 65, "torn", "copy it", before=True),
        "segment block 3: failed before, and a retry can't fix it: torn",
    ),
    (
        Note("segment: batch 1 ended with 75; trying again"),
        "segment: batch 1 ended with 75; trying again",
    ),
    (Refused(78, "no such key: a\nb", "see b"), "error: no such key: a\nb\n  what to do: see b"),
    (Ended({"stage": "pool", "done": 1}), '{"stage": "pool", "done": 1}'),
    (Text("a library's warning: FAILED"), "a library's warning: FAILED"),
]


@pytest.mark.parametrize(("event", "sentence"), EVENTS)
def test_an_event_is_a_sentence_for_people_and_one_line_for_programs(
    event: Event, sentence: str
) -> None:
    assert event.sentence() == sentence
    line = to_line(event)
    assert "\n" not in line
    assert read(line) == event


@pytest.mark.parametrize(
    "line",
    [
        "",
        '{"stage": "pool", "done": 1}',
        '{"magneton": "Settled", "stage": "segm',  # torn by a kill
        '{"magneton": "Settled", "stage": "segment"}',
        '{"magneton": "Unheard", "of": 1}',  # another version's
        '{"magneton": 3}',
        "segment block 7: done, 409 labels, 2.5 s, 512.0 MiB (8/10)",
    ],
)
def test_whatever_else_is_printed_is_text(line: str) -> None:
    assert read(line) == Text(line)


def test_a_command_s_end_is_what_it_told_not_how_its_lines_look() -> None:
    told = Told()
    for line in ('{"stage": "pool"}', to_line(Ended({"failures": [{"key": 1}]})), '{"late": true}'):
        told.take(read(line))
    assert told.result == {"failures": [{"key": 1}]}
    assert told.failures == [{"key": 1}]


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory) -> volumes.Run:
    return volumes.plan_run(volumes.make_volume(tmp_path_factory.mktemp("events")))


@pytest.mark.usefixtures("warm")
def test_a_runner_gets_events_and_the_log_sentences(attempt: volumes.Run) -> None:
    """Real workers: each block's event says what its record says."""
    told: list[Event] = []
    paths = attempt.attempt.paths
    assert set(local.run_stage(paths.root, "segment", 1, 1, told.append).values()) == {0}
    settled = [event for event in told if isinstance(event, Settled)]
    records = {k: s.valid for k, s in attempt.attempt.manifest("segment").read().items()}
    said = {e.key: (e.state, e.time, e.seconds, e.peak_bytes) for e in settled}
    assert said == {
        k: (r.state, r.time, r.seconds, r.peak_bytes) for k, r in records.items() if r is not None
    }
    assert len(said) > 1
    log = paths.log("segment", 0).read_text()
    assert "magneton" not in log.partition(": ")[0]
    assert all(f"{event.sentence()}\n" in log for event in settled)
    assert '{"magneton"' not in log
    last = json.loads(log.splitlines()[-1])
    assert last == json.loads(paths.result("segment", 0).read_text())


def test_an_error_is_told_to_the_program_that_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "magneton_tasks", "plan", "none.yaml", "--run-id", "r"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    environ = {EVENTS_VARIABLE: "1", "PATH": "/usr/bin:/bin"}
    read_by = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    (refused,) = [e for e in map(read, read_by.stdout.splitlines()) if isinstance(e, Refused)]
    assert shown.stderr.rstrip("\n") == refused.sentence()
    assert shown.returncode == read_by.returncode == refused.exit_code
    assert read_by.stderr == ""
