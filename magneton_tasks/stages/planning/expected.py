"""What a config asks for now: of which input, cut into which blocks, with which threshold and fingerprints.

Where pool hasn't taken a threshold from the map yet, that isn't known. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from magneton_tasks.base.location import locate, read_json
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.thresholds import is_open
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.metadata import read_input
from magneton_tasks.formats.precomputed.owner import read_owner
from magneton_tasks.plan.fingerprints import make_fingerprints
from magneton_tasks.plan.geometry import Geometry, make_geometry
from magneton_tasks.plan.plan import Fingerprints, ThresholdChoice
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.stages.planning import checks, thresholds


@dataclass(frozen=True, slots=True)
class Source:
    """The input: the volume's facts, and the digest of what is segmented."""

    facts: VolumeFacts
    digest: str

    @classmethod
    def of(cls, config: RunConfig) -> Source:
        """The input of a config as it is now.

        Raises
        ------
        MagnetonError
            The affinity map or the mask isn't there, or can't be read.
        """
        info = read_input(config)
        return cls(VolumeFacts.of(info), checks.input_digest(config, info))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a plan would say."""

    geometry: Geometry
    threshold: ThresholdChoice
    fingerprints: Fingerprints


def form_of_output(config: RunConfig) -> bool | None:
    """Whether the output that exists is sharded; None: there is none yet, or none of ours that can be read.

    Raises
    ------
    OutputError, TemporaryError
        It can't be read; the connection failed.
    """
    if config.apply.sharding != "auto" or is_open(config):
        return None
    try:
        info = read_json(locate(config.paths.output), "info")
        owner = read_owner(config.paths.output)
        return None if info is None or owner is None else "sharding" in info["scales"][0]
    except (BadDataError, LookupError, TypeError):
        return None


def expected(config: RunConfig, overrides: Mapping[str, object], source: Source) -> Expected:
    """What a plan of this input would say.

    Parameters
    ----------
    overrides
        Those that the config holds.

    Raises
    ------
    CorruptFileError
        The file of thresholds is damaged.
    MagnetonError
        The config doesn't fit the input.
    """
    geometry = make_geometry(config, source.facts, form_of_output(config))
    threshold = thresholds.known(config, overrides, geometry.box, source.digest)
    return Expected(geometry, threshold, make_fingerprints(config, geometry))
