"""After pool: where the output lies, if ``{threshold}`` in its path stands for what the map asks for.

What plan does elsewhere is done here: look whose the output is, take its lease, and take the place.
A kill in between leaves nothing that a rerun wouldn't do again.
"""

from __future__ import annotations

from magneton_tasks.base import lease
from magneton_tasks.config.thresholds import with_threshold
from magneton_tasks.plan.fingerprints import make_fingerprints
from magneton_tasks.stages import claims
from magneton_tasks.stages.planning import checks, rights
from magneton_tasks.work import settled
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Note, tell
from magneton_tasks.work.frozen import config_of
from magneton_tasks.work.guarded import lease_places
from magneton_tasks.work.settled import Settled


def settle(attempt: Attempt) -> None:
    """Settle the output of an attempt, whose pool is done.

    Raises
    ------
    ConfigError
        The output belongs to another volume, or to another tool, and plan wasn't told to replace it.
    LeaseHeldError
        Another run writes to it.
    OutputError
        Disk full, quota, I/O error; or this user can't write there.
    """
    threshold = attempt.threshold
    planned = with_threshold(config_of(attempt.paths), threshold.number)
    fingerprints = make_fingerprints(planned, attempt.plan.geometry)
    settled.write(attempt.paths, Settled(threshold, fingerprints))
    found = Attempt.open(attempt.paths.root)
    output, plan = found.config.paths.output, found.plan
    tell(Note(f"pool: threshold {threshold.number:g} from the map; the output is {output}"))
    checks.check_paths(found.config, write=False)
    rights.check_places(found.config)
    # inputs are called as they were planned, the output as it is called here
    paths = planned.paths.model_copy(update={"output": output})
    config = planned.model_copy(update={"paths": paths})
    overwrite = plan.overwrite_output
    checks.check_owner(config, plan.geometry, fingerprints.apply, overwrite)
    work, *outputs = lease_places(found.config)
    lease.share(work, outputs, plan.run)
    # again, as nobody else can change it now
    if checks.check_owner(config, plan.geometry, fingerprints.apply, overwrite):
        checks.forget_output(found.config, plan)
    if "apply" in plan.stages:
        claims.take_place(config, plan)
