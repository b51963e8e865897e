"""Airflow's metadata database: the SQLite file in its home, or a PostgreSQL, whose address the home keeps.

An address may hold a password. What a process gets as argument or environment is shown for as long as
it lives, and by all its forks. So the address lies in a file for this user alone, and Airflow's
services are told the command that prints it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from magneton_tasks.base.files import write_atomic
from magneton_tasks.base.worker_env import DATABASE_VARIABLE
from magneton_tasks.errors import ConfigError

#: The address that `make up DB=...` was given.
VARIABLE = DATABASE_VARIABLE
#: Where Airflow looks for the address; with ``_CMD`` for a command that prints it, which no shell reads.
SETTING = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
SQLITE = "sqlite"
#: How long a server may take to answer, in seconds.
REACH_S = 20

#: Gets a question, gives a password; empty: none.
Ask = Callable[[str], str]

#: An address in parts, split as SQLAlchemy does it: passwords may hold a slash.
_ADDRESS = re.compile(
    r"(?P<scheme>[^:/]*)://(?:(?P<user>[^:/@]*)(?P<password>:[^@]*)?@)?(?P<rest>.*)", re.DOTALL
)
_SCHEMES = ("postgresql", "postgresql+psycopg2")
_QUERY_PASSWORD = re.compile(r"[?&](ssl)?password=", re.IGNORECASE)


def setting(home: Path) -> dict[str, str]:
    """The variable that tells Airflow's processes their database."""
    kept = kept_file(home)
    if kept.is_file():
        return {f"{SETTING}_CMD": shlex.join(["cat", str(kept)])}
    return {SETTING: sqlite(home)}


def kept_file(home: Path) -> Path:
    """Holds the address, in mode 0600; not there: SQLite."""
    return home / "database"


def sqlite(home: Path) -> str:
    """Address of the database in the home; who finds it locked tries for a minute."""
    return f"sqlite:///{home / 'airflow.db'}?timeout=60"


def choose(home: Path, given: str, *, is_running: bool, ask: Ask | None = None) -> None:
    """Keep the database that `make up` was given; a home that has it already stays as it is.

    Parameters
    ----------
    given
        ``postgresql://user@host/name``, without a password, or ``sqlite``.
    is_running
        Airflow works on what the home has now.
    ask
        Asks a person for the password; None: there is nobody to ask.

    Raises
    ------
    ConfigError
        It is of no kind that Airflow can use, holds a password, refuses us, or another one is in use.
    """
    if has_password(given):
        raise ConfigError(
            "the address of Airflow's database holds a password, and every process that gets the "
            "address would show it",
            f"omit it: make up DB={without_password(given)} asks for it on a terminal, and keeps "
            "it in Airflow's home; without a terminal, put it into ~/.pgpass. If others use this machine, "
            "change the password: they could read it",
        )
    file = kept_file(home)
    kept = file.read_text().strip() if file.is_file() else SQLITE
    address = given if given == SQLITE else checked(given)
    if address in (kept, without_password(kept)):
        return
    if is_running:
        raise ConfigError("Airflow runs on another database", "run make down, then run this again")
    if address != SQLITE:
        address = _with_password(address, ask) if ask else address
        reach(address)
    keep(home, address)


def keep(home: Path, address: str) -> None:
    """Keep an address in the home, for this user alone: `make down` and the others are given none.

    Raises
    ------
    ConfigError
        Neither PostgreSQL nor ``sqlite``.
    """
    if address == SQLITE:
        kept_file(home).unlink(missing_ok=True)
    else:
        write_atomic(kept_file(home), checked(address).encode(), mode=0o600)


def checked(address: str) -> str:
    """The address of a PostgreSQL with the driver that Airflow uses.

    Raises
    ------
    ConfigError
        It's another kind of database, or no address.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or found["scheme"] not in _SCHEMES or not found["rest"]:
        raise ConfigError(
            f"Airflow's database can't be of the kind {address.partition(':')[0]}",
            "give DB=postgresql://user@host/database, or DB=sqlite for a file in its home",
        )
    return f"{_SCHEMES[1]}{address.removeprefix(found['scheme'])}"


def reach(address: str) -> None:
    """Connect once, so that what is wrong is said at once, and a mistyped password isn't kept.

    Raises
    ------
    ConfigError
        The driver isn't installed, the server doesn't answer, or it refuses us.
    """
    import sqlalchemy  # a second, which only a new address is worth
    from sqlalchemy.exc import DBAPIError

    try:
        engine = sqlalchemy.create_engine(address, connect_args={"connect_timeout": REACH_S})
        engine.connect().close()
    except ImportError:
        raise ConfigError(
            "the driver of PostgreSQL isn't installed", "pip install 'magneton[production]'"
        ) from None
    except DBAPIError as error:
        raise ConfigError(
            f"Airflow's database can't be used: {str(error.orig).strip()}",
            "check address, user and password; the password is asked for on a terminal, else "
            "it is read from ~/.pgpass",
        ) from None
    engine.dispose()


def has_password(address: str) -> bool:
    """Whether an address holds a password: before the host, or among the options."""
    found = _ADDRESS.fullmatch(address)
    return bool(found and (found["password"] or _QUERY_PASSWORD.search(found["rest"])))


def without_password(address: str) -> str:
    """The same address, but for its passwords."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return address
    user = f"{found['user']}@" if found["user"] else ""
    base, mark, query = found["rest"].partition("?")
    options = [o for o in query.split("&") if not _QUERY_PASSWORD.match(f"?{o}")]
    return f"{found['scheme']}://{user}{base}{mark if options != [''] else ''}{'&'.join(options)}"


def _with_password(address: str, ask: Ask) -> str:
    """The address with what a person types; one without a user needs none."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not found["user"]:
        return address
    place = found["rest"].partition("?")[0]
    password = ask(f"Password of {found['user']} at {place} (empty: none, or it is in ~/.pgpass): ")
    secret = f":{quote(password, safe='')}" if password else ""
    return f"{found['scheme']}://{found['user']}{secret}@{found['rest']}"
