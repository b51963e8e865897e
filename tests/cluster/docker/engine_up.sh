#!/usr/bin/env bash
# Brings up a Docker engine and prints its address (for DOCKER_HOST) as the last line.
#
# An engine that answers already is used as it is. Otherwise, on Debian and as root, one is installed
# and started by hand: without systemd, bridge, firewall rules or registry, with state of its own. It
# goes on until engine_down.sh. Safe to repeat.
#
# env: ENGINE_STATE (default /var/lib/magneton-engine), ENGINE_RUN (default /run/magneton-engine)
set -euo pipefail

state=${ENGINE_STATE:-/var/lib/magneton-engine}
run=${ENGINE_RUN:-/run/magneton-engine}
address=unix://$run/docker.sock

# A newer client on PATH may lack what Debian's brings along.
client=/usr/bin/docker
[ -x "$client" ] || client=docker
answers() { "$client" -H "$1" info >/dev/null 2>&1; }

for known in "${DOCKER_HOST:-unix:///var/run/docker.sock}" "$address"; do
    if answers "$known"; then
        echo "$known"
        exit 0
    fi
done

if [ "$(id -u)" != 0 ]; then
    echo "no Docker engine answers, and only root can start one: start yours, or set DOCKER_HOST" >&2
    exit 1
fi
if ! command -v dockerd >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=300 update -q >/dev/null
    # No policy lets a package start a service here: this script starts the engine itself.
    apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends docker.io >/dev/null
    client=/usr/bin/docker
fi

mkdir -p "$state" "$run"
# The pid file of an engine that died stops the next one from starting.
if [ -s "$run/docker.pid" ] && ! kill -0 "$(cat "$run/docker.pid")" 2>/dev/null; then
    rm -f "$run/docker.pid"
fi
setsid nohup dockerd --host "$address" --data-root "$state/data" --exec-root "$run/exec" \
    --pidfile "$run/docker.pid" --bridge=none --iptables=false --ip6tables=false \
    --ip-forward=false --ip-masq=false \
    >>"$state/dockerd.log" 2>&1 </dev/null &
engine=$!
for _ in $(seq 240); do
    if answers "$address"; then
        echo "$address"
        exit 0
    fi
    if ! kill -0 "$engine" 2>/dev/null; then
        echo "the Docker engine ended at once:" >&2
        tail -n 20 "$state/dockerd.log" >&2
        exit 1
    fi
    sleep 0.25
done
echo "the Docker engine did not answer within 60 s:" >&2
tail -n 20 "$state/dockerd.log" >&2
exit 1
