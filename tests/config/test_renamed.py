"""Keys that were called otherwise: read by the old name, never silently, and edited under the new one."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from magneton_tasks.cli.config import parameters as params
from magneton_tasks.cli.main import cli
from magneton_tasks.cli.options import parse_sets
from magneton_tasks.config import renamed
from magneton_tasks.config.edit import with_values
from magneton_tasks.config.read import parse_config
from magneton_tasks.errors import EXIT_CONFIG, ConfigError
from tests.helpers.plans import MINIMAL

TEXT = MINIMAL + "segment:\n  cutoff: 0.6  # by hand\n  min_size_vox: 3\n"
NOTE = "volume.yaml, line 6: segment.cutoff is called segment.threshold now; the old name is still read"


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, renamed.__name__)  # whatever Airflow's settings say
    monkeypatch.setitem(renamed.RENAMED, "segment.cutoff", "segment.threshold")
    monkeypatch.setitem(renamed.RENAMED, "segment.tiny", "exact.dust")
    renamed._note.cache_clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "volume.yaml"
    path.write_text(TEXT)
    return path


def test_an_old_name_is_read_with_one_note(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        assert parse_config(TEXT, "volume.yaml").segment.threshold == 0.6
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.WARNING, NOTE)]


def test_the_command_line_says_it(file: Path) -> None:
    code = (
        "from magneton_tasks.config import renamed; from magneton_tasks.cli.main import main\n"
        f"renamed.RENAMED['segment.cutoff'] = 'segment.threshold'; main(['config', 'show', '{file}'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "threshold: 0.6" in done.stdout
    assert done.stderr == f"{file.parent}/{NOTE}\n"


def test_it_may_have_stood_in_another_section() -> None:
    text = TEXT + "  tiny: 7\n"
    assert parse_config(text, "volume.yaml").exact.dust == 7


@pytest.mark.parametrize("second", ["threshold: 0.6", "threshold: 0.5", "threshold: null"])
def test_old_and_new_name_together_are_refused(second: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"volume\.yaml, line 6: segment\.cutoff is called segment\.threshold now, and both are there",
    ) as caught:
        parse_config(f"{TEXT}  {second}\n", "volume.yaml")
    assert caught.value.exit_code == EXIT_CONFIG and "remove segment.cutoff" in str(
        caught.value.hint
    )
    with pytest.raises(ConfigError, match="both are there"):
        parse_sets(None, None, ("segment.cutoff=1", "segment.threshold=1"))  # type: ignore[arg-type]


def test_a_wrong_value_is_told_with_its_line() -> None:
    with pytest.raises(
        ConfigError, match=r"volume\.yaml, line 6: segment\.threshold: .*\(given: 6\)"
    ):
        parse_config(TEXT.replace("0.6", "6"), "volume.yaml")


def test_a_section_that_is_null_holds_no_old_name() -> None:
    with pytest.raises(ConfigError, match="line 5: segment: Input should be a valid dictionary"):
        parse_config(MINIMAL + "segment:\n", "volume.yaml")


def test_an_override_by_the_old_name_counts(caplog: pytest.LogCaptureFixture) -> None:
    assert parse_config(TEXT, "v", {"segment.cutoff": 0.4}).segment.threshold == 0.4
    sets = parse_sets(None, None, ("segment.cutoff=0.5", "pool.rule=any"))  # type: ignore[arg-type]
    assert sets == {"segment.threshold": 0.5, "pool.rule": "any"}
    assert "--set: segment.cutoff is called segment.threshold now" in caplog.text


def test_show_tells_the_present_name_and_the_line_of_the_old_one(file: Path) -> None:
    done = CliRunner().invoke(cli, ["config", "show", str(file), "--source", "--json"])
    rows = {row["key"]: row for row in json.loads(done.stdout)}
    assert (
        rows["segment.threshold"] | {"value": 0.6, "source": "file", "line": 6}
        == rows["segment.threshold"]
    )
    assert "segment.cutoff" not in rows
    done = CliRunner().invoke(cli, ["config", "show", str(file), "--as-written"])
    assert done.stdout == TEXT


@pytest.mark.parametrize("key", ["segment.threshold", "segment.cutoff"])
def test_a_value_that_is_set_takes_the_old_name_s_place(file: Path, key: str) -> None:
    done = CliRunner().invoke(cli, ["config", "set", str(file), f"{key}=0.5"])
    assert done.exit_code == 0, done.output
    assert "segment.threshold: 0.6 -> 0.5" in done.stdout
    assert file.read_text() == TEXT.replace("cutoff: 0.6", "threshold: 0.5")


def test_another_value_leaves_the_old_name_where_it_is() -> None:
    new = with_values(TEXT, "volume.yaml", {"segment.min_size_vox": 4})
    assert new == TEXT.replace("vox: 3", "vox: 4")


def test_a_key_that_moved_to_another_section_is_set_there() -> None:
    new = with_values(TEXT + "  tiny: 7\n", "volume.yaml", {"exact.dust": 8})
    assert new.startswith(TEXT + "  # tiny: 7\n") and new.endswith("exact:\n  dust: 8\n")


@pytest.mark.parametrize(
    "layout", ["segment: {cutoff: 0.6, min_size_vox: 3}", 'segment: {"cutoff": 0.6}']
)
def test_it_is_renamed_in_braces_too(layout: str) -> None:
    new = with_values(f"{MINIMAL}{layout}\n", "volume.yaml", {"segment.threshold": 0.5})
    assert new == f"{MINIMAL}{layout}\n".replace('"cutoff"', "cutoff").replace(
        "cutoff: 0.6", "threshold: 0.5"
    )


def test_the_table_of_edit_knows_it(file: Path) -> None:
    assert params.changed(file, {}, "segment.cutoff", "0.5") == {"segment.threshold": 0.5}
    (row,) = params.parameters(file, {}, ["segment.threshold"])
    assert (row.value, row.source) == (0.6, "file")


def test_what_was_written_before_is_told_by_the_present_name() -> None:
    values: dict[str, Any] = {"segment.cutoff": 0.5, "segment.min_size_vox": 3}
    assert renamed.of(values) == {"segment.threshold": 0.5, "segment.min_size_vox": 3}
