"""Signs of life: when there are some, and what they leave of other output."""

from __future__ import annotations

import io
import threading

from magneton_tasks.base.signs import Signs


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def silent_for(signs: int, out: io.BytesIO, *, said: bytes = b"") -> str:
    """What is shown while nothing is said for as long as so many signs take."""
    enough = threading.Event()
    seen: list[float] = []

    def doing(seconds: float) -> str:
        seen.append(seconds)
        if len(seen) == signs:
            enough.set()
        return f"sign {len(seen)}"

    with Signs(doing, out, every_s=0.01) as at_work:
        if said:
            at_work.pass_on(said)
        assert enough.wait(60)
        at_work.say("done")
    assert seen == sorted(seen)
    return out.getvalue().decode()


def test_silence_is_filled_line_by_line() -> None:
    lines = silent_for(3, io.BytesIO()).splitlines()
    assert lines[:3] == ["sign 1", "sign 2", "sign 3"]
    assert "done" in lines


def test_on_a_terminal_a_sign_takes_the_place_of_the_one_before() -> None:
    shown = silent_for(2, Terminal())
    assert shown.startswith("\r\x1b[Ksign 1\r\x1b[Ksign 2")
    assert "\r\x1b[Kdone\n" in shown


def test_a_line_that_has_begun_stays() -> None:
    assert silent_for(1, io.BytesIO(), said=b"half a line").startswith("half a line\nsign 1\n")
    assert silent_for(1, Terminal(), said=b"half a line").startswith("half a line\n\r\x1b[Ksign 1")


def test_signs_that_cannot_look_come_all_the_same() -> None:
    out, looked = io.BytesIO(), threading.Event()

    def doing(seconds: float) -> str:
        looked.set()
        raise OSError("not mounted")

    with Signs(doing, out, every_s=0.01):
        assert looked.wait(60)
    assert out.getvalue().startswith(b"    0 s\n")
