"""One attempt, opened by a stage: its frozen config and plan, its manifests and stores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.base.units import several
from magneton_tasks.base.worker_env import allowed_memory
from magneton_tasks.config.path_map import with_mapped_paths, with_mapped_roots
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.roots import check_roots
from magneton_tasks.config.settings import exact_settings
from magneton_tasks.config.thresholds import config_at, is_open, with_threshold
from magneton_tasks.errors import CorruptFileError, NoInputError, NotVisibleError
from magneton_tasks.plan.fingerprints import lowest_threshold
from magneton_tasks.plan.plan import Plan, ThresholdChoice
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.plan.stage_table import noun_of
from magneton_tasks.work import group_work, settled, threshold_of
from magneton_tasks.work.frozen import config_of, plan_of
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.packed_records import PackedReader, PackedRecords
from magneton_tasks.work.paths import AttemptPaths, WorkPaths
from magneton_tasks.work.record import Record
from magneton_tasks.work.round_chain import groups_of
from magneton_tasks.work.round_plan import RoundPlan
from magneton_tasks.work.validity import is_made_anew

#: How long an attempt's own files are looked for; the config, which sets the wait, is one of them.
_ATTEMPT_WAIT_S = 120.0


@dataclass(frozen=True)
class Attempt:
    """What every stage starts from."""

    paths: AttemptPaths
    work: WorkPaths
    plan: Plan
    config: RunConfig

    @classmethod
    def open(cls, root: Path) -> Attempt:
        """Open an attempt's directory.

        Raises
        ------
        NoInputError
            It isn't one.
        ConfigError
            Another version of Magneton planned it, or a path from a form leads elsewhere now.
        BadDataError
            Its plan.json holds no plan.
        """
        paths = AttemptPaths(root.absolute())
        try:
            files.await_file(paths.plan, None, _ATTEMPT_WAIT_S if root.parent.is_dir() else 0)
        except NotVisibleError:
            raise NoInputError(
                f"{root} holds no plan.json",
                "give an attempt's directory, as `magneton plan` prints it",
            ) from None
        plan, config = plan_of(paths), with_mapped_paths(config_of(paths))
        opened = cls(paths, WorkPaths(Path(config.paths.work)), plan, config).as_settled()
        if plan.roots is not None:
            for each in opened.each():
                check_roots(each.config, plan.overrides, with_mapped_roots(plan.roots))
        return opened

    @property
    def is_open(self) -> bool:
        """Whether pool still has to tell where the output lies."""
        return not self.plan.cuts and is_open(self.config)

    @property
    def was_open(self) -> bool:
        """Whether plan didn't know where the output lies: pool settles it."""
        return not self.plan.cuts and is_open(config_of(self.paths))

    def as_settled(self, wait_s: float = 0) -> Attempt:
        """With the output and the fingerprints that pool has settled, if plan couldn't know them.

        Parameters
        ----------
        wait_s
            How long that is waited for; 0: it need not be there.

        Raises
        ------
        NotVisibleError
            It was waited for, in vain.
        BadDataError
            What pool wrote is damaged.
        """
        found = settled.read(self.paths, wait_s) if self.is_open else None
        if found is None:
            return self
        config = with_threshold(self.config, found.threshold.number)
        plan = replace(self.plan, fingerprints=found.fingerprints, threshold=found.threshold)
        return replace(self, plan=plan, config=config)

    def at(self, number: int) -> Attempt:
        """The attempt at one of its several thresholds, as if it were the only one."""
        plan, paths = self.plan.at(number), self.paths.at(self.plan.cuts[number].name)
        config = config_at(self.config, plan.threshold.number, self.plan.thresholds[0])
        return Attempt(paths, self.work, plan, config)

    def each(self) -> tuple[Attempt, ...]:
        """The attempt at each threshold: itself where there is but one."""
        return tuple(self.at(number) for number in range(len(self.plan.cuts))) or (self,)

    @property
    def named(self) -> str:
        """`` at 0.3``: at which of several thresholds, behind what it is said of; else nothing."""
        return f" at {self.paths.cut}" if self.paths.cut else ""

    def frozen_config(self) -> RunConfig:
        """The config with paths as they were called where it was planned."""
        config = config_of(self.paths)
        if not self.paths.cut:
            is_settled = is_open(config) and not is_open(self.config) and not self.plan.cuts
            return with_threshold(config, self.plan.threshold.number) if is_settled else config
        return config_at(config, self.plan.threshold.number, config.exact.lowest_threshold)

    @property
    def name(self) -> str:
        """The run's name as records have it: safe for file names."""
        return self.paths.root.parent.name

    @property
    def wait_s(self) -> float:
        return self.config.paths.visibility_wait_s

    def work_of(self, stage: str) -> StagePlan:
        """What the attempt has to do of a mapped stage.

        Raises
        ------
        NotVisibleError
            A stage works groups, and nobody has found out which within ``wait_s``.
        """
        if not group_work.is_late(stage):
            return self.plan.work[stage]
        return group_work.read(self.paths, stage, self.wait_s).work

    @property
    def threshold(self) -> ThresholdChoice:
        """That the result has, as `threshold_of.result`."""
        return threshold_of.result(self.work, self.plan)

    @property
    def exact_settings(self) -> ExactSettings:
        """What blocks, faces and rounds work with (exact): they merge down to the lowest threshold."""
        return exact_settings(self.config, lowest_threshold(self.config))

    def memory_limit(self, stage: str) -> int:
        """Bytes that one block (group, cell) may take: what the runner allows, else its bound."""
        projected = group_work.memory_of(self.paths, self.plan, stage)
        assert projected is not None
        return self.allowed_memory or projected.bound

    @property
    def allowed_memory(self) -> int | None:
        """Bytes that the runner allows this process; None where no limit was set."""
        return allowed_memory() or self.config.worker.memory

    def stage_dir(self, stage: str) -> Path:
        return self.work.stage(stage, self.plan.fingerprints.of(stage))

    def manifest(self, stage: str) -> Manifest:
        return Manifest(self.work.records(stage, self.plan.fingerprints.of(stage)))

    def is_ours(self, record: Record) -> bool:
        """Whether this attempt wrote the record."""
        return record.run == self.name and record.attempt == self.plan.attempt

    def accepts(self, stage: str, record: Record | None) -> bool:
        """Whether this run takes a valid record: a restarted one takes only its own."""
        if record is None:
            return False
        anew = is_made_anew(stage, self.plan.stages, self.plan.restart)
        return not anew or self.is_ours(record)

    def require_round(self, plan: RoundPlan) -> PackedRecords:
        """As `require`, of the groups of a round that have something to do."""
        return self.require(f"round{plan.round}", set(groups_of(plan)))

    def invalidate(self, stage: str, causes: dict[int, str]) -> None:
        """Record that what these blocks or cells hold can't be used; a rerun computes them again."""
        manifest = self.manifest(stage)
        states = manifest.read(set(causes))
        with manifest.writer(self.name, stage, -1) as writer:
            for key, cause in causes.items():
                writer.add(
                    key,
                    "invalid",
                    after=states.get(key),
                    attempt=self.plan.attempt,
                    info={"cause": cause},
                )

    @contextmanager
    def invalidating(
        self, stage: str, keys: Iterable[int], again: str, name: str = ""
    ) -> Iterator[None]:
        """A file that is damaged, or doesn't show up, makes the records of these keys invalid.

        Parameters
        ----------
        again
            What a rerun does then: ``the block is segmented again``.
        name
            Whose file it is, for people.

        Raises
        ------
        CorruptFileError, NotVisibleError
            As they were raised inside, with what to do.
        """
        try:
            yield
        except (CorruptFileError, NotVisibleError) as error:
            self.invalidate(stage, dict.fromkeys(keys, error.what))
            what = f"{name}: {error.what}" if name else error.what
            raise type(error)(what, f"rerun (in Airflow: clear the task plan): {again}") from None

    def require(self, stage: str, keys: set[int] | range) -> PackedRecords:
        """The valid record of each key, waited for.

        Raises
        ------
        NotVisibleError
            Some have none: what ``stage`` had to do isn't complete.
        """
        manifest = self.manifest(stage)
        anew = is_made_anew(stage, self.plan.stages, self.plan.restart)
        own = (self.name, self.plan.attempt) if anew else None
        reader = PackedReader(manifest.directory, keys, own)
        reader.refresh()
        missing = reader.missing(keys)
        if missing:
            manifest.wait_for(missing, self.wait_s)
            reader.refresh()
            missing = reader.missing(keys)
        if missing:
            some = ", ".join(map(str, sorted(missing)[:5])) + (", ..." if len(missing) > 5 else "")
            of_all = several(len(keys), noun_of(stage))
            raise NotVisibleError(
                f"{stage} isn't complete: {len(missing):,} of {of_all} without a valid record ({some})",
                f"run {stage} again (in Airflow: clear the task plan), then this stage",
            )
        return reader.records()
