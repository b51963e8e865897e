"""What a DAG parse makes of volume configs, good and broken. No test here runs a task."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import timezone
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from magneton_tasks.airflow.dag import catalog
from magneton_tasks.config import roots
from magneton_tasks.config.read import RunConfig, load_config
from magneton_tasks.plan.stage_table import CHOICE_OF, MAPPED, TABLE, stages_asked, stages_of
from tests.airflow.parsing import modules_of_a_parse
from tests.helpers.odd_configs import ODD, TYPICAL

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "DracoPy",
    "PIL",
    "bioimage_cpp",
    "cloudfiles",
    "cloudvolume",
    "fastremap",
    "numba",
    "numpy",
    "pyarrow",
    "scipy",
    "tinybrain",
    "waterz",
    "zarr",
}

#: Set by Airflow where a task's process parses.
PARSED_DAG = "_AIRFLOW_PARSING_CONTEXT_DAG_ID"

Load = Callable[[Path], dict[str, Any]]
Write = Callable[..., Path]


def test_each_config_becomes_one_dag(load_dags: Load, write_config: Write) -> None:
    write_config("cortex")
    path = write_config("retina")
    (path.parent / "notes.txt").write_text("not a config")
    assert set(load_dags(path.parent)) == {
        "instance_segmentation.cortex",
        "instance_segmentation.retina",
    }


def test_places_may_be_folders_and_files(
    load_dags: Load, write_config: Write, tmp_path: Path
) -> None:
    first = write_config("cortex")
    single = tmp_path / "sample.yaml"
    single.write_text(first.read_text())
    places = Path(f"{first.parent}{os.pathsep}{single}")
    assert set(load_dags(places)) == {
        "instance_segmentation.cortex",
        "instance_segmentation.sample",
    }


def test_stages_follow_one_another(load_dags: Load, write_config: Write) -> None:
    dag = load_dags(write_config("cortex").parent)["instance_segmentation.cortex"]
    order = ["plan", "segment", "count", "pool", "apply", "downsample", "verify", "announce"]
    for before, after in pairwise(order):
        assert before in dag.task_dict[after].upstream_task_ids
    mapped = {t.task_id for t in dag.tasks if t.is_mapped}
    assert mapped == {"segment", "count", "apply", "downsample", "verify"}


def test_the_exact_method_has_eight_slots_for_rounds_and_offers_what_it_reads(
    load_dags: Load, write_config: Write
) -> None:
    dag = load_dags(write_config("cortex", "method: exact\n").parent)[
        "instance_segmentation.cortex"
    ]
    rounds = [f"round{k}" for k in range(8)]
    order = ["plan", "segment", "faces", *rounds, "pool", "cut", "apply"]
    for before, after in pairwise(order):
        assert before in dag.task_dict[after].upstream_task_ids
        if after in (*rounds, "cut"):  # its groups are known once the stage before is done
            assert before in dag.task_dict[f"batches.{after}"].upstream_task_ids
    folded = {*rounds, *(f"batches.{name}" for name in rounds)}
    assert set(dag.task_group_dict["rounds"].children) == folded
    offered = set(dag.params)
    assert {"segment.threshold", "exact.s2", "exact.advanced.t_high"} <= offered
    assert not {"segment.merge_function", "pool.rule", "block.overlap.z"} & offered


def test_verify_alone_decides_about_green(load_dags: Load, write_config: Write) -> None:
    dag = load_dags(write_config("cortex").parent)["instance_segmentation.cortex"]
    teardowns = {t.task_id for t in dag.tasks if t.is_teardown}
    leaves = [
        t.task_id for t in dag.tasks if not t.downstream_task_ids - teardowns and not t.is_teardown
    ]
    assert leaves == ["announce"], "it comes after verify; the teardown doesn't count"
    release = dag.task_dict["release"]
    assert release.is_teardown and not release.on_failure_fail_dagrun
    # others of its mapped tasks go on when one has failed, and nothing after them waits for these
    mapped = {t.task_id for t in dag.tasks if t.task_id.rpartition(".")[2] in (*MAPPED, "verify")}
    at_work = {name for name in mapped if not name.startswith("batches.")}
    assert len(at_work) >= 5 and release.upstream_task_ids == {"announce", *at_work}
    # all_done would turn a failed run green; all_success would skip what follows an empty stage
    rules = {t.trigger_rule for t in dag.tasks if not t.is_teardown}
    assert rules == {"none_failed"}


def test_dags_can_be_saved_by_airflow(load_dags: Load, write_config: Write) -> None:
    write_config("broken", "segmet: {}\n")
    for dag in load_dags(write_config("cortex", 'schedule: "0 3 * * *"\n').parent).values():
        saved = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        assert saved.dag_id == dag.dag_id


@pytest.mark.parametrize("method", ["overlap", "exact"])
@pytest.mark.parametrize("offered", ["[local]", "[docker]", "[local, slurm]"])
def test_airflow_can_draw_it(
    load_dags: Load, write_config: Write, method: str, offered: str
) -> None:
    """Grid and graph sort groups as a whole, so that these may not go in a circle either."""
    default = offered.strip("[]").split(",")[0]
    more = f"method: {method}\nrunner: {{offered: {offered}, default: {default}}}\n"
    dag = load_dags(write_config("cortex", more).parent)["instance_segmentation.cortex"]
    saved = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    groups = saved.task_group.get_task_group_dict()
    names = [node.node_id for node in saved.task_group.topological_sort(group_dict=groups)]
    end = "" if offered.count(",") == 0 else f"_{default}"
    stages = [f"segment{end}", *(["rounds"] if method == "exact" else []), f"pool{end}"]
    order = [names.index(name) for name in ("plan", "batches", *stages)]
    assert order == sorted(order), names
    for group in groups.values():
        assert len(group.topological_sort(group_dict=groups)) == len(group.children)


def test_schedule_comes_from_the_config(load_dags: Load, write_config: Write) -> None:
    write_config("nightly", 'schedule: "0 3 * * *"\n')
    dags = load_dags(write_config("by_hand").parent)
    nightly, by_hand = dags["instance_segmentation.nightly"], dags["instance_segmentation.by_hand"]
    assert nightly.schedule == "0 3 * * *"
    assert by_hand.schedule is None
    # a run by hand starts at once; a schedule waits until somebody switches it on
    assert nightly.is_paused_upon_creation and not by_hand.is_paused_upon_creation
    for dag in dags.values():
        assert dag.max_active_runs == 1 and not dag.catchup


def test_only_a_config_that_says_so_waits_for_its_input(
    load_dags: Load, write_config: Write
) -> None:
    write_config("late", "wait_for_input: {timeout: 12h, marker: DONE}\n")
    write_config("spared", "wait_for_input: {missing: skip}\n")
    dags = load_dags(write_config("cortex").parent)
    for name, upstream in (
        ("late", {"wait_for_input"}),
        ("spared", {"wait_for_input"}),
        ("cortex", set()),
    ):
        assert dags[f"instance_segmentation.{name}"].task_dict["plan"].upstream_task_ids == upstream


def test_the_output_is_an_asset_named_like_the_dag(load_dags: Load, write_config: Write) -> None:
    dag = load_dags(write_config("cortex").parent)["instance_segmentation.cortex"]
    (outlet,) = dag.task_dict["announce"].outlets
    assert outlet.name == "instance_segmentation.cortex"


def test_notifiers_are_called_after_a_failure_or_a_success(
    load_dags: Load, write_config: Write
) -> None:
    mail = "{notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier, arguments: {to: lab@example.org}}"
    path = write_config("told", f"notify: {{failure: [{mail}]}}\n")
    dag = load_dags(path.parent)["instance_segmentation.told"]
    (notifier,) = dag.on_failure_callback
    assert notifier.to == "lab@example.org" and not dag.on_success_callback


def test_page_shows_the_config(load_dags: Load, write_config: Write) -> None:
    path = write_config("cortex", "segment: {threshold: 0.37}\n")
    page = load_dags(path.parent)["instance_segmentation.cortex"].doc_md
    assert "threshold: 0.37" in page and "min_overlap_vox" in page and str(path) in page
    assert "`scripts/airflow dags trigger instance_segmentation.cortex" in page
    assert "schedule: null" in page and "backfill" not in page, "nothing to fill without partitions"
    daily = write_config("daily", 'schedule: "0 3 * * *"\n', partition=True)
    page = load_dags(daily.parent)["instance_segmentation.daily"].doc_md
    assert "`scripts/airflow backfill create --dag-id instance_segmentation.daily" in page


def test_a_backfill_as_the_pages_show_it_takes_the_last_day(
    load_dags: Load, write_config: Write
) -> None:
    """A date alone is its midnight, before that day's run."""
    config = write_config("daily", 'schedule: "0 3 * * *"\n', partition=True)
    dag = load_dags(config.parent)["instance_segmentation.daily"]
    saved = DagSerialization.from_dict(DagSerialization.to_dict(dag))

    def days(begin: str, end: str) -> list[str]:
        infos = saved.iter_dagrun_infos_between(timezone.parse(begin), timezone.parse(end))
        return [f"{info.logical_date:%Y-%m-%d}" for info in infos]

    shown = re.compile(r"--from-date (\S+) --to-date ([^\s`]+)")
    for text in ((ROOT / "docs" / "backfill.md").read_text(), dag.doc_md):
        for begin, end in shown.findall(text):
            taken = days(begin, end)
            assert [taken[0], taken[-1]] == [begin[:10], end[:10]]
            assert days(begin, end[:10]) == taken[:-1]
        assert shown.search(text)


