"""The command line called in this process: cheaper than one of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from magneton_tasks.cli import main


@dataclass
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


class Caller:
    """Calls `magneton` with arguments."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *args: object) -> Done:
        self._capture.readouterr()
        try:
            main.main([str(a) for a in args])
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        return Done(code, *self._capture.readouterr())
