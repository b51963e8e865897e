#!/usr/bin/env bash
# Builds the worker image, or Airflow's, with this machine's own pip settings and CA bundle, as build
# secrets.
#
# usage: image.sh [worker|airflow]
# env: IMAGE (default magneton-tasks or magneton-airflow), BASE_IMAGE (default: the Dockerfile's),
# NO_CACHE=1 (take nothing from the engine's cache), and DOCKER_HOST as usual
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-worker} in
worker) file=Dockerfile image=${IMAGE:-magneton-tasks} ;;
airflow) file=docker/Dockerfile.airflow image=${IMAGE:-magneton-airflow} ;;
*)
    echo "usage: $0 [worker|airflow]" >&2
    exit 64
    ;;
esac

# A client without buildx can't build with secrets; Debian's own can.
client=docker
if [ -x /usr/bin/docker ] && ! docker buildx version >/dev/null 2>&1; then
    client=/usr/bin/docker
fi
if ! "$client" info >/dev/null 2>&1; then
    echo "no Docker engine answers at ${DOCKER_HOST:-the default address}" >&2
    echo "  what to do: start it, or set DOCKER_HOST; see docs/docker.md" >&2
    exit 75
fi

secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
chmod 700 "$secrets"
# Folders of this machine don't exist in the build, so what points to them is left out.
python3 - >"$secrets/pip.conf" <<'PY'
import subprocess, sys

listed = subprocess.run(
    [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
).stdout
kept = {}
for line in listed.splitlines():
    key, _, value = line.partition("=")
    name = key.rpartition(".")[2].replace("default-timeout", "timeout")
    words = value.strip().strip("'\"").replace("\\n", " ").split()
    words = [w for w in words if not w.startswith("file:")]
    if name in ("index-url", "extra-index-url", "trusted-host", "timeout", "proxy") and words:
        kept[name] = " ".join(words)
print("[global]")
for name, value in kept.items():
    print(f"{name} = {value}")
PY
bundle=${PIP_CERT:-${REQUESTS_CA_BUNDLE:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}}
if [ -f "$bundle" ]; then
    cp -L "$bundle" "$secrets/ca.pem"
else
    touch "$secrets/ca.pem"
fi

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' magneton_tasks/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
arguments=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision")
if [ -n "${BASE_IMAGE:-}" ]; then
    arguments+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
fi
if [ "${NO_CACHE:-0}" = 1 ]; then
    arguments+=(--no-cache)
fi
DOCKER_BUILDKIT=1 "$client" build --network host --progress "${PROGRESS:-plain}" --file "$file" \
    --secret "id=pip_conf,src=$secrets/pip.conf" --secret "id=ca_bundle,src=$secrets/ca.pem" \
    "${arguments[@]}" --tag "$image" --tag "$image:$version" .
"$client" image inspect --format "$image: {{.Size}} bytes, {{.Id}}" "$image"
