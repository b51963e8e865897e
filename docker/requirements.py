"""Prints what the package and some of its extras require: ``requirements.py compute``; standard library only."""

import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = [r for extra in sys.argv[1:] for r in project["optional-dependencies"][extra]]
print("\n".join([*project["dependencies"], *extras]))
