"""A work directory that a group shares: two users in turn, real ones where root runs the tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from magneton_tasks.clean import remove as clean_remove
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import MagnetonError
from tests.helpers import volumes
from tests.helpers.volumes import Run

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become two users"
)
ANNA, BEN, GROUP = 20001, 20002, 23456


@pytest.fixture
def config(base: Run) -> Iterator[Path]:
    """A volume in a folder of the group; `base` has imported what is imported late."""
    folder = Path(tempfile.mkdtemp())
    try:
        config = volumes.make_volume(folder)
        os.chown(folder, 0, GROUP)
        folder.chmod(0o2775)
        yield config
    finally:
        shutil.rmtree(folder)


def become(user: int, umask: int, work: Callable[[], object]) -> str:
    """What ``work`` raises when that member of the group does it; empty where it succeeds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(GROUP)
            os.setuid(user)
            os.umask(umask)
            try:
                work()
                text = ""
            except MagnetonError as error:
                text = f"{error.exit_code} {error}"
            except BaseException as error:
                text = f"crash: {error!r}"
            os.write(writer, text.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    return text


def segment(config: Path) -> None:
    run = volumes.plan_run(config, run="anna")
    volumes.run_stages(run, stages=["segment", "count"])
    volumes.release(run)


def complete(config: Path) -> None:
    volumes.run_pipeline(config, run="ben")


def clean(config: Path, what: str = "all") -> None:
    clean_remove.run(load_config(config), what)


def test_what_one_began_another_finishes_and_cleans(config: Path) -> None:
    assert become(ANNA, 0o002, lambda: segment(config)) == ""
    work = config.parent / "work"
    blocks = sorted(work.glob("segment-*/labels.zarr/c/*/*/*"))
    assert {path.stat().st_uid for path in blocks} == {ANNA}
    assert become(BEN, 0o002, lambda: complete(config)) == ""
    assert {path.stat().st_uid for path in blocks} == {ANNA}  # nothing was done twice
    assert become(ANNA, 0o002, lambda: clean(config)) == ""
    assert not list(work.glob("segment-*"))
    assert not list(work.glob(".clean-*"))


def test_who_cannot_write_is_told_before_work_starts(config: Path) -> None:
    assert become(ANNA, 0o022, lambda: segment(config)) == ""
    work = config.parent / "work"
    work.chmod(0o2775)  # the top alone isn't enough
    before = sorted(work.rglob("*"))
    told = become(BEN, 0o002, lambda: complete(config))
    assert told.startswith("74 "), told
    assert f"user {ANNA}" in told
    assert f"user {BEN}" in told
    assert "chmod" in told
    assert sorted(work.rglob("*")) == before
    told = become(BEN, 0o002, lambda: clean(config))
    assert told.startswith("74 "), told
    assert f"user {ANNA}" in told
    assert sorted(work.rglob("*")) == before


def test_what_the_message_advises_helps(config: Path) -> None:
    assert become(ANNA, 0o022, lambda: segment(config)) == ""
    for path in (config.parent, *config.parent.rglob("*")):
        if path.stat().st_uid == ANNA:
            path.chmod(path.stat().st_mode | (0o2070 if path.is_dir() else 0o060))
    assert become(BEN, 0o002, lambda: complete(config)) == ""
