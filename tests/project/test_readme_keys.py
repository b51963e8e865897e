"""README's ten keys of the config: they are there, with the defaults that it shows."""

from __future__ import annotations

import re
from typing import Any

import yaml
from pydantic_core import PydanticUndefined

from magneton_tasks.config import keys
from magneton_tasks.config.model import RunConfig
from tests.helpers.shell_blocks import README


def _default(key: str) -> Any:
    """What a key of the config is without a line; PydanticUndefined: it needs one."""
    return keys.fields(RunConfig)[key].default


def test_readme_keeps_ten_keys_and_their_defaults() -> None:
    """All of them are in docs/config.md; a newcomer's view stays small."""
    table = README.read_text().partition("## Configuration")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \|", table, re.MULTILINE)
    assert len(rows) == 10
    for key, shown in rows:
        default = _default(key)
        if shown == "required":
            assert default is PydanticUndefined, key
        else:
            value = list(default) if isinstance(default, tuple) else default
            assert yaml.safe_load(shown.strip("`")) == value, key
