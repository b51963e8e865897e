"""Writes the config reference between the markers in README.md, from the schema.

``python scripts/config_reference.py`` rewrites it; ``--check`` only says whether it is current.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from magneton_tasks.schema import RunConfig

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- config reference: begin -->", "<!-- config reference: end -->"


def rows(
    model: type[BaseModel], prefix: str = "", required: str = "required"
) -> Iterator[tuple[str, str, str]]:
    """(key, default, description) of every key, sections flattened."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section is not None:
            optional = field.default is None
            yield from rows(
                section, f"{prefix}{name}.", f"`{name}: null`" if optional else "required"
            )
            continue
        default = required if field.default is PydanticUndefined else f"`{_yaml(field.default)}`"
        yield f"`{prefix}{name}`", default, (field.description or "").replace("|", "\\|")


def _section(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)).replace("'", "") if isinstance(value, tuple) else str(value)


def reference() -> str:
    """The reference as a Markdown table."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines += [f"| {key} | {default} | {text} |" for key, default, text in rows(RunConfig)]
    return "\n".join(lines)


def main() -> int:
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    new = f"{before}{BEGIN}\n{reference()}\n{END}{after}"
    if "--check" in sys.argv[1:]:
        return 0 if new == text else 1
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
