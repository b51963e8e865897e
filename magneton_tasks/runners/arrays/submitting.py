"""Submitting the parts of a batch: in as few arrays as there is room for, and none of them twice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from magneton_tasks.base import files
from magneton_tasks.runners.arrays.array_batch import ArrayBatch
from magneton_tasks.runners.arrays.job import ArrayJob
from magneton_tasks.runners.arrays.looking import Look
from magneton_tasks.runners.arrays.progress import Progress, Submitted
from magneton_tasks.runners.arrays.scheduler import RefusedError, Shell, SubmitLimitError
from magneton_tasks.runners.retry import Need


@dataclass
class Submitting:
    """Submits for one batch, by programs that ``shell`` runs; ``notes`` gets lines for the log."""

    about: ArrayBatch
    shell: Shell
    notes: list[str]

    def submit(self, known: Progress, look: Look, token: str, waiting: Sequence[int]) -> None:
        """Submit the parts that wait, as far as there is room.

        Raises
        ------
        BusyError
            The scheduler doesn't answer, or has no room for a single index.
        RefusedError
            It takes no such job.
        """
        for need, parts in self._groups(known, waiting):
            if not self._submit_all(known, look, token, need, parts):
                break

    def _groups(self, known: Progress, waiting: Sequence[int]) -> list[tuple[Need, list[int]]]:
        """Parts that ask for the same, together."""
        groups: dict[Need, list[int]] = {}
        for part in waiting:
            groups.setdefault(known.needs.get(part) or self.about.first_need, []).append(part)
        return list(groups.items())

    def _submit_all(
        self, known: Progress, look: Look, token: str, need: Need, parts: Sequence[int]
    ) -> bool:
        """Submit parts in as few arrays as are taken; False if no more are taken now."""
        left = list(parts)
        # a limit that was met may have been another's jobs: ask for more each time
        size = min(len(left), 2 * known.accepted if known.accepted else len(left))
        while left:
            if self.about.job_files.owner() != token:
                return False
            try:
                self._submit(known, look, need, left[:size])
            except SubmitLimitError:
                if known.in_flight:  # there is room once these have ended
                    return False
                if size == 1:
                    raise
                size = known.accepted = size // 2
                continue
            # one that was found by its name may hold other parts
            busy = {i for j in known.in_flight for i in j.indexes}
            left = [part for part in left if part not in busy]
        return True

    def _submit(self, known: Progress, look: Look, need: Need, parts: Sequence[int]) -> None:
        """One array: looked up by its name, else submitted."""
        pending = next((j for j in known.jobs if not j.job), None)
        if pending is None:
            number = max((j.number for j in known.jobs), default=0) + 1
            pending = Submitted("", number, list(parts), need, time.time())
            known.jobs.append(pending)
            self.about.job_files.save(known)
        array = self.about.array(known, pending)
        found = self.about.scheduler.find(array)
        if found is None:
            pending.indexes, pending.need, pending.submitted = list(parts), need, time.time()
            self.about.job_files.save(known)
            look.forget_results(parts)
            array = self.about.array(known, pending)
            found = self._submitted(known, pending, array)
            self.notes.append(
                f"{self.about.task}: submitted job {found}, {len(parts)} of {self.about.parts} parts"
            )
        else:
            self.notes.append(f"{self.about.task}: found job {found}, submitted before")
        pending.job = found
        known.limited_since = None
        self.about.job_files.save(known)

    def _submitted(self, known: Progress, pending: Submitted, array: ArrayJob) -> str:
        """The number of a new job; if it is refused, once more without keeping away from nodes.

        Raises
        ------
        RefusedError
            It's refused all the same; with what was wrong before that.
        """
        try:
            return self._new(array)
        except RefusedError as error:
            if known.exclude:
                nodes, known.exclude, known.blamed = ", ".join(known.exclude), [], {}
                self.notes.append(
                    f"{self.about.task}: {error.what}; trying without excluding {nodes}"
                )
                return self._submitted(known, pending, self.about.array(known, pending))
            before = next((known.first[p] for p in pending.indexes if p in known.first), None)
            if before is None:
                raise
            raise RefusedError(f"{error.what}; before that: {before}", error.hint) from error

    def _new(self, array: ArrayJob) -> str:
        """The number of a new job; what is submitted stays beside the batch."""
        attempt, scheduler = self.about.attempt, self.about.scheduler
        files.make_directory(attempt.paths.job_logs(array.stage, array.batch))
        text = scheduler.script(array)
        files.write_atomic(self.about.job_files.folder / f"job-{array.number}.sh", text.encode())
        return scheduler.submit(array, text, self.shell)
