"""From a volume config to its DAG: form, page, tasks, notices."""
