"""What an exit code means for a retry, and what the next try gets."""

from __future__ import annotations

import signal

import pytest

from magneton_tasks import errors
from magneton_tasks.base.units import human_bytes
from magneton_tasks.errors import (
    EXIT_BAD_DATA,
    EXIT_BUG,
    EXIT_CONFIG,
    EXIT_IO,
    EXIT_OK,
    EXIT_TEMPORARY,
    FINAL_EXITS,
    RETRYABLE_EXITS,
    worst,
)
from magneton_tasks.runners import retry
from magneton_tasks.runners.retry import Cause, Need, Policy, Tries

GIB = 2**30


def test_every_exit_code_of_ours_is_final_or_retryable() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert codes - {EXIT_OK} == FINAL_EXITS | RETRYABLE_EXITS
    assert not FINAL_EXITS & RETRYABLE_EXITS


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((), EXIT_OK),
        ((EXIT_OK, EXIT_OK), EXIT_OK),
        ((EXIT_OK, EXIT_BAD_DATA), EXIT_BAD_DATA),
        ((EXIT_BAD_DATA, EXIT_BUG, EXIT_CONFIG), EXIT_CONFIG),
        ((EXIT_CONFIG, EXIT_TEMPORARY), EXIT_TEMPORARY),  # a retry mends one of them
        ((EXIT_CONFIG, EXIT_IO), EXIT_IO),  # the disk is full, and says so
        ((EXIT_IO, EXIT_TEMPORARY), EXIT_TEMPORARY),
        ((EXIT_BAD_DATA, -signal.SIGKILL), EXIT_TEMPORARY),
        ((1, EXIT_OK), 1),
    ],
)
def test_the_worst_of_many(codes: tuple[int, ...], expected: int) -> None:
    assert worst(codes) == expected
    assert worst(reversed(codes)) == expected


@pytest.mark.parametrize(
    ("code", "told", "cause"),
    [
        (EXIT_BAD_DATA, True, Cause.HOPELESS),
        (EXIT_TEMPORARY, True, Cause.MEMORY),
        (-signal.SIGKILL, False, Cause.MEMORY),
        (-signal.SIGTERM, False, Cause.TEMPORARY),
        (EXIT_IO, False, Cause.TEMPORARY),
        (1, False, Cause.EXIT),
    ],
)
def test_why_a_process_ended(code: int, told: bool, cause: Cause) -> None:
    assert retry.cause_of_exit(code, ran_out_of_memory=told) is cause


def test_each_cause_has_tries_of_its_own() -> None:
    failed = retry.counted({Cause.MEMORY: 3}, Cause.NODE)
    assert failed == {Cause.MEMORY: 3, Cause.NODE: 1}
    assert retry.is_left(failed, Cause.NODE, 2)
    assert not retry.is_left(retry.counted(failed, Cause.NODE), Cause.NODE, 2)
    assert not retry.is_left({}, Cause.HOPELESS, 2)


def test_memory_and_time_grow_to_the_most_and_no_further() -> None:
    policy, need = Policy(3, 1.5, 2.0, 5 * GIB, 5000), Need(4 * GIB, 3600)
    assert retry.more(Cause.MEMORY, need, policy) == Need(5 * GIB, 3600)
    assert retry.more(Cause.TIME, need, policy) == Need(4 * GIB, 5000)
    assert retry.more(Cause.NODE, need, policy) == need
    assert retry.more(Cause.MEMORY, Need(5 * GIB, 1), policy) is None
    assert retry.more(Cause.TIME, Need(GIB, 5000), policy) is None


@pytest.mark.parametrize(
    ("tries", "given"),
    [
        (Tries(8 * GIB, 2 * GIB, 1.5), [3 * GIB, int(4.5 * GIB), int(6.75 * GIB), 8 * GIB]),
        (Tries(8 * GIB, 9 * GIB, 1.5), []),  # the config gave it more than there is
        (Tries(5 * GIB), [5 * GIB]),  # from what plan projected to all there is
    ],
)
def test_what_runs_out_of_memory_gets_more_up_to_the_most(tries: Tries, given: list[int]) -> None:
    for memory in given:
        step = tries.after(EXIT_TEMPORARY, Cause.MEMORY)
        assert step.again and f"trying again with {human_bytes(memory)}" in step.words
        assert tries.memory == memory
    last = tries.after(EXIT_TEMPORARY, Cause.MEMORY)
    assert (last.again, last.exit_code) == (False, EXIT_CONFIG), "no retry mends it"
    assert last.words == "no more is available"


def test_what_no_more_memory_mends_is_tried_twice_with_what_it_had() -> None:
    tries = Tries(8 * GIB)
    assert tries.after(-signal.SIGTERM, Cause.TEMPORARY).again and tries.memory is None
    assert tries.after(EXIT_TEMPORARY, Cause.MEMORY).again, "a cause of its own"
    last = tries.after(EXIT_TEMPORARY, Cause.TEMPORARY)
    assert (last.again, last.exit_code) == (False, EXIT_TEMPORARY)


@pytest.mark.parametrize("code", [EXIT_OK, EXIT_BAD_DATA, EXIT_IO, 1])
def test_what_the_same_command_can_t_mend_at_once_is_left_as_it_is(code: int) -> None:
    step = Tries(GIB).after(code, retry.cause_of_exit(code))
    assert (step.again, step.exit_code) == (False, code)
