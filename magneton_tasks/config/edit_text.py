"""Changes one value in a YAML text and leaves every other character where it is.

ruamel.yaml says where each value begins and ends; only these characters are replaced, by a text of
PyYAML, which reads configs (YAML 1.1: ``on`` as a text needs quotes). A round trip of the whole
text through ruamel.yaml would set indentation and columns anew, and lose comments inside braces.

Lines that a change takes away are commented out rather than deleted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import AliasToken, FlowEntryToken

from magneton_tasks.config import edit_places as places
from magneton_tasks.config.edit_places import Found, Place
from magneton_tasks.config.template import one_line

_PROPERTIES = re.compile(r"(?:[&!]\S*[ \t]*)+")  # an anchor, a tag


class UnsupportedLayoutError(Exception):
    """The place of a value is written in a way that isn't changed here."""


class Edit(NamedTuple):
    """Characters ``start`` to ``end`` become ``new``."""

    start: int
    end: int
    new: str


def set_value(text: str, place: Place, value: object) -> str:
    """The text with a value at a place; the value or its sections are added where missing.

    Raises
    ------
    UnsupportedLayoutError
        An alias or a plain value stands where a section should.
    ruamel.yaml.error.YAMLError
        The text isn't YAML.
    """
    if places.same(places.data(text, place), value):
        return text
    found = places.root(text)
    if found is None:
        return _joined(
            text, _block_lines(place, value, "", "  ", places.newline(text)), places.newline(text)
        )
    in_flow = False
    for depth, name in enumerate(place):
        node, rest = found.node, place[depth + 1 :]
        if not isinstance(node, CollectionNode) or found.is_alias:
            raise UnsupportedLayoutError(f"{places.dotted(place[:depth])} is no section of its own")
        in_flow = in_flow or bool(node.flow_style)
        inner = places.child(text, node, name)
        if inner is None:
            return _insert(text, found, place[depth:], value, in_flow)
        if rest and places.is_null(inner.node):
            return _fill_section(text, inner, rest, value, in_flow)
        found = inner
    return _replace(text, place, found, value, in_flow)


def drop(text: str, place: Place) -> str:
    """The text without a key or section: commented out in block style, removed in flow style.

    A section in block style whose last key goes, goes with it: it would be null.
    """
    found = places.path_to(text, place)
    if found is None:
        return text
    mapping, one = found
    if len(place) > 1 and len(mapping.value) == 1 and not mapping.flow_style:
        return drop(text, place[:-1])
    assert one.key is not None
    start = one.key.start_mark.index
    edits = _expanded_aliases(text, start, one.end)
    if mapping.flow_style:
        edits += [*_without_entry(text, mapping, start, one.end), *_rescued(text, start, one)]
    else:
        edits += _commented(text, start, one.end, one.key.start_mark.column)
    return _apply(text, edits)


def rename(text: str, place: Place, new: Place) -> str:
    """The text with a key or section under another name; in another section where ``new`` says so."""
    found = places.path_to(text, place)
    if found is None or found[1].key is None:  # by a merge
        raise UnsupportedLayoutError(f"{places.dotted(place)} is no key of its own")
    key = found[1].key
    if place[:-1] == new[:-1]:
        return _apply(text, [Edit(key.start_mark.index, key.end_mark.index, str(new[-1]))])
    return set_value(drop(text, place), new, places.data(text, place))


# ---------------------------------------------------------------------------- adding


def _insert(text: str, section: Found, place: Place, value: object, in_flow: bool) -> str:
    """Add what is missing below a mapping."""
    node = section.node
    if not isinstance(node, MappingNode):
        raise UnsupportedLayoutError(f"{place[0]} can't be added to a list")
    last = places.child(text, node, node.value[-1][0].value) if node.value else None
    if in_flow:
        entry = f"{place[0]}: {places.flow(_nested(place[1:], value))}"
        at = text.index("{", section.start) + 1 if last is None else last.end
        return _apply(text, [Edit(at, at, entry if last is None else f", {entry}")])
    assert last is not None
    newline = places.newline(text)
    indent = " " * node.value[0][0].start_mark.column
    lines = _block_lines(place, value, indent, _indent_step(node), newline)
    at = _behind_comments(text, places.line_end(text, last.end))
    if not indent:  # a section of its own, at the end of the file
        at = node.end_mark.index
        if re.search(r"\n\r?\n", text[:at]) and not text[:at].endswith(newline * 2):
            lines = newline + lines if text[:at].endswith("\n") else newline * 2 + lines
    return _joined(text[:at], lines, newline) + text[at:]


def _fill_section(text: str, section: Found, rest: Place, value: object, in_flow: bool) -> str:
    """Put the first key into a section that is null."""
    if in_flow or section.start != section.end:
        return _apply(text, [_put(text, section, places.flow(_nested(rest, value)))])
    assert section.key is not None
    at = places.line_end(text, section.key.end_mark.index)
    indent = " " * (section.key.start_mark.column + 2)
    lines = _block_lines(rest, value, indent, "  ", places.newline(text))
    return _joined(text[:at], lines, places.newline(text)) + text[at:]


def _block_lines(place: Place, value: object, indent: str, step: str, newline: str) -> str:
    names = [f"{indent}{step * depth}{name}:" for depth, name in enumerate(place)]
    return newline.join([*names[:-1], f"{names[-1]} {one_line(value)}"]) + newline


