"""Values set in config files: read back as given, and everything else stays as it was written."""

from __future__ import annotations

import json
import os
import re
import stat
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from magneton_tasks.config.edit import set_values, with_values
from magneton_tasks.config.read import RunConfig, known_keys, parse_config
from magneton_tasks.config.unread import unread_keys
from magneton_tasks.errors import ConfigError, NoInputError, OutputError
from tests.helpers.examples import examples
from tests.helpers.plans import MINIMAL, OVERLAP

SKETCH = """\
# Volume 7, cortex — Größe wie im März
schedule: null                       # cron
paths:   {input: file:///data/affinity, output: file:///data/segmentation, work: /data/work}   # {partition} may stand in each
box:     null                        # cut-out

method:  overlap
block:   {size: [256, 256, 256], overlap: [32, 32, 32]}
# tuned on 3 May
segment: {threshold: 0.70, merge_function: "aff50_his256"}   # waterz
pool:
    rule: mutual            # or iou
    min_overlap_vox: 5      # five
    min_frac: 0.5           # half
                            # (of the smaller)
apply:
    chunk_size:
    - 64   # z
    - 64
    - 64   # x
    mips: 0x3
"""


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    """Pairs of lines that differ, of texts with as many lines."""
    one, two = before.split("\n"), after.split("\n")
    assert len(one) == len(two)
    return [(a, b) for a, b in zip(one, two, strict=True) if a != b]


# ---------------------------------------------------------------------------- by example


def test_a_changed_value_changes_nothing_else_in_its_line() -> None:
    new = with_values(SKETCH, "v.yaml", {"segment.threshold": 0.65, "pool.min_frac": 0.25})
    assert changed_lines(SKETCH, new) == [
        (
            'segment: {threshold: 0.70, merge_function: "aff50_his256"}   # waterz',
            'segment: {threshold: 0.65, merge_function: "aff50_his256"}   # waterz',
        ),
        ("    min_frac: 0.5           # half", "    min_frac: 0.25           # half"),
    ]


@pytest.mark.parametrize(
    ("values", "before", "after"),
    [
        # one element of a list in block style
        ({"apply.chunk_size": (64, 32, 64)}, "    - 64\n", "    - 32\n"),
        # a text keeps its quotes
        ({"segment.merge_function": "mean"}, '"aff50_his256"', '"mean"'),
        # a key that wasn't there, into braces and into a block, behind the comment of the last
        ({"segment.min_size_vox": 9}, '"aff50_his256"}', '"aff50_his256", min_size_vox: 9}'),
        ({"pool.largest_object_warning": 0.2}, "# (of the smaller)\n", "# (of the smaller)\n    largest_object_warning: 0.2\n"),
        # a section that wasn't there, indented as the others are
        ({"local.memory": "8GiB"}, "    mips: 0x3\n", "    mips: 0x3\n\nlocal:\n    memory: 8GiB\n"),
        # the default is written, not taken away
        ({"pool.min_overlap_vox": 7}, "min_overlap_vox: 5", "min_overlap_vox: 7"),
        ({"apply.mips": 3}, "", ""),
        # in YAML 1.1 these are a truth value, an octal number, a number of base 60, a date
        ({"input.version": "on"}, "    mips: 0x3\n", "    mips: 0x3\n\ninput:\n    version: 'on'\n"),
        ({"input.version": "010"}, "    mips: 0x3\n", "    mips: 0x3\n\ninput:\n    version: '010'\n"),
        ({"input.version": "1:30"}, "    mips: 0x3\n", "    mips: 0x3\n\ninput:\n    version: '1:30'\n"),
        ({"input.version": "2024-05-01"}, "    mips: 0x3\n", "    mips: 0x3\n\ninput:\n    version: '2024-05-01'\n"),
        ({"segment.threshold": 1e-7}, "0.70", "1.0e-07"),
        # a box from nothing and back
        ({"box.begin": [0, 0, 0], "box.end": [9, 9, 9]}, "box:     null", "box:     {begin: [0, 0, 0], end: [9, 9, 9]}"),
        # what the choice doesn't read becomes a comment
        ({"pool.rule": "both"}, "rule: mutual            # or iou\n    min_overlap_vox", "rule: both            # or iou\n    # min_overlap_vox"),
        ({"schedule": "@daily"}, "schedule: null", "schedule: '@daily'"),
    ],
)  # fmt: skip
def test_only_what_was_asked_for_is_changed(
    values: dict[str, object], before: str, after: str
) -> None:
    assert with_values(SKETCH, "v.yaml", values) == SKETCH.replace(before, after, 1)


