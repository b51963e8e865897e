"""`magneton airflow init`: what it writes, and whose files it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from magneton_tasks.cli.airflow.init import DAG_FILES, MARK
from magneton_tasks.cli.main import cli
from magneton_tasks.errors import ConfigError


def init(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["airflow", "init", *map(str, words)])


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_it_writes_both_files_and_says_what_else_airflow_needs(tmp_path: Path) -> None:
    done = init(tmp_path / "dags")
    assert done.exit_code == 0, done.output
    written = contents(tmp_path / "dags")
    assert set(written) == set(DAG_FILES)
    for text in written.values():
        assert ascii(str(tmp_path / "configs")) in text
        compile(text, "dag", "exec")
    for word in ("[airflow]", "MAGNETON_CONFIGS=", "MAGNETON_ROOTS", "service.pools", "plugin"):
        assert word in done.output


def test_repeated_it_takes_over_another_place_of_configs(tmp_path: Path) -> None:
    first = init(tmp_path)
    assert "wrote" in first.output and "as it should be" not in first.output
    again = init(tmp_path)
    assert "wrote" not in again.output and again.exit_code == 0
    other = init(tmp_path, "--configs", tmp_path / "it's so")
    assert other.exit_code == 0 and "as it should be" not in other.output
    for text in contents(tmp_path).values():
        assert ascii(str(tmp_path / "it's so")) in text


@pytest.mark.parametrize("name", DAG_FILES)
@pytest.mark.parametrize("content", [b"# mine\n", b"", b"\xff\xfe", f"# {MARK}".encode()])
def test_a_file_of_somebody_else_stays_and_nothing_is_written(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    done = init(tmp_path)
    assert isinstance(done.exception, ConfigError) and str(tmp_path / name) in str(done.exception)
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert (tmp_path / name).read_bytes() == content


def test_a_folder_and_a_link_that_leads_nowhere_are_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "instance_segmentation.py").mkdir()
    assert isinstance(init(tmp_path).exception, ConfigError)
    (tmp_path / "instance_segmentation.py").rmdir()
    (tmp_path / "instance_segmentation.py").symlink_to(tmp_path / "not mounted")
    assert isinstance(init(tmp_path).exception, ConfigError)
