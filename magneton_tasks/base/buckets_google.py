"""Google Cloud Storage; see `bucket`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from typing import Any

from magneton_tasks.base.bucket import Stored, age_s, key_of
from magneton_tasks.base.location import connection_errors

#: Looks at an object that is written to in the same moment.
_LOOKS = 5
#: Requests that remove objects, at the same time.
_REMOVERS = 8


class GoogleBucket:
    """Google Cloud Storage, whose writes take the generation that they expect."""

    def __init__(self, path: Any) -> None:
        from cloudfiles.secrets import google_credentials
        from google.cloud.storage import Client

        with redirect_stdout(io.StringIO()):  # it prints advice where it finds no file
            project, credentials = google_credentials(path.bucket)
        client = Client(project=project, credentials=credentials)
        self._date: str | None = None
        # The age of an object by the store's clock: the client hides the answers' dates.
        client._http.hooks["response"].append(self._keep_date)
        self._bucket, self._place = client.bucket(path.bucket), path

    def _keep_date(self, answer: Any, **_: object) -> None:
        self._date = answer.headers.get("Date")

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        with connection_errors(
            f"gs://{self._place.bucket}/{key_of(self._place, name)}", writes=True
        ):
            yield

    def read(self, name: str) -> Stored | None:
        """As `Bucket.read`."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with self._errors(name):
            for _ in range(_LOOKS):
                blob = self._bucket.get_blob(key_of(self._place, name))
                if blob is None:
                    return None
                version, age = blob.generation, age_s(blob.updated, self._date)
                try:
                    data = blob.download_as_bytes(if_generation_match=version)
                    return Stored(data, str(version), age)
                except (NotFound, PreconditionFailed):
                    continue  # written between the two requests
            raise TimeoutError("it is written again and again")

    def create(self, name: str, data: bytes) -> bool:
        """As `Bucket.create`."""
        return self._put(name, data, 0)

    def replace(self, name: str, data: bytes, version: str) -> bool:
        """As `Bucket.replace`."""
        return self._put(name, data, int(version))

    def _put(self, name: str, data: bytes, generation: int) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        def put() -> None:
            blob = self._bucket.blob(key_of(self._place, name))
            blob.cache_control = "no-store"
            blob.upload_from_string(data, "application/json", if_generation_match=generation)

        with self._errors(name):
            if _holds(put, PreconditionFailed):
                return True
        # An answer may get lost on its way: the repeated request meets what the first has written.
        found = self.read(name)
        return found is not None and found.data == data

    def delete(self, name: str, version: str) -> None:
        """As `Bucket.delete`."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with self._errors(name):
            _holds(
                lambda: self._bucket.delete_blob(
                    key_of(self._place, name), if_generation_match=int(version)
                ),
                PreconditionFailed,
                NotFound,
            )

    def remove(self, names: Sequence[str]) -> None:
        """As `Bucket.remove`: a request each, some at a time."""
        from google.api_core.exceptions import NotFound

        def one(name: str) -> None:
            with self._errors(name):
                _holds(lambda: self._bucket.delete_blob(key_of(self._place, name)), NotFound)

        with ThreadPoolExecutor(_REMOVERS) as threads:
            for _ in threads.map(one, names):
                pass

    def keeps_conditions(self, name: str, data: bytes) -> bool:
        """As `Bucket.keeps_conditions`: always."""
        return True


def _holds(request: Callable[[], None], *refused: type[Exception]) -> bool:
    """Make a request; False where its condition doesn't hold."""
    try:
        request()
    except refused:
        return False
    return True
