"""Opens buckets for writes on a condition (`bucket`); the client of each kind is imported when it is met."""

from __future__ import annotations

from magneton_tasks.base.bucket import Bucket
from magneton_tasks.base.location import cloud_path, connection_errors
from magneton_tasks.errors import ConfigError


def open_bucket(url: str) -> Bucket:
    """The bucket of a URL as `base.location.locate` gives it: gs://, s3:// and what cloud-files makes S3.

    Raises
    ------
    ConfigError
        Nothing can be written there; cloud-files isn't installed.
    """
    with connection_errors(url, writes=True):
        path = cloud_path(url)
        if path.protocol == "gs":
            from magneton_tasks.base.buckets_google import GoogleBucket

            return GoogleBucket(path)
        if path.protocol == "s3":
            from magneton_tasks.base.buckets_s3 import S3Bucket

            return S3Bucket(path)
    raise ConfigError(f"{url} can't be written", "use file:///path, a plain path, gs:// or s3://")
