"""JSON that must be an object: what a file of ours holds, whoever wrote to it since."""

from __future__ import annotations

import json
from typing import Any


def json_object(text: str | bytes) -> dict[str, Any]:
    """The object that a text holds.

    Raises
    ------
    ValueError
        It isn't JSON, holds something else (``[]``, ``null``), or is nested too deep to be read.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError(f"it holds no JSON object, but {json.dumps(found)[:40]}")
    return found
