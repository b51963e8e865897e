"""The files of `magneton airflow init`, as an Airflow that `make up` doesn't run reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from magneton_tasks.cli.airflow.init import DAG_FILES, init
from magneton_tasks.config.places import CONFIGS_VARIABLE


def read(dags: Path) -> dict[str, str]:
    """DAG ids, and the names of their files, as Airflow finds both."""
    bag = DagBag(str(dags))  # leaves out files that don't look like one with DAGs
    assert not bag.import_errors
    return {dag_id: Path(dag.fileloc).name for dag_id, dag in bag.dags.items()}


def test_dags_are_those_of_the_configs(
    tmp_path: Path, write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CONFIGS_VARIABLE)
    write_config("cortex")
    init(tmp_path / "dags", None)
    volumes, maintenance = DAG_FILES
    assert read(tmp_path / "dags") == {
        "instance_segmentation.cortex": volumes,
        "magneton_maintenance": maintenance,
    }


def test_the_variable_counts_before_the_place_in_the_files(
    tmp_path: Path, write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config("retina")
    init(tmp_path / "dags", tmp_path / "none")
    monkeypatch.setenv(CONFIGS_VARIABLE, str(config))
    assert "instance_segmentation.retina" in read(tmp_path / "dags")