def test_a_block_that_is_replaced_becomes_a_comment() -> None:
    text = MINIMAL + "box:  # small\n  begin: [0, 0, 0]  # b\n  end:\n  - 4  # z\n  - 4\n  - 4\n"
    new = with_values(text, "v.yaml", {"box": None})
    assert new == (
        MINIMAL
        + "box: null  # small\n  # begin: [0, 0, 0]  # b\n  # end:\n  # - 4  # z\n  # - 4\n  # - 4\n"
    )


def test_a_key_in_braces_that_isn_t_read_any_more_goes_and_its_comment_stays() -> None:
    text = (
        OVERLAP + "pool: {rule: mutual,  # r\n  min_overlap_vox: 4,  # v\n  min_frac: 0.5}  # f\n"
    )
    new = with_values(text, "v.yaml", {"pool.rule": "iou", "pool.min_iou": 0.3})
    assert parse_config(new, "").pool.min_iou == 0.3
    assert [c.strip() for c in re.findall("# .", new)] == ["# r", "# v", "# f"]


METHODS = """\
method: overlap  # m
# how blocks meet
block:
  overlap: [8, 8, 8]  # o
segment:
  merge_function: mean  # f
  threshold: 0.5
pool: {rule: iou, min_iou: 0.3}  # p
"""


def test_another_method_takes_out_what_it_doesn_t_read() -> None:
    new = with_values(MINIMAL + METHODS, "v.yaml", {"method": "exact"})
    assert new == MINIMAL + (
        "method: exact  # m\n# how blocks meet\n# block:\n#   overlap: [8, 8, 8]  # o\n"
        "segment:\n  # merge_function: mean  # f\n  threshold: 0.5\npool: {}  # p\n"
    )
    new = with_values(new, "v.yaml", {"exact.s2": 9, "exact.advanced.t_low": 2})
    assert new.endswith("exact:\n  s2: 9\n  advanced:\n    t_low: 2\n")
    new = with_values(new, "v.yaml", {"exact.advanced.t_low": 3, "exact.advanced.s_min": 4})
    assert new.endswith("exact:\n  s2: 9\n  advanced:\n    t_low: 3\n    s_min: 4\n")
    new = with_values(new, "v.yaml", {"method": "overlap"})
    assert new.endswith("# exact:\n#   s2: 9\n#   advanced:\n#     t_low: 3\n#     s_min: 4\n")
    assert parse_config(new, "").method == "overlap"


@pytest.mark.parametrize(
    ("before", "values", "after"),
    [
        ("exact: {s2: 30, dust: 4}  # e\n", {"exact.advanced.s_min": 5}, "exact: {s2: 30, dust: 4, advanced: {s_min: 5}}  # e\n"),
        ("exact:\n    advanced: {s_min: 3}  # a\n", {"exact.advanced.s_min": 5}, "exact:\n    advanced: {s_min: 5}  # a\n"),
        ("exact: {advanced: {s_min: 3}}\n", {"exact.advanced": {"t_low": 2}}, "exact: {advanced: {t_low: 2}}\n"),
        ("exact:  # e\n", {"exact.advanced.s_min": 5}, "exact:  # e\n  advanced:\n    s_min: 5\n"),
        ("exact: {s2: 30,  # s\n  dust: 4}\n", {"method": "overlap"}, "# exact: {s2: 30,  # s\n#   dust: 4}\n"),
    ],
)  # fmt: skip
def test_keys_in_a_section_of_a_section(before: str, values: dict[str, object], after: str) -> None:
    new = with_values(MINIMAL + "method: exact\n" + before, "v.yaml", values)
    method = values.get("method", "exact")
    assert new == f"{MINIMAL}method: {method}\n{after}"


