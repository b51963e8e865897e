"""Objects that are written on a condition, on both kinds of stores."""

from __future__ import annotations

from typing import Any

import pytest

from magneton_tasks.base.buckets import open_bucket
from magneton_tasks.errors import ConfigError
from tests.buckets.conftest import GoogleStore, S3Store, Store


def test_an_object_is_created_once(store: Store) -> None:
    bucket = open_bucket(f"{store.url}/a/b")
    assert bucket.read("x") is None
    assert bucket.create("x", b"one")
    assert not bucket.create("x", b"two")
    assert bucket.create("x", b"one"), "the answer to a request that was repeated"
    assert store.everything() == {"a/b/x": b"one"}
    assert bucket.keeps_conditions("x", b"one")


def test_an_object_is_replaced_only_as_it_was_read(store: Store) -> None:
    bucket = open_bucket(store.url)
    store.put("x", b"one")
    found = bucket.read("x")
    assert found is not None and found.data == b"one" and found.age_s < 60
    assert bucket.replace("x", b"two", found.version)
    assert not bucket.replace("x", b"three", found.version)
    assert store.everything() == {"x": b"two"}
    store.delete("x")
    assert not bucket.replace("x", b"three", found.version)
    assert store.everything() == {}


def test_an_object_is_removed_only_as_it_was_read(store: Store) -> None:
    bucket = open_bucket(store.url)
    store.put("x", b"one")
    old = bucket.read("x")
    store.put("x", b"two")
    new = bucket.read("x")
    assert old is not None and new is not None
    bucket.delete("x", old.version)
    assert store.everything() == {"x": b"two"}
    bucket.delete("x", new.version)
    bucket.delete("x", new.version)
    assert store.everything() == {}


def test_the_age_is_counted_by_the_store(store: Store) -> None:
    store.put("x", b"one")
    store.make_old("x", 700)
    found = open_bucket(store.url).read("x")
    assert found is not None and 690 < found.age_s < 760


def test_what_is_no_bucket_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="can't be written"):
        open_bucket("https://example.com/a")


def test_many_objects_are_removed_at_once(store: Store) -> None:
    bucket = open_bucket(f"{store.url}/a")
    for name in ("a/x", "a/b/y", "a/z", "x"):
        store.put(name, b"one")
    bucket.remove(["x", "b/y", "never there"])
    bucket.remove([])
    assert store.everything() == {"a/z": b"one", "x": b"one"}


def test_what_may_not_be_removed_is_told(
    s3_store: S3Store, google_store: GoogleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    google_store.put("x", b"one")
    google_store.server.is_read_only = True
    with pytest.raises(ConfigError, match="/x"):
        open_bucket(google_store.url).remove(["x"])
    bucket = open_bucket(s3_store.url)
    # a request that is answered with 200 all the same
    errors = [{"Key": "x", "Code": "AccessDenied", "Message": "Access Denied"}]
    monkeypatch.setattr(bucket, "_client", _Client({"Errors": errors}))
    with pytest.raises(ConfigError, match="of x"):
        bucket.remove(["x"])


class _Client:
    def __init__(self, answer: dict[str, Any]) -> None:
        self.delete_objects = lambda **_: answer
