#!/bin/sh
# Writes constraints.txt: the newest versions that work together on Python 3.11, 3.12 and 3.13, as plain
# name==version lines. Only wheels, so that nobody needs a compiler. For maintainers; needs uv.
set -eu

cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
touch "$scratch/all"
for version in 3.11 3.12 3.13; do
    uv pip compile pyproject.toml --all-extras --group install --python-version "$version" --only-binary :all: \
        --quiet --no-header --no-annotate --constraint "$scratch/all" --output-file "$scratch/$version"
    cat "$scratch/$version" >>"$scratch/all"
done
LC_ALL=C sort -u "$scratch/all" >constraints.txt
