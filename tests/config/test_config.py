from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from magneton_tasks.config.read import (
    find_configs,
    known_keys,
    load_config,
    parse_config,
    require_partition,
)
from magneton_tasks.errors import ConfigError, NoInputError
from tests.helpers.plans import MINIMAL, OVERLAP, a_config


def refused(text: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "volume.yaml", **options)
    return str(caught.value)


def test_three_paths_make_a_config_and_the_rest_has_defaults() -> None:
    config = parse_config(MINIMAL, "volume.yaml")
    assert config.method == "exact"
    assert config.block.size == (256, 256, 256)
    assert (config.segment.threshold, config.segment.merge_function) == (None, "aff50_his256")
    assert config.pool.rule == "mutual"
    assert config.local.memory is None


def test_what_config_show_prints_reads_back_as_the_same_config() -> None:
    for sets in (
        {},
        {"pool.rule": "iou"},
        {"segment.supervoxels": "2d", "box": {"begin": [0, 0, 0], "end": [9, 9, 9]}},
    ):
        config = a_config(sets)
        text = yaml.safe_dump(config.resolved())
        assert parse_config(text, "shown") == config


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # unknown keys, at both levels, with the nearest known one
        ("blok: {}", "line 5: unknown key blok; did you mean block?"),
        ("segment: {treshold: 0.5}", "line 5: unknown key segment.treshold; did you mean segment.threshold?"),
        ("pool:\n  min_size_vox: 3", "line 6: unknown key pool.min_size_vox; did you mean segment.min_size_vox?"),
        # sizes
        ("block: {size: [0, 64, 64]}", "line 5: block.size"),
        ("block: {size: [64, 64, -64]}", "line 5: block.size"),
        ("block: {size: [64, 64]}", "line 5: block.size"),
        ("block: {size: [64.5, 64, 64]}", "line 5: block.size"),
        ("block: {size: [64, 64, 64], overlap: [-1, 0, 0]}", "line 5: block.overlap"),
        # half of the block or more
        ("block: {size: [64, 64, 64], overlap: [0, 32, 0]}\nmethod: overlap", "overlap 32 along y is half the block size 64 or more; use at most 31"),
        ("block: {size: [2048, 2048, 2048]}", "2^31 voxels"),
        # numbers out of range
        ("segment: {threshold: 1.5}", "segment.threshold"),
        ("segment: {aff_thresholds: [0.9, 0.1]}", "the low one must be smaller"),
        ("input: {mip: -1}", "input.mip"),
        ("input: {scale: 0}", "input.scale"),
        ("input: {offset_sign: 0}", "input.offset_sign"),
        ("input: {channels: zyy}", "an order of the letters z, y, x"),
        ("input: {channels: [0, 1, 1]}", "three different channels"),
        ("box: {begin: [0, 0, 9], end: [4, 4, 9]}", "is empty"),
        ("local: {memory: lots}", "'lots' is not a size; write for instance 8GiB"),
        ("local: {workers: 0}", "local.workers"),
        ("apply: {mips: 11}", "apply.mips"),
        ("apply: {encoding: jpeg}", "apply.encoding"),
        # a key of the method that was the default
        ("block: {overlap: [8, 8, 8]}", "line 5: block.overlap: block.overlap is read by method: overlap only"),
        ("segment: {merge_function: mean}", "`method: overlap` keeps what waterz made; `method: exact`, without this key"),
        ("method: exact\npool: {rule: any}", "line 6: pool.rule: pool.rule is not read by method: exact; remove it"),
        # a key that the choice doesn't read
        ("pool: {rule: iou, min_frac: 0.4}", "min_frac is not read by rule: iou (only by mutual, both, any)"),
        ("segment: {supervoxels: 3d, aff_thresholds: [0, 1]}", "aff_thresholds is not read by supervoxels: 3d"),
        # YAML
        ("segment: [1, 2", "line 6, column 1: malformed YAML"),
        ("segment: {threshold: 0.5}\nsegment: {}", "line 6: segment appears twice (first in line 5)"),
        ("\tsegment: {}", "line 5, column 1"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused_by_line_and_key(line: str, message: str) -> None:
    text = refused(MINIMAL + line + "\n")
    assert text.startswith("volume.yaml")
    assert message in text


@pytest.mark.parametrize("method", ["", "method: exact\n"])
@pytest.mark.parametrize("key", ["pool.rule", "block.overlap"])
def test_a_key_set_for_this_run_alone_is_not_looked_for_in_the_file(method: str, key: str) -> None:
    value = {"pool.rule": "iou", "block.overlap": [8, 8, 8]}[key]
    text = refused(MINIMAL + method + "block: {size: [64, 64, 64]}\n", overrides={key: value})
    assert text.startswith(f"volume.yaml, set for this run: {key} is ")
    assert "et the method too (--set method=overlap), or omit this key" in text
    assert "Add a line" not in text and "remove it" not in text


def test_a_value_of_the_wrong_type_is_told_what_null_stands_for() -> None:
    text = refused(MINIMAL, overrides={"segment.threshold": "map"})
    assert "(given: 'map'); null: from the map itself (exact), 0.7 (overlap)" in text
    text = refused(MINIMAL + "local: {workers: all}\n")
    assert "(given: 'all'); null: as many as cores and memory allow" in text
    assert "null" not in refused(MINIMAL + "apply: {mips: all}\n")


def test_a_merge_function_that_isn_t_prebuilt_lists_those_that_are() -> None:
    text = refused(MINIMAL + "segment: {merge_function: aff51_his256}\n")
    assert "line 5: segment.merge_function" in text
    assert "aff50_his256" in text
    assert "10, 15, 20" in text
    assert "mean" in text


def test_all_wrong_keys_are_named_at_once() -> None:
    text = refused(MINIMAL + "segment: {threshold: 2, min_distance: 0}\nfoo: 1\n")
    assert len(text.splitlines()) == 3


def test_paths_are_checked() -> None:
    assert "paths.work is missing" in refused("paths: {input: a, output: b}")
    assert "isn't absolute" in refused("paths: {input: /a, output: /b, work: relative}")
    assert "absolute POSIX path" in refused("paths: {input: /a, output: /b, work: 'gs://c'}")
    assert "three slashes" in refused("paths: {input: 'file://data/a', output: /b, work: /c}")
    assert "not a list" in refused("- a\n- b\n")
    assert "paths is missing" in refused("")


def test_overrides_go_over_the_file_by_dotted_key() -> None:
    config = a_config(
        {
            "segment.threshold": 0.4,
            "box": {"begin": [0, 0, 0], "end": [5, 5, 5]},
            "box.end": [6, 6, 6],
        }
    )
    assert config.segment.threshold == 0.4
    assert config.box is not None
    assert config.box.end == (6, 6, 6)
    assert "did you mean segment.threshold?" in refused(MINIMAL, overrides={"segment.tresh": 1})
    assert "segment.threshold" in refused(MINIMAL, overrides={"segment.threshold": "high"})


def test_choosing_another_rule_by_override_drops_the_keys_that_it_doesn_t_read() -> None:
    text = OVERLAP + "pool: {rule: mutual, min_overlap_vox: 9, min_frac: 0.4}\n"
    config = parse_config(text, "volume.yaml", {"pool.rule": "both"})
    assert (config.pool.rule, config.pool.min_frac) == ("both", 0.4)


def test_a_partition_stands_in_the_paths_and_a_run_without_one_is_refused() -> None:
    text = "paths: {input: 'file:///d/{partition}/a', output: 'file:///d/{partition}/s', work: '/d/w-{partition}'}"
    config = parse_config(text, "volume.yaml", partition="2024-05-01")
    assert config.paths.input == "file:///d/2024-05-01/a"
    assert config.paths.work == "/d/w-2024-05-01"
    require_partition(config, "volume.yaml")
    with pytest.raises(ConfigError, match="--partition"):
        require_partition(parse_config(text, "volume.yaml"), "volume.yaml")
    for bad in ("a/b", "..", ""):
        assert "part of a path" in refused(text, partition=bad)
    # one partition would overwrite another
    assert "output and work must hold it too" in refused(
        "paths: {input: '/d/{partition}', output: /s, work: /w}"
    )


def test_memory_is_read_as_a_size() -> None:
    assert a_config({"local.memory": "8 GiB"}).local.memory == 2**33
    assert a_config({"local.memory": 2**30}).local.memory == 2**30


def test_waterz_s_full_name_is_the_short_one() -> None:
    name = "OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256, true>>"
    assert a_config({"segment.merge_function": name}).segment.merge_function == "aff50_his256"


def test_a_config_that_can_t_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")


def test_configs_of_a_folder_are_found_by_name(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "notes.txt", "c.yaml~", ".#b.yaml", "._b.yaml", ".yaml"):
        (tmp_path / name).write_text(MINIMAL)
    assert [p.name for p in find_configs(str(tmp_path))] == ["a.yml", "b.yaml"]
    assert find_configs([tmp_path / "b.yaml", tmp_path]) == [
        tmp_path / "a.yml",
        tmp_path / "b.yaml",
    ]


def test_known_keys_are_dotted() -> None:
    assert {"segment.threshold", "box.begin", "paths.work", "schedule"} <= set(known_keys())
