"""What a job's log ends with; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: How the line below an error begins that says what to do, see `errors.MagnetonError`.
ADVICE = "what to do:"


def last_words(lines: Sequence[str], is_of_memory: Callable[[str], bool]) -> str:
    """What a log ends with: that memory ran out, else its last error, else its last line."""
    told = [line.strip() for line in lines]
    told = [line for line in told if line and not line.startswith("{")]
    memory = [line for line in told if is_of_memory(line)]
    errors = [line for line in told if "error:" in line.lower()]
    return (memory or errors or told or [""])[-1][:300]


def last_advice(lines: Sequence[str]) -> str:
    """What to do, as the worker's last error in a log says; empty if none does."""
    told = [line.strip() for line in lines]
    found = [line.removeprefix(ADVICE).strip() for line in told if line.startswith(ADVICE)]
    return found[-1] if found else ""