# ------------------------------------------------------------------------------ broken configs


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("segment: {treshold: 0.6}\n", ["line 5", "segment.treshold", "segment.threshold"]),
        ("segment: {threshold: 3}\n", ["line 5", "segment.threshold"]),
        ("segment: {threshold: 0.5\n", ["line", "malformed YAML"]),
        ('schedule: "every day"\n', ["schedule", "every day", "cron"]),
        ("- a list\n", ["malformed YAML"]),
        ("notify: {failure: [{notifier: no.such.Thing}]}\n", ["notify.failure", "no.such.Thing"]),
        ("notify: {success: [{notifier: os.path.join}]}\n", ["notify.success", "notifiers"]),
        (
            "notify: {failure: [{notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier}]}\n",
            ["doesn't take these arguments", "to"],
        ),
    ],
)
def test_broken_config_becomes_a_dag_that_says_so(
    load_dags: Load, write_config: Write, more: str, says: list[str]
) -> None:
    path = write_config("broken", more)
    write_config("good")
    dags = load_dags(path.parent)
    assert "plan" in dags["instance_segmentation.good"].task_dict, "a good one must not suffer"
    broken = dags["instance_segmentation.broken"]
    assert "broken" in broken.tags and broken.schedule is None
    for word in [str(path), *says]:
        assert word in broken.doc_md
    (task,) = broken.tasks
    with pytest.raises(Exception, match="broken.yaml") as failure:
        task.execute({})
    assert type(failure.value).__name__ == "AirflowFailException"  # no retry mends a file


