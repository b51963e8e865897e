"""Compiled code: which archive is whose, what a process takes from it, and that a run needs no more."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import shutil
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

from magneton_tasks.base.signs import Signs
from magneton_tasks.cli.warm import warming as command
from magneton_tasks.errors import EXIT_OK, EXIT_TEMPORARY
from magneton_tasks.kernels.compiled import archives as kernel_archives
from magneton_tasks.kernels.compiled import cache as kernel_cache
from magneton_tasks.runners import warming

ROOT = Path(__file__).resolve().parents[3]
#: What the test session has made (see conftest).
WARM = Path(kernel_archives.archive())

#: Relabels a voxel, then says what was compiled, and which directories of such processes there are.
RELABEL = """
import json, os, tempfile
import numpy as np
from magneton_tasks.kernels.compiled import cache as kernel_cache
kernel_cache.talks = True
from magneton_tasks.kernels.relabel import relabel_into
relabel_into(np.zeros((1, 1, 1), np.uint32), np.zeros((1, 1, 1), np.uint32), np.zeros(1, np.uint32))
here = [n for n in os.listdir(tempfile.gettempdir()) if n.startswith("magneton-kernels-")]
print(json.dumps([here, kernel_cache.compiled_here()]))
"""


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is compiled yet."""
    root = tmp_path / "archives"
    monkeypatch.setenv("MAGNETON_KERNEL_CACHE", str(root))
    return root


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Other sources: a.py compiles and uses b.py, which uses c.py; d.py compiles by itself."""
    folder = tmp_path / "kernels"
    for package in (*kernel_archives.PACKAGES, "kernels/compiled"):
        (tmp_path / package).mkdir(exist_ok=True)
    (folder / "a.py").write_text("from magneton_tasks.kernels.b import LIMIT\n@njit(cache=True)\n")
    (folder / "b.py").write_text("from magneton_tasks.kernels import (\n    c,\n)\nLIMIT = 1\n")
    (folder / "c.py").write_text("from magneton_tasks.kernels.a import nothing\n")  # a circle
    (folder / "d.py").write_text("@njit(cache=True)\n")
    (folder / "compiled" / "warm.py").write_text("")
    monkeypatch.setattr(kernel_archives, "_HERE", str(tmp_path))
    kernel_archives.module_digests.cache_clear()
    yield folder
    kernel_archives.module_digests.cache_clear()


def run(code: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **more},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )


def state_of(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in folder.iterdir())


def with_digests(source: Path, target: Path, changed: Callable[[str], bool]) -> None:
    """Copy an archive as if the sources of some modules had been other ones."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == kernel_cache.ABOUT:
                about = json.loads(data)
                for module in filter(changed, about["modules"]):
                    about["modules"][module] = "other"
                data = json.dumps(about).encode()
            new.writestr(name, data)


# ------------------------------------------------------------------ which archive
def test_the_root_is_chosen_by_our_variable_then_by_that_of_the_desktop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAGNETON_KERNEL_CACHE", "/there")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert kernel_archives.root() == "/there"
    monkeypatch.delenv("MAGNETON_KERNEL_CACHE")
    assert kernel_archives.root() == "/cache/magneton/kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert kernel_archives.root() == os.path.expanduser("~/.cache/magneton/kernels")


def test_another_cpu_has_another_archive_and_a_named_one_is_the_same_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    native = kernel_archives.archive()
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert kernel_archives.archive() != native
    assert kernel_archives.cpu() == [os.uname().machine, "generic", ""]
    monkeypatch.delenv("NUMBA_CPU_NAME")
    assert kernel_archives.archive() == native
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    assert kernel_archives.archive() != native


def test_a_module_is_another_when_what_it_imports_is(sources: Path) -> None:
    def digests() -> dict[str, str]:
        kernel_archives.module_digests.cache_clear()
        return kernel_archives.module_digests()

    before, archive = digests(), kernel_archives.archive()
    assert before.keys() == {"kernels/a", "kernels/d"}
    (sources / "c.py").write_text("WIDTH = 2\n")
    after = digests()
    assert before["kernels/a"] != after["kernels/a"]
    assert before["kernels/d"] == after["kernels/d"]
    assert kernel_archives.archive() != archive


def test_another_call_in_warm_makes_another_archive(sources: Path) -> None:
    before = kernel_archives.archive()
    (sources / "compiled" / "warm.py").write_text("more()\n")
    assert kernel_archives.archive() != before


