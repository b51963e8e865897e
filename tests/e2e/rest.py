"""Airflow's REST interface, for somebody who has passwords."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RefusedError(Exception):
    """Airflow's REST interface said no."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


class Rest:
    """Who asks.

    Parameters
    ----------
    address
        Gives where the api-server listens now.
    password
        Gives a user's password.
    """

    def __init__(self, address: Callable[[], str], password: Callable[[str], str]) -> None:
        self._address, self._password = address, password
        self._tokens: dict[str, str] = {}

    def token(self, user: str = "admin") -> str:
        """A token of this user; as the cookie ``_token`` it opens the web interface."""
        if user not in self._tokens:
            asked = {"username": user, "password": self._password(user)}
            self._tokens[user] = self.call("/auth/token", asked, user=None)["access_token"]
        return self._tokens[user]

    def call(
        self,
        path: str,
        data: Mapping[str, Any] | None = None,
        *,
        method: str | None = None,
        user: str | None = "admin",
    ) -> Any:
        """What Airflow answers, decoded; None where it answers nothing.

        Raises
        ------
        RefusedError
            With its status and what it says.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if user is not None:
            headers["Authorization"] = f"Bearer {self.token(user)}"
        request = urllib.request.Request(
            self._address() + path,
            data=None if data is None else json.dumps(data).encode(),
            headers=headers,
            method=method,
        )
        try:
            with _OPENER.open(request, timeout=60) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError(error.code, error.read().decode(errors="replace")) from None
        return json.loads(text) if text else None


def fetched(address: str) -> str:
    """A page as a browser would get it first.

    Raises
    ------
    urllib.error.HTTPError
        Any other status than 200 (or one that leads there).
    """
    with _OPENER.open(address, timeout=60) as answer:
        return str(answer.read().decode())