@pytest.mark.parametrize("kind", TYPICAL)
def test_odd_config_file_becomes_a_dag_that_says_so(
    load_dags: Load, write_config: Write, kind: str
) -> None:
    path = write_config("broken")
    write_config("good")
    path.unlink()
    make, reason = ODD[kind]
    make(path)
    dags = load_dags(path.parent)
    assert "plan" in dags["instance_segmentation.good"].task_dict
    broken = dags["instance_segmentation.broken"]
    assert "broken" in broken.tags
    assert reason in broken.doc_md


def test_same_name_twice_is_told(load_dags: Load, write_config: Write, tmp_path: Path) -> None:
    first = write_config("cortex")
    other = tmp_path / "more" / "cortex.yaml"
    other.parent.mkdir()
    other.write_text(first.read_text())
    dags = load_dags(Path(f"{first.parent}{os.pathsep}{other.parent}"))
    assert "plan" in dags["instance_segmentation.cortex"].task_dict
    assert "broken" in dags["instance_segmentation.cortex.2"].tags
    assert "the same DAG" in dags["instance_segmentation.cortex.2"].doc_md


@pytest.mark.parametrize("length", [218, 228, 229, 249])
def test_a_long_name_takes_no_other_dag_along(
    load_dags: Load, write_config: Write, length: int
) -> None:
    """Airflow's ids have 250 characters, a file's name up to 255: each of these has its own DAG."""
    write_config("good")
    write_config("L" * length)
    folder = write_config("L" * (length - 1) + "M").parent
    write_config("L" * (length - 1) + "é")  # its letter isn't an id's
    broken = write_config("L" * (length - 1) + "N", "segmet: {}\n")
    dags = load_dags(folder)
    assert len(dags) == 5
    assert all(len(dag_id) <= 250 for dag_id in dags)
    assert sum("plan" in dag.task_dict for dag in dags.values()) == 4
    (told,) = (dag for dag in dags.values() if "broken" in dag.tags)
    assert str(broken) in told.doc_md


