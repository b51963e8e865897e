"""What is known of a batch's jobs is read and written as releases before wrote it."""

from __future__ import annotations

from magneton_tasks.base.as_json import of_json, to_json
from magneton_tasks.runners.arrays.decide import Failure
from magneton_tasks.runners.arrays.progress import Progress, Submitted
from magneton_tasks.runners.retry import Cause, Need

#: As 0.2.0 wrote it, which didn't count failures by cause.
OF_BEFORE = """{
 "jobs": [
  {"job": "12", "number": 0, "indexes": "0-3,7", "need": {"memory": 1024, "time_s": 60}, "submitted": 1.5,
   "is_over": true}
 ],
 "done": "0-2", "tries": {"3": 2}, "needs": {"3": {"memory": 2048, "time_s": 60}},
 "failures": [{"part": 7, "job": "12", "cause": "failed", "node": "n1", "exit_code": 65, "words": "bad", "hint": null,
  "log": "/a/log"}],
 "blamed": {"n1": 1}, "exclude": ["n1"], "accepted": null, "limited_since": null, "is_looked_through": true
}"""
BAD = Failure(7, "12", Cause.HOPELESS, "n1", 65, "bad", None, "/a/log")
PROGRESS = Progress(
    jobs=[Submitted("12", 0, [0, 1, 2, 3, 7], Need(1024, 60), 1.5, is_over=True)],
    done={0, 1, 2},
    tries={3: 2},
    needs={3: Need(2048, 60)},
    failures=[BAD],
    blamed={"n1": 1},
    exclude=["n1"],
    is_looked_through=True,
)


def test_a_file_of_before_is_read() -> None:
    assert of_json(Progress, OF_BEFORE) == PROGRESS


def test_it_comes_back_equal_and_its_indexes_are_ranges() -> None:
    PROGRESS.failed = {3: {BAD.cause: 1}}
    text = to_json(PROGRESS)
    assert of_json(Progress, text) == PROGRESS
    assert b'"indexes": "0-3,7"' in text and b'"done": "0-2"' in text
