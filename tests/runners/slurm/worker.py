"""Stands for a worker: writes records of its part's blocks, as ``$FAKE_SLURM/worker.json`` says.

``{"<part>": {"exit": 75, "blocks": 1, "failure": {...}}}``: so many blocks are done, the next fails so.
What a part is, and what a record looks like, stands in ``stages.json``: to import what knows it would
take longer than all the rest.
"""

from __future__ import annotations

import json
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main() -> int:
    arguments = sys.argv[sys.argv.index("magneton_tasks") + 1 :]
    stage, options = arguments[0], dict(zip(arguments[1::2], arguments[2::2], strict=True))
    home, attempt = os.environ["FAKE_SLURM"], options["--run"]
    if "--batch" not in options:
        figures = {"blocks": 12, "empty_blocks": 0, "labels": 7}
        return leave(f"{attempt}/results/{stage}.json", {"stage": stage, **figures, "failures": []})
    about = read(f"{home}/stages.json")[stage]
    batch, (part, parts) = int(options["--batch"]), map(int, options["--part"].split("/"))
    rule = read(f"{home}/worker.json").get(str(part), {})
    keys = about["keys"][batch]
    keys = keys[len(keys) * part // parts : len(keys) * (part + 1) // parts]
    done = keys[: rule.get("blocks", len(keys))]
    lines = [record(about, key, "done", attempt, batch) for key in done]
    if "failure" in rule and len(done) < len(keys):
        failed = record(about, keys[len(done)], "failed", attempt, batch)
        lines.append(failed | {"info": rule["failure"]})
    os.makedirs(about["records"], exist_ok=True)
    with open(f"{about['records']}/worker-{stage}-{batch}-{part}-{os.getpid()}.jsonl", "x") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    result = {"stage": stage, "batch": batch, "done": len(done), "failures": []}
    leave(f"{attempt}/results/{about['result'].format(batch, part)}.json", result)
    return int(rule.get("exit", 0))


def record(about: dict[str, Any], key: int, state: str, attempt: str, batch: int) -> dict[str, Any]:
    """A record like the one in ``stages.json``, of this process."""
    run, number = attempt.rsplit("/", 2)[1:]
    own = {"key": key, "time": time.time(), "run": run, "attempt": int(number), "batch": batch}
    return {**about[state], **own, "job": os.environ.get("MAGNETON_JOB"), "pid": os.getpid()}


def read(path: str) -> dict[str, Any]:
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        found: dict[str, Any] = json.load(file)
    return found


def leave(path: str, result: dict[str, object]) -> int:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump(result, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
