"""``report.html``: one file that asks for nothing, from the plain data of a report."""

from __future__ import annotations

import io
import json
import re
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from magneton_tasks.base.units import human_bytes, human_count, human_time

_HERE = Path(__file__).parent
#: A larger preview is embedded as JPEG: noisy affinities take 2 MB as PNG.
PNG_BYTES = 300_000
_JPEG_QUALITY = 85
#: A preview narrower than this, in pixels, is shown enlarged.
_NARROW_PX = 480
#: Rows of a table that the page shows; report.json has more.
_SHOWN_FAILURES = 20
#: A statement that imports from another module; in the page all modules are one.
_IMPORT = re.compile(r'^import [^;]* from "[^"]*";\n', re.MULTILINE)

Data = Mapping[str, Any]


def render(data: Data, preview: bytes | None = None) -> str:
    """The page.

    Parameters
    ----------
    data
        From :func:`magneton_tasks.outcome.report.collect`.
    preview
        The PNG of the preview.
    """
    return _template().render(
        r=data,
        shown_failures=data["failures"][:_SHOWN_FAILURES],
        picture=picture(preview) if preview else None,
        lanes=lanes(data),
        histograms=histograms(data["pool"]),
        maps=script_json(light(data)),
        # ours, and whole: nothing in them comes from a run
        style=Markup((_HERE / "report.css").read_text()),
        script=Markup(script(_HERE)),
    )


@cache
def _template() -> jinja2.Template:
    """The page's template; to compile it takes longer than all else of a small volume's report."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": human_bytes,
        "duration": duration,
        "count": human_count,
        "si": si,
        "times": lambda numbers: " × ".join(f"{n:,}" for n in numbers),
        "plain": lambda numbers: " × ".join(f"{n:g}" for n in numbers),
        "triple": lambda numbers: ", ".join(f"{n:,}" for n in numbers),
        "when": local_time,
        "clock": partial(local_time, form="%H:%M:%S"),
        "setting": setting,
        "utc": utc,
    }
    return environment.get_template("report.html.j2")


def script(folder: Path) -> str:
    """The page's script; how a block is drawn is a module that Airflow's block map uses too."""
    texts = ((folder / name).read_text() for name in ("squares.js", "report.js"))
    return "".join(_IMPORT.sub("", text).replace("export ", "") for text in texts)


# ------------------------------------------------------------------ text
def si(n: float) -> str:
    """``"999"``, ``"32.8 k"``, ``"1.05 M"``, ``"13.4 G"``: counts at a glance."""
    if n < 1000:
        return f"{n:.3g}"
    for unit in ("k", "M", "G", "T"):
        n /= 1000
        if n < 999.5 or unit == "T":
            return f"{n:.3g} {unit}"
    raise AssertionError


def duration(seconds: float) -> str:
    """``"1.02 s"``, ``"94.0 s"``; from two minutes on as :func:`base.units.human_time`."""
    if not 1 <= seconds < 120:
        return human_time(seconds)
    return f"{seconds:#.3g} s" if seconds < 99.95 else f"{seconds:.0f} s"


def local_time(seconds: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """The local time of unix seconds."""
    return time.strftime(form, time.localtime(seconds))


def utc(seconds: float) -> str:
    """The same for machines."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def setting(value: object, key: str) -> str:
    """A config value as YAML would have it; sizes in human units."""
    if key.endswith(".memory") and isinstance(value, int):
        return human_bytes(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def script_json(value: object) -> Markup:
    """JSON for a script element: whatever it holds can't end the element."""
    text = json.dumps(value, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


# ------------------------------------------------------------------ the block map's data
def light(data: Data) -> dict[str, Any]:
    """What the map draws: three significant digits, memory in MiB; report.json has the rest."""
    maps = []
    for found in data["maps"]:
        failures = (f for f in data["failures"] if f["stage"] == found["stage"])
        kept = {**found, "causes": {f["key"]: f["cause"] for f in failures}}
        for name in ("seconds", "cpu_s"):
            if name in kept:
                kept[name] = [_short(v) for v in kept[name]]
        if "peak_bytes" in kept:
            peaks = kept.pop("peak_bytes")
            kept["peak_mib"] = [None if v is None else round(v / 2**20) for v in peaks]
        maps.append(kept)
    return {"maps": maps, "hosts": data["hosts"], "runs": data["runs"]}


def _short(value: float | None) -> float | None:
    if value is None:
        return None
    return round(value) if value >= 100 else float(f"{value:.3g}")


# ------------------------------------------------------------------ charts
@dataclass(frozen=True, slots=True)
class Lane:
    """When a stage worked (percent of the run), and its peak beside what was projected."""

    begin: float
    width: float
    peak: float | None
    expected: float | None
    is_above: bool


def lanes(data: Data) -> dict[str, Lane]:
    """The bars of each stage in the table of stages; lengths in percent of their cell."""
    found = {}
    planned, whole = data["planned"], max(data["ended"] - data["planned"], 1e-3)
    for stage in data["stages"]:
        begin = width = 0.0
        if stage["began"] is not None:
            begin = min(max((stage["began"] - planned) / whole * 100, 0), 99)
            width = max((stage["ended"] - stage["began"]) / whole * 100, 1)
        peak, bound = stage["peak_bytes"], stage["bound_bytes"]
        full = max(peak or 0, bound or 0)
        found[stage["stage"]] = Lane(
            begin,
            min(width, 100 - begin),
            peak / full * 100 if peak and bound else None,
            stage["expected_bytes"] / full * 100 if bound else None,
            bool(peak and bound and peak > bound),
        )
    return found


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram, in units of its drawing."""

    x: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram over size classes; ``ticks`` are positions and texts below it."""

    name: str
    meaning: str
    top: str
    bars: tuple[Bar, ...]
    bar_width: float
    ticks: tuple[tuple[float, str], ...]


#: Width and height of a histogram's plot, in the units of its drawing.
PLOT = (400.0, 120.0)


def histograms(pool: Data | None) -> list[Histogram]:
    """How many objects of each size there are, and which share of the voxels they hold."""
    sizes = (pool or {}).get("sizes")
    if not sizes or not sizes["objects"]:
        return []
    objects, voxels = sizes["objects"], sizes["voxels"]
    first = next(k for k, n in enumerate(objects) if n)
    total = sum(voxels)
    shares = [v / total for v in voxels]
    return [
        _histogram(
            "Objects by size",
            "objects",
            objects,
            first,
            [f"{n:,} objects, {n / sum(objects):.1%} of all" for n in objects],
            si(max(objects)),
        ),
        _histogram(
            "Voxels by object size",
            "share of the segmented voxels",
            shares,
            first,
            [
                f"{v:,} voxels, {s:.1%} of the segmented"
                for v, s in zip(voxels, shares, strict=True)
            ],
            f"{max(shares):.0%}",
        ),
    ]


def _histogram(
    name: str, meaning: str, values: Sequence[float], first: int, titles: list[str], top: str
) -> Histogram:
    n = len(values) - first
    step, most = PLOT[0] / n, max(values)
    bars = tuple(
        Bar(
            (k - first) * step,
            values[k] / most * PLOT[1],
            f"{2**k:,} to {2 ** (k + 1) - 1:,} voxels: {titles[k]}",
        )
        for k in range(first, len(values))
    )
    every = max(-(-n // 6), 1)
    ticks = tuple(((k - first) * step, si(2**k)) for k in range(first, len(values) + 1, every))
    return Histogram(name, meaning, top, bars, step, ticks)


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
    times = 1 if width >= _NARROW_PX else -(-_NARROW_PX // max(width, 1))
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
