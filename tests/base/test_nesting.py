from __future__ import annotations

from pathlib import Path

import pytest

from magneton_tasks.base.location import locate
from magneton_tasks.base.nesting import are_nested


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("s3://b/a", "s3://b/a"),
        ("s3://b/a", "precomputed://s3://b/a/"),
        ("s3://b/a", "s3://b/a/deeper"),
        ("s3://b/a", "s3://b"),
        ("s3://b/x/a", "s3://b//x/./a"),
        ("gs://b/a", "https://storage.googleapis.com/b/a"),
        ("gs://b/a", "https://b.storage.googleapis.com/a"),
        ("gs://b/a b", "https://storage.cloud.google.com/b/a%20b"),
        ("s3://b/a", "https://s3.amazonaws.com/b/a"),
        ("s3://b/a", "https://s3.eu-west-1.amazonaws.com/b/a"),
        ("s3://b/a", "https://b.s3.eu-west-1.amazonaws.com/a/deeper"),
        ("s3://b/a", "https://b.s3-us-west-2.amazonaws.com/a"),
        ("s3://https://host:9000/b/a", "https://host:9000/b/a"),
        ("matrix://b/a", "s3://https://s3-hpcrc.rc.princeton.edu/b/a"),
        ("/data/a", "file:///data/a/b"),
    ],
)
def test_one_place_by_two_addresses(one: str, two: str) -> None:
    assert are_nested(locate(one), locate(two)) and are_nested(locate(two), locate(one))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("s3://b/a", "s3://b/ab"),
        ("s3://b/a", "s3://b2/a"),
        ("s3://b/a", "gs://b/a"),
        ("s3://b/a", "s3://https://host/b/a"),
        ("s3://b/a", "https://other.amazonaws.com/b/a"),
        ("s3://b/x/a", "s3://b/y/a"),
        ("/b/a", "s3://b/a"),
    ],
)
def test_different_places(one: str, two: str) -> None:
    assert not are_nested(locate(one), locate(two))


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert are_nested(locate(f"file://{tmp_path}/link/seg"), locate(f"{tmp_path}/real"))