#: What a loader and dumper would write anew: columns, tabs, mixed indentation, long lines, numbers.
ODD = (
    "%YAML 1.1\n---\n"
    + OVERLAP
    + "mask:   {path: ~ ,  mip: 0x1}   # a\ttab\n"
    + "input:\n      scale: 5.733268501109629e-233\n      version: '007'   # licence\n"
    + f"schedule: null  # {'a long line ' * 20}\n"
    + 'segment: {"threshold": 0.70,\n   merge_function:   mean,  # inside braces\n   }\n'
    + "pool:\n  rule: mutual\n\n  # below a nested map\n\n# before the next\n"
    + "apply:\n  chunk_size:\n  - 64\n  - 64   # y\n  - 0x40\n...\n"
)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("values", "before", "after"),
    [
        ({"segment.threshold": 0.5}, "0.70", "0.5"),
        ({"mask.mip": 2}, "0x1", "2"),
        ({"input.scale": 2.5}, "5.733268501109629e-233", "2.5"),
        ({"input.version": "008"}, "'007'", "'008'"),
        ({"schedule": "@daily"}, "schedule: null", "schedule: '@daily'"),
        ({"pool.rule": "any"}, "rule: mutual", "rule: any"),
        ({"pool.min_frac": 0.25}, "  # below a nested map\n", "  # below a nested map\n"),
        ({"apply.chunk_size": [64, 32, 64]}, "- 64   # y", "- 32   # y"),
    ],
)  # fmt: skip
def test_an_odd_layout_stays_but_for_the_value(
    values: dict[str, object], before: str, after: str, newline: str
) -> None:
    text = ODD.replace("\n", newline)
    new = with_values(text, "v.yaml", values)
    if "pool.min_frac" in values:
        text = text.replace(
            f"rule: mutual{newline}", f"rule: mutual{newline}  min_frac: 0.25{newline}"
        )
    assert new == text.replace(before.replace("\n", newline), after.replace("\n", newline), 1)


def test_an_alias_keeps_its_value_when_its_anchor_changes() -> None:
    text = MINIMAL + "block: {size: &n [96, 96, 96]}\napply: {chunk_size: *n}  # same\n"
    new = with_values(text, "v.yaml", {"block.size": [128, 96, 96]})
    config = parse_config(new, "")
    assert (config.block.size, config.apply.chunk_size) == ((128, 96, 96), (96, 96, 96))
    new = with_values(text, "v.yaml", {"apply.chunk_size": [32, 32, 32]})
    assert "block: {size: &n [96, 96, 96]}" in new
    assert "chunk_size: [32, 32, 32]}  # same" in new


def test_a_section_of_nothing_is_filled() -> None:
    text = OVERLAP + "segment:   # later\n  # threshold: 0.7\npool: ~\n"
    new = with_values(text, "v.yaml", {"segment.threshold": 0.5, "pool.rule": "iou"})
    assert new == (
        OVERLAP + "segment:   # later\n  threshold: 0.5\n  # threshold: 0.7\npool: {rule: iou}\n"
    )


def test_a_wrong_value_in_the_file_can_be_mended() -> None:
    text = MINIMAL + "segment: {threshold: 7}  # high\n"
    assert with_values(text, "v.yaml", {"segment.threshold": 0.7}).endswith("0.7}  # high\n")


