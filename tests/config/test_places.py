"""Paths that aren't absolute, that a shell would have replaced, and texts that end in a line break."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from magneton_tasks.base.location import locate
from magneton_tasks.cli.config.places import as_url
from magneton_tasks.config.read import parse_config
from magneton_tasks.errors import ConfigError
from tests.helpers.plans import MINIMAL, a_config

HOME = "/home/somebody"
#: What people write, and what they are told to write instead.
NOT_ABSOLUTE = {
    "~/seg": f"file://{HOME}/seg",
    "~": f"file://{HOME}",
    "file://~/seg": f"file://{HOME}/seg",
    "precomputed://~/seg": f"file://{HOME}/seg",
    "$HOME/seg": f"file://{HOME}/seg",
    "${HOME}/seg": f"file://{HOME}/seg",
    "file://$HOME/seg": f"file://{HOME}/seg",
    "/home/$USER/seg": "file:///home/somebody/seg",
    "file:/data/seg": "file:///data/seg",
    "file:data/seg": "file:///data/seg",
    "gs:/bucket/seg": "gs://bucket/seg",
    "gs://$BUCKET/seg": "gs://cortex/seg",
    "s3:bucket/seg": "s3://bucket/seg",
    "seg": "file:///data/seg",
    "./seg": "file:///data/seg",
    "../seg": "file:///data/seg",
    "precomputed://seg": "file:///data/seg",
    "C:/seg": "file:///data/C:/seg",
    "{partition}/seg": "file:///data/{partition}/seg",
    "file://host/seg": "three slashes",
    " /data/seg": "remove",
    "/data/seg ": "remove",
    "/data/seg\n": "remove",
    "file:///data/seg\n": "remove",
    "/data/se\x07g": "remove",
}


@pytest.fixture(autouse=True)
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HOME", HOME), ("USER", "somebody"), ("BUCKET", "cortex")):
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("key", ["paths.input", "paths.output", "mask.path"])
@pytest.mark.parametrize("text", NOT_ABSOLUTE)
def test_a_volume_that_isn_t_absolute_is_refused_with_what_to_write(key: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        a_config({key: text})
    assert key in str(caught.value)
    assert NOT_ABSOLUTE[text] in str(caught.value)


@pytest.mark.parametrize("text", ["~/w", "$HOME/w", "w", "file:/w", "/w\n", " /w", "/home/$USER/w"])
def test_so_is_a_work_directory(text: str) -> None:
    with pytest.raises(ConfigError, match=r"paths\.work"):
        a_config({"paths.work": text})


@pytest.mark.parametrize("text", ["~/done", "$HOME/done", "file:/data/done", "done\n"])
def test_so_is_a_marker(text: str) -> None:
    with pytest.raises(ConfigError, match=r"wait_for_input\.marker"):
        a_config({"wait_for_input.marker": text})


@pytest.mark.parametrize("text", ["done", "a/done.txt", "/data/done", "gs://b/{partition}/done"])
def test_markers_that_name_a_place(text: str) -> None:
    assert a_config({"wait_for_input.marker": text}).wait_for_input.marker == text


@pytest.mark.parametrize(
    "text",
    ["/data/seg", "file:///data/seg", "precomputed://file:///data/seg", "zarr:///data/aff.zarr",
     "gs://bucket/seg", "precomputed://s3://bucket/seg", "https://host/seg", "/data/a b/µ/seg~",
     "/data/cost$/seg", "/data/{partition}/seg"],
)  # fmt: skip
def test_absolute_ones_stay_as_they_are(text: str) -> None:
    assert a_config({"mask.path": text}).mask.path == text


@pytest.mark.parametrize("text", ["~/seg", "file:/data/seg", "file://~/seg", "gs:/bucket/seg"])
def test_commands_refuse_what_would_be_a_strange_path_here(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        locate(text)
    assert NOT_ABSOLUTE[text] in str(caught.value)


def test_what_a_person_types_for_a_new_config_is_expanded() -> None:
    assert as_url("~/seg") == f"file://{HOME}/seg"
    assert as_url("file:/data/seg") == "file:///data/seg"
    assert as_url("zarr://file:/data/seg") == "zarr://file:///data/seg"
    assert as_url("seg") == f"file://{Path.cwd()}/seg"
    assert as_url("gs:/bucket/seg") == "gs:/bucket/seg"


@pytest.mark.parametrize(
    "key",
    ["slurm.account", "slurm.slurm_partition", "slurm.qos", "slurm.constraint", "slurm.host",
     "slurm.python", "docker.image", "docker.network", "docker.engine"],
)  # fmt: skip
def test_names_that_end_in_a_line_break_are_refused(key: str) -> None:
    section, _, leaf = key.partition(".")
    good = "unix:///run/docker.sock" if leaf == "engine" else "name"
    a_config({key: good})  # the name by itself is fine
    with pytest.raises(ConfigError, match=re.escape(key)):
        parse_config(f'{MINIMAL}{section}: {{{leaf}: "{good}\\n"}}\n', "v.yaml")


@pytest.mark.parametrize("partition", ["2026-01-01\n", " a", "a\x00b", ""])
def test_partitions_that_can_t_be_seen_are_refused(partition: str) -> None:
    paths = {f"paths.{k}": f"/{k}/{{partition}}" for k in ("input", "output", "work")}
    with pytest.raises(ConfigError, match="partition"):
        a_config(paths, partition)
