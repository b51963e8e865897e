"""Imports without the search for cycles, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORT = """
import gc
from magneton_tasks.base.importing import importing

class Node: pass

gc.collect()
try:
    with importing():
        print(gc.isenabled())
        {imports}
except ImportError:
    pass
print(gc.isenabled(), gc.get_freeze_count() > 1000)
one = Node()
one.itself = one
del one
print(gc.collect() > 0)
"""


@pytest.mark.parametrize("imports", ["import fractions", "import no_such_module"])
def test_no_search_meanwhile_and_afterwards_only_among_what_is_new(imports: str) -> None:
    command = [sys.executable, "-c", IMPORT.format(imports=imports)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True", "True"]
