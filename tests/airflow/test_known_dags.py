"""`make up` waits until Airflow knows the DAGs of all configs."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from magneton_tasks.airflow.service.known import known_dags


def test_all_pages_of_airflows_list_are_read() -> None:
    there = [f"dag{n}" for n in range(250)]

    def ask(query: str) -> Any:
        limit, offset = (int(parse_qs(query)[key][0]) for key in ("limit", "offset"))
        page = there[offset : offset + limit]
        return {"dags": [{"dag_id": name} for name in page], "total_entries": len(there)}

    assert known_dags(ask) == set(there)


def test_dags_that_go_while_it_reads_end_the_list() -> None:
    assert known_dags(lambda query: {"dags": [], "total_entries": 3}) == set()
