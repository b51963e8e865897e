"""The fake cluster as tests see it; what it does is in ``fake_slurm.py``."""

from __future__ import annotations

import ast
import fcntl
import marshal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magneton_tasks.work.paths import AttemptPaths

#: plans an attempt for the cluster; ``more``: further keys of ``slurm``
Planned = Callable[..., AttemptPaths]
#: makes a volume and its config for the cluster; ``more`` as above
Volume = Callable[..., Path]


@dataclass
class Cluster:
    """The fake cluster; see ``fake_slurm.py``."""

    home: Path

    def set(self, **settings: Any) -> None:
        """What becomes of jobs, and what is switched off."""
        path = self.home / "settings"
        known = marshal.loads(path.read_bytes()) if path.exists() else {}
        new = path.with_name("settings.new")
        new.write_bytes(marshal.dumps(known | settings))
        new.replace(path)  # its programs read it at any time

    def fail(self, program: str, says: str | None) -> None:
        """A program fails with these words on stderr; None: no more."""
        path = self.home / f"fail-{program}"
        path.unlink(missing_ok=True) if says is None else path.write_text(says)

    @property
    def jobs(self) -> dict[str, Any]:
        with self.edited() as state:
            return dict(state["jobs"])

    @contextmanager
    def edited(self) -> Iterator[dict[str, Any]]:
        """The cluster's state, to look at or to change; its programs wait meanwhile."""
        path = self.home / "state"
        with open(self.home / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = marshal.loads(path.read_bytes()) if path.exists() else {"jobs": {}, "next": 100}
            yield state
            path.write_bytes(marshal.dumps(state))

    def calls(self, program: str) -> list[list[Any]]:
        """Time and arguments of a program's calls."""
        path = self.home / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [c for c in map(ast.literal_eval, lines) if c[1] == program]
