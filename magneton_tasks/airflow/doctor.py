"""``python -m magneton_tasks.airflow.doctor``: what is missing or odd about Airflow here.

`magneton doctor` starts it. It looks at the Airflow of `make up` where that was started once, else at
the one that the environment means (``AIRFLOW_HOME``, ``AIRFLOW__...``).
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from magneton_tasks.airflow.service import home as homes
from magneton_tasks.airflow.service import pools
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.base.checkup import Check, Checked, Finding, exit_code, odd, ok, run_all, wrong
from magneton_tasks.config.places import checkout
from magneton_tasks.errors import EXIT_CONFIG, EXIT_TEMPORARY

#: For all checks after the import, in seconds.
LIMIT_S = 10.0
#: The file that makes the volumes' DAGs.
DAG_FILE = "instance_segmentation.py"


def main() -> int:
    """Look, and print; ``--json``: as JSON, in the last line."""
    services = own_services()
    if services is not None:
        os.environ.update(services.environ())
    elif "AIRFLOW_HOME" not in os.environ:
        return _tell([Checked("services", (ok(f"installed, and never started here; {how_to()}"),))])
    first = [Check("services", lambda: of_services(services))] if services is not None else []
    warnings.simplefilter("ignore")  # those of Airflow's own code
    # The import alone takes seconds, so it is done once, before anything is measured.
    import airflow.models  # noqa: F401

    # In turn: several threads that import parts of Airflow wait for each other for ever.
    found = run_all([*first, *TABLE], LIMIT_S, in_turn=True)
    if found[len(first)].findings[0].level == "ok":
        found += run_all(OF_ITS_TABLES, LIMIT_S, in_turn=True)
    return _tell(found)


def own_services() -> Services | None:
    """The services of `make up`; None: it was never used here."""
    root = checkout()
    if root is None:
        return None
    home = Path(os.environ.get(homes.HOME_VARIABLE) or root / "airflow_home").absolute()
    found = Services(home, root)
    return found if found.state() else None


def how_to() -> str:
    """How Airflow is started, or looked at, by this installation."""
    if checkout() is not None:
        return "make up starts it"
    return (
        "magneton airflow init DIR writes its DAG files; set AIRFLOW_HOME to have yours looked at"
    )


def _tell(checked: list[Checked]) -> int:
    if "--json" in sys.argv[1:]:
        print(json.dumps([asdict(one) for one in checked]))
    else:
        for one in checked:
            for finding in one.findings:
                hint = f"\n      what to do: {finding.hint}" if finding.hint else ""
                print(f"{finding.level:<6}{one.title}: {finding.what}{hint}")
    return exit_code(checked)


# ------------------------------------------------------------------ checks
def of_services(services: Services) -> Iterator[Finding]:
    """As `make health`: all services, the triggerer among them."""
    if not services.is_up():
        yield ok("Airflow isn't running; make up starts it")
        return
    problems = services.problems()
    for problem in problems:
        yield wrong(problem, "make down && make up; the logs tell why", EXIT_TEMPORARY)
    if not problems:
        yield ok(f"healthy: {services.address}")


def database() -> Iterator[Finding]:
    """It answers, and its tables are those of this Airflow."""
    import airflow.migrations
    from alembic.script import ScriptDirectory  # Airflow's own check imports all of FAB
    from sqlalchemy.exc import SQLAlchemyError

    try:
        kind, versions = _versions()
    except SQLAlchemyError as error:
        said = str(error).splitlines()[0]
        yield wrong(f"it doesn't answer: {said}", "start it; see docs/operating.md", EXIT_TEMPORARY)
        return
    heads = set(ScriptDirectory(os.path.dirname(airflow.migrations.__file__ or "")).get_heads())
    if versions == heads:
        yield ok(f"{kind} answers")
    else:
        what = "its tables are of another Airflow" if versions else "it has no tables of Airflow"
        yield wrong(
            f"{kind}: {what}",
            "airflow db migrate prepares it (make up does so by itself)",
            EXIT_CONFIG,
        )


def _versions() -> tuple[str, set[str]]:
    """The kind of the database, and which versions its tables say that they have."""
    from airflow.utils.session import create_session
    from sqlalchemy import inspect, text

    with create_session(scoped=False) as session:
        bind = session.get_bind()
        has_tables = inspect(bind).has_table("alembic_version")
        rows = (
            session.execute(text("SELECT version_num FROM alembic_version")) if has_tables else ()
        )
        return bind.dialect.name, {row[0] for row in rows}


def triggerer() -> Iterator[Finding]:
    """It lives: tasks on a cluster, and those that wait for input, wait in it."""
    from airflow.jobs.job import most_recent_job

    job = most_recent_job("TriggererJob")
    if job is None:
        yield ok("none was ever started")
    elif job.is_alive():
        yield ok(f"lives on {job.hostname}")
    else:
        yield odd(
            f"not heard of since {job.latest_heartbeat:%Y-%m-%d %H:%M} UTC",
            "start it (make up, or airflow triggerer): what waits for a cluster or for input stands still meanwhile",
        )


def plugin() -> Iterator[Finding]:
    """Block map, volumes and Neuroglancer are known to Airflow."""
    from airflow import plugins_manager

    plugins_manager.ensure_plugins_loaded()
    errors = plugins_manager.get_import_errors()
    for source, error in errors.items():
        yield wrong(f"{source}: {error}", "install Magneton where Airflow is", EXIT_CONFIG)
    names = {found["name"] for found in plugins_manager.get_plugin_info()}
    if "magneton" in names:
        yield ok("known to Airflow")
    elif not errors:
        yield wrong(
            "Airflow doesn't know it: runs have no block map",
            "install Magneton into Airflow's environment (pip install), so that it finds the entry point",
            EXIT_CONFIG,
        )


def pool() -> Iterator[Finding]:
    """The Airflow pool of local work is there, and as large as this machine."""
    from airflow.models.pool import Pool

    found, wanted = Pool.get_pool(pools.NAME), pools.machine_slots()
    make = f"python -m {pools.__name__} makes it, as make up does"
    if found is None:
        yield wrong(f"there is no {pools.NAME}: local tasks never start", make, EXIT_CONFIG)
    elif found.slots != wanted:
        yield odd(f"{pools.NAME} has {found.slots} slots; this machine has {wanted}", make)
    else:
        yield ok(f"{pools.NAME} has {found.slots} slots")


def parsing() -> Iterator[Finding]:
    """The DAG file's time, as the dag-processor measured it last, against its limit; what failed."""
    from airflow.configuration import conf
    from airflow.models.dag import DagModel
    from airflow.models.errors import ParseImportError
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with create_session(scoped=False) as session:
        ours = DagModel.relative_fileloc.like(f"%{DAG_FILE}"), DagModel.is_stale.is_(False)
        took_s, dags = session.execute(
            select(func.max(DagModel.last_parse_duration), func.count()).where(*ours)
        ).one()
        failed = session.execute(
            select(ParseImportError.filename, ParseImportError.stacktrace)
        ).all()
    for file, trace in failed:
        last = (trace or "").strip().splitlines()[-1:] or ["unknown"]
        yield wrong(
            f"{file} can't be imported: {last[0]}",
            "mend the file; airflow dags list-import-errors",
            EXIT_CONFIG,
        )
    if not dags:
        yield odd(
            f"no DAG of {DAG_FILE} is known",
            "start the dag-processor (make up, or airflow dag-processor), and look whether $MAGNETON_CONFIGS "
            "holds configs and the dags folder the DAG files (magneton airflow init DIR)",
        )
        return
    yield parse_time(took_s, dags, conf.getfloat("core", "dagbag_import_timeout"))


def parse_time(took_s: float | None, dags: int, limit_s: float) -> Finding:
    """A time against its limit."""
    if took_s is None:
        return ok(f"{dags} DAGs")
    told = f"{dags} DAGs in {took_s:.1f} s; the limit is {limit_s:g} s"
    hint = "fewer configs in one place ($MAGNETON_CONFIGS), or a higher core.dagbag_import_timeout"
    if took_s >= limit_s:
        return wrong(told, hint, EXIT_CONFIG)
    return odd(told, hint) if took_s > limit_s / 2 else ok(told)


#: The database comes first.
TABLE = (Check("database", database), Check("plugin", plugin))
OF_ITS_TABLES = (
    Check("triggerer", triggerer),
    Check("Airflow pool", pool),
    Check("parsing", parsing),
)

if __name__ == "__main__":
    sys.exit(main())
