"""What the worker image leaves out: the libraries in it are smaller, and do what they did."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def slim() -> ModuleType:
    """Not by its name, which is that of a package, too."""
    spec = importlib.util.spec_from_file_location("slim", ROOT / "docker" / "slim.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_library_without_symbols_is_smaller_and_works(slim: ModuleType, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("_brotli")
    assert spec is not None and spec.origin is not None
    whole = Path(spec.origin)
    data = slim.without_symbols(whole.read_bytes())
    assert len(data) < 0.5 * whole.stat().st_size
    assert slim.without_symbols(data) == data, "a second time changes nothing"
    (tmp_path / whole.name).write_bytes(data)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import _brotli; "
        "assert _brotli.__file__.startswith(sys.argv[1]); compressor = _brotli.Compressor(); "
        "data = compressor.process(b'x' * 999) + compressor.finish(); "
        "print(_brotli.decompress(data) == b'x' * 999)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr


def test_what_is_under_the_lgpl_stays_as_it_is(slim: ModuleType, tmp_path: Path) -> None:
    for name in (
        "fastremap/fastremap.so",
        "microviewer.so",
        "scipy.libs/libquadmath.so",
        "other/other.so",
        "other/lib.so.3",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {str(path.relative_to(tmp_path)) for path in slim.libraries(tmp_path)}
    assert found == {"other/other.so", "other/lib.so.3"}
    assert slim.without_symbols(b"no library") == b"no library"
