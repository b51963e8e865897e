"""Slurm reached over ssh, from a machine that calls the file system by other names: a real sshd."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from tests.cluster.slurm.cluster import STATE, Place
from tests.cluster.slurm.conftest import is_right


def test_over_ssh(host: str, expected: list[np.ndarray]) -> None:
    name = "a b'c\"d $(touch PWNED); `id` & x"
    place = Place(name)
    there = Path(tempfile.mkdtemp(prefix="cluster-", dir=STATE / "tests"))
    there.chmod(0o755)
    try:
        link = there / f"files {name}"
        link.symlink_to(place.path)
        path_map = {str(place.path): str(link)}
        told = place.run(place.volume({"host": host, "path_map": path_map, "probe": True}))
        assert is_right(place.path, expected), told
        assert place.calls() == [], "nothing of Slurm was run on this side"
        assert set(place.count("done").values()) == {1}
        assert not list(place.path.rglob("PWNED")) and not (STATE / "home" / "PWNED").exists()
    finally:
        place.remove()
        shutil.rmtree(there)


def test_a_host_that_isn_t_there_is_said(place: Place) -> None:
    told = place.run(place.volume({"host": "127.0.0.1:1", "give_up_s": 1}), code=None)
    assert "ssh to 127.0.0.1:1 failed" in told
