"""What goes wrong in a block is recorded with it, under the right exit code; the others are done."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from magneton_tasks.errors import EXIT_BUG, EXIT_IO, EXIT_TEMPORARY, TemporaryError
from magneton_tasks.stages import apply
from magneton_tasks.work.record import Outcome
from tests.helpers import volumes

Copy = Callable[..., Path]
#: what a cell meets, the batch's exit code, whether more memory may help, and whether it's a bug
MET: list[tuple[Exception, int, bool, bool]] = [
    (TypeError("'NoneType' object is not subscriptable"), EXIT_BUG, False, True),
    (KeyError("chunks"), EXIT_BUG, False, True),
    (MemoryError(), EXIT_TEMPORARY, True, False),
    (RuntimeError("can't start new thread"), EXIT_TEMPORARY, True, False),
    (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), "/data/labels"), EXIT_TEMPORARY, True, False),
    (OSError(errno.EIO, os.strerror(errno.EIO)), EXIT_IO, False, False),  # of a descriptor: no name
    (ConnectionResetError(errno.ECONNRESET, "reset"), EXIT_TEMPORARY, False, False),
    (TemporaryError("the bucket is busy", "rerun"), EXIT_TEMPORARY, False, False),
]


@pytest.mark.parametrize(("error", "code", "wants_memory", "is_bug"), MET)
def test_a_cell_that_fails(
    error: Exception,
    code: int,
    wants_memory: bool,
    is_bug: bool,
    copy_of: Copy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = volumes.plan_run(copy_of(work=True))
    cells = list(range(len(run.plan.geometry.cells)))
    plain, failing = apply.ApplyStage.one, cells[-1]  # after an I/O error the batch goes no further

    def one(stage: apply.ApplyStage, key: int) -> Outcome:
        if key == failing:
            raise error
        return plain(stage, key)

    monkeypatch.setattr(apply.ApplyStage, "one", one)
    volumes.run_stages(run, stages=["segment", "count", "pool", "apply"])
    assert run.codes["apply"] == [code]
    assert run.made("apply") == set(cells) - {failing}
    failure = run.last("apply")[failing].info
    assert failure["exit_code"] == code and failure.get("out_of_memory", False) is wants_memory
    assert run.result("apply", 0)["failures"] == [{"key": failing, **failure}]
    told = capsys.readouterr().out
    assert ("in one\n" in told) is is_bug, "a bug's traceback, and no other, is in the log"
    assert ("bug in Magneton" in str(failure["hint"])) is is_bug
