#!/usr/bin/env bash
# `make test-docker`: brings up an engine where none answers, makes the base image where none can be
# had, builds the worker image, and runs the tests; what was started is stopped at the end.
#
# env: DOCKER_HOST (an engine to use), BASE_IMAGE (instead of one from Debian packages), KEEP=1 (leave
# the engine running). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
here=tests/cluster/docker

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v docker-compose >/dev/null; then
    apt-get -o DPkg::Lock::Timeout=300 update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -q \
        --no-install-recommends docker.io mmdebstrap docker-compose >/dev/null
fi

was_up=no
if docker info >/dev/null 2>&1; then was_up=yes; fi
DOCKER_HOST=$("$here/engine_up.sh" | tail -n 1)
export DOCKER_HOST
stop() {
    if [ "$was_up" = no ] && [ "${KEEP:-0}" != 1 ]; then "$here/engine_down.sh"; fi
}
trap stop EXIT

if [ -z "${BASE_IMAGE:-}" ]; then
    BASE_IMAGE=$("$here/base_image.sh" | tail -n 1)
fi
export BASE_IMAGE
IMAGE=magneton-tasks PROGRESS=plain scripts/image.sh >image-build.log 2>&1 || {
    tail -n 40 image-build.log >&2
    exit 1
}
tail -n 1 image-build.log
.venv/bin/python -m pytest -n 2 -m docker tests/cluster/docker "$@"
