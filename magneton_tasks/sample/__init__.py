"""The sample volume of demo, tests and docs: made-up tissue with an imperfect affinity map."""

from magneton_tasks import kernel_cache

kernel_cache.prepare()  # before functions are decorated below

from magneton_tasks.sample.volume import SampleVolume, make_sample  # noqa: E402
from magneton_tasks.sample.write import write_sample  # noqa: E402

__all__ = ["SampleVolume", "make_sample", "write_sample"]
