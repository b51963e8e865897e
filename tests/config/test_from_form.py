"""What a form may set: plan takes what a form offers, and refuses everything else."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from magneton_tasks.config import from_form, keys
from magneton_tasks.config.read import RunConfig, known_keys
from magneton_tasks.config.roots import PATH_KEYS, ROOTS_VARIABLE
from magneton_tasks.errors import EXIT_CONFIG, ConfigError
from tests.helpers.plans import a_config

ROOTS = "/data"


@pytest.fixture(autouse=True)
def roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOTS_VARIABLE, ROOTS)


@pytest.mark.parametrize("key", from_form.KEYS)
def test_plan_takes_what_a_form_offers(key: str) -> None:
    from_form.check({key: 1})


@pytest.mark.parametrize("key", sorted({*known_keys(), "box"} - {*from_form.KEYS}))
def test_plan_refuses_everything_else(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_form.check({"segment.threshold": 0.5, key: 1})
    assert caught.value.exit_code == EXIT_CONFIG
    assert re.match(
        rf"{re.escape(key)} (can't be set by a run's|is not a) parameter", str(caught.value)
    )
    assert "segment.threshold, runner.default, paths.input" in str(caught.value.hint)


def test_every_path_of_the_form_is_held_against_the_roots() -> None:
    schema = keys.fields(RunConfig)
    texts = {
        key
        for key in from_form.KEYS
        if {str, type(None)} & {schema[key].annotation, *get_args(schema[key].annotation)}
    }
    # numbers or null; a name
    others = {"segment.threshold", "segment.merge_function", "mesh.error_nm"}
    assert texts - others == {*PATH_KEYS} == {*from_form.SECTIONS["Paths"]}


@pytest.mark.parametrize("key", ["method", "input.invert", "slurm.time", "slurm.memory"])
def test_no_form_may_change_what_none_offers(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} can't be set by a run's parameters"):
        from_form.check({key: 1})


def test_an_unknown_key_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(
        ConfigError,
        match=r"segment\.treshold is not a parameter; did you mean segment\.threshold\?",
    ):
        from_form.check({"segment.treshold": 1})


def test_a_path_is_refused_with_what_to_set_where_there_are_no_roots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(ROOTS_VARIABLE)
    config = a_config()
    assert not set(from_form.offered(config)) & set(from_form.SECTIONS["Paths"])
    with pytest.raises(ConfigError, match=rf"\${ROOTS_VARIABLE} isn't set") as caught:
        from_form.check({"paths.input": "/data/x"}, from_form.offered(config))
    assert "the volume's YAML file" in str(caught.value.hint)
