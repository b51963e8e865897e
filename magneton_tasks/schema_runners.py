"""The config's sections about where stages run: what a DAG offers, and one section a runner."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from magneton_tasks.schema_types import (
    Growth,
    Memory,
    PositiveInt,
    Section,
    check_most,
    check_passed_on,
)

RunnerName = Literal["local", "docker", "slurm"]


class Runner(Section):
    """Where stages run; the choice that a trigger form offers."""

    offered: tuple[RunnerName, ...] = Field(
        ("local",), min_length=1, title="Offered runners", description="Runners that may be chosen."
    )
    default: RunnerName = Field("local", title="Runner", description="Runner of this run.")

    @model_validator(mode="after")
    def _default_is_offered(self) -> Self:
        if len(set(self.offered)) < len(self.offered):
            raise ValueError(f"offered {list(self.offered)} names a runner twice")
        if self.default not in self.offered:
            raise ValueError(
                f"default {self.default} is not one of offered: [{', '.join(self.offered)}]"
            )
        return self


class Local(Section):
    """The runner on this machine."""

    #: what to raise where a worker may not take what it needs
    MEMORY_KEY: ClassVar[str] = "local.memory"

    workers: PositiveInt | None = Field(
        None,
        title="Workers",
        description="Processes at once; null: as many as cores and memory allow.",
    )
    memory: Memory = Field(
        None,
        title="Memory per worker",
        description="Memory limit of one worker, such as 8GiB; null: what the block size needs.",
    )

    @property
    def largest_memory(self) -> int | None:
        """The most that one worker may ever take, in bytes; None: all that there is."""
        return self.memory


class Docker(Section):
    """The runner in containers of the worker image."""

    MEMORY_KEY: ClassVar[str] = "docker.max_memory"

    image: str = Field(
        "magneton-tasks",
        pattern=r"^[A-Za-z0-9][^\s]*$",
        title="Image",
        description="Worker image, by name or digest; `make image` builds it. It is never pulled by itself.",
    )
    engine: str | None = Field(
        None,
        pattern=r"^(unix|tcp|ssh|npipe)://[^\s]+$",
        title="Engine",
        description="Address of the Docker engine; null: $DOCKER_HOST, else unix:///var/run/docker.sock.",
    )
    workers: PositiveInt | None = Field(
        None,
        title="Containers",
        description="Containers at once; null: as many as cores and memory allow.",
    )
    memory: Memory = Field(
        None,
        title="Memory per container",
        description="Memory limit of a container at first, such as 8GiB; null: what the block size needs.",
    )
    max_memory: Memory = Field(
        None,
        title="Most memory",
        description="A container that runs out of memory is tried again with more, up to this; null: what the machine has.",
    )
    memory_growth: Growth = Field(
        1.5,
        title="Memory growth",
        description="How much more memory the next try gets after one that ran out of it, as a factor.",
    )
    cpus: Annotated[float, Field(gt=0)] = Field(
        1.0, title="CPUs per container", description="CPU limit of a container."
    )
    network: str = Field(
        "bridge",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        title="Network",
        description="Docker network of containers that reach gs, s3 or https; where all volumes are files, they have none.",
    )
    environment: tuple[str, ...] = Field(
        (),
        title="Environment",
        description="Names of variables that containers get from the runner's own environment, such as AWS_ACCESS_KEY_ID.",
    )
    credentials: tuple[str, ...] = Field(
        (),
        title="Credentials",
        description="Files or directories with credentials, mounted read-only at the same place; a `.cloudvolume` directory or its `secrets` is found there.",
    )

    @property
    def largest_memory(self) -> int | None:
        """The most that one container may ever take, in bytes; None: all that there is."""
        return self.max_memory

    @field_validator("environment")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_passed_on(value)

    @field_validator("credentials")
    @classmethod
    def _absolute(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            if not path.startswith("/"):
                raise ValueError(f"{path!r} must be an absolute path")
        return value

    @model_validator(mode="after")
    def _most_is_more(self) -> Self:
        check_most(self.memory, self.max_memory)
        return self
