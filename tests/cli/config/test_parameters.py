"""Parameters as people see and type them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from magneton_tasks.cli.config import parameter_dialog
from magneton_tasks.cli.config.parameters import (
    Parameter,
    all_changed,
    changed,
    differences,
    parameters,
    shown,
    table,
)
from magneton_tasks.cli.console import Quit
from magneton_tasks.config.read import known_keys, load_config
from magneton_tasks.errors import ConfigError
from tests.helpers.plans import MINIMAL, OVERLAP


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "volume.yaml"
    path.write_text(OVERLAP + "pool: {min_frac: 0.4}\nlocal: {memory: 8G}\n")
    return path


def by_key(rows: list[Parameter]) -> dict[str, Parameter]:
    return {p.key: p for p in rows}


# ---------------------------------------------------------------------------- the list


def test_every_key_that_is_read_is_listed_with_value_default_source_and_meaning(
    config: Path,
) -> None:
    rows = by_key(parameters(config, {"segment.threshold": 0.2}))
    unread = {"segment.interior_threshold", "segment.min_distance", "pool.min_iou"}
    others = {k for k in known_keys() if k.startswith(("exact.", "docker.", "slurm."))}
    assert set(rows) == set(known_keys()) - unread - others
    assert all(p.meaning for p in rows.values())
    threshold = rows["segment.threshold"]
    assert (threshold.section, threshold.name) == ("segment", "threshold")
    assert (threshold.value, threshold.default, threshold.source) == (0.2, None, "override")
    assert "lower value merges more" in threshold.meaning
    assert (rows["pool.min_frac"].value, rows["pool.min_frac"].source) == (0.4, "file")
    assert (rows["pool.rule"].value, rows["pool.rule"].source) == ("mutual", "default")
    assert (rows["box.begin"].value, rows["box.begin"].default) == (None, None)
    assert rows["block.size"].default == [256, 256, 256]
    assert rows["paths.input"].source == "file"


def test_a_runner_has_its_rows_once_it_is_offered_or_the_file_says_something_of_it(
    config: Path,
) -> None:
    offered = by_key(parameters(config, {"runner.offered": ["local", "slurm"]}))
    assert {"slurm.time", "local.workers"} <= set(offered)
    assert "docker.image" not in offered
    config.write_text(OVERLAP + "docker: {image: mine}\n")
    assert "docker.image" in by_key(parameters(config, {}))
    assert "docker.cpus" not in by_key(parameters(config, {}))


def test_sections_choose_the_rows(config: Path) -> None:
    rows = parameters(config, {}, ["pool", "block"])
    assert [p.key for p in rows] == [
        "block.size",
        "block.overlap",
        "pool.rule",
        "pool.min_overlap_vox",
        "pool.min_frac",
        "pool.largest_object_warning",
    ]
    assert [p.name for p in parameters(config, {}, [""])] == [
        "schedule",
        "partition_format",
        "method",
    ]


def test_another_rule_has_other_rows(config: Path) -> None:
    overrides = changed(config, {}, "pool.rule", "iou")
    names = [p.name for p in parameters(config, overrides, ["pool"])]
    assert names == ["rule", "min_iou", "largest_object_warning"]


def test_the_exact_method_has_other_rows(config: Path) -> None:
    overrides = changed(config, {"block.overlap": [8, 8, 8]}, "method", "exact")
    overrides = changed(config, overrides, "exact.advanced.s_min", "20")
    assert overrides == {"method": "exact", "exact.advanced.s_min": 20}
    rows = by_key(parameters(config, overrides))
    assert not {"block.overlap", "segment.merge_function", "pool.rule", "pool.min_frac"} & set(rows)
    s_min = rows["exact.advanced.s_min"]
    assert (s_min.section, s_min.name, s_min.source) == ("exact.advanced", "s_min", "override")
    assert (s_min.value, s_min.default) == (20, 50)
    assert (rows["exact.s2"].value, rows["exact.s2"].source) == (200, "default")
    names = [p.name for p in parameters(config, overrides, ["exact"])]
    assert names == ["s2", "dust", "lowest_threshold", "t_low", "t_high", "s_min", "t_size"]
    assert len(parameters(config, overrides, ["exact.advanced"])) == 4
    config.write_text(MINIMAL + "method: exact\nexact:\n  advanced: {t_low: 2}\n")
    found = by_key(parameters(config, {}))
    assert (found["exact.advanced.t_low"].source, found["exact.dust"].source) == ("file", "default")
    back = changed(config, {"exact.s2": 1, "exact.advanced.s_min": 1}, "method", "overlap")
    assert back == {"method": "overlap"}


def test_the_table_numbers_its_rows_and_marks_what_is_for_this_run(config: Path) -> None:
    rows = parameters(config, {"segment.threshold": 0.2}, ["segment"])
    console = Console(width=150, file=io.StringIO(), record=True)
    console.print(table(rows, console.width))
    lines = console.export_text().splitlines()
    assert any(line.split()[:4] == ["1", "segment", "threshold", "0.2"] for line in lines)
    assert any("0.2 *" in line and "Regions merge while" in line for line in lines)
    assert any(line.split()[:3] == ["2", "merge_function", "aff50_his256"] for line in lines)


# ---------------------------------------------------------------------------- typing values


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("segment.threshold", "0.6", 0.6),
        ("segment.threshold", "1e-4", 1e-4),  # YAML 1.1 takes this for a text
        ("block.size", "[128, 256, 256]", [128, 256, 256]),
        ("block.size", "128 256 256", [128, 256, 256]),
        ("block.size", "128,256,256", [128, 256, 256]),
        ("block.size", " 128, 256, 256 ", [128, 256, 256]),
        ("block.size", "128x256x256", [128, 256, 256]),
        ("segment.aff_thresholds", "1e-4 .99", [1e-4, 0.99]),
        ("input.channels", "2 1 0", [2, 1, 0]),
        ("input.channels", "xyz", "xyz"),
        ("input.invert", "true", True),
        ("input.invert", "yes", True),
        ("local.memory", "8GiB", "8GiB"),
        ("local.memory", "8 GiB", "8 GiB"),
        ("local.memory", "null", None),
        ("schedule", "@daily", "@daily"),
        ("schedule", "*/5 * * * *", "*/5 * * * *"),
        ("schedule", "0 3 * * *", "0 3 * * *"),
        ("partition_format", "%Y", "%Y"),
        ("input.version", "7", 7),
        ("input.version", "2024-05-01", "2024-05-01"),
        ("mask.path", "file:///data/mask 1", "file:///data/mask 1"),
        ("box", "{begin: [0, 0, 0], end: [4, 4, 4]}", {"begin": [0, 0, 0], "end": [4, 4, 4]}),
    ],
)
def test_values_are_typed_as_in_the_file(config: Path, key: str, text: str, value: Any) -> None:
    overrides = changed(config, {"apply.mips": 1}, key, text)
    assert overrides == {"apply.mips": 1, key: value}
    assert type(overrides[key]) is type(value)
    load_config(config, overrides)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("segment.threshold", "1.5", "segment.threshold: Input should be less than or equal to 1"),
        ("segment.threshold", "[0.5", "segment.threshold: '[0.5' is not YAML"),
        ("segment.treshold", "0.5", "did you mean segment.threshold?"),
        ("block.size", "64 64", "block.size"),
        ("block.overlap", "128 128 128", "use at most 127"),
        ("local.memory", "lots", "'lots' is not a size"),
        ("pool.min_iou", "0.5", "not read by rule: mutual"),
        ("box.begin", "0 0 0", "box.end is missing"),
        ("paths.work", "here", "isn't absolute"),
    ],
)
def test_a_wrong_value_is_told_and_the_old_ones_stay(
    config: Path, key: str, text: str, message: str
) -> None:
    overrides: dict[str, object] = {"segment.threshold": 0.6}
    with pytest.raises(ConfigError) as caught:
        changed(config, overrides, key, text)
    assert message in str(caught.value)
    assert overrides == {"segment.threshold": 0.6}


def test_a_rule_takes_away_what_was_set_for_another(config: Path) -> None:
    overrides = changed(config, {}, "pool.rule", "both")
    overrides = changed(config, overrides, "pool.min_frac", "0.3")
    overrides = changed(config, overrides, "pool.rule", "iou")
    assert overrides == {"pool.rule": "iou"}
    overrides = changed(config, overrides, "pool.min_iou", "0.3")
    assert load_config(config, changed(config, overrides, "pool.rule", "any")).pool.rule == "any"


def test_a_box_is_set_by_both_ends_and_goes_by_null(config: Path) -> None:
    overrides = all_changed(config, {}, {"box.begin": "1 2 3", "box.end": "4 5 6"})
    box = load_config(config, overrides).box
    assert box is not None
    assert (box.begin, box.end) == ((1, 2, 3), (4, 5, 6))
    overrides = changed(config, overrides, "box.end", "null")
    assert load_config(config, overrides).box is None
    overrides = all_changed(config, overrides, {"box.begin": "7 7 7", "box.end": "8 8 8"})
    box = load_config(config, overrides).box
    assert box is not None
    assert box.begin == (7, 7, 7)


def test_sizes_are_shown_in_units_where_that_is_exact() -> None:
    assert shown("local.memory", 8 * 2**30) == "8GiB"
    assert shown("local.memory", 1536 * 2**20) == "1536MiB"
    assert shown("local.memory", 2**30 + 1) == str(2**30 + 1)
    assert shown("paths.max_files", 2**20) == str(2**20)
    assert shown("block.size", (1, 2, 3)) == "[1, 2, 3]"
    assert shown("box.begin", None) == "null"


def test_differences_name_old_and_new(config: Path) -> None:
    before = parameters(config, {})
    after = parameters(config, {"pool.rule": "iou", "local.memory": "4G"})
    assert differences(before, after) == [
        "pool.rule: mutual -> iou",
        "pool.min_overlap_vox: 5 -> (not read)",
        "pool.min_frac: 0.4 -> (not read)",
        "pool.min_iou: (not read) -> 0.5",
        "local.memory: 8GiB -> 4GiB",
    ]


# ---------------------------------------------------------------------------- the dialog


def talk(
    monkeypatch: pytest.MonkeyPatch, config: Path, *answers: str, sections: Any = None
) -> dict[str, object]:
    """What `edit_table` returns where a person types ``answers``."""
    left = list(answers)
    monkeypatch.setattr("builtins.input", lambda _: left.pop(0))
    overrides = parameter_dialog.edit_table(config, {}, sections)
    assert left == []
    return overrides


def test_a_row_is_chosen_by_number_or_name_and_enter_ends(
    monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    sections = ["segment", "pool"]
    overrides = talk(
        monkeypatch,
        config,
        "1",
        "0.5",
        "min_frac",
        "0.3",
        "pool.rule",
        "iou",
        "min_iou",
        "0.9",
        "",
        sections=sections,
    )
    assert overrides == {"segment.threshold": 0.5, "pool.rule": "iou", "pool.min_iou": 0.9}


def test_a_wrong_value_is_asked_again_and_enter_keeps_the_old(
    monkeypatch: pytest.MonkeyPatch, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = ("1", "7", "", "99", "zebra", "")
    assert talk(monkeypatch, config, *answers, sections=["segment"]) == {}
    out = capsys.readouterr().out
    assert "segment.threshold: Input should be less than or equal to 1" in out
    assert "there is no number 99: 1 to 5" in out
    assert "nothing is called 'zebra'" in out


def test_both_ends_of_a_box_are_asked_for(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    overrides = talk(monkeypatch, config, "box.end", "0 0 0", "9 9 9", "begin", "5 5 5", "", "")
    assert overrides == {"box.begin": [5, 5, 5], "box.end": [9, 9, 9]}
    answers = ("begin", "0 0 0", "9 9 9", "end", "null", "")
    assert talk(monkeypatch, config, *answers) == {"box": None}


def test_q_leaves_at_each_question(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    for answers in (["q"], ["threshold", "q"], ["1", "q"], ["box.begin", "0 0 0", "q"]):
        with pytest.raises(Quit):
            talk(monkeypatch, config, *answers)


def test_a_word_is_looked_for_in_names_and_then_in_meanings(config: Path) -> None:
    rows = parameters(config, {})

    def found(word: str) -> list[str]:
        return [p.key for p in parameter_dialog.find(rows, word)]

    assert found("threshold") == ["segment.threshold"]  # a whole name
    assert found("thres") == ["segment.threshold", "segment.aff_thresholds"]
    assert found("overlap") == ["block.overlap"]
    assert found("halo") == ["block.size"]
    assert found("mip") == ["input.mip", "mask.mip", "mesh.mip", "skeleton.mip"]
    assert found("0") == []
    assert found("1") == ["schedule"]
