"""Changes one value in a YAML text and leaves every other character where it is.

PyYAML says where each value begins and ends; only these characters are replaced. So comments,
blank lines, columns, quotes, flow style and line ends stay as their author left them, which a
round trip through a loader and a dumper doesn't give. What is written comes from PyYAML's own
dumper, so that the reader of configs (PyYAML, YAML 1.1) reads the very value back: ``on`` and
``010`` as strings get quotes, ``1e-7`` gets its dot. The caller verifies by reading (`edit_file`).

Lines that a change takes away are commented out rather than deleted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml

from magneton_tasks.config import edit_nodes as nodes
from magneton_tasks.config.edit_nodes import Path

_PROPERTIES = re.compile(r"(?:[&!]\S*[ \t]*)+")  # an anchor, a tag


class UnsupportedLayoutError(Exception):
    """The place of a value is written in a way that isn't changed here."""


class Edit(NamedTuple):
    """Characters ``start`` to ``end`` become ``new``."""

    start: int
    end: int
    new: str


# ---------------------------------------------------------------------------- public


def set_value(text: str, path: Path, value: object) -> str:
    """The text with ``value`` at ``path``; the value or its sections are added where missing.

    Raises
    ------
    UnsupportedLayoutError
        An alias or a plain value stands where a section should.
    yaml.YAMLError
        The text isn't YAML.
    """
    value = nodes.plain(value)
    if nodes.same(nodes.data(text, path), value):
        return text
    node = nodes.compose(text)
    if node is None:
        newline = nodes.newline(text)
        return _joined(text, _block_lines(path, value, "", "  ", newline), newline)
    in_flow = False
    for depth, name in enumerate(path):
        if not isinstance(node, yaml.CollectionNode):
            raise UnsupportedLayoutError(f"{_dotted(path[:depth])} is no section of its own")
        in_flow = in_flow or bool(node.flow_style)
        found = nodes.child(node, name)
        rest = path[depth + 1 :]
        if found is None:
            return _insert(text, node, path[depth:], value, in_flow)
        key, node = found
        if rest and nodes.is_null(node) and not isinstance(name, int):
            return _fill_section(text, key, node, rest, value, in_flow)
    return _replace(text, path, key, node, value, in_flow)


def drop(text: str, path: Path) -> str:
    """The text without a key or section: commented out in block style, removed in flow style.

    A section in block style whose last key goes, goes with it: it would be null.
    """
    key, node = None, nodes.compose(text)
    mapping = node
    for name in path:
        mapping, found = node, nodes.child(node, name)
        if found is None:
            return text
        key, node = found
    if len(path) > 1 and len(mapping.value) == 1 and not mapping.flow_style:
        return drop(text, path[:-1])
    assert key is not None
    start, end = key.start_mark.index, nodes.end_of(text, node)
    aliases = _expanded_aliases(text, start, end)
    if mapping.flow_style:
        return _apply(
            text,
            [
                *aliases,
                *_without_entry(text, mapping, start, end),
                *_rescued(text, key, start, end),
            ],
        )
    return _apply(text, [*aliases, *_commented(text, start, end, key.start_mark.column)])


def rename(text: str, path: Path, new: Path) -> str:
    """The text with a key or section under another name; in another section where ``new`` says so."""
    node, key = nodes.compose(text), None
    for name in path:
        found = nodes.child(node, name)
        if found is None:  # by a merge
            raise UnsupportedLayoutError(f"{_dotted(path)} is no key of its own")
        key, node = found
    assert key is not None
    if path[:-1] == new[:-1]:
        return _apply(text, [Edit(key.start_mark.index, key.end_mark.index, str(new[-1]))])
    return set_value(drop(text, path), new, nodes.data(text, path))


# ---------------------------------------------------------------------------- adding


def _insert(text: str, node: Any, path: Path, value: Any, in_flow: bool) -> str:
    """Add ``path`` below a mapping that doesn't have it."""
    if not isinstance(node, yaml.MappingNode):
        raise UnsupportedLayoutError(f"{path[0]} can't be added to a list")
    if in_flow:
        entry = f"{path[0]}: {nodes.dump(_nested(path[1:], value), in_flow=True)}"
        if not node.value:
            at = text.index("{", node.start_mark.index) + 1
            return _apply(text, [Edit(at, at, entry)])
        at = nodes.end_of(text, node.value[-1][1])
        return _apply(text, [Edit(at, at, f", {entry}")])
    newline = nodes.newline(text)
    indent = " " * node.value[0][0].start_mark.column
    lines = _block_lines(path, value, indent, _indent_step(node), newline)
    if indent:
        at = _behind_comments(text, nodes.line_end(text, nodes.end_of(text, node)))
    else:  # a section of its own, at the end of the file
        at = node.end_mark.index
        if re.search(r"\n\r?\n", text[:at]) and not text[:at].endswith(newline * 2):
            lines = newline + lines if text[:at].endswith("\n") else newline * 2 + lines
    return _joined(text[:at], lines, newline) + text[at:]


def _fill_section(text: str, key: Any, node: Any, rest: Path, value: Any, in_flow: bool) -> str:
    """Put the first key into a section that is null."""
    start, end = node.start_mark.index, nodes.end_of(text, node)
    if in_flow or start != end:
        return _apply(
            text, [_put(text, key, start, end, nodes.dump(_nested(rest, value), in_flow=True))]
        )
    at = nodes.line_end(text, key.end_mark.index)
    indent = " " * (key.start_mark.column + 2)
    lines = _block_lines(rest, value, indent, "  ", nodes.newline(text))
    return _joined(text[:at], lines, nodes.newline(text)) + text[at:]


