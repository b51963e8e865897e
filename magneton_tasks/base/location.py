"""Where a volume lies: its URL taken apart, and its small files read.

Standard library only for ``file://`` and plain paths; buckets go through cloud-files, imported
inside the functions (1 CPU s).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magneton_tasks.base.error_meanings import Kind, kind_of
from magneton_tasks.base.failures import telling
from magneton_tasks.base.web import check_absent
from magneton_tasks.errors import BadDataError, ConfigError, NoInputError

#: Format prefixes that may stand before the URL, as Neuroglancer writes them.
PREFIXES = {
    "precomputed": "precomputed", "zarr": "zarr", "zarr2": "zarr", "zarr3": "zarr", "n5": "n5",
    "hdf5": "hdf5",
}  # fmt: skip
#: What cloud-files opens besides file://.
_REMOTE = ("gs", "s3", "https", "http", "matrix", "tigerdata")
#: What of these can't be written.
_READ_ONLY = ("https", "http")
#: What a shell would have replaced: ``~`` or ``~name`` at the begin, a part ``$NAME``.
_FOR_SHELLS = re.compile(r"\A~|(?:\A|/)\$(?:[A-Za-z_]|\{)")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a volume lies.

    Attributes
    ----------
    url
        Without format prefix and trailing slash.
    path
        On this machine's file systems; None for gs://, s3://, https://.
    format
        Folder in `formats` where a prefix said so; None where the files must tell.
    """

    url: str
    path: Path | None
    format: str | None

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written there, whatever the rights."""
        return self.path is None and self.url.partition("://")[0] in _READ_ONLY

    def name_of(self, file: str) -> str:
        """How a message calls a file of this volume."""
        return str(self.path / file) if self.path is not None else f"{self.url}/{file}"


def locate(url: str) -> Location:
    """Take a volume's URL apart.

    Raises
    ------
    ConfigError
        A scheme that can't be opened, a relative ``file://``, or ``file://host/path``.
    """
    prefix, separator, rest = url.partition("://")
    found = None
    if separator and prefix in PREFIXES:
        found, url = PREFIXES[prefix], rest
    scheme, separator, rest = url.partition("://")
    if not separator:
        if not url:
            raise ConfigError("the URL of a volume is empty", "give file:///path or a plain path")
        _check_plain(url)
        plain = url.rstrip("/") or "/"
        return Location(plain, Path(plain).absolute(), found)
    rest = rest.rstrip("/")
    url = f"{scheme}://{rest}"
    if scheme == "file":
        if not rest.startswith("/"):
            raise ConfigError(
                f"{url}: {rest.partition('/')[0]!r} is read as a host's name",
                f"an absolute path takes three slashes: {_whole(rest if rest[:1] in '~$' else f'/{rest}')}",
            )
        return Location(url, Path(rest), found)
    if scheme in _REMOTE:
        return Location(url, None, found)
    raise ConfigError(
        f"{url}: scheme {scheme!r} can't be opened",
        "use file:///path, a plain path, gs://, s3:// or https://",
    )


def _check_plain(path: str) -> None:
    """Refuse a plain path that is a URL with slashes missing, or begins in somebody's home.

    Raises
    ------
    ConfigError
    """
    scheme, separator, rest = path.partition(":")
    if separator and (scheme in _REMOTE or scheme == "file"):
        right = (
            f"{scheme}://{rest.lstrip('/')}" if scheme in _REMOTE else f"file:///{rest.lstrip('/')}"
        )
        slashes = "three slashes" if scheme == "file" else "two slashes"
        raise ConfigError(f"{path}: {scheme}: takes {slashes}", f"write {right}")
    if path.startswith("~"):
        raise ConfigError(
            f"{path}: ~ is replaced by shells only, not here", f"write {_whole(path)}"
        )


def require_absolute(url: str) -> None:
    """Refuse a place that isn't the same one for each process and each person.

    Raises
    ------
    ConfigError
        As `locate`; or it's relative, holds ``~`` or ``$NAME`` for a shell to replace, or what
        can't be seen, such as a line break at its end.
    """
    if url != url.strip() or not url.isprintable():
        raise ConfigError(
            f"{url!r} begins or ends with a space, or holds what can't be seen", "remove that"
        )
    rest = url
    for prefix in (*PREFIXES, "file"):
        rest = rest.removeprefix(f"{prefix}://")
    if _FOR_SHELLS.search(rest):
        raise ConfigError(
            f"{url!r}: ~ and $NAME are replaced by shells only, not here", f"write {_whole(rest)}"
        )
    if locate(url).path is not None and not rest.startswith("/"):
        raise ConfigError(
            f"{url!r} isn't absolute: each process would look for it in its own directory",
            f"write the whole path, such as {_whole(rest)}",
        )


def _whole(path: str) -> str:
    """What somebody may have meant by a path, as a URL."""
    expanded = os.path.expandvars(os.path.expanduser(path))
    if "://" in expanded:
        return expanded
    if not expanded.startswith("/"):
        expanded = "/data/" + expanded.lstrip("./~$")
    return f"file://{expanded}"


def cloud_files(url: str) -> Any:
    """cloud-files' view of a bucket."""
    from cloudfiles import CloudFiles

    _complete_credentials()
    return CloudFiles(url, progress=False, num_threads=4)