def test_compiled_code_uses_names_of_its_own_packages_only() -> None:
    """Else a change elsewhere would go unnoticed, see `kernels.compiled.archives.module_digests`."""
    for package in kernel_archives.PACKAGES:
        for path in Path(kernel_archives.folder(package)).glob("*.py"):
            tree = ast.parse(path.read_text())
            foreign = {
                alias.asname or alias.name
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom)
                and (node.module or "").startswith("magneton_")
                and (node.module or "").split(".")[1:2]
                not in ([p] for p in kernel_archives.PACKAGES)
                and node.module != "magneton_tasks.kernels.compiled.jit"
                for alias in node.names
            }
            for function in ast.walk(tree):
                if isinstance(function, ast.FunctionDef) and "njit" in ast.dump(
                    ast.Module(function.decorator_list, [])  # type: ignore[arg-type]
                ):
                    body = ast.Module(function.body, [])
                    used = {n.id for n in ast.walk(body) if isinstance(n, ast.Name)}
                    assert not used & foreign, (path, function.name)


# ------------------------------------------------------------------ what a process does
def test_a_cold_process_says_so_compiles_for_itself_and_cleans_up(
    empty: Path, tmp_path: Path
) -> None:
    (tmp_path / "tmp").mkdir()
    done = run(RELABEL, TMPDIR=str(tmp_path / "tmp"))
    directories, compiled = json.loads(done.stdout)
    assert any(name.startswith("kernels/relabel._relabel-") for name in compiled)
    assert "`magneton warm`" in done.stderr and str(empty) in done.stderr
    assert len(directories) == 1
    assert os.listdir(tmp_path / "tmp") == []
    assert not empty.exists()


def test_a_warm_process_compiles_nothing_says_nothing_and_leaves_no_file_even_when_killed(
    tmp_path: Path,
) -> None:
    before = state_of(WARM.parent)
    done = run(RELABEL, TMPDIR=str(tmp_path))
    assert json.loads(done.stdout) == [[], []]
    assert done.stderr == ""
    assert state_of(WARM.parent) == before


def test_a_warm_process_needs_nothing_of_what_numba_compiles_with() -> None:
    """Its import takes as much CPU time as all of a small block."""
    done = run(f"{RELABEL}\nimport sys\nprint('numba.np.arraymath' in sys.modules)")
    assert done.stdout.splitlines()[-1] == "False"


def test_a_process_compiles_after_it_has_loaded_what_is_compiled() -> None:
    """numba is made ready to compile when it first has to, and links what was loaded before that."""
    done = run(f"""{RELABEL}
labels = np.asfortranarray(np.arange(8, dtype=np.uint32).reshape(2, 2, 2))
out = np.zeros((2, 2, 2), np.uint32)
relabel_into(out, labels, np.arange(0, 80, 10, dtype=np.uint32))
from magneton_tasks.kernels.byte_planes import measure
from magneton_tasks.kernels.compiled.jit import njit
loaded = measure(np.arange(3, 8))
@njit()
def links(values):
    return measure(values)
linked = links(np.arange(3, 8))
print((out == 10 * labels).all(), linked == loaded, len(kernel_cache.compiled_here()))
""")
    assert done.stdout.splitlines()[-1] == "True True 2"


def test_a_process_that_is_ready_hands_the_archive_on_to_those_that_it_forks(empty: Path) -> None:
    empty.mkdir()
    shutil.copy(WARM, empty)
    forked = f"""
import os, sys
from magneton_tasks.kernels.compiled import cache, jit
jit.get_ready()
os.unlink({str(empty / WARM.name)!r})
if child := os.fork():
    os.waitpid(child, 0)
    sys.exit()
{RELABEL}
print(cache._own().pid == os.getpid())
"""
    compiled, is_own = run(forked).stdout.splitlines()
    assert json.loads(compiled)[1] == []
    assert is_own == "True"  # a template is killed, and removes nothing


def test_what_a_warm_process_compiles_all_the_same_is_told_and_stays_out_of_the_archive() -> None:
    before = state_of(WARM.parent)
    fortran_order = RELABEL.replace("(1, 1, 1)", "(2, 2, 2)").replace(
        "np.uint32)", "np.uint32, 'F')"
    )
    done = run(fortran_order)
    assert "doesn't know of: relabel._relabel" in done.stderr
    assert state_of(WARM.parent) == before


