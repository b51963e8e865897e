#!/usr/bin/env bash
# Makes an image that stands for postgres:16 where no registry can be reached, and prints its name as
# the last line.
#
# usage: BASE_IMAGE=... postgres_image.sh [NAME]    (a base image of base_image.sh)
set -euo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
image=${1:-local/postgres:15}
client=/usr/bin/docker
[ -x "$client" ] || client=docker

sources=$(mktemp)
trap 'rm -f "$sources"' EXIT
"$here/apt_sources.sh" bookworm >"$sources"
DOCKER_BUILDKIT=1 "$client" build --network host --progress plain --build-arg "BASE_IMAGE=$BASE_IMAGE" \
    --secret "id=apt_sources,src=$sources" --tag "$image" "$here/postgres"
echo "$image"
