"""What of an extra is installed: what is missing is told before work starts."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from magneton_tasks.base.extras import MESHING, require_extra
from magneton_tasks.errors import ConfigError


def test_missing_packages_are_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra("mesh", MESHING, "making meshes")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "DracoPy" else found(name)
    )
    with pytest.raises(ConfigError, match=r"^making meshes needs DracoPy\n") as caught:
        require_extra("mesh", MESHING, "making meshes")
    assert caught.value.hint == "pip install 'magneton[mesh]'"


def test_to_ask_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom magneton_tasks.base.extras import MESHING, require_extra\n"
        "require_extra('mesh', MESHING, 'making meshes')\nprint({*MESHING, 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