def test_a_file_of_comments_becomes_a_config() -> None:
    paths = {"paths.input": "/a", "paths.output": "/b", "paths.work": "/c"}
    new = with_values("# to do", "v.yaml", paths)
    assert new == "# to do\npaths:\n  input: /a\n  output: /b\n  work: /c\n"


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        (MINIMAL, {"segment.threshold": 7}, "segment.threshold"),
        (MINIMAL, {"segment.treshold": 0.7}, "did you mean segment.threshold?"),
        (MINIMAL + "pool: {}\npool: {}\n", {"pool.rule": "any"}, "line 6: pool appears twice"),
        (OVERLAP + "pool: {rule: iou}\n", {"pool.min_frac": 0.3}, "not read by rule: iou"),
        # one section for two
        (MINIMAL + "input: &i {mip: 1}\nmask: *i\n", {"mask.mip": 0}, "v.yaml --editor"),
        (MINIMAL + "input: &i {mip: 1}\nmask: {<<: *i}\n", {"input.mip": 0}, "v.yaml --editor"),
    ],
)  # fmt: skip
def test_what_can_t_be_set_is_refused(text: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_values(text, "v.yaml", values)
    assert message in str(caught.value)


# ---------------------------------------------------------------------------- any layout

fractions = st.floats(0, 1)
triples = st.lists(st.integers(1, 900), min_size=3, max_size=3)
words = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12
)
texts = st.one_of(
    words,
    st.sampled_from(
        [
            "on",
            "no",
            "~",
            "null",
            "010",
            "1e-4",
            "1:30",
            "- a",
            "a: b",
            "#",
            "x #",
            "[a",
            "{b",
            "'",
            '"',
            "2024-01-01",
            "<<",
            "=",
            "\\",
            "a, b",
        ]
    ),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "schedule": st.none() | texts,
    "paths.input": texts,
    "paths.output": texts.map("file:///".__add__),
    "paths.work": texts.map("/".__add__),
    "apply.sharding": st.sampled_from(["auto", "on", "off"]),
    "apply.listed_objects": st.integers(0, 10**12),
    "paths.max_files": st.integers(1, 10**12),
    "paths.visibility_wait_s": st.floats(0, 1e30) | st.integers(0, 90),
    "input.mip": st.integers(0, 9),
    "input.channels": st.permutations("zyx").map("".join) | st.permutations([0, 1, 7]),
    "input.offset_sign": st.sampled_from([-1, 1]),
    "input.invert": st.booleans(),
    "input.scale": st.none() | st.floats(1e-300, 1e300),
    "input.voxel_size_nm": st.none() | st.lists(st.floats(0.1, 1e6), min_size=3, max_size=3),
    "input.voxel_offset": st.none() | st.lists(st.integers(-999, 999), min_size=3, max_size=3),
    "input.axes": st.none() | st.permutations("zyxc").map("".join),
    "input.doubtful": st.sampled_from(["refuse", "warn"]),
    "input.version": st.none() | texts | st.integers(),
    "mask.path": st.none() | texts,
    "mask.mip": st.integers(0, 9),
    "block.size": st.lists(st.integers(130, 900), min_size=3, max_size=3),
    "block.overlap": st.lists(st.integers(0, 64), min_size=3, max_size=3),
    "segment.threshold": fractions,
    "segment.merge_function": st.sampled_from(["mean", "aff75_his256"]),
    "segment.supervoxels": st.sampled_from(["waterz", "3d", "2d"]),
    "segment.aff_thresholds": st.tuples(st.floats(0, 0.4), st.floats(0.5, 1)),
    "segment.interior_threshold": fractions,
    "segment.min_distance": st.integers(1, 9),
    "segment.min_size_vox": st.integers(0, 10**9),
    "pool.rule": st.sampled_from(["mutual", "both", "iou", "any"]),
    "pool.min_overlap_vox": st.integers(1, 99),
    "pool.min_frac": fractions,
    "pool.min_iou": fractions,
    "apply.chunk_size": triples,
    "apply.compress": st.sampled_from([None, "gzip"]),
    "apply.mips": st.integers(0, 10),
    "runner.offered": st.just(["local"]),
    "local.workers": st.none() | st.integers(1, 64),
    "local.memory": st.none() | st.integers(1, 2**45) | st.sampled_from(["8GiB", "512M"]),
    "method": st.sampled_from(["overlap", "exact"]),
    "exact.s2": st.integers(200, 999),
    "exact.dust": st.integers(0, 200),
    "exact.advanced.t_low": st.integers(1, 25),
    "exact.advanced.t_high": st.integers(241, 256),
    "exact.advanced.s_min": st.integers(0, 99),
    "exact.advanced.t_size": st.integers(1, 255),
    "box": st.none() | st.just({"begin": [0, 0, 0], "end": [9, 9, 9]}),
    "box.begin": triples,
    "box.end": st.lists(st.integers(900, 10**6), min_size=3, max_size=3),
}


def test_every_key_is_tried() -> None:
    left = {
        "partition_format",
        "input.identity",
        "exact.lowest_threshold",
        "pool.largest_object_warning",
        "apply.encoding",
        "runner.default",
    }
    # Their values are of kinds that others have too.
    alike = ("docker.", "slurm.", "wait_for_input.", "notify.", "mesh.", "skeleton.")
    assert {k for k in known_keys() if not k.startswith(alike)} - set(VALUES) == left


COMMENT = re.compile(r"# c\d+; ä[^\r\n]*")


