"""The options that look at thresholds and results: try, tune, thresholds, runs, view."""

from __future__ import annotations

from magneton_tasks.cli.console import ask, confirm
from magneton_tasks.cli.menu.volumes import MenuVolume
from magneton_tasks.cli.paging import paged
from magneton_tasks.errors import UsageError
from magneton_tasks.trials.trial import parse_thresholds

_OWN = "around the map's own"


def try_thresholds(volume: MenuVolume) -> None:
    """As ``magneton try``."""
    from magneton_tasks.cli.trials import trying

    def check(answer: str) -> tuple[float, ...]:
        return () if answer == _OWN else parse_thresholds(answer)

    trying.try_thresholds(
        volume.path,
        box=None,
        thresholds=ask("thresholds, such as .3,.4", check, _OWN),
        scoring=None,
        sets={},
        partition=volume.partition,
        view=True,
        open_browser=False,
        port=0,
        as_json=False,
    )


def tune(volume: MenuVolume) -> None:
    """As ``magneton tune``."""
    from magneton_tasks.cli.trials import tuning

    def check(answer: str) -> str:
        if not answer:
            raise UsageError("give the address of a segmentation with the true ids")
        return answer

    request = tuning.TuneRequest(
        volume.path,
        ask("truth, such as file:///data/truth", check),
        truth_mip=0,
        box=None,
        functions=(),
        thresholds=(),
        plot=None,
        sets={},
        partition=volume.partition,
    )
    write = confirm(f"Write the best threshold into {volume.path}?", default=False)
    tuning.tune(request, write=write, as_json=False)


def thresholds(volume: MenuVolume) -> None:
    """As ``magneton cut``."""
    from magneton_tasks.cli.trials import cutting

    with paged():
        cutting.show(volume.path, volume.partition, None, False)


def runs(volume: MenuVolume) -> None:
    """As ``magneton runs``."""
    from magneton_tasks.cli.status import runs as listing

    with paged():
        listing.show(volume.path, volume.partition, None, False)


def view(volume: MenuVolume) -> None:
    """As ``magneton view``."""
    from magneton_tasks.cli.view import viewing

    viewing.view(volume.path, truth=None, open_browser=False, port=0, partition=volume.partition)