def test_numba_that_was_imported_before_is_told() -> None:
    done = run("import numba\n" + RELABEL)
    assert json.loads(done.stdout)[1] == []


def test_an_older_archive_gives_what_is_still_valid(empty: Path) -> None:
    older = empty / f"{kernel_archives.environment()}-{'0' * 16}.zip"
    with_digests(WARM, older, lambda module: module == "kernels/relabel")
    done = run(RELABEL)
    compiled = json.loads(done.stdout)[1]
    assert {name.partition(".")[0] for name in compiled} == {"kernels/relabel"}
    assert (
        f"no compiled code of 1 of {len(kernel_archives.module_digests())} modules" in done.stderr
    )


def test_a_damaged_archive_is_told_and_not_used(
    empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty.mkdir()
    damaged = empty / WARM.name
    damaged.write_bytes(WARM.read_bytes()[:-1000])
    done = run(RELABEL)
    assert f"{damaged} can't be read" in done.stderr
    assert json.loads(done.stdout)[1]
    assert command.check() == EXIT_TEMPORARY


def test_code_that_is_damaged_within_an_archive_is_told_and_compiled(empty: Path) -> None:
    empty.mkdir()
    damaged = empty / WARM.name
    with zipfile.ZipFile(WARM) as packed:
        names = [name for name in packed.namelist() if name.startswith("kernels/relabel.")]
        places = [packed.getinfo(name).header_offset + 1000 for name in names]
    content = bytearray(WARM.read_bytes())
    for place in places:
        content[place] ^= 255
    damaged.write_bytes(content)
    done = run(RELABEL)
    assert f"{damaged} can't be read" in done.stderr
    (compiled,) = json.loads(done.stdout)[1]
    assert compiled in names
    assert command.check() == EXIT_TEMPORARY


def test_nothing_is_looked_for_where_numba_does_not_compile(empty: Path) -> None:
    done = run(RELABEL, NUMBA_DISABLE_JIT="1")
    assert json.loads(done.stdout)[1] == []


def test_directories_of_killed_processes_go_and_no_others(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    prefix = f"magneton-kernels-{os.uname().nodename}-"
    killed, alive = f"{prefix}{ended.pid}-abc", f"{prefix}{os.getpid()}-abc"
    elsewhere = f"magneton-kernels-elsewhere-{ended.pid}-abc"
    for name in (killed, alive, elsewhere, "theirs"):
        (tmp_path / name).mkdir()
    run(
        "from magneton_tasks.kernels.compiled import cache; cache.keep('a/b', b'')",
        TMPDIR=str(tmp_path),
    )
    assert sorted(os.listdir(tmp_path)) == sorted([alive, elsewhere, "theirs"])


def test_what_a_forked_child_compiles_serves_its_parent_which_removes_it(tmp_path: Path) -> None:
    code = """
import os, sys
from magneton_tasks.kernels.compiled import cache
assert cache.find("kernels/a.b") is None
if os.fork() == 0:
    cache.keep("kernels/a.b", b"code")
    sys.exit()
os.wait()
print(cache.find("kernels/a.b"), cache.compiled_here())
"""
    assert run(code, TMPDIR=str(tmp_path)).stdout == "b'code' ['kernels/a.b']\n"
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------ what is warm
def test_every_compiled_function_is_called_by_warm() -> None:
    with zipfile.ZipFile(WARM) as packed:
        known = {name.rpartition("-")[0] for name in packed.namelist()}
    for package in kernel_archives.PACKAGES:
        prefix = f"magneton_tasks.{package.replace('/', '.')}."
        for info in pkgutil.iter_modules([kernel_archives.folder(package)], prefix):
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if isinstance(value, Dispatcher) and value.__module__ == info.name:
                    file = f"{package}/{info.name.removeprefix(prefix)}"
                    is_inlined = value.targetoptions.get("inline") == "always"
                    assert is_inlined or f"{file}.{name}" in known


def test_a_run_of_either_method_compiles_nothing() -> None:
    exact = {
        "method": "exact",
        "segment": {"threshold": 0.5},
        "pool": {},
        "block": {"size": [20, 32, 32]},
    }
    done = run(f"""
import tempfile
from pathlib import Path
from magneton_tasks.kernels.compiled import cache as kernel_cache
from tests.helpers import volumes

with tempfile.TemporaryDirectory() as folder:
    for i, settings in enumerate([{{}}, {exact}]):
        volumes.run_pipeline(volumes.make_volume(Path(folder) / str(i), settings=settings))
print("compiled", kernel_cache.compiled_here())
""")
    assert done.stdout.splitlines()[-1] == "compiled []"


# ------------------------------------------------------------------ magneton warm
def test_warm_writes_one_file_that_nobody_changes(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_compile", lambda: None)
    assert command.check() == EXIT_TEMPORARY
    assert command.warm() == EXIT_OK
    (made,) = empty.iterdir()
    assert stat.S_IMODE(made.stat().st_mode) == 0o444
    assert command.check() == EXIT_OK
    before = state_of(empty)
    assert command.warm() == EXIT_OK
    assert state_of(empty) == before
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "cold:",
        "compiled",
        "warm:",
        "warm:",
    ]


def test_of_two_at_once_the_first_stays(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def other() -> None:
        shutil.copy(WARM, empty / WARM.name)

    monkeypatch.setattr(command, "_compile", other)
    assert command.warm() == EXIT_OK
    assert (empty / WARM.name).read_bytes() == WARM.read_bytes()
    assert [p.name for p in empty.iterdir()] == [WARM.name]


def test_the_newest_archives_of_this_cpu_are_kept(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_compile", lambda: None)
    empty.mkdir()
    names = [f"{kernel_archives.environment()}-{i:016}.zip" for i in range(6)]
    for age, name in enumerate([*names, f"{'f' * 16}-{0:016}.zip", "theirs"]):
        (empty / name).write_bytes(b"")
        os.utime(empty / name, (1000 - age, 1000 - age))
    command.warm()
    assert {p.name for p in empty.iterdir()} == {
        WARM.name,
        *names[: command.KEPT - 1],
        f"{'f' * 16}-{0:016}.zip",
        "theirs",
    }


def test_where_the_archive_cannot_be_written_is_told_before_anything_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "magneton_tasks", "warm"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "MAGNETON_KERNEL_CACHE": str(tmp_path / "file" / "archives")},
    )
    assert done.returncode == 74
    assert str(tmp_path / "file") in done.stderr


# ------------------------------------------------------------------ before workers start
@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gets a line for each command that would have been run, which says two lines, then ends as told."""
    called = tmp_path / "calls"
    called.touch()
    script = f'echo "$0" >> {called}; echo how far; echo what it says; exit ${{FAKE_CODE:-0}}'
    monkeypatch.setattr(warming, "PROGRAM", ("sh", "-c", script))
    return called


def test_nothing_is_run_where_all_is_warm(calls: Path) -> None:
    assert warming.ensure_warm(pytest.fail)
    assert calls.read_text() == ""


def test_a_cold_cache_is_warmed_by_a_process_of_its_own_and_its_progress_told(
    empty: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    assert warming.ensure_warm(said.append)
    assert calls.read_text() == "warm\n"
    assert f"up to {kernel_archives.COMPILE_S} CPU seconds" in said[0]
    assert said[1:] == ["how far", "what it says"]
    monkeypatch.setenv("FAKE_CODE", "74")
    assert not warming.ensure_warm(said.append)
    assert "each worker compiles" in said[-1]


def test_warm_says_how_far_it_is(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = threading.Event()

    class Quick(Signs):
        def __init__(self, doing: Callable[[float], str]) -> None:
            def noted(seconds: float) -> str:
                said.set()
                return doing(seconds)

            super().__init__(noted, every_s=0.01)

    def compile_two() -> None:
        kernel_cache.keep("kernels/made.one-0", b"")
        kernel_cache.keep("kernels/made.two-0", b"")
        for _ in range(2):  # the first may have begun before
            said.clear()
            assert said.wait(60)

    monkeypatch.setattr(kernel_cache, "known", lambda: kernel_archives.FUNCTIONS - 30)
    monkeypatch.setattr(command, "Signs", Quick)
    monkeypatch.setattr(command, "_compile", compile_two)
    assert command.warm() == EXIT_OK
    told = capsys.readouterr().out
    assert "compiled 2 of about 30 functions, " in told
    assert "compiled 2 functions in " in told.splitlines()[-1]


def test_as_many_functions_are_compiled_as_are_announced() -> None:
    found = kernel_cache.known()
    assert abs(found - kernel_archives.FUNCTIONS) < 25, f"set archives.FUNCTIONS to {found}"
