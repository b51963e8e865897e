"""Each runner is one entry: what there is, and that nobody else names a scheduler."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.runner_names import RUNNER_NAMES
from magneton_tasks.runners.registry import RUNNERS, Kind

ROOT = Path(__file__).resolve().parents[2] / "magneton_tasks"
#: Modules that may name Slurm in code, and why.
ALLOWED = {
    "runners/registry.py": "its entry",
    "config/slurm.py": "its section",
    "config/time_limit.py": "how its section writes a time limit",
    "config/model.py": "the section's place in the config",
    "config/runner_names.py": "its name",
    "work/paths.py": "folders are so called on disk",
    "clean/names.py": "folders are so called on disk",
    "config/menu_tool/old_config.py": "the menu tool's own keys",
    "config/menu_tool/old_keys.py": "the menu tool's own keys",
    "cli/menu/hpc.py": "texts, and lines of a config to copy",
    "cli/menu/segmentation.py": "texts",
    "cli/menu/stage.py": "the keys that the menu offers",
    "cli/run/commands.py": "texts of --help",
}
_SLURM = re.compile(r"slurm|sbatch|squeue|sacct|scancel|scontrol", re.IGNORECASE)


def test_names_and_entries_agree() -> None:
    assert set(RUNNERS) == set(RUNNER_NAMES)
    assert all(RUNNERS[name].name == name for name in RUNNER_NAMES)
    assert {name for name in RUNNERS if name in RunConfig.model_fields} == set(RUNNERS)
    for runner in RUNNERS.values():
        assert (runner.scheduler is not None) == (runner.kind is Kind.ARRAYS)


def names_in(tree: ast.AST) -> Iterator[str]:
    """Identifiers, imports and texts of a module, without its docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings:
                yield node.value
            continue
        for name in ("id", "attr", "name", "arg", "module", "asname"):
            value = getattr(node, name, None)
            if isinstance(value, str):
                yield value


def test_outside_its_folder_nobody_names_slurm() -> None:
    found = set()
    for path in ROOT.rglob("*.py"):
        inside = path.relative_to(ROOT).as_posix()
        if inside.startswith("runners/slurm/"):
            continue
        text = path.read_text()
        if _SLURM.search(text) and any(map(_SLURM.search, names_in(ast.parse(text)))):
            found.add(inside)
    assert found == set(ALLOWED)
