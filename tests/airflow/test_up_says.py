"""What `make up` says once Airflow is up, and which page it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.airflow.plugin import MagnetonPlugin
from magneton_tasks.airflow.service import home
from magneton_tasks.config import places
from scripts import airflow_up

ADDRESS = "https://lab.example/airflow"


class _Services:
    """Of an Airflow that is up behind a proxy."""

    def __init__(self, home: Path, root: Path) -> None:
        self.home, self.password_file = home, home / "none"
        self.address = "http://127.0.0.1:8080"

    def start(self, before: Any) -> None:
        pass

    def environ(self) -> dict[str, str]:
        return {places.CONFIGS_VARIABLE: str(self.home), "AIRFLOW__API__BASE_URL": f"{ADDRESS}/"}


def test_the_page_of_volumes_is_told_and_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(airflow_up, "Services", _Services)
    monkeypatch.setattr(home, "airflow_home", lambda: tmp_path)
    monkeypatch.setattr(airflow_up, "open_apart", lambda link, _: opened.append(link))
    monkeypatch.setattr(airflow_up, "wait_for_dags", lambda *_: set())
    assert airflow_up.main() == 0
    (page,) = [view for view in MagnetonPlugin.external_views if view["name"] == "Volumes"]
    expected = f"{ADDRESS}/plugin/{page['url_route']}"
    assert f"your volumes and their runs:  {expected}\n" in capsys.readouterr().out
    assert opened == [expected]
