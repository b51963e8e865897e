"""What jobs used of what they had reserved, as sacct of 22.05 tells it."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from magneton_tasks.config.slurm import Slurm as Settings
from magneton_tasks.errors import OutputError
from magneton_tasks.runners.arrays import usage
from magneton_tasks.runners.arrays.usage import Usage
from magneton_tasks.runners.slurm import accounting
from magneton_tasks.runners.slurm.cluster import SlurmCluster
from magneton_tasks.runners.slurm.programs import Slurm
from magneton_tasks.runners.slurm.scheduler import SlurmScheduler

SACCT = """\
1_0|COMPLETED|00:09.500|10|1|
1_0.batch|COMPLETED|00:09.500|10|1|522928K
1_1|FAILED|01:00|70|2|
1_1.batch|FAILED|01:00|70|2|1.5G
2|COMPLETED|00:01|1|1|
"""


def test_a_line_a_job_and_the_peak_of_its_steps() -> None:
    found = list(accounting.parse(SACCT))
    total = Usage("segment", reserved_bytes=2**31)
    for job, row in found:
        if job == "1":
            usage._add(total, row)
    assert (total.jobs, total.cpu_s, total.longest_s) == (2, 69.5, 70.0)
    assert total.reserved_cpu_s == 150.0 and total.efficiency == 69.5 / 150
    assert total.peak_bytes == 3 * 2**29


def asking(memory: int) -> SlurmScheduler:
    settings = Settings(memory=memory, max_memory=memory)
    return SlurmScheduler(SlurmCluster(Slurm()), settings)


def test_the_proposal_has_a_margin_and_round_figures() -> None:
    used = Usage("segment", 10, 1000.0, 1200.0, 700.0, 3 * 2**30, 8 * 2**30)
    assert usage.propose([used], 8 * 2**30) == {"memory": "3840MiB", "time": "00:20:00"}
    assert usage.propose([], None) == {}
    text = "\n".join(usage.lines([used], asking(8 * 2**30)))
    assert "83% of what was reserved" in text and "3.0 GiB of 8.0 GiB" in text
    assert 'memory: 3840MiB, time: "00:20:00"' in text


def test_that_nobody_could_account_for_the_jobs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is complete doesn't fail for it."""

    def fail(*_: object) -> list[Usage]:
        raise OutputError("sacct: no answer")

    monkeypatch.setattr(usage, "collect", fail)
    (note,) = usage.report(asking(2**30), Mock())
    assert note.level == "warning" and "unknown what the jobs used: sacct" in note.text


MIB = 2**20


def used(*, grown: int = 0, planned: int = 0) -> Usage:
    """Of jobs that were measured with 300 MiB; figures in MiB."""
    return Usage("segment", 4, 40.0, 40.0, 10.0, 300 * MIB, 2048 * MIB, grown * MIB, planned * MIB)


def test_less_than_jobs_needed_in_the_end_is_never_proposed() -> None:
    assert usage.propose([used()], 2048 * MIB)["memory"] == "512MiB"
    assert usage.propose([used(grown=768)], 512 * MIB)["memory"] == "768MiB"
    assert usage.propose([used(grown=768, planned=700)], None)["memory"] == "768MiB"
    (*_, last) = usage.lines([used(grown=768)], asking(512 * MIB))
    assert "memory: 768MiB" in last and "jobs of segment ran out of memory with less" in last


def test_less_than_plan_projects_is_never_proposed() -> None:
    assert usage.propose([used(planned=730)], 2048 * MIB)["memory"] == "768MiB"
    assert "memory" not in usage.propose([used(planned=730)], None), "plan's figure does"
    assert "memory" not in usage.propose([used(planned=730)], 512 * MIB), "less did this time"


def test_times_and_sizes_of_sacct() -> None:
    assert accounting.parse_cpu("1-02:03:04") == 93784.0
    assert accounting.parse_cpu("00:00.003") == 0.003
    assert accounting.parse_rss("522928K") == 522928 * 1024
    assert accounting.parse_rss("") == 0
