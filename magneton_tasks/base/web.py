"""Web servers: what cloud-files takes for a file that isn't there, and may be one that may not be read."""

from __future__ import annotations

import urllib.error
import urllib.request

from magneton_tasks.base.failures import telling
from magneton_tasks.errors import NoInputError

_DENIED = (401, 403, 407)
_TIMEOUT_S = 30


def check_absent(url: str) -> None:
    """Refuse to take a file for absent that the server doesn't give to us.

    What is absent is empty space; what is denied must not become that.

    Raises
    ------
    NoInputError
        The server denies it.
    TemporaryError
        The connection failed.
    """
    if not url.startswith(("http://", "https://")):
        return
    status = _status(url)
    if status in _DENIED:
        raise NoInputError(
            f"{url}: the server answers {status}: it isn't given to us",
            "check your rights and the path; some buckets answer 403 for what isn't there, to who may not list them",
        )


def _status(url: str) -> int:
    request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})
    with telling(url):
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
