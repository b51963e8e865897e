#!/usr/bin/env bash
# `make test-docker`: brings up an engine where none answers, makes the base image where none can be
# had, builds the worker image and Airflow's, and runs the tests; what was started is stopped at the end.
#
# env: DOCKER_HOST (an engine to use), BASE_IMAGE and POSTGRES_IMAGE (instead of those from Debian
# packages), KEEP=1 (leave the engine running). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
here=tests/cluster/docker

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v docker-compose >/dev/null; then
    apt-get -o DPkg::Lock::Timeout=300 update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -q \
        --no-install-recommends docker.io mmdebstrap docker-compose >/dev/null
fi

# Who found an engine, of this machine or of engine_up.sh, leaves it.
was_up=no
pid=${ENGINE_RUN:-/run/magneton-engine}/docker.pid
if docker info >/dev/null 2>&1 || { [ -s "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }; then
    was_up=yes
fi
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

# What docker/compose.yaml runs is built beside the worker image.
stack_images() {
    if [ "$POSTGRES_IMAGE" = local/postgres:15 ]; then
        "$here/postgres_image.sh" "$POSTGRES_IMAGE"
    fi
    IMAGE=magneton-airflow scripts/image.sh airflow
}
export POSTGRES_IMAGE=${POSTGRES_IMAGE:-local/postgres:15}
stack_images >airflow-image-build.log 2>&1 &
stack=$!
IMAGE=magneton-tasks PROGRESS=plain scripts/image.sh >image-build.log 2>&1 || {
    tail -n 40 image-build.log >&2
    exit 1
}
tail -n 1 image-build.log
wait "$stack" || {
    tail -n 40 airflow-image-build.log >&2
    exit 1
}
tail -n 1 airflow-image-build.log
.venv/bin/python -m pytest -n 2 --maxschedchunk 1 -m docker tests/cluster/docker "$@"
