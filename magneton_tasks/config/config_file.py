"""A config's file and its YAML, whatever somebody put there; wrong ones are told with file and line."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from magneton_tasks.errors import ConfigError, NoInputError

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: A config is some thousand bytes; what is larger is another kind of file.
MOST_BYTES = 1 << 20
#: How deep lists and mappings may lie in each other; PyYAML's C code crashes at tens of thousands.
MOST_LEVELS = 50
#: How many values a config may hold once all aliases are followed.
MOST_VALUES = 100_000
#: What the safe loader raises at a scalar that isn't what it looks like, or what its tag says.
_BAD_VALUE = (ValueError, KeyError, AttributeError, OverflowError)


def read_text(path: Path) -> str:
    """The text of a config, with its own line ends.

    Raises
    ------
    NoInputError
        There is no such file, or it may not be read.
    ConfigError
        It's no file (a directory, a pipe, a link to nothing), too large, or not UTF-8.
    """
    try:
        _check_kind(path, os.stat(path))
        # What became a pipe since then would wait for a writer.
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _not_opened(path, error) from None
    if len(data) > MOST_BYTES:
        raise ConfigError(
            f"{path} has more than {MOST_BYTES >> 20} MiB: it isn't a volume config",
            "give the YAML file of a volume",
        )
    return _decoded(path, data)


def _not_opened(path: Path, error: OSError) -> NoInputError | ConfigError:
    if os.path.islink(path) and not os.path.exists(path):
        return ConfigError(
            f"can't read the config {path}: it is a link to {os.readlink(path)}, which isn't there",
            "fix the link, or remove it",
        )
    return NoInputError(
        f"can't read the config {path}: {error.strerror}",
        "give the path of a volume config; `magneton sample DIR` makes one to start from",
    )


def _check_kind(path: Path, status: os.stat_result) -> None:
    kinds = {
        stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe",
        stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    }  # fmt: skip
    kind = kinds.get(stat.S_IFMT(status.st_mode))
    if kind is not None:
        raise ConfigError(
            f"can't read the config {path}: it is {kind}", "give the path of a YAML file"
        )


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ConfigError(
                f"{path} is written in UTF-16, not UTF-8", "save it as UTF-8"
            ) from None
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}, line {line}: not UTF-8: byte {data[error.start]:#04x} (Latin-1, perhaps)",
            "save it as UTF-8",
        ) from None


def compose(text: str, name: str) -> yaml.Node | None:
    """The root node of a YAML text; None where it's empty. ``name`` stands for the file.

    Raises
    ------
    ConfigError
        Malformed YAML, a list or mapping that holds itself, or too many of them.
    """
    with _malformed(name):
        _check_depth(text, name)
        node = yaml.compose(text, Loader=_Loader)
        if node is not None:
            _check_aliases(node, name)
        return node


def construct(node: yaml.Node, name: str) -> object:
    """The data of a root node; what stands at ``<<`` is moved in the node.

    Raises
    ------
    ConfigError
        A value that can't be what it looks like, or a tag that isn't plain YAML's.
    """
    loader = _Loader("")
    try:
        with _malformed(name):
            return loader.construct_document(node)
    except _BAD_VALUE as error:
        raise _bad_value(node, name, error) from None
    finally:
        loader.dispose()


@contextmanager
def _malformed(name: str) -> Iterator[None]:
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{name}{where}: malformed YAML: {error.problem or error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: malformed YAML: {error}") from None


def value_of(text: str) -> object:
    """The value of a short YAML text, as it was typed in a command or a dialog.

    Raises
    ------
    ValueError
        It isn't YAML, or no value.
    """
    try:
        node = compose(text, "")
        return None if node is None else construct(node, "")
    except ConfigError as error:
        shown = text if len(text) <= 60 else f"{text[:50]}..."
        reason = error.what.removeprefix(", line 1, ").removeprefix(": ")
        raise ValueError(f"{shown!r} is not YAML: {reason}") from None


def _check_depth(text: str, name: str) -> None:
    """Refuse nesting that readers can't follow; by events, which need no stack."""
    level = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
            if level > MOST_LEVELS:
                raise ConfigError(
                    f"{name}: lists or mappings are nested more than {MOST_LEVELS} deep",
                    "is it the YAML file of a volume?",
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _check_aliases(root: yaml.Node, name: str) -> None:
    """Refuse a node that holds itself, and aliases of aliases that would fill the memory."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node, level: int) -> int:
        known = sizes.get(id(node))
        if known is not None:
            return known
        line = node.start_mark.line + 1
        if id(node) in open_nodes:
            raise ConfigError(
                f"{name}, line {line}: an alias refers to the value that holds it",
                "write the value out instead of *alias",
            )
        if level > MOST_LEVELS:
            raise ConfigError(
                f"{name}, line {line}: aliases are nested more than {MOST_LEVELS} deep"
            )
        open_nodes.add(id(node))
        found = 1 + sum(size(child, level + 1) for child in _children(node))
        open_nodes.remove(id(node))
        if found > MOST_VALUES:
            raise ConfigError(
                f"{name}, line {line}: holds more than {MOST_VALUES:,} values once its aliases are followed"
            )
        sizes[id(node)] = found
        return found

    size(root, 0)


def _bad_value(root: yaml.Node, name: str, error: Exception) -> ConfigError:
    """The error for the first scalar that can't be read as what it looks like."""
    loader = _Loader("")
    waiting = [root]
    try:
        while waiting:
            node = waiting.pop()
            waiting += reversed([*_children(node)])
            if not isinstance(node, yaml.ScalarNode):
                continue
            try:
                loader.construct_object(node)
            except _BAD_VALUE as found:
                kind = node.tag.rpartition(":")[2]
                text = (
                    node.value
                    if len(node.value) <= 40
                    else f"{node.value[:30]}... ({len(node.value):,} characters)"
                )
                reason = f": {found}" if type(found) is ValueError else ""
                where = (
                    f"{name}, line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"
                )
                return ConfigError(
                    f"{where}: {text} can't be read as {kind}{reason}",
                    "fix the value, or put it in quotes if it is text",
                )
    finally:
        loader.dispose()
    return ConfigError(f"{name}: malformed YAML: {error}")
