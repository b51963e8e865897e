"""``magneton_maintenance``: frees what old runs left, of each volume in ``$MAGNETON_CONFIGS``.

magneton_tasks/airflow/dag/maintenance_dag.py says how.
"""

from pathlib import Path

from magneton_tasks.airflow.dag.maintenance_dag import maintenance_dag

dag = maintenance_dag(Path(__file__).resolve().parents[1] / "configs")
