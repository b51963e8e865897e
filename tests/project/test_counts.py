"""No text counts "1 cells": a number with its noun comes from `several`, in Python and in the pages' scripts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from magneton_tasks.base.units import several

PACKAGE = Path(__file__).resolve().parents[2] / "magneton_tasks"
#: Rooms whose texts people read.
ROOMS = ("airflow", "clean", "cli", "outcome", "runners", "trials", "viewer")
NOUNS = "blocks|cells|batches|files|workers|objects|labels|chunks|jobs|channels|places|partitions"
#: A number in a text, then one of these nouns; a table's column and a sum such as "2 of 3" have none.
BY_HAND = re.compile(
    rf"\{{(len\(|count\(|human_count\(|[^{{}}\"']*:,)[^{{}}]*\}} (\w+ )?({NOUNS})\b"
)
FILES = [p for room in ROOMS for kind in ("py", "js") for p in (PACKAGE / room).rglob(f"*.{kind}")]


@pytest.mark.parametrize(
    ("n", "said"), [(0, "0 boxes"), (1, "1 box"), (2, "2 boxes"), (1234, "1,234 boxes")]
)
def test_one_is_one(n: int, said: str) -> None:
    assert several(n, "box", "boxes") == said
    assert several(n, "cell") == said.replace("boxes", "cells").replace("box", "cell")


def test_no_count_is_put_together_by_hand() -> None:
    assert len(FILES) > 100
    found = [f"{p.name}: {m[0]}" for p in FILES for m in BY_HAND.finditer(p.read_text())]
    assert found == []
