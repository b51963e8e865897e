"""``magneton config ...`` without questions: set, show, and what a pipe or a cron job meets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from magneton_tasks.config.read import load_config, parse_config
from tests.helpers.calls import Caller

TEXT = """\
# volume 7
paths:
  input: file:///data/affinity   # in
  output: file:///data/segmentation
  work: /data/work

segment: {threshold: 0.70}       # tuned
pool: {rule: mutual, min_frac: 0.4}
local: {memory: 8GiB}
method: overlap
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "volume.yaml"
    path.write_text(TEXT)
    return path


# ---------------------------------------------------------------------------- set


def test_set_changes_values_says_so_and_keeps_the_comments(cli: Caller, config: Path) -> None:
    done = cli(
        "config", "set", config, "segment.threshold=.6", "block.overlap=16,16,16", "pool.rule=iou"
    )
    assert done.code == 0
    assert done.out.splitlines() == [
        "block.overlap: [32, 32, 32] -> [16, 16, 16]",
        "segment.threshold: 0.7 -> 0.6",
        "pool.rule: mutual -> iou",
        "pool.min_overlap_vox: 5 -> (not read)",
        "pool.min_frac: 0.4 -> (not read)",
        "pool.min_iou: (not read) -> 0.5",
        f"saved {config}",
    ]
    assert config.read_text() == (
        TEXT.replace("0.70", "0.6").replace("mutual, min_frac: 0.4", "iou")
        + "\nblock:\n  overlap: [16, 16, 16]\n"
    )


def test_set_of_what_is_there_already_writes_nothing(cli: Caller, config: Path) -> None:
    before = config.stat()
    assert (
        cli("config", "set", config, "segment.threshold=0.7").out
        == f"{config}: nothing to change\n"
    )
    assert config.stat().st_ino == before.st_ino


def test_set_of_the_default_writes_it(cli: Caller, config: Path) -> None:
    done = cli("config", "set", config, "apply.mips=3")
    assert done.out == f"saved {config}\n"
    assert config.read_text().endswith("\napply:\n  mips: 3\n")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["segment.threshold=7"], 78, "segment.threshold: Input should be less than or equal to 1"),
        (["pool.rule=any", "segment.treshold=1"], 78, "did you mean segment.threshold?"),
        (["segment.threshold"], 64, "is not key=value"),
        ([], 64, "Missing argument"),
    ],
)
def test_a_wrong_set_changes_nothing(
    cli: Caller, config: Path, args: list[str], code: int, message: str
) -> None:
    done = cli("config", "set", config, *args)
    assert done.code == code
    assert message in done.err
    assert config.read_text() == TEXT


def test_set_of_the_method_takes_out_what_it_doesn_t_read(cli: Caller, config: Path) -> None:
    done = cli("config", "set", config, "method=exact", "exact.advanced.s_min=40")
    assert done.code == 0, done.err
    assert {
        "method: overlap -> exact",
        "pool.rule: mutual -> (not read)",
        "block.overlap: [32, 32, 32] -> (not read)",
        "exact.s2: (not read) -> 200",
        "exact.advanced.s_min: (not read) -> 40",
    } <= set(done.out.splitlines())
    text = config.read_text()
    assert "pool: {}\n" in text and "segment: {threshold: 0.70}       # tuned" in text
    assert text.endswith("\nmethod: exact\n\nexact:\n  advanced:\n    s_min: 40\n")
    rows = {
        r["key"]: r for r in json.loads(cli("config", "show", config, "--json", "--source").out)
    }
    assert rows["exact.advanced.s_min"] == {
        "key": "exact.advanced.s_min",
        "value": 40,
        "source": "file",
        "line": 14,
    }
    assert rows["exact.dust"]["source"] == "default" and "pool.rule" not in rows
    data = json.loads(cli("config", "show", config, "--json").out)
    assert data["exact"]["advanced"]["s_min"] == 40 and "overlap" not in data["block"]
    shown = cli("config", "show", config, "--as-written", "--set", "method=overlap").out
    assert "# exact:\n#   advanced:\n#     s_min: 40\n" in shown
    assert cli("config", "set", config, "method=overlap").code == 0
    assert load_config(config).method == "overlap"


def test_a_method_for_one_run_leaves_out_what_the_file_says_for_the_other(
    cli: Caller, config: Path
) -> None:
    shown = cli("config", "show", config, "--set", "method=exact").out
    assert parse_config(shown, "shown") == load_config(config, {"method": "exact"})
    done = cli("config", "check", config, "--set", "exact.s2=5")
    assert done.code == 78 and "exact is not read by method: overlap" in done.err


def test_set_mends_a_config_that_is_wrong(cli: Caller, config: Path) -> None:
    config.write_text(TEXT.replace("0.70", "70"))
    assert cli("config", "check", config).code == 78
    done = cli("config", "set", config, "segment.threshold=0.7")
    assert done.out.splitlines() == [
        "segment.threshold: 0.7",
        f"saved {config}",
    ]
    assert cli("config", "check", config, "--file-only").code == 0


# ---------------------------------------------------------------------------- show


