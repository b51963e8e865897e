"""One DAG for each volume config in ``$MAGNETON_CONFIGS`` (default: ``configs/`` of the project).

magneton_tasks/airflow/dag/volume_dags.py says what is in them: plan -> segment (mapped) -> ... -> verify.
"""

from pathlib import Path

from magneton_tasks.airflow.dag.volume_dags import volume_dags

globals().update(volume_dags(Path(__file__).resolve().parents[1] / "configs"))