def test_a_name_that_is_no_text_takes_no_other_dag_along(
    load_dags: Load, write_config: Write
) -> None:
    """What a parse found goes to Airflow as UTF-8: all DAGs of a file, or none."""
    good = write_config("good")
    good.with_name(os.fsdecode(b"caf\xe9.yaml")).write_text(good.read_text())
    dags = load_dags(good.parent)
    assert set(dags) == {"instance_segmentation.good", "instance_segmentation.caf_"}
    assert "isn't UTF-8" in dags["instance_segmentation.caf_"].doc_md
    for dag in dags.values():
        json.dumps(DagSerialization.serialize_dag(dag), ensure_ascii=False).encode()


@pytest.mark.parametrize("reason", ["", "a\0b", "\udce9", "x" * 10**6, "```\n{{ 1/0 }}\n"])
def test_a_broken_config_becomes_a_dag_whatever_it_says(reason: str) -> None:
    dag = catalog.broken("instance_segmentation.x", Path("/configs/\udce9.yaml"), reason)
    saved = json.dumps(DagSerialization.serialize_dag(dag), ensure_ascii=False)
    assert "\\u0000" not in saved and saved.encode()


def test_hidden_files_are_no_configs(load_dags: Load, write_config: Write) -> None:
    path = write_config("cortex")
    path.with_name(".#cortex.yaml").symlink_to("user@host.1:1")
    path.with_name("._cortex.yaml").write_bytes(b"\x00\x05\x16\x07Mac OS X\xff")
    assert set(load_dags(path.parent)) == {"instance_segmentation.cortex"}


def test_no_configs_no_dags(load_dags: Load, tmp_path: Path) -> None:
    assert load_dags(tmp_path / "nowhere") == {}


# ------------------------------------------------------------------------------ the form


def test_form_has_the_defaults_of_the_file(load_dags: Load, write_config: Write) -> None:
    path = write_config("cortex", "segment: {threshold: 0.37}\nblock: {size: [96, 128, 160]}\n")
    form = load_dags(path.parent)["instance_segmentation.cortex"].params
    assert form["segment.threshold"] == 0.37
    assert [form[f"block.size.{axis}"] for axis in "zyx"] == [96, 128, 160]
    assert form["pool.rule"] == "mutual"
    assert form["restart"] is False


@pytest.mark.parametrize(("method", "said"), [("exact", "from the map"), ("overlap", "0.7")])
def test_an_empty_threshold_says_what_it_stands_for(
    load_dags: Load, write_config: Write, method: str, said: str
) -> None:
    path = write_config("cortex", f"method: {method}\n")
    param = load_dags(path.parent)["instance_segmentation.cortex"].params.get_param(
        "segment.threshold"
    )
    assert param.value is None
    assert param.schema["type"] == ["number", "null"]  # not required, and a number where given
    assert param.description is not None and param.description.endswith(f"Empty: {said}.")
    assert "null" not in param.description


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("segment.threshold", [0, 0.5, 1, None], [-0.1, 1.1, "0.5"]),
        ("segment.merge_function", ["mean", "aff75_his256"], ["aff33_his256", "", None]),
        ("segment.supervoxels", ["waterz", "3d", "2d"], ["4d"]),
        ("segment.aff_thresholds.low", [0, 0.1], [-0.1, "0.1", None, [0.1, 0.9]]),
        ("segment.aff_thresholds.high", [0.9, 1], [2]),
        ("segment.min_size_vox", [0, 100], [-1, 0.5, None]),
        ("block.size.z", [1, 256], [0, 0.5, None, [64, 64, 64]]),
        ("block.overlap.x", [0], [-1]),
        ("apply.chunk_size.y", [64], [0]),
        ("pool.rule", ["mutual", "both", "iou", "any"], ["best"]),
        ("pool.min_frac", [0.3], [30]),
        ("apply.mips", [0, 10], [-1, 11]),
        ("apply.encoding", ["raw"], ["jpeg"]),
        ("stages", [["segment"], ["segment", "pool"]], [[], ["plan"], ["pool", "pool"]]),
        ("partition", [None, "2026-01-31", "a"], ["a/b", "", "..", "a b"]),
        ("restart", [True], ["yes", None]),
    ],
)
def test_parameters_are_typed_and_bounded(
    load_dags: Load, write_config: Write, key: str, good: list[Any], bad: list[Any]
) -> None:
    param = load_dags(write_config("cortex", partition=key == "partition").parent)[
        "instance_segmentation.cortex"
    ].params.get_param(key)
    for value in good:
        param.resolve(value)
    for value in bad:
        with pytest.raises(ParamValidationError):
            param.resolve(value)