def test_show_prints_all_values_as_yaml_that_reads_back(cli: Caller, config: Path) -> None:
    for sets in ({}, {"pool.rule": "iou", "input.version": "Größe: 010"}):
        options = [f"--set={k}={json.dumps(v)}" for k, v in sets.items()]
        for resolved in ([], ["--resolved"]):
            shown = cli("config", "show", config, *options, *resolved).out
            assert parse_config(shown, "shown") == load_config(config, sets)
            assert "largest_object_warning: 0.1" in shown


def test_show_as_written_is_the_file_with_its_comments(cli: Caller, config: Path) -> None:
    assert cli("config", "show", config, "--as-written").out == TEXT
    shown = cli("config", "show", config, "--as-written", "--set", "segment.threshold=0.6").out
    assert shown == TEXT.replace("0.70", "0.6")
    assert config.read_text() == TEXT


def test_show_source_says_file_and_line_override_or_default(cli: Caller, config: Path) -> None:
    out = cli("config", "show", config, "--source", "--set", "pool.min_frac=0.3").out
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines()}
    assert rows["key"] == "value source"
    assert rows["segment.threshold"] == "0.7 file, line 7"
    assert rows["paths.output"] == "file:///data/segmentation file, line 4"
    assert rows["pool.rule"] == "mutual file, line 8"
    assert rows["pool.min_frac"] == "0.3 override (--set)"
    assert rows["local.memory"] == "8GiB file, line 9"
    assert rows["apply.chunk_size"] == "[64, 64, 64] default"
    assert "pool.min_iou" not in rows
    written = cli("config", "show", config, "--source", "--as-written").out
    assert "default" not in written
    assert "segment.threshold" in written


def test_an_empty_threshold_says_where_it_will_come_from(cli: Caller, config: Path) -> None:
    def shown(*sets: str) -> str:
        more = [part for one in sets for part in ("--set", one)]
        out = cli("config", "show", config, "--source", *more).out
        return next(
            " ".join(line.split()) for line in out.splitlines() if line.startswith("segment.thr")
        )

    assert shown("segment.threshold=null").endswith("null override (--set): 0.7")
    config.write_text("paths: {input: file:///a, output: file:///b, work: /c}\nmethod: exact\n")
    assert shown().endswith("null default: from the map, plan says which")
    assert shown("segment.threshold=0.3").endswith("0.3 override (--set)")


def test_show_as_json_has_exact_numbers(cli: Caller, config: Path) -> None:
    data = json.loads(cli("config", "show", config, "--json").out)
    assert data["local"]["memory"] == 2**33
    assert data["block"]["size"] == [256, 256, 256]
    written = json.loads(cli("config", "show", config, "--json", "--as-written").out)
    assert written == yaml.safe_load(TEXT)
    rows = {
        r["key"]: r for r in json.loads(cli("config", "show", config, "--json", "--source").out)
    }
    assert rows["local.memory"] == {
        "key": "local.memory",
        "value": 2**33,
        "source": "file",
        "line": 9,
    }
    assert rows["apply.mips"]["source"] == "default"
    assert rows["apply.mips"]["line"] is None


def test_values_that_come_by_a_merge_come_from_the_file(cli: Caller, config: Path) -> None:
    config.write_text(TEXT + "input: &i {mip: 1}\nmask: {<<: *i}\n")
    rows = {
        r["key"]: r for r in json.loads(cli("config", "show", config, "--json", "--source").out)
    }
    assert (rows["mask.mip"]["value"], rows["mask.mip"]["source"]) == (1, "file")
    assert rows["mask.mip"]["line"] == 12


def test_show_of_a_wrong_config_says_what_is_wrong(cli: Caller, config: Path) -> None:
    config.write_text(TEXT + "blok: {}\n")
    for options in ([], ["--source"], ["--as-written"], ["--json"]):
        done = cli("config", "show", config, *options)
        assert done.code == 78
        assert "line 11: unknown key blok; did you mean block?" in done.err


# ---------------------------------------------------------------------------- questions, help


@pytest.mark.parametrize("options", [[], ["--editor"]])
def test_edit_without_a_terminal_says_what_to_use_instead(
    cli: Caller, config: Path, options: list[str]
) -> None:
    done = cli("config", "edit", config, *options)
    assert done.code == 64
    assert "no terminal" in done.err
    for word in ("config set", "--set", "config check"):
        assert word in done.err


def test_every_subcommand_has_an_example(cli: Caller) -> None:
    listed = cli("config", "--help").out.split("Commands:")[1].split("Example:")[0]
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    assert set(names) >= {"new", "check", "show", "edit", "set", "import", "schema"}
    for name in names:
        assert f"Example:  magneton config {name}" in cli("config", name, "--help").out


@pytest.mark.parametrize("command", [["config", "show"], ["config", "check", "--file-only"]])
def test_only_what_changes_a_file_loads_the_editor_of_yaml(
    command: list[str], config: Path
) -> None:
    code = (
        "import sys\nfrom magneton_tasks.cli.main import main\nimport magneton_tasks.cli.menu.stage\n"
        f"main({[*command, str(config)]!r})\nassert 'ruamel.yaml' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
