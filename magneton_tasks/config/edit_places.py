"""A YAML text with the place of everything in it, as ruamel.yaml has it: values, aliases, comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from itertools import pairwise
from typing import NamedTuple

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import AliasToken, ScalarToken, Token

from magneton_tasks.config import keys
from magneton_tasks.config.template import one_line

Place = tuple[str | int, ...]  # of a value: ("block", "size", 0)


class Found(NamedTuple):
    """A value in a text: its key (None in a list, and of the whole text) and its characters."""

    key: Node | None
    node: Node
    start: int
    end: int
    is_alias: bool = False


def _yaml() -> YAML:
    loader = YAML(typ="safe", pure=True)
    loader.width, loader.allow_unicode = 10**9, True
    return loader


def compose(text: str) -> Node | None:
    """The root node; None where the text holds nothing. An alias is the node that it stands for."""
    node: Node | None = _yaml().compose(text)
    return node


def tokens(text: str) -> Iterator[Token]:
    """What the text is made of; comments lie between two tokens."""
    yield from _yaml().scan(text)


def written(node: Node) -> str:
    """A node on one line, with its quotes."""
    if isinstance(node, CollectionNode):
        node.flow_style = True
    stream = StringIO()
    _yaml().serialize(node, stream)
    return stream.getvalue().removesuffix("\n").removesuffix("\n...")


def nodes(node: Node | None) -> Iterator[Node]:
    """A node and all below it."""
    if node is not None:
        yield node
    if isinstance(node, MappingNode):
        for pair in node.value:
            yield from nodes(pair[1])
    elif isinstance(node, SequenceNode):
        for inner in node.value:
            yield from nodes(inner)


def root(text: str) -> Found | None:
    """The whole text; None where it holds nothing."""
    node = compose(text)
    if node is None or (is_null(node) and not node.value):
        return None
    return Found(None, node, node.start_mark.index, end_of(text, node))


def path_to(text: str, place: Place) -> tuple[CollectionNode, Found] | None:
    """What stands at a place, and what holds it; None where there's nothing."""
    found, holder = root(text), None
    for name in place:
        if found is None or not isinstance(found.node, CollectionNode):
            return None
        holder = found.node
        found = child(text, holder, name)
    return None if found is None or holder is None else (holder, found)


def child(text: str, node: CollectionNode, name: str | int) -> Found | None:
    """The value of a key of a mapping, or the n-th of a list."""
    for n, found in enumerate(children(text, node)):
        if name == (n if found.key is None else found.key.value):
            return found
    return None


def children(text: str, node: CollectionNode) -> Iterator[Found]:
    """The values of a mapping or list in order."""
    at = node.start_mark.index
    for one in node.value:
        key, value = one if isinstance(node, MappingNode) else (None, one)
        at = at if key is None else key.end_mark.index
        if value.start_mark.index >= at:
            found = Found(key, value, value.start_mark.index, end_of(text, value))
        else:  # the node is that of the anchor
            aliases = (t for t in tokens(text) if isinstance(t, AliasToken))
            token = next(t for t in aliases if t.start_mark.index >= at)
            found = Found(key, value, token.start_mark.index, token.end_mark.index, True)
        yield found
        at = found.end


def end_of(text: str, node: Node) -> int:
    """Where a value's last character is; the mark of a block lies behind its comments."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        return list(children(text, node))[-1].end
    start: int = node.start_mark.index
    return start + len(text[start : node.end_mark.index].rstrip())


def is_block(found: Found) -> bool:
    """Whether a value is a mapping or list whose entries stand on lines of their own."""
    node = found.node
    is_block = isinstance(node, CollectionNode) and not node.flow_style and bool(node.value)
    return is_block and not found.is_alias


def is_null(node: Node) -> bool:
    """Whether a node is ``null``, ``~`` or nothing."""
    return isinstance(node, ScalarNode) and str(node.tag).endswith(":null")


def comments(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each comment: what begins with # between two tokens."""
    for one, following in pairwise(tokens(text)):
        a, b = one.end_mark.index, following.start_mark.index
        if isinstance(one, ScalarToken) and one.style in ("|", ">"):
            header = line_end(text, one.start_mark.index)
            yield from _matches(r"(?<=\s)#.*", text, one.start_mark.index, header)
        yield from _matches(r"#.*", text, a, b)


def _matches(pattern: str, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    return (m.span() for m in re.compile(pattern).finditer(text, start, end))


def line_start(text: str, at: int) -> int:
    """The index of the first character of the line."""
    return text.rfind("\n", 0, at) + 1


def line_end(text: str, at: int) -> int:
    """Behind the line's newline, or the end of the text."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def newline(text: str) -> str:
    """How lines of this text end."""
    return "\r\n" if "\r\n" in text else "\n"


def data(text: str, place: Place) -> object:
    """The value at a place as the reader of configs has it, or `keys.MISSING`."""
    found = yaml.load(text, Loader=yaml.SafeLoader)
    for name in place:
        try:
            found = found[name]
        except (KeyError, IndexError, TypeError):
            return keys.MISSING
    return found


def same(one: object, other: object) -> bool:
    """Equal, and of the same types: 1 isn't 1.0 and isn't true."""
    return one is not keys.MISSING and one_line(one) == one_line(other)


def flow(value: object, style: str | None = None) -> str:
    """A value inside braces, where more characters need quotes."""
    return one_line([value], style)[1:-1]


def dotted(place: Place) -> str:
    """A place in words."""
    return ".".join(map(str, place)) or "the file"
