"""What a parse of the DAG file imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from magneton_tasks.config import places

DAG_FILE = Path(__file__).resolve().parents[2] / "dags" / "instance_segmentation.py"


def modules_of_a_parse(configs: Path) -> tuple[set[str], set[str]]:
    """Names of the packages that are there before, and after, a process of its own parses the DAG file."""
    code = (
        "import runpy, sys, airflow.sdk, airflow.models.dag\n"
        "print(*{m.partition('.')[0] for m in sys.modules})\n"
        "made = runpy.run_path(sys.argv[1])\n"
        "assert 'plan' in made['instance_segmentation.cortex'].task_dict\n"
        "print(*{m.partition('.')[0] for m in sys.modules})\n"
    )
    environ = {**os.environ, places.CONFIGS_VARIABLE: str(configs)}
    # A module of ours, which is there before any parse.
    environ.pop("AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS", None)
    command = [sys.executable, "-W", "ignore", "-c", code, str(DAG_FILE)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    before, after = done.stdout.splitlines()[-2:]
    return set(before.split()), set(after.split())