class Writer:
    """Writes a config in some layout, with a comment wherever one may stand."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.numbers = count()
        self.indent = " " * draw(st.integers(1, 5))

    def comment(self, *, own_line: str | None = None) -> str:
        if not self.draw(st.booleans()):
            return ""
        text = f"# c{next(self.numbers)}; ä {self.draw(st.sampled_from(['', '{', 'a: b', '# x', '- 1']))}"
        return f"  {text}" if own_line is None else f"{own_line}{text}\n"

    def scalar(self, value: Any) -> str:
        style = self.draw(st.sampled_from([None, "'", '"'])) if isinstance(value, str) else None
        dumped = yaml.safe_dump(
            [value], default_style=style, default_flow_style=True, allow_unicode=True, width=10**9
        )
        return str(dumped).strip()[1:-1]

    def value(self, value: Any, indent: str) -> str:
        """What stands behind ``key:``, with the end of the line."""
        if isinstance(value, list | tuple):
            items = [self.scalar(v) for v in value]
            style = self.draw(st.sampled_from(["flow", "lines", "block"]))
            if style == "flow":
                return f" [{', '.join(items)}]{self.comment()}\n"
            if style == "lines":
                parts = [f"{i}{',' if i is not items[-1] else ''}{self.comment()}\n" for i in items]
                return " [" + f"{indent}     ".join(parts) + f"{indent}     ]{self.comment()}\n"
            rows = [f"{indent}- {i}{self.comment()}\n" for i in items]
            return f"{self.comment()}\n{''.join(rows)}"
        if isinstance(value, str) and value.isalnum() and self.draw(st.booleans()):
            return f" >-{self.comment()}\n{indent}  {value}\n" if not value[0].isspace() else " x"
        return f" {self.scalar(value)}{self.comment()}\n"

    def section(self, name: str, keys: dict[str, Any], above: str = "") -> str:
        style = self.draw(st.sampled_from(["block", "flow", "lines"]))
        if not keys:
            return (
                f"{name}:{self.draw(st.sampled_from(['', ' {}', ' null', ' ~']))}{self.comment()}\n"
            )
        if style == "block":
            indent = above + self.indent
            rows = [
                self.comment(own_line=indent)
                + indent
                + (
                    self.section(k, v, indent)
                    if isinstance(v, dict)
                    else f"{k}:{self.value(v, indent)}"
                )
                for k, v in keys.items()
            ]
            return f"{name}:{self.comment()}\n{''.join(rows)}"
        entries = [
            f"{k}: {self.scalar(list(v) if isinstance(v, tuple) else v)}" for k, v in keys.items()
        ]
        if style == "flow":
            return f"{name}:  {{{', '.join(entries)}}}{self.comment()}\n"
        rows = [
            f"{e}{',' if i < len(entries) - 1 else ''}{self.comment()}\n"
            for i, e in enumerate(entries)
        ]
        more = f"{above}      "
        return f"{name}: {{{more.join(rows)}{more}}}{self.comment()}\n"

    def file(self, data: dict[str, Any]) -> str:
        parts = []
        for name, value in data.items():
            parts.append(self.comment(own_line=""))
            parts.append(
                self.section(name, value)
                if isinstance(value, dict)
                else f"{name}:" + self.value(value, "")
            )
            parts.append(self.draw(st.sampled_from(["", "\n", "\n\n"])))
        text = "".join(parts) + self.comment(own_line="")
        text = self.draw(st.sampled_from(["", "---\n", "\ufeff"])) + text
        text = self.draw(st.sampled_from([text, text.rstrip("\n"), text.rstrip("\n") + "\n...\n"]))
        return text.replace("\n", self.draw(st.sampled_from(["\n", "\r\n"])))


#: Choices by what is chosen where nothing is said.
CHOICES = {"method": "exact", "pool.rule": "mutual", "segment.supervoxels": "waterz"}
#: Keys that only some choices read.
READ_BY = {
    "pool.min_iou": ("pool.rule", "iou"),
    "pool.min_frac": ("pool.rule", "any"),
    "pool.min_overlap_vox": ("pool.rule", "mutual"),
    "segment.aff_thresholds": ("segment.supervoxels", "waterz"),
    "segment.interior_threshold": ("segment.supervoxels", "2d"),
    "segment.min_distance": ("segment.supervoxels", "3d"),
}


def put(data: dict[str, Any], key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        data = data.setdefault(section, {})
    data[leaf] = value


def without(data: dict[str, Any], key: str) -> None:
    section, _, leaf = key.rpartition(".")
    (data.get(section, {}) if section else data).pop(leaf, None)


@st.composite
def files_and_values(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=12))
    data: dict[str, Any] = {"paths": {"input": "/a", "output": "/b", "work": "/c"}}
    for key in keys:
        if key.partition(".")[0] != "box":
            put(data, key, draw(VALUES[key]))
    for choice, usual in CHOICES.items():
        section, _, leaf = choice.rpartition(".")
        chosen = (data.get(section, {}) if section else data).get(leaf, usual)
        for unread in unread_keys(RunConfig, choice, chosen):
            without(data, unread)
    for name in draw(st.lists(st.sampled_from(["segment", "pool", "apply", "local"]), max_size=2)):
        data.setdefault(name, {})
    if draw(st.booleans()):
        data["box"] = {"begin": draw(triples), "end": [1000, 1000, 1000]}
    changes: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3)):
        if key in unread_keys(RunConfig, "method", "exact"):
            changes["method"] = "overlap"
        if key in READ_BY:
            changes.update([READ_BY[key]])
        if key.startswith("exact."):
            changes["method"] = "exact"
        if key.startswith("box."):
            changes["box.begin"] = draw(triples)
        changes[key] = draw(VALUES[key])
    if draw(st.integers(0, 9)) == 0:
        return json.dumps(data, ensure_ascii=False, indent=draw(st.none() | st.just(1))), changes
    return Writer(draw).file(data), changes


def test_the_only_key_of_a_section_in_braces_leaves_the_commas_around_it() -> None:
    text = (
        '{"paths": {"input": "/a", "output": "/b", "work": "/c"}, "block": {"overlap": [0, 0, 0]}}'
    )
    new = with_values(text, "v.yaml", {"method": "exact"})
    assert '"work": "/c"}, "block": {}, method: exact}' in new


@examples(10, 2000)
@given(files_and_values())
def test_any_value_set_in_any_layout_reads_back_and_all_comments_stay(
    case: tuple[str, dict[str, Any]],
) -> None:
    text, values = case
    try:
        wanted = parse_config(text, "", values)
    except ConfigError:
        assume(False)
    new = with_values(text, "v.yaml", values)
    assert parse_config(new, "v.yaml") == wanted
    data = yaml.safe_load(new)
    last = list(values.items())[-1]
    if not any(k.startswith(last[0] + ".") or last[0].startswith(k + ".") for k in values):
        for name in last[0].split("."):
            data = data[name]
        assert data == (list(last[1]) if isinstance(last[1], tuple) else last[1])
        assert type(data) is not bool or isinstance(last[1], bool)
    there, before = ([c.rstrip() for c in COMMENT.findall(t)] for t in (new, text))
    assert sorted(there) == sorted(before)
    assert ("\r\n" in new) == ("\r\n" in text)
    assert "\r\n" not in text or new.count("\n") == new.count("\r\n")
    assert with_values(new, "v.yaml", values) == new


# ---------------------------------------------------------------------------- the file


def test_the_file_keeps_its_permissions_and_a_link_its_target(tmp_path: Path) -> None:
    target, link = tmp_path / "real.yaml", tmp_path / "v.yaml"
    target.write_bytes(MINIMAL.replace("\n", "\r\n").encode())
    target.chmod(0o640)
    link.symlink_to(target)
    set_values(link, {"segment.threshold": 0.5})
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.read_bytes().endswith(b"work: /data/work\r\nsegment:\r\n  threshold: 0.5\r\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["real.yaml", "v.yaml"]


def test_nothing_is_written_where_a_value_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(MINIMAL)
    before = path.stat()
    with pytest.raises(ConfigError, match=r"v\.yaml.*segment\.threshold"):
        set_values(path, {"pool.rule": "iou", "segment.threshold": 7})
    assert path.read_text() == MINIMAL
    assert path.stat().st_ino == before.st_ino


def test_a_file_that_can_t_be_read_or_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoInputError, match=r"none\.yaml"):
        set_values(tmp_path / "none.yaml", {"pool.rule": "iou"})
    path = tmp_path / "v.yaml"
    path.write_bytes(MINIMAL.encode() + b"# gr\xfc\xdfe\n")
    with pytest.raises(ConfigError, match=r"v\.yaml, line 5: not UTF-8"):
        set_values(path, {"pool.rule": "iou"})
    path.write_text(OVERLAP)
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may all
    with pytest.raises(OutputError, match="write-protected"):
        set_values(path, {"pool.rule": "iou"})
    assert path.read_text() == OVERLAP
