#!/usr/bin/env bash
# Prints a Python that the submitting user can run, with this clone's packages: that of .venv; where its
# interpreter lies in somebody's home, an environment of the user's own that leads to .venv's packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

state=${SLURM_STATE:-/var/lib/magneton-slurm}
user=${SUBMITTER:-magneton-submitter}
works() { (cd "$state/home" && runuser -u "$user" -- "$1" -c 'import magneton_tasks, numpy') 2>/dev/null; }

own=$PWD/.venv/bin/python
if works "$own"; then
    echo "$own"
    exit 0
fi
packages=$("$own" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
version=$("$own" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
base=/usr/bin/python$version
if ! [ -x "$base" ]; then
    # Another version than the system's: take the interpreter itself along.
    prefix=$("$own" -c 'import sys; print(sys.base_prefix)')
    rm -rf "$state/python"
    cp -a "$prefix" "$state/python"
    chmod -R a+rX "$state/python"
    base=$state/python/bin/python$version
fi
rm -rf "$state/venv"
"$base" -m venv --without-pip "$state/venv"
echo "import site; site.addsitedir('$packages')" >"$state/venv/lib/python$version/site-packages/clone.pth"
if ! works "$state/venv/bin/python"; then
    echo "user $user can't read $PWD: the tests need a clone whose directories all may enter" >&2
    exit 1
fi
echo "$state/venv/bin/python"
