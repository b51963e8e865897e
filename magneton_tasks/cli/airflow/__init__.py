"""``magneton airflow ...``: Magneton in somebody's own Airflow."""
