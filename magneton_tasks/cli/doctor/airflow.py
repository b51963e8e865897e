"""Airflow's part, in a process of its own: importing Airflow takes seconds, and may fail."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from magneton_tasks.base.checkup import Check, Finding, ok, wrong
from magneton_tasks.errors import EXIT_BUG, EXIT_TEMPORARY

MODULE = "magneton_tasks.airflow.doctor"
#: A little less than `doctor.AIRFLOW_LIMIT_S`, so that it is ended, not left.
_LIMIT_S = 21.0


def checks() -> list[Check]:
    """The table; empty where Airflow isn't installed, which `extras` tells."""
    return [Check("Airflow", airflow)] if find_spec("airflow") is not None else []


def airflow() -> Iterator[Finding]:
    """What `magneton_tasks.airflow.doctor` finds."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", MODULE, "--json"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_LIMIT_S,
            check=False,
        )
        answer = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        yield wrong(
            f"it didn't answer within {_LIMIT_S:.0f} s",
            f"python -m {MODULE} takes the time it needs",
            EXIT_TEMPORARY,
        )
        return
    except (IndexError, ValueError):
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        yield wrong(f"it can't be looked at: {last[0]}", f"python -m {MODULE} tells more", EXIT_BUG)
        return
    for one in answer:
        for finding in one["findings"]:
            finding["what"] = f"{one['title']}: {finding['what']}"
            yield Finding(**finding)
    if not answer:
        yield ok("installed")
