"""One Airflow for all tests of this directory, on PostgreSQL; each test brings volumes of its own.

Only what stops a service needs an Airflow to itself: such tests make one with `airflow_of`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from magneton_tasks.airflow.service import database as databases
from tests.e2e.airflow import Airflow
from tests.e2e.mailbox import Mailbox
from tests.e2e.postgres import Server, postgres
from tests.helpers.chromium import browser, new_page

__all__ = ["browser", "new_page"]

HERE = Path(__file__).parent
# No test may work on a database that somebody uses.
os.environ.pop(databases.VARIABLE, None)
#: An address of a database to use instead of starting a server: its content is lost.
DATABASE_VARIABLE = "MAGNETON_TEST_DATABASE"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest = ("newcomer", "backfill")  # first, else they would end alone
    items.sort(key=lambda item: not any(word in item.name for word in longest))
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)
            # Services go on when what started them is forgotten.
            item.add_marker(pytest.mark.filterwarnings("ignore:subprocess .* is still running"))
            item.add_marker(
                pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
            )


@pytest.fixture(scope="session")
def server() -> Iterator[Server | None]:
    """A PostgreSQL with an empty database; None: an address was given, of one that isn't ours."""
    if os.environ.get(DATABASE_VARIABLE):
        workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
        assert workers == "1", f"{DATABASE_VARIABLE} is one database: run pytest -n 0"
        yield None
        return
    with postgres() as made:
        yield made


@pytest.fixture(scope="session")
def database(server: Server | None) -> str:
    """Address of an empty database."""
    return server.address if server else os.environ[DATABASE_VARIABLE]


@pytest.fixture(scope="session")
def mailbox() -> Iterator[Mailbox]:
    """What the Airflow of this session mails."""
    made = Mailbox()
    yield made
    made.close()


@pytest.fixture(scope="session")
def airflow(
    database: str, mailbox: Mailbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    """The Airflow of this session, healthy, with no volume yet."""
    mail = f"smtp://127.0.0.1:{mailbox.port}?disable_ssl=true&disable_tls=true&from_email=magneton%40example.org"
    made = Airflow(
        tmp_path_factory.mktemp("airflow"), database, {"AIRFLOW_CONN_SMTP_DEFAULT": mail}
    )
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def airflow_of(tmp_path: Path) -> Iterator[Callable[..., Airflow]]:
    """Makes Airflows of a test's own, on SQLite: ``airflow_of(more={...})``; not started yet."""
    made: list[Airflow] = []

    def make(**options: Any) -> Airflow:
        made.append(Airflow(tmp_path / f"airflow{len(made)}", **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def sign_in(airflow: Airflow, new_page: Callable[..., Page]) -> Callable[..., Page]:
    """A page of the browser in which a user is logged in: ``sign_in("viewer", width=1280)``."""

    def make(user: str = "admin", **options: Any) -> Page:
        page = new_page(**options)
        cookie: Any = {"name": "_token", "value": airflow.token(user), "url": airflow.address}
        page.context.add_cookies([cookie])
        return page

    return make