def test_only_fields_that_do_something_are_shown(
    load_dags: Load, write_config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(roots.ROOTS_VARIABLE, raising=False)
    write_config("daily", partition=True)
    dags = load_dags(write_config("cortex").parent)
    cortex = set(dags["instance_segmentation.cortex"].params)
    daily = set(dags["instance_segmentation.daily"].params)
    assert daily - cortex == {"partition"} and not cortex - daily
    assert "runner.default" not in cortex, "one runner is no choice"
    assert not cortex & set(roots.PATH_KEYS), "no path may come from a form without roots"


def test_paths_are_offered_under_roots(
    load_dags: Load, write_config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(roots.ROOTS_VARIABLE, f"/data/em{os.pathsep}/scratch")
    path = write_config("cortex")
    path.write_text(path.read_text().replace("  output: ", "  output: gs://bucket #"))
    params = load_dags(path.parent)["instance_segmentation.cortex"].params
    assert "paths.output" not in params, "a bucket isn't under the roots"
    assert params["mask.path"] is None
    for key in ("paths.input", "paths.work", "mask.path"):
        param = params.get_param(key)
        param.resolve(params[key])  # the file's own may lie elsewhere: nothing is red at opening
        for good in ("/data/em/a", "file:///scratch/a/b", "precomputed://file:///data/em/x"):
            param.resolve(good)
        for bad in ("/data/em", "/data/else", "/etc/passwd", "gs://bucket/x", "", "/scratchy/a"):
            with pytest.raises(ParamValidationError):
                param.resolve(bad)
        assert "/data/em or /scratch" in param.description
        assert "null" not in param.description


def test_every_parameter_explains_itself(load_dags: Load, write_config: Write) -> None:
    params = load_dags(write_config("cortex").parent)["instance_segmentation.cortex"].params
    for key in params:
        param = params.get_param(key)
        assert param.description and param.schema["title"], key
        assert "null" not in param.description, f"{key}: a form has empty fields, no null"
        assert "[z, y, x]" not in param.description, f"{key}: a field for each number"


def test_what_people_change_stands_open_and_closed_sections_tell_their_values(
    load_dags: Load, write_config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow opens what is in no section, and puts it where its first field is."""
    monkeypatch.setenv(roots.ROOTS_VARIABLE, "/")
    more = "runner: {offered: [local, docker], default: local}\nblock: {size: [96, 128, 160]}\nsegment: {aff_thresholds: [0.1, 0.9]}\n"
    path = write_config("cortex", more, partition=True)
    params = load_dags(path.parent)["instance_segmentation.cortex"].params
    sections = {key: params.get_param(key).schema.get("section", "") for key in params}
    opened = ["segment.threshold", "stages", "runner.default", "partition", "restart"]
    assert list(sections)[: len(opened)] == opened
    assert [key for key, section in sections.items() if not section] == opened
    titles = list(dict.fromkeys(sections.values()))[1:]
    headings = [title.split(":")[0] for title in titles]
    assert headings == ["Paths", "Blocks", "Segmentation", "Pooling", "Output"]
    assert titles[1] == "Blocks: block size 96 x 128 x 160, overlap 32 x 32 x 32, mip 0"
    assert "watershed thresholds 0.1 to 0.9, " in titles[2]
    day = "{partition}"
    assert titles[0].startswith(f"Paths: affinity map .../no-such-volume/{day}, segmentation .../")
    assert titles[0].endswith(f"work directory .../work/{day}, no mask")
    assert str(path.parent.parent) not in titles[0], "whole paths would fill the form"


@pytest.mark.parametrize("method", ["overlap", "exact"])
def test_no_field_is_an_editor_of_json(
    load_dags: Load, write_config: Write, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """As Airflow's form decides: objects, lists of anything but texts, and values of several types."""
    monkeypatch.setenv(roots.ROOTS_VARIABLE, "/")
    path = write_config("cortex", f"method: {method}\n")
    path.write_text(path.read_text().replace("segmentation", "at-{threshold}"))
    params = load_dags(path.parent)["instance_segmentation.cortex"].params
    for key in params:
        schema = params.get_param(key).schema
        given = schema["type"]
        (kind,) = {given} if isinstance(given, str) else {*given} - {"null"}
        assert kind in ("string", "number", "integer", "boolean", "array"), key
        if kind == "array":
            assert schema["items"]["type"] == "string" and schema["examples"], key


@pytest.mark.parametrize("method", ["overlap", "exact"])
@pytest.mark.parametrize("offered", ["local", "local, docker", "slurm", "local, docker, slurm"])
def test_the_form_offers_what_the_dag_has_and_the_dag_has_what_the_form_offers(
    load_dags: Load, write_config: Write, method: str, offered: str
) -> None:
    """No value whose stage isn't there, and no stage that no value asks for."""
    default = offered.split(", ")[0]
    path = write_config(
        "cortex", f"method: {method}\nrunner: {{offered: [{offered}], default: {default}}}\n"
    )
    dag = load_dags(path.parent)["instance_segmentation.cortex"]
    config = load_config(path)
    asked: set[str] = set()
    for key in dag.params:
        schema = dag.params.get_param(key).schema
        for value in schema.get("enum", ()):
            chosen = config if key == "stages" else load_config(path, {key: value})
            runner = chosen.runner.default
            end = f"_{runner}" if ", " in offered else ""
            asked |= {f"{stage}{end}" for stage in stages_asked(chosen)}
    assert asked <= dag.task_dict.keys()
    known = {s.name for s in TABLE}
    stages = {task for task in dag.task_dict if task.split("_")[0] in known}
    assert stages == asked
    choices = dag.params.get_param("stages").schema["items"]["enum"]
    assert {CHOICE_OF[s] for s in stages_of(config.method) if s in CHOICE_OF} == set(choices)


# ------------------------------------------------------------------------------ what it costs


def test_a_task_reads_its_own_config_alone(
    load_dags: Load, write_config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, own = write_config("retina"), write_config("cortex")
    read: list[Path] = []

    def load(path: Path) -> RunConfig:
        read.append(path)
        return load_config(path)

    monkeypatch.setattr(catalog, "load_config", load)
    load_dags(own.parent)
    assert read == [own, other], "the parser reads all"
    read.clear()
    monkeypatch.setenv(PARSED_DAG, "instance_segmentation.cortex")
    assert set(load_dags(own.parent)) == {"instance_segmentation.cortex"}
    assert read == [own]
    monkeypatch.setenv(PARSED_DAG, "magneton_maintenance.cortex")
    assert not load_dags(own.parent)


def test_a_dag_is_saved_with_one_form(load_dags: Load, write_config: Write) -> None:
    """Not one a task, which took Airflow 0.2 s a DAG."""
    dag = load_dags(write_config("cortex").parent)["instance_segmentation.cortex"]
    saved = json.dumps(DagSerialization.serialize_dag(dag))
    assert saved.count('"segment.min_size_vox"') == 1


def test_a_parse_imports_nothing_heavy(write_config: Write) -> None:
    """Also without reading the volume: the configs name one that doesn't exist."""
    before, after = modules_of_a_parse(write_config("cortex").parent)
    imported = after - before
    assert "magneton_tasks" in imported
    assert not imported & HEAVY


@pytest.mark.parametrize("section", ["mesh", "skeleton"])
def test_stages_of_a_section_are_there_where_the_config_has_it(
    load_dags: Load, write_config: Write, section: str
) -> None:
    path = write_config("cortex", f"{section}: {{mip: 1}}\n")
    dag = load_dags(path.parent)["instance_segmentation.cortex"]
    of_objects = {s.name for s in TABLE if s.section}
    assert of_objects & dag.task_dict.keys() == {section, f"{section}_shards"}
    assert dag.get_task(section).upstream_task_ids >= {"downsample", f"batches.{section}"}
    assert dag.get_task("verify").upstream_task_ids >= {f"{section}_shards"}
    offered = {key.partition(".")[0] for key in dag.params} & {"mesh", "skeleton"}
    assert offered == {section}
    heading = dag.params.get_param(f"{section}.mip").schema["section"]
    assert heading.startswith(("Meshes: ", "Skeletons: "))
