"""What a cluster allows, and how a stage's work is cut into arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.config.slurm import Slurm as Settings
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan.plan import Plan
from magneton_tasks.runners.arrays import limits as generic
from magneton_tasks.runners.arrays.scheduler import Limits
from magneton_tasks.runners.slurm import limits
from magneton_tasks.runners.slurm.cluster import SlurmCluster
from magneton_tasks.runners.slurm.programs import Slurm
from magneton_tasks.runners.slurm.scheduler import SlurmScheduler
from magneton_tasks.stages.planning import draft as planning
from magneton_tasks.stages.planning.request import PlanRequest
from tests.helpers.tiny_volume import write_tiny_volume
from tests.runners.slurm.fake_cluster import Cluster, Planned

RECORDED = Path(__file__).parent / "recorded"
CONFIG = (RECORDED / "scontrol-config-excerpt.txt").read_text()
PARTITIONS = (RECORDED / "scontrol-partitions.txt").read_text()
MIB = 2**20


def recorded(partition: str | None) -> Limits:
    return limits.parse(CONFIG, limits.choose(PARTITIONS, partition), "4000|2\n2000+|4\n")


def test_recorded_limits() -> None:
    assert recorded(None) == Limits("main", 1001, 4 * 3600, 4000 * MIB, 4)
    assert recorded("small") == Limits("small", 1001, 120, 600 * MIB, 4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"time": "05:00:00"}, "slurm.time"),
        ({"max_time": "05:00:00"}, "slurm.max_time"),
        ({"memory": "5GiB"}, "slurm.memory"),
        ({"max_memory": "5GiB"}, "slurm.max_memory"),
        ({"cpus": 8}, "slurm.cpus"),
    ],
)
def test_what_the_partition_does_not_give_is_refused(given: dict[str, Any], words: str) -> None:
    scheduler = SlurmScheduler(SlurmCluster(Slurm()), Settings.model_validate(given))
    with pytest.raises(ConfigError, match=words):
        generic.check(recorded(None), scheduler)


def test_an_unknown_partition_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="no partition fast") as raised:
        limits.choose(PARTITIONS, "fast")
    assert "main, small" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("blocks", "cpu_s", "given", "expected"),
    [
        (0, 0.0, {}, (0, 1)),
        (1, 1.0, {}, (1, 1)),
        (100, 10.0, {}, (1, 4)),  # little work: a few jobs all the same
        (100, 6000.0, {}, (1, 5)),  # 20 minutes each
        (10_000, 1e9, {}, (10, 1000)),  # a block is more than enough: max_queued cuts
        (10_000, 1e9, {"max_queued": 5000}, (10, 1000)),  # MaxArraySize cuts
        (10_000, 1e9, {"max_queued": 300}, (34, 295)),
        (10_000, 1_200_000.0, {"target_minutes": 30}, (1, 667)),
    ],
)
def test_work_is_cut_into_arrays_that_the_cluster_takes(
    blocks: int, cpu_s: float, given: dict[str, Any], expected: tuple[int, int]
) -> None:
    settings = Settings.model_validate({"time": "01:00:00", **given})
    batches, parts = generic.cut(blocks, cpu_s, settings, 1001)
    assert (batches, parts) == expected
    assert parts < 1001 and parts <= settings.max_queued


def test_plan_cuts_by_what_the_cluster_says(cluster: Cluster, planned: Planned) -> None:
    cluster.set(max_array=3)
    paths = planned()
    plan = Plan.from_json(paths.plan.read_text())
    assert plan.work["segment"].batches == 2 and plan.work["segment"].parts == 2
    assert plan.work["pool"].batches == 1
    kept = generic.read(paths.root)
    assert kept is not None and kept.max_array == 3


def test_plan_refuses_what_the_partition_does_not_give(cluster: Cluster, tmp_path: Path) -> None:
    more = 'runner: {offered: [slurm], default: slurm}\nslurm: {time: "10:00:00"}\n'
    config = write_tiny_volume(tmp_path / "volume", more)
    with pytest.raises(ConfigError, match="slurm.time is 10 h"):
        planning.run(PlanRequest(config, "test", {}))


def test_three_queries(cluster: Cluster) -> None:
    limits.ask(Slurm(), Settings())
    assert len(cluster.calls("scontrol")) + len(cluster.calls("sinfo")) == 3
