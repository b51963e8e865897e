#!/usr/bin/env bash
# Makes a base image like python:3.11-slim-bookworm where no registry can be reached: from Debian
# packages, with this machine's own apt sources. Prints the image's name as the last line.
#
# usage: base_image.sh [NAME]    (needs root, apt and an engine, see engine_up.sh)
set -euo pipefail

image=${1:-local/python:3.11-slim-bookworm}
suite=bookworm
client=/usr/bin/docker
[ -x "$client" ] || client=docker

if "$client" image inspect "$image" >/dev/null 2>&1; then
    echo "$image"
    exit 0
fi
if ! command -v mmdebstrap >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=300 update -q >/dev/null
    apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends mmdebstrap >/dev/null
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$(dirname "${BASH_SOURCE[0]}")/apt_sources.sh" "$suite" >"$scratch/sources"
# Nothing of this machine's settings stays in it: no apt sources, no resolver, no host name.
# shellcheck disable=SC2016  # mmdebstrap's hooks get the root directory as $1
mmdebstrap --quiet --variant=minbase --mode=root \
    --include=python3.11,python3-venv,ca-certificates \
    --aptopt='Apt::Install-Recommends "false"' \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --customize-hook='ln -sf /usr/bin/python3.11 "$1"/usr/local/bin/python' \
    --customize-hook='ln -sf /usr/bin/python3.11 "$1"/usr/local/bin/python3' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/resolv.conf "$1"/etc/hostname' \
    "$suite" "$scratch/base.tar" "$scratch/sources"
"$client" import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' "$scratch/base.tar" "$image" >/dev/null
echo "$image"
