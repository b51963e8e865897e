"""Whether one of two volumes lies in the other, by their addresses; standard library only."""

from __future__ import annotations

import re
from urllib.parse import unquote

from magneton_tasks.base.location import Location

#: Where the buckets of a scheme are reached; cloud-files knows the last two by these names.
_HOSTS = {
    "gs": "storage.googleapis.com",
    "s3": "s3.amazonaws.com",
    "matrix": "s3-hpcrc.rc.princeton.edu",
    "tigerdata": "td.princeton.edu",
}
#: Hosts that are others of these, the bucket perhaps in front: all regions of AWS hold one set of names.
_SAME = {
    "s3.amazonaws.com": re.compile(r"(?:(.+)\.)?s3(?:[.-][a-z0-9-]+)*\.amazonaws\.com"),
    "storage.googleapis.com": re.compile(r"(?:(.+)\.)?storage\.(?:googleapis|cloud\.google)\.com"),
}


def are_nested(a: Location, b: Location) -> bool:
    """Whether one is the other or lies in it; links of a file system are followed."""
    if a.path is not None and b.path is not None:
        one, two = a.path.resolve(), b.path.resolve()
        return one == two or one in two.parents or two in one.parents
    if a.path is not None or b.path is not None:
        return False
    left, right = address(a.url), address(b.url)
    n = min(len(left), len(right))
    return left[:n] == right[:n]


def address(url: str) -> tuple[str, ...]:
    """Host, bucket and the names of the path: the same for all ways to write one place.

    ``gs://b/a``, ``https://storage.googleapis.com/b/a`` and ``https://b.storage.googleapis.com/a``
    are one; so are ``s3://https://host/b/a`` and ``https://host/b/a``.
    """
    scheme, _, rest = url.partition("://")
    if scheme in _HOSTS and "://" not in rest:
        host, path = _HOSTS[scheme], rest
    else:
        host, _, path = rest.rpartition("://")[2].partition("/")
        path = unquote(path)
    names = [name for name in path.split("/") if name not in ("", ".")]
    for known, pattern in _SAME.items():
        if match := pattern.fullmatch(host):
            return (known, *filter(None, [match[1]]), *names)
    return (host, *names)
