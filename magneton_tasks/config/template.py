"""The commented YAML that `config new` and `config import` write.

What a section and a key mean is taken from the schema, so the text can't fall behind it. Keys that
were set are as they are; all others are comments with their defaults::

    # How one block is segmented.
    segment:
      # Regions merge while their score is at least this affinity. A lower value merges more.
      threshold: 0.7
      # Smallest object to keep, in voxels over all blocks. Smaller objects become background.
      # min_size_vox: 0

What the chosen method, rule or supervoxels don't read is left out. The file begins with the paths and
the other sections in which something is set; in a section, what is set comes first.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache, lru_cache

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from magneton_tasks.config import keys
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.unread import table, unread_keys

#: Columns of a line of comments.
WIDTH = 96

#: What a scheduler reads stands at the end.
_LAST = ("schedule", "partition_format", "wait_for_input", "notify")
#: Comment for a default null, which shows nothing of the form.
_EXAMPLES = {"box": "{begin: [0, 0, 0], end: [512, 2048, 2048]}"}


def render(
    values: Mapping[str, object],
    head: Sequence[str] = (),
    notes: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """A volume config as commented YAML.

    Parameters
    ----------
    values
        What is set, by dotted key (``segment.threshold``); in any order.
    head
        Lines for the top.
    notes
        Lines for single keys, by dotted key: why a value is what it is.

    Returns
    -------
    str
        Text that `config.read.parse_config` reads, if ``values`` are right.
    """
    notes = notes or {}
    unread = _unread(values)
    lines = [_comment(line) for line in head]
    for name, field in sorted(RunConfig.model_fields.items(), key=lambda f: _place(f[0], values)):
        model = keys.section_of(field)
        if model is None or name == "box":
            lines += ["", *_key(name, name, field, values, notes, "")]
        elif name not in unread:
            lines += ["", *_section(name, model, values, notes, unread, "")]
    return "\n".join(lines) + "\n"


def _place(name: str, values: Mapping[str, object]) -> int:
    """Where a section or key stands: paths first, then what is set, then what isn't."""
    if name == "paths":
        return 0
    if any(keys.is_in(key, name) for key in values):
        return 1
    return 3 if name in _LAST else 2


def _section(
    dotted: str,
    model: type[BaseModel],
    values: Mapping[str, object],
    notes: Mapping[str, Sequence[str]],
    unread: Collection[str],
    indent: str,
) -> Iterator[str]:
    meaning = (model.__doc__ or dotted).strip().splitlines()[0].replace("``", "")
    yield from _wrapped(meaning, indent)
    is_set = any(key.startswith(f"{dotted}.") for key in values)
    yield f"{indent}{'' if is_set else '# '}{keys.split(dotted)[1]}:"
    fields = sorted(model.model_fields.items(), key=lambda f: f"{dotted}.{f[0]}" not in values)
    for name, field in fields:
        key, inner = f"{dotted}.{name}", keys.section_of(field)
        if inner is not None:
            yield from _section(key, inner, values, notes, unread, f"{indent}  ")
        elif key not in unread or key in values:
            yield from _key(key, name, field, values, notes, f"{indent}  ")


def _key(
    dotted: str,
    key: str,
    field: FieldInfo,
    values: Mapping[str, object],
    notes: Mapping[str, Sequence[str]],
    indent: str,
) -> Iterator[str]:
    yield from _wrapped(field.description or field.title or key, indent)
    for note in notes.get(dotted, ()):
        yield from _wrapped(note, indent)
    if dotted in values:
        yield f"{indent}{key}: {one_line(values[dotted])}"
        return
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    shown = _EXAMPLES.get(key) if default is None else None
    yield f"{indent}# {key}: {shown or one_line(default)}"


def _unread(values: Mapping[str, object]) -> set[str]:
    """Keys and sections that the choices don't read: a config that sets them is refused."""
    schema = keys.fields(RunConfig)
    return {
        u
        for key in table(RunConfig)
        for u in unread_keys(RunConfig, key, values.get(key, schema[key].default))
    }


def one_line(value: object, style: str | None = None) -> str:
    """A value as YAML of one line; ``style``: the quotes of a text, where it needs no others."""
    value = plain(value)
    if isinstance(value, str) and re.search(r"[\r\n\x85\u2028\u2029]", value):
        style = '"'
    if value is None or isinstance(value, str | int):
        return _of_scalar(value, style)
    return _dumped(value, style)


@lru_cache(maxsize=1024, typed=True)
def _of_scalar(value: str | int | None, style: str | None) -> str:
    """Kept: a dialog writes its config anew for each answer, and most values are defaults."""
    return _dumped(value, style)


def _dumped(value: object, style: str | None) -> str:
    text: str = yaml.safe_dump(
        value,
        default_flow_style=True,
        default_style=style if style in ("'", '"') and _has_text(value) else None,
        width=10**9,
        allow_unicode=True,
        sort_keys=False,
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _has_text(value: object) -> bool:
    """Whether quotes can be asked for: of numbers they would make texts."""
    return isinstance(value, str) or (isinstance(value, list) and all(map(_has_text, value)))


def plain(value: object) -> object:
    """Tuples as lists, and numbers of other libraries as Python's."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


@cache
def _wrapped(text: str, indent: str) -> tuple[str, ...]:
    lines = textwrap.wrap(text, WIDTH - len(indent) - 2)
    return tuple(f"{indent}{_comment(line)}" for line in lines)


def _comment(line: str) -> str:
    return f"# {line}".rstrip()
