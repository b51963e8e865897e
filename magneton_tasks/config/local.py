"""The config's section about worker processes on this machine."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from magneton_tasks.config.types import Memory, PositiveInt, Section


class Local(Section):
    """Runner local: worker processes on this machine."""

    #: what to raise where a worker may not take what it needs
    MEMORY_KEY: ClassVar[str] = "local.memory"

    workers: PositiveInt | None = Field(
        None,
        title="Workers",
        description="Worker processes at the same time. null: as many as cores and memory allow.",
    )
    memory: Memory = Field(
        None,
        title="Memory per worker",
        description="Memory limit of one worker, such as 8GiB. null: what the block size needs.",
    )

    @property
    def largest_memory(self) -> int | None:
        """The most that one worker may ever take, in bytes; None: all that there is."""
        return self.memory
