"""``report.html``: the page of a run as one file that asks for nothing, with its data inside."""

from __future__ import annotations

import gzip
import io
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from magneton_tasks import __version__
from magneton_tasks.base.geometry import ceil_div
from magneton_tasks.base.units import human_moment
from magneton_tasks.outcome.page import FOLDER
from magneton_tasks.outcome.page.shapes import ShownShapes

#: The page's modules, each after those that it imports.
MODULES = (
    "squares.js", "format.js", "charts.js", "head.js", "legend.js", "layer_map.js", "stages.js", "lists.js", "objects.js",
    "about.js", "page.js", "frozen.js",
)  # fmt: skip
#: Those that draw objects in 3D, where there are any.
SHAPES_MODULES = ("webgl.js", "shapes.js")
#: A statement that imports names from another module, and the beginning of one that exports a name.
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([^"]*)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|const|class) (\w+))", re.MULTILINE)
_DATA = re.compile(
    rb'<script type="application/json" id="page-data">(.*?)</script>\s*'
    rb'<script type="application/gzip" id="page-layers">(.*?)</script>',
    re.DOTALL,
)
#: A larger preview is embedded as JPEG: noisy affinities take 2 MB as PNG.
PNG_BYTES = 300_000
_JPEG_QUALITY = 85
#: A preview narrower than this, in pixels, is shown enlarged.
_NARROW_PX = 480
#: Failures that the page tells without a script.
_TOLD = 20

Data = Mapping[str, Any]


def render(data: Data, preview: bytes | None = None, shapes: ShownShapes | None = None) -> str:
    """The file's text.

    Parameters
    ----------
    data
        From :func:`magneton_tasks.outcome.page.data.whole`.
    preview
        The PNG of the preview.
    shapes
        The objects in 3D.
    """
    summary, path = data["summary"], Path(data["facts"]["config"])
    failures = [*(f for s in summary["stages"] for f in s["failures"]), *summary["outside"]]
    return _template().render(
        r=data,
        name="/".join(path.parts[-2:]),
        failures=failures[:_TOLD],
        picture=picture(preview) if preview else None,
        shapes=shapes,
        data=script_json({"facts": data["facts"], "summary": summary}),
        layers=packed(data["layers"]),
        version=__version__,
        made=human_moment(data["facts"]["made"]),
        # ours, and whole: nothing in them comes from a run
        style=Markup((FOLDER / "page.css").read_text()),
        script=Markup(script(*MODULES, *(SHAPES_MODULES if shapes else ()))),
    )


@cache
def _template() -> jinja2.Template:
    """The page's template; to compile it takes longer than all else of a small volume's report."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def script(*names: str) -> str:
    """Modules as one script: a file that is opened from a disk can't import others."""
    return "".join(['"use strict";\nconst modules = {};\n', *map(_module, names)])


def _module(name: str) -> str:
    """One of them, in a scope of its own."""
    lines = map(str.strip, (FOLDER / name).read_text().splitlines())
    text = "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))
    exported = ", ".join(match[2] for match in _EXPORT.finditer(text))
    inner = _EXPORT.sub(r"\1", _IMPORT.sub(r'const \1 = modules["\2"];', text))
    return f'modules["{name}"] = (() => {{\n{inner}return {{ {exported} }};\n}})();\n'


def script_json(value: object) -> Markup:
    """JSON for a script element: whatever it holds can't end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def packed(value: object) -> str:
    """JSON, compressed and in base64: of 10^5 blocks half as long."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def data_of(page: Path) -> dict[str, Any] | None:
    """The data inside a ``report.html``; None: it is gone, damaged or of another release."""
    try:
        found = _DATA.search(page.read_bytes())
        if found is None:
            return None
        data: dict[str, Any] = json.loads(found[1])
        return {**data, "layers": json.loads(gzip.decompress(b64decode(found[2])))}
    except (OSError, ValueError, EOFError):
        return None


# ------------------------------------------------------------------ the preview
@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in the page; ``width`` in CSS pixels."""

    uri: str
    width: int
    is_enlarged: bool


def picture(png: bytes) -> Picture:
    """The preview as a data URI, exact where it is small enough."""
    width = int.from_bytes(png[16:20], "big")  # IHDR
    times = 1 if width >= _NARROW_PX else ceil_div(_NARROW_PX, max(width, 1))
    kind, data = "png", png
    if len(png) > PNG_BYTES:
        kind, data = "jpeg", _jpeg(png)
    return Picture(f"data:image/{kind};base64,{b64encode(data).decode()}", width * times, times > 1)


def _jpeg(png: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()
