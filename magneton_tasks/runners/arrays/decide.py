"""What follows from how jobs ended: done, tried again with what, or failed and why; pure.

Success is what the scheduler **and** the manifest say: a job that completed without its records is an
error, and a job that was lost after its last record is a success.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from magneton_tasks.base.units import human_bytes, human_time
from magneton_tasks.errors import (
    EXIT_BUG,
    EXIT_CONFIG,
    EXIT_TEMPORARY,
    FINAL_EXITS,
    RETRYABLE_EXITS,
    MagnetonError,
    worst,
)
from magneton_tasks.runners import retry
from magneton_tasks.runners.arrays.causes import PartEnd, cause_of
from magneton_tasks.runners.arrays.states import Phase
from magneton_tasks.runners.retry import Cause, Failed, Need, Policy

#: More than half of an array must fail for one cause, and at least this many, before the rest is stopped.
STOP_FROM = 5
#: Causes that lie in the node.
_OF_NODE = frozenset({Cause.NODE, Cause.EXIT})
#: Causes that a whole array shares without anything being wrong with the work, and those that more
#: memory or time mends.
_NOT_SHARED = frozenset(
    {Cause.NODE, Cause.PREEMPTED, Cause.CANCELLED, Cause.LOST, Cause.MEMORY, Cause.TIME}
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A part that isn't done, and why."""

    part: int
    job: str
    cause: Cause
    node: str
    exit_code: int
    words: str
    hint: str | None = None
    log: str = ""


@dataclass
class Verdict:
    """What to do with parts whose jobs have ended.

    Attributes
    ----------
    done
        Parts that are complete.
    again
        Parts to submit again, with what.
    failures
        Parts that can't be mended.
    first
        Of the parts to submit again: how this try ended, for the message of the last one.
    failed
        Of the parts that aren't complete: how often their tries failed, by cause, this one included.
    blamed
        Nodes of jobs whose failure may lie in the node; as often as it does.
    notes
        Lines for the log.
    """

    done: list[int] = field(default_factory=list)
    again: dict[int, Need] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    first: dict[int, str] = field(default_factory=dict)
    failed: dict[int, dict[Cause, int]] = field(default_factory=dict)
    blamed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# ------------------------------------------------------------------ the verdict
def decide(
    ends: Iterable[PartEnd],
    needs: Mapping[int, Need],
    tries: Mapping[int, int],
    policy: Policy,
    failed: Mapping[int, Failed] | None = None,
    first: Mapping[int, str] | None = None,
    *,
    section: str = "",
    is_last: bool = False,
) -> Verdict:
    """What becomes of parts whose jobs have ended.

    Parameters
    ----------
    needs
        What each part's job had.
    tries
        How often each part has been tried, this try included.
    failed
        How often earlier tries of parts failed, by cause.
    first
        How the first try of parts ended that were tried before.
    section
        Where the scheduler's settings are in the config, for what to do.
    is_last
        Nothing is tried again.
    """
    verdict, first, failed = Verdict(), first or {}, failed or {}
    fallen: set[tuple[str, str]] = set()
    for end in ends:
        if not end.missing:
            verdict.done.append(end.part)
            if end.state.phase not in (Phase.DONE, Phase.GONE):
                verdict.notes.append(
                    f"job {end.job}_{end.part} ended {end.state.word}, and its part is complete"
                )
            continue
        need, n = needs[end.part], tries[end.part]
        cause = cause_of(end, need)
        more = retry.more(cause, need, policy)
        counts = verdict.failed[end.part] = retry.counted(failed.get(end.part, {}), cause)
        if more is None or is_last or not retry.is_left(counts, cause, policy.tries):
            earlier = first.get(end.part) if n > 1 else None
            verdict.failures.append(_failure(end, cause, need, n, more is None, earlier, section))
            continue
        verdict.again[end.part] = more
        verdict.first[end.part] = _words(end, cause, need)
        verdict.notes.append(_again(end, cause, more, need))
        at = (end.job, end.state.node)
        # a node fails once, however many jobs of the array were on it
        if cause in _OF_NODE and end.state.node and not (cause is Cause.NODE and at in fallen):
            verdict.blamed.append(end.state.node)
            fallen.add(at)
    return verdict


def to_exclude(
    blamed: Mapping[str, int], excluded: Sequence[str], working: Collection[str]
) -> list[str]:
    """Nodes to keep away from: those that failed more than once, as long as most others are left.

    Where more than half of the nodes fail it isn't the nodes; and without any, nothing would run.

    Parameters
    ----------
    blamed
        How often each node failed.
    working
        Nodes that take jobs now; none where that isn't known.

    Returns
    -------
    list
        All that are to be excluded, ``excluded`` first.
    """
    found = list(excluded)
    for node in sorted(blamed, key=lambda n: (-blamed[n], n)):
        left = set(working) - {*found, node}
        if blamed[node] > 1 and node not in found and left and 2 * len(left) >= len(working):
            found.append(node)
    return found


