"""Stands for a worker: writes records of its part's blocks, as ``$FAKE_SLURM/worker.json`` says.

``{"<part>": {"exit": 75, "blocks": 1, "failure": {...}}}``: so many blocks are done, the next fails so.
What a part is stands in ``stages.json``: reading the plan would take longer than all the rest.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from magneton_tasks.base.grid import share
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import AttemptPaths


def main() -> int:
    arguments = sys.argv[sys.argv.index("magneton_tasks") + 1 :]
    stage, options = arguments[0], dict(zip(arguments[1::2], arguments[2::2], strict=True))
    home, paths = Path(os.environ["FAKE_SLURM"]), AttemptPaths(Path(options["--run"]))
    if "--batch" not in options:
        figures = {"blocks": 12, "empty_blocks": 0, "labels": 7}
        return leave(paths.result(stage), {"stage": stage, **figures, "failures": []}, 0)
    part, parts = (int(v) for v in options["--part"].split("/"))
    rules = home / "worker.json"
    rule = json.loads(rules.read_text()).get(str(part), {}) if rules.exists() else {}
    batch, about = int(options["--batch"]), json.loads((home / "stages.json").read_text())[stage]
    begin, end = share(len(about["keys"][batch]), part, parts)
    keys = about["keys"][batch][begin:end]
    done = keys[: rule.get("blocks", len(keys))]
    run, attempt = paths.root.parent.name, int(paths.root.name)
    with Manifest(Path(about["records"])).writer(run, stage, batch, part) as writer:
        for key in done:
            writer.add(key, "done", attempt=attempt, input="i", output="o")
        if "failure" in rule and len(done) < len(keys):
            writer.add(keys[len(done)], "failed", attempt=attempt, info=rule["failure"])
    result = {"stage": stage, "batch": batch, "done": len(done), "failures": []}
    return leave(paths.result(stage, batch, part), result, int(rule.get("exit", 0)))


def leave(path: Path, result: dict[str, object], code: int) -> int:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result))
    return code


if __name__ == "__main__":
    sys.exit(main())
