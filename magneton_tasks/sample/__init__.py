"""The sample volume of demo, tests and docs: made-up tissue with an imperfect affinity map."""

from magneton_tasks.sample.volume import SampleVolume, make_sample
from magneton_tasks.sample.write import write_sample

__all__ = ["SampleVolume", "make_sample", "write_sample"]
