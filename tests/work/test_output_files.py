"""Which files records say that a result has below its output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from magneton_tasks.base.files import FileInfo
from magneton_tasks.formats.listed import Listed, is_below
from magneton_tasks.work import output_files
from magneton_tasks.work.output_files import Written, named, of_result
from magneton_tasks.work.record import Record, files_info
from magneton_tasks.work.stores import output_as_planned
from tests.helpers.volumes import Run

pytestmark = pytest.mark.usefixtures("childless")


def written(run: Run, more: Mapping[str, Mapping[int, Record]] | None = None) -> Written:
    def records(stage: str) -> Mapping[int, Record]:
        return (more or {}).get(stage) or run.records(stage)

    return Written(output_as_planned(run.attempt), run.plan.geometry, records)


def test_they_are_the_chunks_that_lie_there(base: Run) -> None:
    root = base.attempt.config.paths.output.removeprefix("file://")
    told = list(of_result(written(base)))

    there = {str(p.relative_to(root)): p.read_bytes() for p in Path(root).glob("*_*_*/*")}
    assert len(told) == len(there)
    assert set(told) == {Listed(n, len(data), crc32(data)) for n, data in there.items()}


def test_an_earlier_release_told_no_checksums(base: Run) -> None:
    plain = base.records("apply")
    for record in plain.values():
        del record.info["crc32"]
    told = list(of_result(written(base, {"apply": plain})))
    assert told and {file.crc32 for file in told} == {None}


def test_a_stage_names_its_files_in_its_records(base: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `output_files` says of a stage that is added."""
    info: Any = {"outputs": files_info({"mesh/0a.shard": FileInfo(7, 11)})}
    record = Record(3, "done", 1.0, info=info)
    again = Record.from_line(record.to_line())
    monkeypatch.setattr(output_files, "OF_STAGE", {"mesh_shards": named})
    told: Iterator[Listed] = of_result(written(base, {"mesh_shards": {3: again}}))
    assert list(told) == [("mesh/0a.shard", 7, 11)]


@pytest.mark.parametrize("name", ["a", "8_8_40/0-64_0-64_0-64.gz", "mesh/..shard", ".hidden/x"])
def test_names_that_stay_below(name: str) -> None:
    assert is_below(name)


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../a", "a/../../b", "a//b", "./a", "a/", "a\0"]
)
def test_names_that_climb_out(name: str) -> None:
    assert not is_below(name)
