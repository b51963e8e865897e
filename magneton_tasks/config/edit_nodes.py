"""A YAML text with the place of everything in it: PyYAML's nodes, aliases, comments, lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import yaml

Path = tuple[str | int, ...]  # of a value: ("block", "size", 0)

MISSING = object()


class Alias(yaml.Node):
    """``*name``, with the node it stands for; PyYAML's own tree forgets where aliases are."""

    id = "alias"

    def __init__(self, target: Any, event: Any) -> None:
        super().__init__(target.tag, target, event.start_mark, event.end_mark)


class _Composer(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if not self.check_event(yaml.AliasEvent):
            return super().compose_node(parent, index)
        event = self.peek_event()  # type: ignore[no-untyped-call]
        return Alias(super().compose_node(parent, index), event)


def compose(text: str) -> Any:
    """The root node, with aliases; None where the text holds nothing."""
    loader = _Composer(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def data(text: str, path: Path) -> Any:
    """The value at ``path`` as the reader of configs has it, or `MISSING`."""
    data = yaml.load(text, Loader=yaml.SafeLoader)
    for name in path:
        try:
            data = data[name]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return data


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1 isn't 1.0 and isn't true."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return bool(one == other)


def child(node: Any, name: str | int) -> tuple[Any, Any] | None:
    """Key node (None in a list) and value node."""
    if isinstance(node, yaml.SequenceNode) and isinstance(name, int) and name < len(node.value):
        return None, node.value[name]
    if isinstance(node, yaml.MappingNode):
        return next(((k, v) for k, v in node.value if k.value == name), None)
    return None


def entries(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Path, key node and value node of everything below ``node``; aliases aren't followed."""
    children: Iterable[tuple[Any, Any, Any]] = ()
    if isinstance(node, yaml.MappingNode):
        children = ((k.value, k, v) for k, v in node.value)
    elif isinstance(node, yaml.SequenceNode):
        children = ((i, None, v) for i, v in enumerate(node.value))
    for name, key, value in children:
        yield (*path, name), key, value
        yield from entries(value, (*path, name))


def is_null(node: Any) -> bool:
    """Whether a node is ``null``, ``~`` or nothing."""
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


def end_of(text: str, node: Any) -> int:
    """Where a value's last character is; PyYAML's mark of a block lies behind its comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return end_of(text, last[1] if isinstance(node, yaml.MappingNode) else last)
    start: int = node.start_mark.index
    end: int = node.end_mark.index
    return start + len(text[start:end].rstrip())


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


def comments(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each comment: what begins with # between two tokens."""
    tokens = list(yaml.scan(text))
    for one, following in pairwise(tokens):
        a, b = one.end_mark.index, following.start_mark.index
        if isinstance(one, yaml.ScalarToken) and one.style in ("|", ">"):
            header = line_end(text, one.start_mark.index)
            yield from _matches(r"(?<=\s)#.*", text, one.start_mark.index, header)
        yield from _matches(r"#.*", text, a, b)


def _matches(pattern: str, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    return (m.span() for m in re.compile(pattern).finditer(text, start, end))


# ---------------------------------------------------------------------------- values


def as_text(value: object) -> str:
    """A value on one line, as it would be in the YAML file."""
    return dump(plain(value), in_flow=False)


def plain(value: object) -> Any:
    """Tuples as lists, and numbers of other libraries as Python's."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def dump(value: Any, in_flow: bool, style: str | None = None) -> str:
    """A value on one line; a text keeps the quotes of the one it replaces."""
    options: dict[str, Any] = {"allow_unicode": True, "width": float("inf"), "sort_keys": False}
    if isinstance(value, str):
        quotes = '"' if re.search(r"[\r\n\x85\u2028\u2029]", value) else style
        options["default_style"] = quotes if quotes in ("'", '"') else None
    if in_flow or isinstance(value, list | dict):
        # Inside brackets more characters need quotes.
        return str(yaml.safe_dump([value], default_flow_style=True, **options)).strip()[1:-1]
    return str(yaml.safe_dump(value, **options)).removesuffix("\n").removesuffix("\n...")
