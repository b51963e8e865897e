"""Licences of what users install: none under the GPL or AGPL, and all of them listed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from scripts import third_party

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"


def test_all_extras_but_those_of_developers_are_looked_at() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"].keys() - {"dev"} == third_party.EXTRAS


def test_nothing_that_users_install_is_refused() -> None:
    assert third_party.refused() == []


def test_the_page_lists_what_is_pinned() -> None:
    told = dict(re.findall(r"^\| (\S+) \| (\S+) \|", third_party.PAGE.read_text(), re.MULTILINE))
    pins = dict(line.split("==") for line in CONSTRAINTS.read_text().split() if "==" in line)
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    del told["package"]
    assert told.keys() == {name for name, *_ in third_party.packages()}
    assert told == {name: pinned[name] for name in told}


@pytest.mark.parametrize(
    ("said", "is_refused"),
    [
        ("MIT", False),
        ("Artistic-1.0-Perl (or GPL)", False),
        ("MIT OR GPL-3.0", False),
        ("GPL-3.0-only", True),
        ("GNU General Public License v2 (GPLv2)", True),
        ("AGPL-3.0-or-later", True),
        ("LGPL-3.0", True),  # unless it is one of those that are listed
        ("unknown", True),
    ],
)
def test_a_licence_that_asks_for_more_is_refused(
    monkeypatch: pytest.MonkeyPatch, said: str, is_refused: bool
) -> None:
    monkeypatch.setattr(third_party, "_reached", lambda: {"click"})
    monkeypatch.setitem(third_party.KNOWN, "click", said)
    assert bool(third_party.refused()) == is_refused
