"""The config's section about containers: image, engine, what each may take."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from magneton_tasks.config.types import (
    Growth,
    Memory,
    PositiveInt,
    Section,
    check_most,
    check_passed_on,
)


class Docker(Section):
    """Runner docker: containers of the worker image."""

    MEMORY_KEY: ClassVar[str] = "docker.max_memory"

    image: str = Field(
        "magneton-tasks",
        pattern=r"^[A-Za-z0-9][^\s]*$",
        title="Image",
        description="Worker image, by name or digest. `make image` builds it. Magneton never pulls it.",
    )
    engine: str | None = Field(
        None,
        pattern=r"^(unix|tcp|ssh|npipe)://[^\s]+$",
        title="Engine",
        description="Address of the Docker engine. null: $DOCKER_HOST, else unix:///var/run/docker.sock.",
    )
    workers: PositiveInt | None = Field(
        None,
        title="Containers",
        description="Containers at the same time. null: as many as cores and memory allow.",
    )
    memory: Memory = Field(
        None,
        title="Memory per container",
        description="Memory limit of a container's first try, such as 8GiB. null: what the block size needs.",
    )
    max_memory: Memory = Field(
        None,
        title="Maximum memory",
        description="Largest memory limit of a later try. A container that runs out of memory is tried again with more. null: what the machine has.",
    )
    memory_growth: Growth = Field(
        1.5,
        title="Memory growth",
        description="Factor by which memory grows for the next try, if a container runs out of it.",
    )
    cpus: Annotated[float, Field(gt=0)] = Field(
        1.0, title="CPUs per container", description="CPU limit of a container."
    )
    network: str = Field(
        "bridge",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        title="Network",
        description="Docker network of containers that need gs, s3 or https. If all volumes are files, containers get no network.",
    )
    environment: tuple[str, ...] = Field(
        (),
        title="Environment",
        description="Names of environment variables that containers inherit from the runner, such as AWS_ACCESS_KEY_ID.",
    )
    credentials: tuple[str, ...] = Field(
        (),
        title="Credentials",
        description="Files or directories with credentials. Containers see them read-only at the same path. cloud-volume finds its secrets in a directory `.cloudvolume` or in that directory's `secrets`.",
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
