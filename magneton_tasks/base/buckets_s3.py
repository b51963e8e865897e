"""S3 and what speaks its language; see `bucket`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from magneton_tasks.base.bucket import Stored, age_s, key_of
from magneton_tasks.base.location import connection_errors

#: Seconds for a connection, and for an answer.
_CONNECT_S, _ANSWER_S = 10, 60
#: Tries of a request that a retry may mend.
_TRIES = 5
#: What a store answers that knows no conditions (S3's name of the error).
_UNKNOWN = "NotImplemented"


class S3Bucket:
    """S3 and what speaks its language.

    AWS, MinIO, Ceph and R2 refuse a write whose condition (``If-None-Match: *``, ``If-Match``)
    doesn't hold. Other servers may not know conditions, and either say so or ignore them:
    `keeps_conditions` tells.
    """

    def __init__(self, path: Any) -> None:
        import boto3
        from botocore.config import Config
        from cloudfiles.secrets import aws_credentials

        secrets = aws_credentials(path.bucket, path.alias or "s3")
        options: dict[str, Any] = {
            "connect_timeout": _CONNECT_S, "read_timeout": _ANSWER_S,
            "retries": {"mode": "standard", "total_max_attempts": _TRIES},
        }  # fmt: skip
        if path.host is not None:  # not every server knows the checksums that boto3 adds
            options["request_checksum_calculation"] = "when_required"
        self._client = boto3.client(
            "s3",
            aws_access_key_id=secrets.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=secrets.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=secrets.get("AWS_SESSION_TOKEN"),
            region_name=secrets.get("AWS_DEFAULT_REGION", "us-east-1"),
            endpoint_url=path.host,
            config=Config(**options),
        )
        self._place = path
        # as cloud-files writes chunks: whoever owns the bucket owns them, whoever writes them
        self._written = {} if path.alias else {"ACL": "bucket-owner-full-control"}

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": key_of(self._place, name)}

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        with connection_errors(
            f"s3://{self._place.bucket}/{key_of(self._place, name)}", writes=True
        ):
            yield

    def read(self, name: str) -> Stored | None:
        """As `Bucket.read`."""
        from botocore.exceptions import ClientError

        with self._errors(name):
            try:
                answer = self._client.get_object(**self._object(name))
                data = answer["Body"].read()
            except ClientError as error:
                if _code(error) == "NoSuchKey":
                    return None
                raise
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        return Stored(data, answer["ETag"], age_s(answer["LastModified"], date))

    def create(self, name: str, data: bytes) -> bool:
        """As `Bucket.create`; where the store knows no conditions, it is written anyhow."""
        return self._put(name, data, IfNoneMatch="*")

    def replace(self, name: str, data: bytes, version: str) -> bool:
        """As `Bucket.replace`; where the store knows no conditions, it is written anyhow."""
        return self._put(name, data, IfMatch=version)

    def _put(self, name: str, data: bytes, **condition: str) -> bool:
        refused = self._refused(name, data, **condition)
        if refused is None:  # there are no conditions here
            refused = self._refused(name, data)
        if not refused:
            return True
        # An answer may get lost on its way: the repeated request meets what the first has written.
        found = self.read(name)
        return found is not None and found.data == data

    def _refused(self, name: str, data: bytes, **condition: str) -> bool | None:
        """Whether the condition didn't hold; None where the store knows none."""
        from botocore.exceptions import ClientError

        with self._errors(name):
            try:
                self._client.put_object(
                    **self._object(name),
                    **self._written,
                    **condition,
                    Body=data,
                    ContentType="application/json",
                    CacheControl="no-store",
                )
            except ClientError as error:
                if _code(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
                    return True
                if "IfMatch" in condition and _code(error) in ("NoSuchKey", "404"):
                    return True
                if condition and _code(error) == _UNKNOWN:
                    return None
                raise
        return False

    def delete(self, name: str, version: str) -> None:
        """As `Bucket.delete`; where the store knows no conditions, it is removed anyhow."""
        from botocore.exceptions import ClientError

        with self._errors(name):
            try:
                self._client.delete_object(**self._object(name), IfMatch=version)
            except ClientError as error:
                if _code(error) == _UNKNOWN:
                    self._client.delete_object(**self._object(name))
                elif _code(error) not in ("PreconditionFailed", "NoSuchKey", "404"):
                    raise

    def remove(self, names: Sequence[str]) -> None:
        """As `Bucket.remove`: one request, whose answer names what it didn't remove."""
        from botocore.exceptions import ClientError

        if not names:
            return
        keys = [{"Key": key_of(self._place, name)} for name in names]
        with self._errors(names[0]):
            answer = self._client.delete_objects(
                Bucket=self._place.bucket, Delete={"Objects": keys, "Quiet": True}
            )
            for error in answer.get("Errors", ()):
                raise ClientError({"Error": error}, f"DeleteObjects of {error.get('Key')}")

    def keeps_conditions(self, name: str, data: bytes) -> bool:
        """As `Bucket.keeps_conditions`: by trying, with the content that it has."""
        return self._refused(name, data, IfNoneMatch="*") is True


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
