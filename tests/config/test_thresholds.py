"""Several thresholds: what they are called, and where their results lie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.config.read import RunConfig, parse_config
from magneton_tasks.config.thresholds import (
    is_open,
    is_text,
    outputs_of,
    require_outputs,
    text_of,
    thresholds_of,
    uses_threshold,
    with_its_threshold,
    with_threshold,
)
from magneton_tasks.errors import EXIT_CONFIG, ConfigError
from tests.helpers.examples import examples
from tests.helpers.plans import MINIMAL, a_config

OUTPUT = "file:///data/{partition}/at {threshold}"


def exact(output: str) -> RunConfig:
    return parse_config(MINIMAL, "volume.yaml", {"paths.output": output})


@pytest.mark.parametrize(
    ("threshold", "text"),
    [
        (0.3, "0.3"), (0.30000000000000004, "0.30000000000000004"), (0.25, "0.25"), (0, "0"),
        (-0.0, "0"), (1, "1"), (1.0, "1"), (1e-5, "0.00001"), (1 / 3, "0.3333333333333333"),
        (2.5e-7, "0.00000025"),
    ],
)  # fmt: skip
def test_the_text_of_a_threshold_is_its_shortest_decimal(threshold: float, text: str) -> None:
    assert text_of(threshold) == text


@examples(100, 3000)
@given(st.floats(0, 1))
def test_the_text_reads_back_to_the_same_value(threshold: float) -> None:
    text = text_of(threshold)
    assert float(text) == threshold
    assert "e" not in text  # a path that people read
    assert thresholds_of(text) == (threshold,)


def test_different_thresholds_have_different_texts() -> None:
    near = [0.3, 0.1 + 0.2, 0.29999999999999993]
    assert len(set(map(text_of, near))) == 3


def test_thresholds_are_read_as_people_list_them() -> None:
    assert thresholds_of(".25,.3, 0.4") == (0.25, 0.3, 0.4)
    assert thresholds_of("0.5") == (0.5,)
    assert thresholds_of("1,0") == (1, 0)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no threshold"),
        (" , ", "no threshold"),
        (".3,", "'' isn't a threshold"),
        (".3;.4", "'.3;.4' isn't a threshold"),
        ("map", "'map' isn't a threshold"),
        ("1.2", "1.2 isn't an affinity"),
        ("-.1", "-.1 isn't an affinity"),
        ("nan", "nan isn't an affinity"),
        ("inf", "inf isn't an affinity"),
        (".3,.4,0.30", "0.3 is given twice"),
        ("0,-0", "0 is given twice"),
    ],
)
def test_what_is_no_list_of_thresholds_is_refused(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        thresholds_of(text)


def test_the_output_of_a_threshold() -> None:
    config = a_config({"paths.output": OUTPUT})
    assert uses_threshold(config)
    assert with_threshold(config, 0.3).paths.output == "file:///data/{partition}/at 0.3"
    assert config.paths.output == OUTPUT
    plain = a_config({})
    assert not uses_threshold(plain)
    assert with_threshold(plain, 0.3) == plain


def test_a_config_has_the_output_of_the_threshold_that_it_sets() -> None:
    config = parse_config(MINIMAL, "v.yaml", {"paths.output": OUTPUT, "segment.threshold": 0.25})
    assert with_its_threshold(config).paths.output == "file:///data/{partition}/at 0.25"
    overlap = a_config({"paths.output": OUTPUT})
    assert with_its_threshold(overlap).paths.output == "file:///data/{partition}/at 0.7"
    plain = exact("file:///data/seg")
    assert with_its_threshold(plain) == plain


def test_a_threshold_from_the_map_can_not_name_the_output_yet() -> None:
    config = with_its_threshold(exact(OUTPUT))
    assert is_open(config) and outputs_of(config, ()) == []
    assert not is_open(with_threshold(config, 0.3)) and not is_open(exact("file:///data/seg"))


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("0.3", True), ("0", True), ("1", True), ("0.30", False), (".3", False), ("2", False), ("old", False), ("", False)],
)  # fmt: skip
def test_what_the_placeholder_stands_for(text: str, is_one: bool) -> None:
    assert is_text(text) == is_one


@pytest.mark.parametrize("key", ["input", "work"])
def test_a_threshold_in_input_or_work_is_refused_with_file_and_line(key: str) -> None:
    paths = {
        "input": "file:///data/affinity",
        "output": "file:///data/at {threshold}",
        "work": "/data/work",
    }
    paths[key] += "-{threshold}"
    text = "paths:\n" + "".join(f"  {k}: '{v}'\n" for k, v in paths.items())
    with pytest.raises(
        ConfigError, match=f"{key} holds {{threshold}}, which may stand in output"
    ) as caught:
        parse_config(text, "volume.yaml")
    assert "volume.yaml, line" in str(caught.value)
    assert caught.value.exit_code == EXIT_CONFIG


def test_several_thresholds_need_their_own_outputs() -> None:
    config = exact("file:///data/seg")
    with pytest.raises(ConfigError, match="doesn't hold {threshold}") as caught:
        require_outputs(config, (0.25, 0.3, 0.4), "volume.yaml")
    assert caught.value.exit_code == EXIT_CONFIG
    assert "at 0.25, 0.3, 0.4 would write over each other" in str(caught.value)
    assert "paths.output: file:///data/seg-{threshold}" in str(caught.value)
    require_outputs(config, (0.25,), "volume.yaml")
    require_outputs(config, (), "volume.yaml")
    require_outputs(exact(OUTPUT), (0.25, 0.3), "volume.yaml")


def test_several_thresholds_are_cuts_which_only_exact_has() -> None:
    config = a_config({"paths.output": OUTPUT})
    with pytest.raises(ConfigError, match="need method: exact, and this is overlap"):
        require_outputs(config, (0.25, 0.3), "volume.yaml")
    require_outputs(config, (0.25,), "volume.yaml")
