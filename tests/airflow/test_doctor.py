"""Airflow's part of ``magneton doctor``, on a database of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.models.pool import Pool

from magneton_tasks.airflow import doctor
from magneton_tasks.airflow.service import home as homes
from magneton_tasks.airflow.service import pools


@pytest.mark.usefixtures("database")
def test_the_database_the_plugin_and_the_triggerer_are_looked_at() -> None:
    (found,) = doctor.database()
    assert found.level == "ok" and found.what == "sqlite answers"
    assert [f.level for f in doctor.plugin()] == ["ok"]
    assert [f.what for f in doctor.triggerer()] == ["none was ever started"]


@pytest.mark.usefixtures("database")
def test_tables_of_another_airflow_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for versions, said in ((set[str](), "no tables"), ({"0123456789ab"}, "of another Airflow")):
        monkeypatch.setattr(doctor, "_versions", lambda v=versions: ("sqlite", v))
        (found,) = doctor.database()
        assert found.exit_code == 78 and said in found.what


@pytest.mark.usefixtures("database")
def test_a_pool_that_is_not_there_or_has_another_size_is_told() -> None:
    before = Pool.get_pool(pools.NAME)
    try:
        if before is not None:
            Pool.delete_pool(pools.NAME)
        (missing,) = doctor.pool()
        assert missing.level == "wrong" and missing.exit_code == 78
        Pool.create_or_update_pool(pools.NAME, pools.machine_slots() + 1, "", False)
        assert [f.level for f in doctor.pool()] == ["odd"]
        pools.main()
        assert [f.level for f in doctor.pool()] == ["ok"]
    finally:
        if before is None:
            Pool.delete_pool(pools.NAME)


@pytest.mark.parametrize(
    ("took_s", "level"), [(None, "ok"), (2.0, "ok"), (20.0, "odd"), (30.0, "wrong")]
)
def test_parsing_is_held_against_its_limit(took_s: float | None, level: str) -> None:
    found = doctor.parse_time(took_s, 3, 30.0)
    assert found.level == level and (found.hint is None) == (level == "ok")


@pytest.mark.usefixtures("database")
def test_no_dag_at_all_is_odd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DAG_FILE", "of_nobody.py")  # other tests' DAGs may be there
    assert [f.level for f in doctor.parsing()] == ["odd"]


def test_an_airflow_that_was_never_started_is_told_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(homes.HOME_VARIABLE, str(tmp_path / "none"))
    monkeypatch.delenv("AIRFLOW_HOME", raising=False)
    monkeypatch.setattr("sys.argv", ["doctor", "--json"])
    assert doctor.main() == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert "never started" in one["findings"][0]["what"]
    assert not (tmp_path / "none").exists()