def _block_lines(path: Path, value: Any, indent: str, step: str, newline: str) -> str:
    names = [f"{indent}{step * depth}{name}:" for depth, name in enumerate(path)]
    return newline.join(names) + f" {nodes.dump(value, in_flow=False)}{newline}"


def _joined(before: str, lines: str, newline: str) -> str:
    return before + ("" if not before or before.endswith("\n") else newline) + lines


def _indent_step(root: Any) -> str:
    """The indentation of the first section in block style; two spaces where there is none."""
    for _, node in root.value:
        if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
            step: int = node.value[0][0].start_mark.column - root.start_mark.column
            return " " * max(step, 1)
    return "  "


def _behind_comments(text: str, at: int) -> int:
    """Behind indented comment lines that go on what stands above."""
    while match := re.compile(r"[ \t]+#.*(?:\n|\Z)").match(text, at):
        at = match.end()
    return at


def _nested(path: Path, value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


# ---------------------------------------------------------------------------- replacing


def _replace(text: str, path: Path, key: Any, node: Any, value: Any, in_flow: bool) -> str:
    start, end = node.start_mark.index, nodes.end_of(text, node)
    edits = _expanded_aliases(text, start, end)
    is_list = isinstance(node, yaml.SequenceNode) and isinstance(value, list)
    if is_list and len(node.value) == len(value):
        text = _apply(text, edits)
        for i, element in enumerate(value):  # one by one: comments between them stay
            text = set_value(text, (*path, i), element)
        return text
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        edits += _instead_of_block(text, key, node, nodes.dump(value, in_flow))
    else:
        style = node.style if isinstance(node, yaml.ScalarNode) else None
        edits += _rescued(text, key or node, start, end)
        edits.append(_put(text, key, start, end, nodes.dump(value, in_flow, style)))
    return _apply(text, edits)


def _put(text: str, key: Any, start: int, end: int, new: str) -> Edit:
    """Replace a value that stands behind its key on the line (or is empty)."""
    if start == end and key is not None:
        between = text[key.end_mark.index : start]
        if ":" not in between:  # {key}
            new = f": {new}"
        elif not between[-1].isspace():
            new = f" {new}"
    return Edit(start, end, new)


def _instead_of_block(text: str, key: Any, node: Any, new: str) -> list[Edit]:
    """Put ``new`` behind the key's colon, and comment out the block below it."""
    if key is None:
        raise UnsupportedLayoutError("a list in a list")
    first = node.value[0][0] if isinstance(node, yaml.MappingNode) else node.value[0]
    start = node.start_mark.index
    properties = _PROPERTIES.match(text, start)
    colon = text.index(":", key.end_mark.index) + 1
    edits = [Edit(colon, colon, f" {new}")]
    if properties:
        edits.append(Edit(start, properties.end(), ""))
    lines = _commented(
        text, first.start_mark.index, nodes.end_of(text, node), first.start_mark.column
    )
    return edits + lines


def _commented(text: str, start: int, end: int, column: int) -> list[Edit]:
    """Comment out the lines of ``start`` to ``end``."""
    edits = []
    at = nodes.line_start(text, start)
    while at < end:
        following = nodes.line_end(text, at)
        line = text[at:following]
        indent = len(line) - len(line.lstrip())
        if line.strip() and not line.lstrip().startswith("#"):
            place = at + min(indent, column)
            edits.append(Edit(place, place, "# "))
        at = following
    return edits


def _without_entry(text: str, mapping: Any, start: int, end: int) -> list[Edit]:
    """Remove an entry of a flow mapping, and one comma of it."""
    begin = mapping.start_mark.index
    commas = [t.start_mark.index for t in yaml.scan(text) if isinstance(t, yaml.FlowEntryToken)]
    behind = next((c for c in commas if c >= end and not text[end:c].strip()), None)
    if behind is not None:
        spaces = len(text[behind + 1 :]) - len(text[behind + 1 :].lstrip(" \t"))
        return [Edit(start, behind + 1 + spaces, "")]
    before = max((c for c in commas if begin < c < start), default=None)
    if before is None:
        return [Edit(start, end, "")]
    if not text[before + 1 : start].strip(" \t"):
        return [Edit(before, end, "")]
    return [Edit(before, before + 1, ""), Edit(start, end, "")]


def _rescued(text: str, key: Any, start: int, end: int) -> list[Edit]:
    """Put the comments inside a value that goes away on lines above it."""
    comments = [text[a:b] for a, b in nodes.comments(text) if start <= a < end]
    if not comments:
        return []
    at = nodes.line_start(text, key.start_mark.index)
    indent = " " * key.start_mark.column
    newline = nodes.newline(text)
    return [Edit(at, at, "".join(f"{indent}{c.rstrip()}{newline}" for c in comments))]


def _expanded_aliases(text: str, start: int, end: int) -> list[Edit]:
    """Write out the aliases of what stands between ``start`` and ``end``: they keep their value."""
    edits = []
    entries = list(nodes.entries(nodes.compose(text)))
    paths = {id(node): path for path, _, node in entries}
    for _, _, node in entries:
        if isinstance(node, nodes.Alias) and start <= node.value.start_mark.index < end:
            at = node.start_mark.index
            if not start <= at < end:
                value = nodes.dump(nodes.data(text, paths[id(node.value)]), in_flow=True)
                edits.append(Edit(at, node.end_mark.index, value))
    return edits


def _apply(text: str, edits: Sequence[Edit]) -> str:
    for edit in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
        text = text[: edit.start] + edit.new + text[edit.end :]
    return text


def _dotted(path: Path) -> str:
    return ".".join(map(str, path)) or "the file"
