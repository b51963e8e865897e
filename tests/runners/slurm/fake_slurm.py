#!/usr/bin/env python3
"""A cluster that is a directory: stands for sbatch, squeue, sacct, scontrol, scancel and sinfo.

``$FAKE_SLURM`` holds ``state``: jobs as ``{id: {name, comment, text, arguments, tasks: {index: {...}}}}``
and ``rules``, what becomes of an index when squeue looks. Each call is noted in ``calls``. The words
that it prints are those of Slurm 22.05 (see ``recorded/``).
"""

from __future__ import annotations

import fcntl
import marshal
import os
import sys
import time

# Nothing more, and no JSON: each of a test's twenty calls is a start of Python, most of which would be
# the import of that.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOME = os.environ["FAKE_SLURM"]
NODES = ["n1", "n2", "n3"]
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED")


def main() -> int:
    program, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    with open(f"{HOME}/calls", "a") as calls:
        calls.write(repr([time.time(), program, *arguments]) + "\n")
    failing = f"{HOME}/fail-{program}"
    if os.path.exists(failing):
        with open(failing) as says:
            sys.stderr.write(says.read())
        return 1
    with open(f"{HOME}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = read("state") or {"jobs": {}, "next": 100}
        code = globals()[program](state, arguments)
        with open(f"{HOME}/state.new", "wb") as file:
            marshal.dump(state, file)
        os.replace(f"{HOME}/state.new", f"{HOME}/state")  # who calls it may kill it
    return int(code)


def read(name: str) -> dict[str, Any]:
    """What a file of the cluster's holds; nothing where it isn't there."""
    if not os.path.exists(f"{HOME}/{name}"):
        return {}
    with open(f"{HOME}/{name}", "rb") as file:
        found: dict[str, Any] = marshal.load(file)
    return found


def option(arguments: list[str], name: str) -> str | None:
    found = [a.partition("=")[2] for a in arguments if a.startswith(f"--{name}=")]
    return found[-1] if found else None


def indexes(text: str) -> list[int]:
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def setting(name: str, default: Any) -> Any:
    return read("settings").get(name, default)


def sbatch(state: dict[str, Any], arguments: list[str]) -> int:
    wanted = indexes(option(arguments, "array") or "0")
    live = sum(t["state"] not in FINAL for j in state["jobs"].values() for t in j["tasks"].values())
    limit = setting("max_submit", None)
    if limit is not None and live + len(wanted) > limit:
        sys.stderr.write(
            "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: "
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n"
        )
        return 1
    excluded = set((option(arguments, "exclude") or "").split(","))
    if excluded >= set(setting("nodes", NODES)):
        sys.stderr.write(
            "sbatch: error: Batch job submission failed: Requested node configuration is not available\n"
        )
        return 1
    job = str(state["next"])
    state["next"] += len(wanted) + 1
    state["jobs"][job] = {
        "name": option(arguments, "job-name"), "comment": option(arguments, "comment"),
        "arguments": arguments, "text": sys.stdin.read(), "array": option(arguments, "array"),
        "tasks": {str(i): {"state": "PENDING"} for i in wanted},
    }  # fmt: skip
    if setting("loses_answer", False):  # the job is there, and the answer isn't
        sys.stderr.write(
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"
        )
        return 1
    print(job)
    return 0


def advance(state: dict[str, Any]) -> None:
    """All that waits is run to its end, or becomes what ``rules`` say."""
    rules = setting("rules", {})
    for job, about in state["jobs"].items():
        for index, task in about["tasks"].items():
            if task["state"] in FINAL:
                continue
            number = (about["name"] or "").rpartition("-")[2]
            keys = (f"{index}.{number if number.isdigit() else ''}", index, "*")
            rule = next((rules[k] for k in keys if k in rules), "run")
            if rule == "run":
                run(job, index, about, task)
            elif rule != "wait":
                task |= rule if isinstance(rule, dict) else {"state": rule}


def run(job: str, index: str, about: dict[str, Any], task: dict[str, Any]) -> None:
    import subprocess

    output = option(about["arguments"], "output") or "/dev/null"
    path = output.replace("%A", job).replace("%a", index).replace("%%", "%")
    environ = {**os.environ, "SLURM_ARRAY_TASK_ID": index, "SLURM_ARRAY_JOB_ID": job}
    with open(path, "ab") as log:
        done = subprocess.run(
            ["bash", "-s"],
            input=about["text"].encode(),
            stdout=log,
            stderr=log,
            env=environ,
            cwd=option(about["arguments"], "chdir"),
        )
    task["state"] = "FAILED" if done.returncode else "COMPLETED"
    task["exit"] = f"{max(done.returncode, 0)}:{max(-done.returncode, 0)}"


def squeue(state: dict[str, Any], arguments: list[str]) -> int:
    wanted, name = option(arguments, "jobs"), option(arguments, "name")
    form = option(arguments, "format") or ""
    if wanted is not None and not setting("frozen", False):
        advance(state)
    shown = [
        (job, about)
        for job, about in state["jobs"].items()
        if (wanted is None or job in wanted.split(",")) and (name is None or about["name"] == name)
    ]
    if wanted is not None and not shown:
        sys.stderr.write("slurm_load_jobs error: Invalid job id specified\n")
        return 1
    for job, about in shown:
        for index, task in about["tasks"].items():
            if task["state"] in FINAL and (
                "--states=all" not in arguments or setting("purged", False)
            ):
                continue
            values = {
                "%F": job, "%K": index, "%T": task["state"], "%M": task.get("elapsed", "0:05"),
                "%N": task.get("node", "n1"), "%r": task.get("reason", "None"), "%j": about["name"],
                "%k": about["comment"],
            }  # fmt: skip
            line = form
            for name, value in values.items():
                line = line.replace(name, str(value))
            print(line)
    return 0


def sacct(state: dict[str, Any], arguments: list[str]) -> int:
    if not setting("accounting", True):
        sys.stderr.write("Slurm accounting storage is disabled\n")
        return 1
    for job in (option(arguments, "jobs") or "").split(","):
        for index, task in state["jobs"].get(job, {"tasks": {}})["tasks"].items():
            if "TotalCPU" in (option(arguments, "format") or ""):
                print(f"{job}_{index}|{task['state']}|00:04.500|10|1|")
                print(f"{job}_{index}.batch|{task['state']}|00:04.500|10|1|300000K")
                continue
            word = task["state"] + (f" by {task['by']}" if "by" in task else "")
            fields = [f"{job}_{index}", word, task.get("exit", "0:0"), "5", task.get("node", "n1")]
            print("|".join([*fields, task.get("reason", "None")]))
    return 0


def scontrol(state: dict[str, Any], arguments: list[str]) -> int:
    if "config" in arguments:
        print(f"MaxArraySize            = {setting('max_array', 1001)}")
        print("MaxJobCount             = 10000")
    elif "partition" in arguments:
        print("PartitionName=main Default=YES MaxTime=04:00:00 State=UP MaxMemPerNode=UNLIMITED")
        print("PartitionName=small Default=NO MaxTime=00:02:00 State=UP MaxMemPerNode=600")
    else:
        for index, task in state["jobs"].get(arguments[-1], {"tasks": {}})["tasks"].items():
            print(
                f"JobId={arguments[-1]} ArrayJobId={arguments[-1]} ArrayTaskId={index} JobName=x "
                f"JobState={task['state']} Reason={task.get('reason', 'None')} "
                f"ExitCode={task.get('exit', '0:0')} RunTime=00:00:05 NodeList={task.get('node', 'n1')}"
            )
    return 0


def scancel(state: dict[str, Any], arguments: list[str]) -> int:
    for job in (a for a in arguments if a.isdigit()):
        for task in state["jobs"].get(job, {"tasks": {}})["tasks"].values():
            if task["state"] not in FINAL:
                task |= {"state": "CANCELLED", "by": str(os.getuid()), "exit": "0:15"}
    return 0


def sinfo(state: dict[str, Any], arguments: list[str]) -> int:
    if "--Node" in arguments:
        print(*(f"{node}|idle" for node in setting("nodes", NODES)), sep="\n")
    else:
        print("4000|2")
    return 0


if __name__ == "__main__":
    sys.exit(main())
