"""What volumes cost Airflow: the DAG file is parsed every half minute, and once by each task.

Counted is CPU time of a fresh process after it has imported Airflow: running the DAG file over the
configs, and making of each DAG what Airflow's parser saves. Of a task: the parse alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import ROOT, Row, command, python, row
from benchmarks.volumes import write_config

FEW, MANY = 3, 200
#: What a volume may cost in ms, and all of them in CPU seconds.
MOST_MS, MOST_S = 40, 10
_IMPORT = "import airflow.sdk, airflow.sdk.bases.operator, airflow.serialization.serialized_objects"
_CODE = f"""
import json, runpy, sys, time
{_IMPORT}
began = time.process_time()
found = runpy.run_path(sys.argv[1])
dags = [v for k, v in found.items() if k.startswith("instance_segmentation.")]
parsed = time.process_time()
if sys.argv[2] == "save":
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    saved = sum(len(json.dumps(LazyDeserializedDAG.from_dag(dag).data)) for dag in dags)
else:
    saved = 0
print("measured", parsed - began, time.process_time() - parsed, saved, len(dags))
"""
_ALL_RUNNERS = {"method": "exact", "runner": {"offered": ["local", "docker", "slurm"]}}


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    rows = []
    with TemporaryDirectory() as directory:
        configs = _configs(Path(directory), FEW, {})
        parse_s, _, _ = _parse(configs, FEW)
        rows += [
            row(f"DAG parse above importing Airflow ({FEW} configs)", parse_s, "CPU s", most=0.5),
            row("  importing Airflow", python(_IMPORT).cpu_s, "CPU s"),
        ]
    kinds: tuple[tuple[str, Mapping[str, object]], ...] = (
        ("overlap, local", {}),
        ("exact, three runners", _ALL_RUNNERS),
    )
    for what, more in kinds:
        with TemporaryDirectory() as directory:
            rows += _many(_configs(Path(directory), MANY, more), what)
    return rows


def _configs(directory: Path, count: int, more: Mapping[str, object]) -> Path:
    text = write_config(directory, more).read_text()
    configs = directory / "configs"
    configs.mkdir()
    for number in range(count):
        (configs / f"volume{number:03}.yaml").write_text(text)
    return configs


def _many(configs: Path, what: str) -> list[Row]:
    parse_s, save_s, saved = _parse(configs, MANY, save=True)
    own_s, _, _ = _parse(configs, 1, of="volume100")
    each_ms = 1000 * (parse_s + save_s) / MANY
    return [
        row(
            f"{MANY} configs ({what}): parse and serialise", parse_s + save_s, "CPU s", most=MOST_S
        ),
        row("  a config", each_ms, "ms", most=MOST_MS, parse_s=parse_s, serialise_s=save_s),
        row("  what is saved of them", saved / 1e6, "MB"),
        row("  the parse of one task among them", own_s, "CPU s"),
    ]


def _parse(
    configs: Path, expected: int, *, save: bool = False, of: str | None = None
) -> tuple[float, float, int]:
    """CPU seconds of parse and serialisation, and bytes; ``of``: in a task of that volume's DAG."""
    environment = {
        "MAGNETON_CONFIGS": str(configs), "AIRFLOW_HOME": str(configs.parent / "home")
    }  # fmt: skip
    if of is not None:
        environment["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = f"instance_segmentation.{of}"
    file = ROOT / "dags" / "instance_segmentation.py"
    used = command(sys.executable, "-c", _CODE, file, "save" if save else "parse", env=environment)
    told = next(line for line in used.stdout.splitlines() if line.startswith("measured "))
    parse_s, save_s, saved, dags = told.split()[1:]
    if int(dags) != expected:
        raise RuntimeError(f"{dags} DAGs of {expected} configs")
    return float(parse_s), float(save_s), int(saved)
