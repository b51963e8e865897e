"""The largest objects in 3D: thinned, packed, drawn, and shown in the report."""

from __future__ import annotations

import io
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magneton_tasks.outcome import after_verify
from magneton_tasks.outcome.page.shapes import shown
from magneton_tasks.outcome.report_facts import pool_report
from magneton_tasks.outcome.shapes import of_output, packed, still
from magneton_tasks.outcome.shapes.shape import Shape, colour_of
from magneton_tasks.outcome.shapes.thinned import Lattice, on_lattice
from magneton_tasks.plan.object_grid import ObjectGrid
from magneton_tasks.work.attempt import Attempt
from tests.helpers import volumes
from tests.helpers.solids import LODS, ball, square, write_meshes
from tests.helpers.volumes import Run

FACTS = {"lod": 1, "lods": 3, "without": []}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of a sixteenth of the pixels take a sixteenth of the time."""
    monkeypatch.setattr(still, "WIDTH", still.WIDTH // 4)
    monkeypatch.setattr(still, "HEIGHT", still.HEIGHT // 4)


@pytest.mark.parametrize(
    ("object_id", "css"),
    [
        (1, (94, 128.09, 255)),
        (8589934625, (255, 239.22, 106)),
        (25769804375, (255, 30, 141.18)),
        (2**60 + 12345, (217.7, 68.5, 255)),
        (2**64 - 1, (210.53, 255, 3)),
    ],
)
def test_colours_are_those_of_neuroglancer(object_id: int, css: tuple[float, float, float]) -> None:
    """As its own client computed them."""
    assert [255 * c for c in colour_of(object_id)] == pytest.approx(css, abs=0.01)


def edges_of(shape: Shape) -> Counter[tuple[int, int]]:
    pairs = shape.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    return Counter(map(tuple, np.sort(pairs, axis=1).tolist()))


def test_a_thinned_surface_stays_closed() -> None:
    """Also where it came in parts, each with vertices of its own on the plane between them."""
    whole = ball((0, 0, 0), 500, steps=40)
    upper = whole.vertices[whole.faces].mean(axis=1)[:, 2] >= 0
    parts = [whole.faces[upper], whole.faces[~upper] + len(whole.vertices)]
    twice = Shape(1, 1, 1, np.tile(whole.vertices, (2, 1)), np.concatenate(parts))
    thin = on_lattice(twice, Lattice.around([twice], 30))
    assert 100 < len(thin.faces) < len(whole.faces)
    assert all(n % 2 == 0 for n in edges_of(thin).values())
    assert thin.vertices.max() <= 30 and thin.vertices.min() >= 0


def test_a_page_stays_small_however_much_there_is() -> None:
    shapes = [ball((1500 * k, 0, 0), 700, steps=90, object_id=k + 1) for k in range(2)]
    data, fine = packed.pack(shapes, 10**6, FACTS)
    assert packed.head_of(data)["steps"] == packed.FINEST
    most = len(data) * 2 // 3
    small, coarse = packed.pack(shapes, most, FACTS)
    assert len(small) <= most
    assert sum(len(s.faces) for s in coarse) < sum(len(s.faces) for s in fine)
    head = packed.head_of(small)
    assert [s["id"] for s in head["shapes"]] == ["1", "2"]
    for before, after in zip(shapes, coarse, strict=True):  # still where they were, in nm
        middle = after.vertices.min(axis=0) + np.ptp(after.vertices, axis=0) / 2
        assert np.abs(middle - before.vertices.mean(axis=0)).max() < 100


def test_what_lies_in_front_hides_what_lies_behind() -> None:
    """Squares across the line of sight: the small one in front, and the background is clear."""
    behind, front = square(100, depth=50, object_id=5), square(40, depth=-50, object_id=9)
    with Image.open(io.BytesIO(still.draw([front, behind]))) as image:
        pixels = np.array(image.convert("RGBA")).astype(int)
    height, width = pixels.shape[:2]
    colours = {s.id: np.array(s.colour) * 255 for s in (front, behind)}
    assert np.abs(pixels[height // 2, width // 2, :3] - colours[9]).max() < 8
    rows = np.flatnonzero(pixels[:, width // 2, 3] > 250)
    assert np.abs(pixels[rows[5], width // 2, :3] - colours[5]).max() < 8
    assert pixels[0, 0, 3] == 0
    share = (np.abs(pixels[..., :3] - colours[9]).max(axis=-1) < 8).sum() / (
        pixels[..., 3] > 128
    ).sum()
    assert share == pytest.approx((40 / 100) ** 2, abs=0.02)


def test_the_page_tells_of_objects_and_of_what_has_no_mesh() -> None:
    shapes = [ball((0, 0, 0), 700, object_id=2**60 + 1), ball((2000, 0, 0), 300, object_id=7)]
    data, thin = packed.pack(shapes, 10**6, {**FACTS, "without": ["12"]})
    found = shown(data, still.draw(thin))
    assert found is not None
    assert [item.id for item in found.each] == [str(2**60 + 1), "7"]  # JavaScript would round it
    assert "1,000 voxels" in found.each[0].size
    assert found.note.startswith("Level of detail 2 of 3") and "Without a mesh: 12." in found.note
    assert shown(data[:40], b"") is None


def test_the_report_shows_the_largest_objects_that_have_meshes(finished: Run) -> None:
    paths = finished.attempt.paths
    assert "page-shapes" not in paths.page.read_text()
    some = give_meshes(finished, 9)
    assert after_verify.run(finished.attempt, 0) == 0
    assert not paths.shapes.exists() and "shapes-" not in paths.page.read_text().split("<body")[1]
    assert after_verify.run(with_meshes(finished.attempt), 0) == 0
    head = packed.head_of(paths.shapes.read_bytes())
    assert [int(shape["id"]) for shape in head["shapes"]] == some
    assert (len(head["without"]), head["lod"], head["lods"]) == (1, 0, LODS)
    text = paths.page.read_text()
    assert '<section id="shapes">' in text and f"<code>{some[8]}</code>" in text
    # a run that has nothing to do takes them over
    shutil.rmtree(Path(finished.attempt.config.paths.output.removeprefix("file://")) / "mesh")
    again = volumes.run_pipeline(Path(finished.plan.config_path)).attempt.paths
    assert again.shapes.read_bytes() == paths.shapes.read_bytes()
    assert '<section id="shapes">' in again.page.read_text()


def test_where_there_is_much_a_coarser_level_is_read(
    finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_meshes(finished, 3)
    monkeypatch.setattr(of_output, "_ENOUGH_BYTES", 10)
    found = of_output.largest_objects(finished.attempt)
    assert found is not None
    assert (found.lod, len(found.shapes)) == (1, 3)
    for k, shape in enumerate(found.shapes):  # in nm, where they lie
        assert np.ptp(shape.vertices, axis=0) == pytest.approx([600, 600, 600], rel=0.02)
        assert shape.vertices.min(axis=0) == pytest.approx([900 * k - 300, -300, -300], abs=5)
    monkeypatch.setattr(of_output, "_MOST_BYTES", 10)
    assert of_output.largest_objects(finished.attempt) is None


def test_a_mesh_that_cant_be_read_is_told_and_verify_stays_green(
    finished: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    give_meshes(finished, 2)
    folder = Path(finished.attempt.config.paths.output.removeprefix("file://")) / "mesh"
    for shard in folder.glob("*.shard"):
        os.truncate(shard, shard.stat().st_size // 2)
    assert after_verify.run(with_meshes(finished.attempt), 0) == 0
    assert "the objects couldn't be drawn in 3D" in "".join(capsys.readouterr())
    assert "page-shapes" not in finished.attempt.paths.page.read_text()


def with_meshes(attempt: Attempt) -> Attempt:
    """The attempt as if its config had the section `mesh`."""
    geometry = replace(attempt.plan.geometry, mesh=ObjectGrid(0, 1, 1))
    return replace(attempt, plan=replace(attempt.plan, geometry=geometry))


def give_meshes(run: Run, count: int) -> list[int]:
    """Give the largest objects of a run meshes, and one that isn't among them; returns their ids."""
    largest = (pool_report(run.attempt) or {})["largest"]
    ids = [o["global_id"] for o in largest[:count]]
    shapes = [ball((900 * k, 0, 0), 300, object_id=i) for k, i in enumerate([*ids, 2**50])]
    folder = Path(run.attempt.config.paths.output.removeprefix("file://"))
    write_meshes(folder, shapes, volumes.VOXEL_NM)
    return ids
