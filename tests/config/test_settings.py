"""What the kernels get of a config: every setting of theirs, as it stands there."""

from __future__ import annotations

from dataclasses import asdict, fields

from magneton_tasks.base.methods import ExactSettings, Rule, SegmentSettings
from magneton_tasks.config import keys
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.settings import exact_settings, matching_rule, segment_settings
from tests.helpers.plans import a_config


def test_a_kernel_gets_each_of_its_settings_from_the_config() -> None:
    """Not its own default of a key that the config calls otherwise, or doesn't have."""
    known = {key.rpartition(".")[2] for key in keys.fields(RunConfig)}
    for kind in (SegmentSettings, ExactSettings, Rule):
        assert {field.name for field in fields(kind)} - known <= {"name"}


def test_settings_of_waterz_are_those_of_its_section() -> None:
    given = {
        "merge_function": "aff75_his256", "supervoxels": "2d", "interior_threshold": 0.3, "min_distance": 9
    }  # fmt: skip
    config = a_config({"method": "overlap", **{f"segment.{k}": v for k, v in given.items()}})
    expected = given | {"threshold": 0.6, "aff_thresholds": (0.0001, 0.9999)}
    assert asdict(segment_settings(config, 0.6)) == expected
    apart = a_config({"method": "overlap", "segment.aff_thresholds": [0.1, 0.8]})
    assert segment_settings(apart, 0.6).aff_thresholds == (0.1, 0.8)


def test_settings_of_the_exact_method_are_those_of_its_sections() -> None:
    given = {"s2": 7}
    advanced = {"t_low": 2, "t_high": 250, "s_min": 9, "t_size": 3}
    config = a_config(
        {"method": "exact"}
        | {f"exact.{k}": v for k, v in given.items()}
        | {f"exact.advanced.{k}": v for k, v in advanced.items()}
    )
    assert asdict(exact_settings(config, 0.4)) == given | advanced | {"threshold": 0.4}


def test_the_matching_rule_is_that_of_pool() -> None:
    config = a_config({"method": "overlap", "pool.rule": "mutual", "pool.min_overlap_vox": 7, "pool.min_frac": 0.9})  # fmt: skip
    assert matching_rule(config) == Rule("mutual", 7, 0.9)
    config = a_config({"method": "overlap", "pool.rule": "iou", "pool.min_iou": 0.2})
    assert matching_rule(config) == Rule("iou", min_iou=0.2)