def cloud_path(url: str) -> Any:
    """A bucket's URL as cloud-files takes it apart: protocol, host, bucket, path and alias."""
    from cloudfiles.paths import extract

    _complete_credentials()
    return extract(url)


def _complete_credentials() -> None:
    """Keys in the environment that are no temporary ones have no token; cloud-files wants one."""
    if "AWS_ACCESS_KEY_ID" in os.environ:
        os.environ.setdefault("AWS_SESSION_TOKEN", "")


def connection_errors(what: str, *, writes: bool = False) -> AbstractContextManager[None]:
    """What a bucket's libraries raise at ``what``, as an error of ours; see `base.failures.telling`."""
    return telling(what, writes=writes)


#: What may not be read, while `probing` looks for what is there.
_DENIED: ContextVar[list[NoInputError] | None] = ContextVar("denied", default=None)


@contextmanager
def probing() -> Iterator[list[NoInputError]]:
    """Looks which files are there: one that may not be read counts as missing, and is kept.

    Many buckets answer 403 for what isn't there, to who may not list them.
    """
    denied: list[NoInputError] = []
    token = _DENIED.set(denied)
    try:
        yield denied
    finally:
        _DENIED.reset(token)


def _kept(error: NoInputError) -> bool:
    kept = _DENIED.get()
    cause = error.__cause__
    if kept is None or (cause is not None and kind_of(cause) is not Kind.DENIED):
        return False
    kept.append(error)
    return True


def read_file(location: Location, name: str) -> bytes | None:
    """A small file of a volume; None where it isn't there.

    Raises
    ------
    NoInputError
        It may not be read.
    TemporaryError
        The connection, or the file system, failed.
    """
    if location.path is None:
        try:
            with connection_errors(location.name_of(name)):
                data: bytes | None = cloud_files(location.url).get(name)
            if data is None:
                check_absent(location.name_of(name))
        except NoInputError as error:
            if _kept(error):
                return None
            raise
        return data
    with telling(f"{location.name_of(name)} can't be read"):
        try:
            return (location.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None


def read_json(location: Location, name: str) -> dict[str, Any] | None:
    """A JSON object among a volume's files; None where it isn't there.

    Raises
    ------
    BadDataError
        It isn't JSON, or no object; with file, line and column.
    NoInputError, TemporaryError
        As `read_file`.
    """
    data = read_file(location, name)
    return None if data is None else parse_json(data, location.name_of(name))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in the bytes of a volume's file, which is called ``where``.

    Raises
    ------
    BadDataError
        It isn't JSON, or no object; with file, line and column.
    """
    if data.lstrip()[:1] == b"<":
        raise BadDataError(
            f"{where}: the server sent a page of HTML, and no JSON",
            "give the address of the volume's files, not that of a page about them; is a login needed?",
        )
    try:
        found = json.loads(data)
    except json.JSONDecodeError as error:
        raise BadDataError(
            f"{where}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from error
    except UnicodeDecodeError as error:
        raise BadDataError(f"{where}: not JSON: byte {error.start} isn't UTF-8") from error
    except (ValueError, RecursionError) as error:  # thousands of digits, or of brackets
        raise BadDataError(f"{where}: JSON that can't be read: {error}") from error
    if not isinstance(found, dict):
        raise BadDataError(f"{where}: holds a {type(found).__name__}, not a JSON object")
    return found
