"""Options 1 to 6: a stage, on this machine and on a cluster."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from magneton_tasks.cli.menu import hpc
from magneton_tasks.cli.menu.stage import SEGMENT
from magneton_tasks.cli.menu.volumes import MenuVolume
from magneton_tasks.config.read import load_config
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.attempts import latest_attempt
from tests.cli.menu.terminal import GO_ON, OPTION, PARAMETER, START, Terminal, listing
from tests.helpers import volumes
from tests.helpers.volumes import Run

pytestmark = pytest.mark.usefixtures("warm")

Copy = Callable[..., Path]

#: the first row of the live table, once a block is done; the plan before it counts blocks too
SOME_DONE = r"Mvoxel/s.*segment +(\x1b\[[0-9;]*m *)*[1-9]"


def attempt_of(config: Path) -> Attempt:
    return Attempt.open(latest_attempt(config).root)


def made(config: Path, stage: str) -> int:
    """Blocks or cells that the latest attempt did."""
    attempt = attempt_of(config)
    return len(Run(attempt.plan, attempt, None).made(stage))  # type: ignore[arg-type]


# ------------------------------------------------------------------ local
def test_options_1_3_and_5_make_the_segmentation(copy_of: Copy, base: Run) -> None:
    config = copy_of()
    with Terminal(config.parent) as menu:
        menu.answer(OPTION, "3")
        shown = menu.answer(OPTION, "1")
        assert f"config  {config} (the global configuration)" in shown
        for option, row, after in (
            ("3", "segment", "Next: blocks merging, pools (option 3)"),
            ("5", "pool", "Next: blocks merging, apply (option 5)"),
            ("0", "apply", f"magneton view {config}"),
        ):
            shown = menu.answer(START, "s")
            for word in (
                "27 blocks",
                f"input     file://{Path(base.plan.config_path).parent}/affinity",
                "memory",
            ):
                assert word in shown
            shown = menu.answer(GO_ON, "")
            assert f"{row}  " in shown and "verify" in shown
            assert "Mvoxel/s" in shown and "largest worker" in shown
            assert after in shown
            menu.answer(OPTION, option)
        menu.answer(OPTION, "0")
        assert menu.ends() == 0
    output = load_config(config).paths.output
    assert np.array_equal(volumes.read_segmentation(output), volumes.read_segmentation(base))
    assert not (config.parent / "work" / "lease").exists()


def test_option_r_does_all_that_is_left(copy_of: Copy, base: Run) -> None:
    config = copy_of("segment", "count", "pool")
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "r"))
        shown = menu.answer("1 or 2 [1]: ", "")
        cells = len(base.plan.geometry.cells)
        assert "parts done already" in shown
        assert "segment   nothing to do" in shown and f"apply     {cells} of {cells} in" in shown
        menu.answer(START, "")
        shown = menu.answer(GO_ON, "")
        assert "verified      complete" in shown and "option v" in shown
        menu.answers((OPTION, "0"), (OPTION, "0"))
        assert menu.ends() == 0
    assert made(config, "segment") == 0
    output = load_config(config).paths.output
    assert np.array_equal(volumes.read_segmentation(output), volumes.read_segmentation(base))


def test_a_step_that_lacks_the_one_before_is_refused_and_the_menu_goes_on(copy_of: Copy) -> None:
    config = copy_of()
    before = listing(config.parent)
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "5"))
        shown = menu.answer("Change parameters? (y/n) [n]: ", "n")
        assert "apply needs segment, which isn't complete (27 to do)" in shown
        assert "1 or 2, then 3 or 4, then 5 or 6" in shown
        menu.answers((GO_ON, ""), (OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0
    assert listing(config.parent) == before


def test_what_is_done_is_resumed_or_restarted(copy_of: Copy) -> None:
    config = copy_of("segment")
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "1"))
        shown = menu.answer("1 or 2 [1]: ", "7")
        assert "27 of 27 blocks done already" in shown
        assert "'7' is no option; choose 1, 2, or q to leave" in menu.answer("1 or 2 [1]: ", "")
        menu.answer(START, "")
        assert "nothing to do; verifying" in menu.answer(GO_ON, "")
        assert made(config, "segment") == 0
        menu.answers((OPTION, "1"), ("1 or 2 [1]: ", "2"), (START, ""))
        assert "segment   27 of 27" in menu.answer(GO_ON, "")
        assert made(config, "segment") == 27
        menu.answers((OPTION, "0"), (OPTION, "0"))
        assert menu.ends() == 0


def test_an_error_of_plan_is_shown_and_can_be_mended_with_parameters(copy_of: Copy) -> None:
    config = copy_of(settings={"block.overlap": [0, 0, 0]})
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "1"))
        shown = menu.answer("Change parameters? (y/n) [n]: ", "y")
        assert "error: block.overlap is 0 along z, but 2 blocks lie side by side" in shown
        menu.answers((PARAMETER, "block.overlap"), ("keeps it [", "4 8 8"), (PARAMETER, ""))
        menu.answer("(y/n) [n]: ", "n")
        assert "segment   27 of 27" in menu.answer(START, "q")
        menu.answers((GO_ON, ""), (OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0


def test_a_stage_that_fails_says_why_and_the_menu_goes_on(tmp_path: Path) -> None:
    affinity = volumes.affinities(volumes.cells((20, 40, 200), n=30)).astype(np.float32) / 255
    affinity[1, 5, 6, 180] = np.nan  # plan samples 5 to 151
    blocks = {"block.size": [20, 40, 60], "block.overlap": [0, 0, 16], "local": {}}
    config = volumes.make_volume(tmp_path, affinity, blocks)
    with Terminal(tmp_path) as menu:
        menu.answers((OPTION, "3"), (OPTION, "1"), (START, "s"))
        shown = menu.answer(GO_ON, "")
        assert "segment 4: block 4: affinity nan" in shown
        assert "what to do: check input.scale" in shown
        assert "finished work stays: choose option 1 again" in shown
        assert f"report: {attempt_of(config).paths.page}" in shown
        menu.answer(OPTION, "1")
        assert "4 of 5 blocks done already" in menu.answer("1 or 2 [1]: ", "q")
        menu.answers((GO_ON, ""), (OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0


def test_another_method_is_a_parameter_and_its_rounds_belong_to_the_pools(copy_of: Copy) -> None:
    config = copy_of()
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "1"), (START, "p"), (PARAMETER, "method"))
        menu.answer("keeps it [overlap]: ", "exact")
        shown = menu.answer(PARAMETER, "")
        for line in ("method: overlap -> exact", "exact.advanced.s_min: (not read) -> 50"):
            assert line in shown
        assert f"saved in {config}" in (menu.answer("(y/n) [n]: ", "y") + menu.answer(START, "s"))
        menu.answers((GO_ON, ""), (OPTION, "3"))
        shown = menu.answer(START, "p")
        for line in ("faces     8 of 8 in 1 batch", "rounds    not known yet: their groups"):
            assert line in shown
        assert "segment   threshold" in menu.answer(PARAMETER, "").replace("│", " ")
        menu.answer(START, "s")
        shown = menu.answer(GO_ON, "")
        assert all(f"{stage}  " in shown for stage in ("faces", "round0", "pool", "cut"))
        menu.answers((OPTION, "5"), (START, "s"), (GO_ON, ""), (OPTION, "7"))
        assert "round0  " in menu.answer(GO_ON, "")
        menu.answers((OPTION, "0"), (OPTION, "0"))
        assert menu.ends() == 0
    text = config.read_text()
    assert "method: exact" in text and "  # merge_function: mean" in text
    run = volumes.plan_run(config, run="again")
    volumes.release(run)
    assert run.plan.nothing_to_do and made(config, "cut") == 0


# ------------------------------------------------------------------ parameters
def test_a_change_is_for_this_run_unless_it_is_saved(copy_of: Copy) -> None:
    config = copy_of("segment", "count")
    text = config.read_text()
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "3"), ("1 or 2 [1]: ", ""), (START, "p"))
        shown = menu.answer(PARAMETER, "min_frac")
        for word in ("section", "parameter", "value", "meaning", "min_overlap_vox", "min_size_vox"):
            assert word in shown
        assert "merge_function" not in shown  # decides the blocks: not of this step
        # a wrong value: told, asked again; the old one stays
        menu.answer("keeps it [0.5]: ", "1.5")
        shown = menu.answer("keeps it [0.5]: ", "0.6")
        assert "less than or equal to 1" in shown
        assert "pool.min_frac: 0.5 -> 0.6" in menu.answer(PARAMETER, "")
        menu.answer("(y/n) [n]: ", "n")
        shown = menu.answer("1 or 2 [1]: ", "")
        assert "The changes apply to this run only" in shown
        menu.answer(START, "s")
        menu.answer(GO_ON, "")
        assert attempt_of(config).config.pool.min_frac == 0.6
        assert config.read_text() == text
        # the next time the file's value is back; now it is saved
        menu.answers((OPTION, "3"), ("1 or 2 [1]: ", ""), (START, "p"), (PARAMETER, "min_frac"))
        menu.answers(("keeps it [0.5]: ", "0.7"), (PARAMETER, ""), ("(y/n) [n]: ", "y"))
        assert f"saved in {config}" in menu.answer("1 or 2 [1]: ", "q")
        menu.answers((GO_ON, ""), (OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0
    assert load_config(config).pool.min_frac == 0.7


def test_an_empty_threshold_is_typed_as_null(copy_of: Copy) -> None:
    config = copy_of()
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "1"), (START, "p"), (PARAMETER, "threshold"))
        shown = menu.answer("keeps it [0.5]: ", "null")
        assert "null: from the map itself (exact), 0.7 (overlap)" in shown
        assert "segment.threshold: 0.5 -> null" in menu.answer(PARAMETER, "")
        menu.answer("(y/n) [n]: ", "n")
        assert "threshold 0.7, from the config" in menu.answer(START, "q")
        menu.answers((GO_ON, ""), (OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0


def test_q_at_every_question_leaves_without_harm(copy_of: Copy) -> None:
    config = copy_of("segment")
    before = listing(config.parent)
    to_start = ((OPTION, "1"), ("1 or 2 [1]: ", "1"))
    questions: tuple[tuple[tuple[str, str], ...], ...] = (
        ((OPTION, "1"), ("1 or 2 [1]: ", "q")),
        (*to_start, (START, "q")),
        (*to_start, (START, "p"), (PARAMETER, "q")),
        (*to_start, (START, "p"), (PARAMETER, "threshold"), ("keeps it [0.5]: ", "q")),
        (*to_start, (START, "p"), (PARAMETER, "threshold"), ("keeps it [0.5]: ", "0.6"),
         (PARAMETER, ""), ("(y/n) [n]: ", "q")),
        ((OPTION, "5"), ("Change parameters? (y/n) [n]: ", "q")),
        ((OPTION, "8"), ("what [stale]: ", "q")),
    )  # fmt: skip
    with Terminal(config.parent) as menu:
        menu.answer(OPTION, "3")
        for question in questions:
            menu.answers(*question)
            assert "left; nothing was changed" in menu.answer(GO_ON, "")
        menu.answers((OPTION, "c"), ("path of a volume config", "q"))  # to the main menu
        menu.answers((OPTION, "3"), (OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0
    assert listing(config.parent) == before


# ------------------------------------------------------------------ Ctrl-C
def test_ctrl_c_stops_cleanly_and_resuming_gives_the_undisturbed_result(
    copy_of: Copy, base: Run
) -> None:
    config = copy_of(settings={"local.workers": 1})  # two are done sooner
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "1"), (START, "s"))
        records = config.parent / "work"
        while not any('"done"' in p.read_text() for p in records.glob("segment-*/records/*.jsonl")):
            menu.read_on(0.005)  # the table shows it later, and all may be done by then
        held = []
        for pid in workers_of(config.parent):
            with suppress(psutil.NoSuchProcess):  # a block's child, which has ended
                held.append(psutil.Process(pid))
                held[-1].suspend()  # a busy machine hands Ctrl-C on late
        menu.interrupt()
        while not all(is_asked_to_end(worker) for worker in held):
            menu.read_on(0.005)
        for worker in held:
            with suppress(psutil.NoSuchProcess):
                worker.resume()
        shown = menu.answer(GO_ON, "")
        assert "stopped; finished work stays" in shown
        assert "choose option 1 again, and resume" in shown
        assert workers_of(config.parent) == {}
        assert not (config.parent / "work" / "lease").exists()
        done = made(config, "segment")
        assert 0 < done < 27
        menu.answer(OPTION, "1")
        assert f"{done} of 27 blocks done already" in menu.answer("1 or 2 [1]: ", "1")
        menu.answers((START, "s"), (GO_ON, ""))
        assert made(config, "segment") == 27 - done
        for option in ("3", "5"):
            menu.answers((OPTION, option), (START, "s"), (GO_ON, ""))
        menu.answers((OPTION, "0"), (OPTION, "0"))
        assert menu.ends() == 0
    output = load_config(config).paths.output
    assert np.array_equal(volumes.read_segmentation(output), volumes.read_segmentation(base))


def workers_of(folder: Path) -> dict[int, str]:
    """Command lines of processes that work in a folder, by process id."""
    lines = {p.pid: " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])}
    return {pid: line for pid, line in lines.items() if f"--run {folder}" in line}


def is_asked_to_end(process: psutil.Process) -> bool:
    """Whether SIGTERM waits for a stopped process, or it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{process.pid}/status").read_text()
        pending = re.search(r"^ShdPnd:\t(\w+)$", status, re.MULTILINE)
        return pending is not None and bool(int(pending[1], 16) >> (signal.SIGTERM - 1) & 1)
    return True


