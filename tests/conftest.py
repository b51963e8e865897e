"""Settings of all tests."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from magneton_tasks.kernels.compiled import archives as kernel_archives
from magneton_tasks.kernels.compiled.warm import compile_all
from magneton_tasks.runners.warming import ensure_warm
from tests.helpers.examples import LONG
from tests.helpers.huge_pages import use_huge_pages

if TYPE_CHECKING:
    from _typeshed import HasFileno

# The first call of a compiled kernel takes seconds, and machines differ: no test is about time.
# `make test-long` asks for the other profile, with many more examples.
settings.register_profile("magneton", deadline=None, max_examples=25)
settings.register_profile(LONG, deadline=None, max_examples=2000)
settings.load_profile("magneton")


def _without_waiting(fd: int | HasFileno) -> None:
    """In place of `os.fsync`: the tests call it some 10,000 times, and would wait for the disk.

    They kill processes, never the machine: what a process wrote is there for the next one without
    it too. Commands in processes of their own sync as ever.
    """
    os.fstat(fd if isinstance(fd, int) else fd.fileno())  # the same error for a closed file


os.fsync = _without_waiting

# What is imported stays. Without it, the collector looks at half a million objects time and again, and a
# forked child copies them all as soon as it collects.
gc.disable()

# What a script starts in the background ignores Ctrl-C, and all that it starts inherits that: the tests
# that press Ctrl-C would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Also for the processes of tests that have another home.
os.environ["MAGNETON_KERNEL_CACHE"] = kernel_archives.root()

#: Fixtures for tests of every room.
pytest_plugins = ["tests.helpers.runs", "tests.helpers.warm"]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Compile once for all tests, their processes, and the tests of the next time."""
    is_worker_of_xdist = hasattr(config, "workerinput")
    if not (is_worker_of_xdist or config.option.collectonly):
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        ensure_warm(reporter.write_line if reporter is not None else print)


def pytest_collection_finish(session: pytest.Session) -> None:
    """All is imported: the collector may work from here on, on what comes.

    All compiled code is loaded once, here: else each forked child loads it anew, and a process whose first
    kernel is called by a test with another archive would compile all that the later tests need.
    """
    if not session.config.option.collectonly:
        compile_all()
    gc.collect()
    gc.freeze()
    use_huge_pages()
    gc.enable()


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Stages called in this process handle SIGTERM; a child of a later test couldn't be ended by it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
