"""Apply and verify of a sharded output against one of chunks, of the same blocks, in turns.

512^3 of pub128 continued by reflection (else of the sample) in blocks of 256, three mips; ``--full``:
voxels of 40 x 8 x 8 nm, too. All stages up to cut are worked once.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.exact import config_of, large_sample, planned, tiled, write
from benchmarks.in_process import done, stages
from benchmarks.measure import Row, forked, magneton, row
from magneton_tasks.base.geometry import Vec3
from magneton_tasks.plan.geometry import count_files

EDGE, BLOCK, TIMES = 512, 256, 3
MOST_CPU, MOST_FILES = 1.10, 200_000


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    with TemporaryDirectory() as directory:
        return [*_files(), *_rows(Path(directory))]


def _rows(root: Path) -> list[Row]:
    volume = root / "volume"
    make = tiled if tiled((32, 32, 32)) is not None else large_sample
    write(volume, make, (EDGE,) * 3)
    found: dict[str, list[tuple[float, float]]] = {"off": [], "on": []}
    peaks: dict[str, int] = {}
    bounds: dict[str, tuple[int, int]] = {}
    forked(lambda: str(stages(_config(volume, "off", 0), last="cut").root))
    _release(volume)
    for turn in range(TIMES):
        for form, spent in found.items():
            attempt, plan = planned(_config(volume, form, turn))
            batches = range(plan.work["apply"].batches)
            apply = sum(magneton("apply", "--run", attempt, "--batch", n).cpu_s for n in batches)
            spent.append((apply, magneton("verify", "--run", attempt).cpu_s))
            magneton("release", "--run", attempt)
            bounds[form] = (plan.memory["apply"].expected, plan.memory["apply"].bound)
            peaks[form] = max(r["peak_bytes"] for r in done(volume / "work", "apply-*"))
    least = {form: [min(t[k] for t in spent) for k in (0, 1)] for form, spent in found.items()}
    n = {f: sum(p.is_file() for p in (volume / f"{f}0").rglob("*")) for f in found}
    voxels = EDGE**3
    return [
        row(f"apply, {EDGE}^3 in blocks of {BLOCK}: shards / chunks", least["on"][0] / least["off"][0], "x", most=MOST_CPU),
        row("  of chunks", least["off"][0] / voxels * 1e6, "CPU us/voxel"),
        row("  of shards", least["on"][0] / voxels * 1e6, "CPU us/voxel"),
        row("  verify: shards / chunks", least["on"][1] / least["off"][1], "x"),
        row("  files: shards, chunks", f"{n['on']:,}, {n['off']:,}", ""),
        row("  peak of shards / bound", peaks["on"] / bounds["on"][1], "x", most=1.0),
        row("  peak of shards / expected", peaks["on"] / bounds["on"][0], "x", least=0.6, most=1.3),
    ]  # fmt: skip


def _config(volume: Path, form: str, turn: int) -> Path:
    output = {"paths": {"output": f"{volume}/{form}{turn}"}, "apply": {"sharding": form}}
    return config_of(volume, BLOCK, 0.3, **output)


def _release(volume: Path) -> None:
    (attempt,) = volume.glob("work/runs/*/1")
    magneton("release", "--run", attempt)


def _files() -> list[Row]:
    """What plan counts for a large volume."""
    from magneton_tasks.base.geometry import Box
    from magneton_tasks.config.read import parse_config
    from magneton_tasks.plan.geometry import make_geometry
    from magneton_tasks.plan.volume_facts import VolumeFacts

    chunk: Vec3 = (64, 64, 64)
    paths = "{input: file:///in, output: file:///out, work: /work}"
    config = parse_config(f"paths: {paths}", "made up")
    rows = []
    for size in ((8.0, 8.0, 8.0), (40.0, 4.0, 4.0)):
        facts = VolumeFacts(Box.of_shape((17_000,) * 3), size, chunk, "uint8", 3)
        n = count_files(make_geometry(config, facts), chunk)
        what = f"files of an output of 17,000^3, {' x '.join(f'{s:g}' for s in size)} nm"
        rows.append(row(what, n, "", most=MOST_FILES))
    return rows
