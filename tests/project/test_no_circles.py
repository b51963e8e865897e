"""No file imports itself, neither directly nor by way of others; imports inside functions count."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[2]


def module(path: Path) -> str:
    """``a.b`` of ``a/b.py`` and of ``a/b/__init__.py``."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.AST) -> Iterator[str]:
    """All that a file names in imports, wherever these stand: ``a.b`` and ``a.b.name``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def circles(root: Path) -> list[list[str]]:
    """Groups of files of a project that import each other."""
    trees = {
        module(path.relative_to(root)): ast.parse(path.read_text())
        for path in root.glob("magneton_tasks/**/*.py")
    }
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name, tree in trees.items():
        found = set(imported(tree)) & set(trees)
        # `from package import module` needs the module, not what the package's own file holds
        packages = {other for other in found if any(o.startswith(f"{other}.") for o in found)}
        graph.add_edges_from((name, other) for other in found - packages)
    loops = {name for name in graph if graph.has_edge(name, name)}
    groups = [g for g in nx.strongly_connected_components(graph) if len(g) > 1 or g & loops]
    return [sorted(group) for group in groups]


def test_no_file_imports_itself_by_way_of_others() -> None:
    assert circles(ROOT) == []


def test_a_circle_that_an_import_inside_a_function_hides_is_found(tmp_path: Path) -> None:
    package = tmp_path / "magneton_tasks" / "room"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from magneton_tasks.room import two\n")
    (package / "two.py").write_text(
        "def late() -> None:\n    from magneton_tasks.room.one import two\n"
    )
    assert circles(tmp_path) == [["magneton_tasks.room.one", "magneton_tasks.room.two"]]
