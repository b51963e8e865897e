"""What a config asks for now: of which input, cut into which blocks, with which threshold and fingerprints.

Where pool hasn't taken a threshold from the map yet, that isn't known. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from magneton_tasks.config.read import RunConfig
from magneton_tasks.formats.metadata import read_input
from magneton_tasks.plan.fingerprints import make_fingerprints
from magneton_tasks.plan.geometry import Geometry, VolumeFacts, make_geometry
from magneton_tasks.plan.plan import Fingerprints, ThresholdChoice
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
    geometry = make_geometry(config, source.facts)
    threshold = thresholds.known(config, overrides, geometry.box, source.digest)
    return Expected(geometry, threshold, make_fingerprints(config, geometry))
