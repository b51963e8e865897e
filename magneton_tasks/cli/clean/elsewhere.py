"""What runs that are over left outside their work directories: containers, and jobs of clusters."""

from __future__ import annotations

from magneton_tasks.config.read import RunConfig
from magneton_tasks.runners import registry
from magneton_tasks.runners.registry import Kind

#: The runners that leave each kind of `clean.kinds` behind.
_LEFT_BY = {"containers": Kind.CONTAINERS, "jobs": Kind.ARRAYS}


def is_offered(config: RunConfig, what: str) -> bool:
    """Whether a volume's runs may leave this kind behind."""
    return registry.is_offered(config, _LEFT_BY[what])


def clean(
    config: RunConfig,
    what: str,
    older_than_s: float | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """List, ask, remove; returns the exit code. Parameters as those of `cli.clean.clean.clean`.

    Raises
    ------
    TemporaryError
        No engine, or no scheduler, answers.
    Quit
        The question was left.
    """
    if _LEFT_BY[what] is Kind.CONTAINERS:
        from magneton_tasks.cli.clean import containers

        return containers.clean(config, older_than_s, dry_run, yes, as_json)
    from magneton_tasks.cli.clean import jobs

    return jobs.clean(config, dry_run, yes, as_json)