@pytest.mark.parametrize("no_color", ["", "1"])
def test_magneton_run_shows_the_live_table_and_ctrl_c_ends_with_130(
    no_color: str, copy_of: Copy
) -> None:
    config = copy_of()
    with Terminal(config.parent, "run", "volume.yaml", env={"NO_COLOR": no_color}) as run:
        run.until_match(SOME_DONE)
        run.interrupt()
        assert run.ends() == 130
        assert "finished work stays: run the same command to continue" in run.shown
        assert "Traceback" not in run.shown
        coloured = any(f"\x1b[{c}m" in run.raw for c in ("31", "32"))
        assert not (no_color and coloured)
    assert workers_of(config.parent) == {}
    assert not (config.parent / "work" / "lease").exists()


# ------------------------------------------------------------------ HPC
def test_options_2_4_and_6_say_what_is_missing_and_what_works(copy_of: Copy) -> None:
    config = copy_of("segment", "count", "pool")
    programs = config.parent / "programs"
    programs.mkdir()
    (programs / "sbatch").touch(mode=0o755)
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"))
        for option, choice in (("2", "segment"), ("4", "pool"), ("6", "apply")):
            menu.answer(OPTION, option)
            shown = menu.answer(GO_ON, "")
            assert f"runner.offered in {config} is [local], without slurm" in shown
            assert "runner: {offered: [local, slurm], default: slurm}" in shown
            line = next(s for s in shown.splitlines() if s.strip().startswith("sbatch --nodes"))
            assert f"--wrap 'magneton run {config} --stages {choice} --workers 16'" in line
        menu.answers((OPTION, "q"), (OPTION, "q"))
        menu.ends()
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    with Terminal(config.parent, env={"PATH": path}) as menu:
        assert "Slurm: sbatch is on the PATH" in menu.answer(OPTION, "3")
        menu.answer(OPTION, "2")
        assert "not on the PATH" not in menu.answer(GO_ON, "")
        menu.answers((OPTION, "q"), (OPTION, "q"))
        menu.ends()


def test_nothing_is_missing_once_the_config_offers_slurm(
    copy_of: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(copy_of())
    path = Path("volume.yaml")
    offers = config.runner.model_copy(update={"offered": ("local", "slurm")})
    offering = config.model_copy(update={"runner": offers})
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert list(hpc.missing(offering, path)) == []
    assert list(hpc.missing(config, path)) == [
        "runner.offered in volume.yaml is [local], without slurm"
    ]
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "sbatch" in next(hpc.missing(offering, path))
    elsewhere = offering.slurm.model_copy(update={"host": "login.example.org"})
    assert list(hpc.missing(offering.model_copy(update={"slurm": elsewhere}), path)) == []


def test_the_example_of_an_allocation_is_quoted_for_a_shell(tmp_path: Path) -> None:
    path = tmp_path / "it's a volume.yaml"
    line = hpc.allocation(MenuVolume(path, None, None, "day 1"), SEGMENT, None)
    *_, wrapped = shlex.split(line)
    assert shlex.split(wrapped) == [
        "magneton",
        "run",
        str(path),
        "--stages",
        "segment",
        "--workers",
        "16",
        "--partition",
        "day 1",
    ]
