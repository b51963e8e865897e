"""Imports all that a worker may: what `slim.py` has removed must not be missed. Run while the image is built."""

import importlib
import pkgutil

import magneton_tasks

ROOMS = (
    "base",
    "clean",
    "cli",
    "config",
    "formats",
    "kernels",
    "outcome",
    "plan",
    "runners",
    "sample",
    "stages",
    "trials",
    "work",
)
#: What the libraries import by themselves, once they meet such data or such a URL.
LATE = (
    "boto3",
    "cloudfiles.interfaces",
    "google.cloud.storage",
    "pyarrow.dataset",
    "pyarrow.parquet",
)
#: Needs an extra that the image doesn't have.
VIEWING = ("matplotlib", "neuroglancer", "starlette", "uvicorn", "docker")


def main() -> None:
    names = [
        module.name
        for room in ROOMS
        for module in pkgutil.walk_packages(
            importlib.import_module(f"magneton_tasks.{room}").__path__, f"magneton_tasks.{room}."
        )
    ]
    for name in [*names, *LATE]:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in VIEWING:
                raise
    print(f"{len(names)} modules of Magneton {magneton_tasks.__version__} can be imported")


if __name__ == "__main__":
    main()
