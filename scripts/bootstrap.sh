#!/bin/sh
# Makes .venv in the project and installs Magneton into it, with the versions of constraints.txt.
# Needs no root. Uses the newest Python >= 3.11 that pip or uv can install for; else uv, which can
# bring Python itself; else says the one line to type. Safe to repeat after an interruption.
#
# usage: bootstrap.sh EXTRAS, such as compute,view; or bootstrap.sh --wheel: installs nothing, and makes
# the project's wheel in dist/
set -eu

cd "$(dirname "$0")/.."
venv=.venv
extras=$1

say() { printf '%s\n' "$*" >&2; }

find_uv() {
    for uv in uv "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv"; do
        if command -v "$uv" >/dev/null 2>&1 && "$uv" --version >/dev/null 2>&1; then
            printf '%s\n' "$uv"
            return 0
        fi
    done
    return 1
}

# The versions that the tests run on come first. Each is tried, not just looked up: a name on PATH
# may be a shim for a Python that isn't there.
find_python() { # $1: a statement that must work in it
    for python in python3.13 python3.12 python3.11 python3 python3.14; do
        if "$python" -c "import sys; assert sys.version_info >= (3, 11); $1" >/dev/null 2>&1; then
            printf '%s\n' "$python"
            return 0
        fi
    done
    return 1
}

venv_works() {
    "$venv/bin/python" -c 'import sys; assert sys.version_info >= (3, 11)' >/dev/null 2>&1 || return 1
    [ -n "$uv" ] || "$venv/bin/python" -m scripts.install --can
}

no_way() {
    if python=$(find_python ''); then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        say "$python can't make a virtual environment with pip, and uv isn't there. Type this, then repeat:"
        say "  sudo apt install python$version-venv"
    elif python3 -m pip --version >/dev/null 2>&1; then
        say "Magneton needs Python 3.11 or newer. Type this (uv brings one along), then repeat:"
        say "  python3 -m pip install --user uv"
    else
        say "Magneton needs Python 3.11 or newer. Type this, then repeat:"
        say "  sudo apt install python3.11 python3.11-venv"
    fi
    exit 1
}

# Two at once would be in each other's way; the second finds all there. Where the file system has no
# locks, it goes on without.
exec 9>.venv.lock
while flock -w 4 -E 75 9 2>/dev/null; [ $? = 75 ]; do
    say "another installation is at work here; waiting for it"
done

uv=$(find_uv) || uv=
if ! venv_works; then
    rm -rf "$venv" # what an interruption left
    if python=$(find_python 'import ensurepip, venv') || python=$(find_python 'import pip, venv'); then
        say "making $venv with $("$python" --version 2>&1)"
        "$python" -m scripts.install --venv "$venv"
    elif [ -n "$uv" ]; then
        say "making $venv with uv"
        UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" "$uv" venv --python '>=3.11,<3.14' "$venv"
    else
        no_way
    fi
fi
exec "$venv/bin/python" -m scripts.install "$extras" "$uv"