def _joined(before: str, lines: str, newline: str) -> str:
    return before + ("" if not before or before.endswith("\n") else newline) + lines


def _indent_step(root: MappingNode) -> str:
    """The indentation of the first section in block style; two spaces where there is none."""
    for _, node in root.value:
        if isinstance(node, MappingNode) and not node.flow_style and node.value:
            step: int = node.value[0][0].start_mark.column - root.start_mark.column
            return " " * max(step, 1)
    return "  "


def _behind_comments(text: str, at: int) -> int:
    """Behind indented comment lines that go on what stands above."""
    while match := re.compile(r"[ \t]+#.*(?:\n|\Z)").match(text, at):
        at = match.end()
    return at


def _nested(place: Place, value: object) -> object:
    for name in reversed(place):
        value = {name: value}
    return value


# ---------------------------------------------------------------------------- replacing


def _replace(text: str, place: Place, found: Found, value: object, in_flow: bool) -> str:
    node = found.node
    edits = _expanded_aliases(text, found.start, found.end)
    is_list = isinstance(node, SequenceNode) and not found.is_alias
    if is_list and isinstance(value, list) and len(node.value) == len(value):
        text = _apply(text, edits)
        for i, element in enumerate(value):  # one by one: comments between them stay
            text = set_value(text, (*place, i), element)
        return text
    if places.is_block(found):
        return _apply(text, edits + _instead_of_block(text, found, one_line(value)))
    style = node.style if isinstance(node, ScalarNode) else None
    new = places.flow(value, style) if in_flow else one_line(value, style)
    edits += _rescued(text, (found.key or node).start_mark.index, found)
    return _apply(text, [*edits, _put(text, found, new)])


def _put(text: str, found: Found, new: str) -> Edit:
    """Replace a value that stands behind its key on the line (or is empty)."""
    if found.start == found.end and found.key is not None:
        between = text[found.key.end_mark.index : found.start]
        if ":" not in between:  # {key}
            new = f": {new}"
        elif not between[-1].isspace():
            new = f" {new}"
    return Edit(found.start, found.end, new)


def _instead_of_block(text: str, found: Found, new: str) -> list[Edit]:
    """Put ``new`` behind the key's colon, and comment out the block below it."""
    node = found.node
    if found.key is None:
        raise UnsupportedLayoutError("a list in a list")
    first: Node = node.value[0][0] if isinstance(node, MappingNode) else node.value[0]
    properties = _PROPERTIES.match(text, found.start)
    colon = text.index(":", found.key.end_mark.index) + 1
    edits = [Edit(colon, colon, f" {new}")]
    if properties:
        edits.append(Edit(found.start, properties.end(), ""))
    mark = first.start_mark
    return edits + _commented(text, mark.index, found.end, mark.column)


def _commented(text: str, start: int, end: int, column: int) -> list[Edit]:
    """Comment out the lines of ``start`` to ``end``."""
    edits = []
    at = places.line_start(text, start)
    while at < end:
        following = places.line_end(text, at)
        line = text[at:following]
        indent = len(line) - len(line.lstrip())
        if line.strip() and not line.lstrip().startswith("#"):
            place = at + min(indent, column)
            edits.append(Edit(place, place, "# "))
        at = following
    return edits


def _without_entry(text: str, mapping: CollectionNode, start: int, end: int) -> list[Edit]:
    """Remove an entry of a flow mapping, and one comma of it."""
    commas = [t.start_mark.index for t in places.tokens(text) if isinstance(t, FlowEntryToken)]
    behind = next((c for c in commas if c >= end and not text[end:c].strip()), None)
    if behind is not None:
        spaces = len(text[behind + 1 :]) - len(text[behind + 1 :].lstrip(" \t"))
        return [Edit(start, behind + 1 + spaces, "")]
    before = max((c for c in commas if mapping.start_mark.index < c < start), default=None)
    if before is None:
        return [Edit(start, end, "")]
    if not text[before + 1 : start].strip(" \t"):
        return [Edit(before, end, "")]
    return [Edit(before, before + 1, ""), Edit(start, end, "")]


def _rescued(text: str, start: int, found: Found) -> list[Edit]:
    """Put the comments inside a value that goes away on lines above it."""
    comments = [text[a:b] for a, b in places.comments(text) if found.start <= a < found.end]
    if not comments:
        return []
    at, newline = places.line_start(text, start), places.newline(text)
    indent = " " * (start - at)
    return [Edit(at, at, "".join(f"{indent}{c.rstrip()}{newline}" for c in comments))]


def _expanded_aliases(text: str, start: int, end: int) -> list[Edit]:
    """Write out the aliases of what stands between ``start`` and ``end``: they keep their value."""
    root = places.compose(text)
    anchored = {
        n.anchor: n for n in places.nodes(root) if n.anchor and start <= n.start_mark.index < end
    }
    aliases = [t for t in places.tokens(text) if isinstance(t, AliasToken) and t.value in anchored]
    return [
        Edit(t.start_mark.index, t.end_mark.index, places.written(anchored[t.value]))
        for t in aliases
        if not start <= t.start_mark.index < end
    ]


def _apply(text: str, edits: Sequence[Edit]) -> str:
    for edit in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
        text = text[: edit.start] + edit.new + text[edit.end :]
    return text
