"""A new stage is one entry of the table and its own file: the rest of the program finds it there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from magneton_tasks.plan import stage_table
from tests.helpers import volumes
from tests.helpers.tiny_volume import write_tiny_volume

ROOT = Path(__file__).parents[2]
ENTRY = """
    Stage("mapping", "Draw a batch of cells.", "cell", _both("made_up"), "cells", "apply"),
"""
FILE = """
from magneton_tasks.stages.loop import Batch, each
from magneton_tasks.work.record import Outcome


def run(job):
    pool = job.attempt.require("pool", {0})[0]

    def one(key):
        return Outcome("done", pool.input, info={"pool": pool.input}, summary="drawn")

    return Batch(job).run(each(one, lambda: None), lambda key: pool.input)
"""
#: Puts both in place in every process, as if they stood in the project.
IN_PLACE = """
import importlib.abc, importlib.util, os, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        file = {
            "magneton_tasks.plan.stage_table": "table.py", "magneton_tasks.stages.made_up": "made_up.py"
        }.get(name)
        return file and importlib.util.spec_from_file_location(
            name, os.path.join(os.path.dirname(__file__), file)
        )

sys.meta_path.insert(0, Finder())
"""
#: What the commands say, the block map, and a DAG, in one process: starts cost more than all of it.
TELL = """
import contextlib, io, json, runpy, sys
from magneton_tasks.cli import main
from magneton_tasks.outcome.block_map import BlockMap
from magneton_tasks.work.attempts import open_latest
from pathlib import Path

config, dags = sys.argv[1:]

def magneton(*arguments):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            main.main(list(arguments))
        except SystemExit as end:
            assert not end.code, (arguments, end.code, said.getvalue())
    return json.loads(said.getvalue().strip().splitlines()[-1])

told = {
    "status": magneton("status", config, "--json"),
    "again": magneton("plan", config, "--run-id", "again"),
    "other": magneton("plan", config, "--run-id", "again", "--set", "segment.min_size_vox=9"),
}
shown = BlockMap(open_latest(Path(config), None))
shown.refresh()
told |= {"stages": shown.stages, "layer": shown.layer("mapping", 0)}
told["clean"] = magneton("clean", config, "--what", "all", "--dry-run", "--json")
made = runpy.run_path(dags)
(dag,) = [value for name, value in made.items() if name.startswith("instance_segmentation")]
told |= {
    "tasks": sorted(dag.task_ids), "before": sorted(dag.get_task("mapping").upstream_task_ids),
}
print(json.dumps(told))
"""


#: The entry before which it goes.
BEHIND = '    Stage(\n        "verify"'


class Process:
    """Runs Python in an environment that has the stage; what it says last is JSON."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        source = Path(stage_table.__file__).read_text()
        assert source.count(BEHIND) == 1
        table = source.replace(BEHIND, f"{ENTRY}{BEHIND}")
        for name, text in (
            ("table.py", table),
            ("made_up.py", FILE),
            ("sitecustomize.py", IN_PLACE),
        ):
            (folder / name).write_text(text)
        self._environment = os.environ | {
            "PYTHONPATH": f"{folder}:{ROOT}",
            "AIRFLOW_HOME": str(folder / "airflow"),
        }

    def __call__(self, *arguments: object, **environment: str) -> Any:
        command = [sys.executable, *map(str, arguments)]
        environ = self._environment | environment
        done = subprocess.run(command, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        last = done.stdout.strip().splitlines()[-1]
        return json.loads(last) if last.startswith("{") else last


def test_a_made_up_stage_is_worked_and_shown_everywhere(tmp_path: Path) -> None:
    config = write_tiny_volume(tmp_path)
    volumes.run_pipeline(config, run="before")  # of all the other stages
    python = Process(tmp_path / "made_up")
    magneton = "-m", "magneton_tasks"
    python(*magneton, "run", config, "--workers", 1)

    told = python(
        "-c", TELL, config, ROOT / "dags/instance_segmentation.py", MAGNETON_CONFIGS=str(config)
    )
    stages = {s["stage"]: s for s in told["status"]["stages"]}
    assert list(stages)[-3:] == ["apply", "mapping", "verify"]
    assert stages["mapping"]["done"] == stages["apply"]["done"] > 0
    assert told["again"]["nothing_to_do"]
    batches = told["other"]["batches"]
    assert batches["mapping"] > 0, "another pool table makes its results stale"
    assert told["stages"][-2:] == ["apply", "mapping"]
    assert told["layer"]["noun"] == "cell"
    assert {"mapping", "batches.mapping"} <= set(told["tasks"])
    assert told["before"] == ["batches.mapping", "downsample", "plan"]
    assert told["clean"]["left_alone"] == [], "clean knows what it leaves"