def shared_cause(
    ends: Sequence[PartEnd], of: int, needs: Mapping[int, Need], tries: Mapping[int, int]
) -> Cause | None:
    """The cause for which more than half of an array of ``of`` indexes failed, if there's one.

    What a retry may help for is none yet where parts weren't tried before: ``tries``, without this.
    """
    found = [(cause_of(e, needs[e.part]), tries.get(e.part, 0)) for e in ends if e.missing]
    counts = Counter(cause for cause, n in found if n or cause is not Cause.TEMPORARY)
    for cause, n in counts.most_common(1):
        if cause not in _NOT_SHARED and n >= STOP_FROM and 2 * n > of:
            return cause
    return None


# ------------------------------------------------------------------ words
def _where(end: PartEnd) -> str:
    node = f" on {end.state.node}" if end.state.node else ""
    return f"job {end.job}_{end.part}{node}"


def _again(end: PartEnd, cause: Cause, more: Need, need: Need) -> str:
    what = f"{_where(end)}: {cause}"
    if cause is Cause.MEMORY:
        return (
            f"{what} with {human_bytes(need.memory)}; trying again with {human_bytes(more.memory)}"
        )
    if cause is Cause.TIME:
        return (
            f"{what} after {human_time(need.time_s)}; trying again with {human_time(more.time_s)}"
        )
    return f"{what}; trying again"


def _words(end: PartEnd, cause: Cause, need: Need) -> str:
    """How a job ended, in a line: where, the cause, and what it said itself."""
    words = f"{_where(end)}: {cause}"
    told = next((f for f in end.failures if f.get("cause")), None)
    if cause is Cause.MEMORY:
        words += f" with {human_bytes(need.memory)}"
    elif cause is Cause.TIME:
        words += f" after {human_time(need.time_s)}"
    elif cause is Cause.CANCELLED:
        words += f" {end.state.reason}" if end.state.reason.startswith("by ") else ""
    elif cause is Cause.SILENT:
        words += f": {end.missing} are missing"
    elif cause in _WITH_CODE:
        words += f" with exit code {end.state.exit_code}"
    if told is not None:
        return f"{words}: {told['cause']}"
    return f"{words}: {end.said}" if end.said and cause in _WITH_CODE else words


def _failure(
    end: PartEnd,
    cause: Cause,
    need: Need,
    tries: int,
    at_most: bool,
    first: str | None,
    section: str,
) -> Failure:
    code, hint = _ENDS.get(cause, (EXIT_TEMPORARY, "rerun: finished blocks stay"))
    if cause in _WITH_CODE:
        code = end.state.exit_code or EXIT_TEMPORARY
        code = code if code in FINAL_EXITS | RETRYABLE_EXITS else EXIT_CONFIG
    told = (str(f["hint"]) for f in end.failures if f.get("cause") and f.get("hint"))
    hint = next(told, (cause in _WITH_CODE and end.advised) or hint.format(section=section))
    words = _words(end, cause, need)
    if tries > 1:
        words += f" ({tries} tries{'; no more is available' if at_most else ''})"
    if first is not None:
        words += f"; the first: {first}"
    return Failure(end.part, end.job, cause, end.state.node, code, words, hint, end.log)


#: Causes of which the exit code tells more.
_WITH_CODE = frozenset({Cause.HOPELESS, Cause.EXIT, Cause.TEMPORARY})
#: Exit code and advice of causes that aren't temporary; ``section`` as of `decide`.
_ENDS = {
    Cause.MEMORY: (EXIT_CONFIG, "raise {section}.max_memory, or choose nodes with more memory"),
    Cause.TIME: (EXIT_CONFIG, "raise {section}.max_time, or lower {section}.target_minutes"),
    Cause.CANCELLED: (EXIT_TEMPORARY, "if that wasn't meant, rerun: finished blocks stay"),
    Cause.SILENT: (
        EXIT_BUG,
        "do the compute nodes see the same paths.work? else raise paths.visibility_wait_s",
    ),
    Cause.HOPELESS: (
        EXIT_CONFIG,
        "see its log and fix the cause: a rerun alone changes nothing",
    ),
    Cause.EXIT: (EXIT_CONFIG, "see its log, and {section}.prelude and {section}.python"),
}


def error_of(task: str, failures: Sequence[Failure], stopped: Cause | None = None) -> MagnetonError:
    """One error for all parts that failed, by cause, with indexes, nodes and logs.

    An array that was stopped ends with the code of what stopped it: a retry would meet the same.
    """
    lines = []
    for cause in dict.fromkeys(f.cause for f in failures):
        those = [f for f in failures if f.cause is cause]
        lines.append(f"{len(those)} {cause}: {those[0].words}")
        lines += [f"  {f.words}" for f in those[1:3]]
        if len(those) > 3:
            some = ", ".join(f"{f.job}_{f.part}" for f in those[3:13])
            lines.append(f"  and {some}{', ...' if len(those) > 13 else ''}")
        if those[0].log:
            lines.append(f"  log: {those[0].log}")
    why = (
        f"{task}: more than half of the array failed for the same cause ({stopped}); the rest was stopped: "
        if stopped is not None
        else f"{task}: "
    )
    codes = [f.exit_code for f in failures if stopped is None or f.cause is stopped]
    hint = next((f.hint for f in failures if f.hint), None)
    code = worst(codes) if codes else EXIT_TEMPORARY
    return MagnetonError.ended_with(code, why + "\n  ".join(lines), hint)
