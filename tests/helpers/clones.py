"""A fresh clone of this checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.helpers.shell_blocks import ROOT


def clone(folder: Path) -> Path:
    """A clone of this checkout in ``folder``, with what isn't committed yet."""
    made = folder / "magneton"
    _git(folder, "clone", "--quiet", str(ROOT), str(made))
    changed = _git(ROOT, "diff", "--binary", "HEAD")
    if changed:
        subprocess.run(["git", "apply"], cwd=made, input=changed, check=True)
    new = _git(ROOT, "ls-files", "-z", "--others", "--exclude-standard").decode()
    for name in filter(None, new.split("\0")):
        target = made / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
        target.chmod((ROOT / name).stat().st_mode)
    return made


def _git(folder: Path, *arguments: str) -> bytes:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True).stdout
