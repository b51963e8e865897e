"""An Airflow on this machine: its home, database, services and pool."""
