#!/usr/bin/env bash
# Stops the engine that engine_up.sh started (no other), by its pid. PURGE=1 also removes its state.
set -euo pipefail

state=${ENGINE_STATE:-/var/lib/magneton-engine}
run=${ENGINE_RUN:-/run/magneton-engine}

# A newer client on PATH may lack what Debian's brings along.
client=/usr/bin/docker
[ -x "$client" ] || client=docker

if [ -s "$run/docker.pid" ]; then
    # What a test of compose.yaml leaves that was killed would come back with the engine.
    left=$("$client" -H "unix://$run/docker.sock" ps -aq --filter label=com.docker.compose.project || true)
    if [ -n "$left" ]; then
        # shellcheck disable=SC2086  # one id a word
        "$client" -H "unix://$run/docker.sock" rm -fv $left >/dev/null
    fi
    engine=$(cat "$run/docker.pid")
    kill "$engine" 2>/dev/null || true
    for _ in $(seq 300); do
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.1
    done
    if kill -0 "$engine" 2>/dev/null; then
        echo "the Docker engine (pid $engine) did not end within 30 s" >&2
        exit 1
    fi
    rm -f "$run/docker.pid"
fi
if [ "${PURGE:-0}" = 1 ]; then
    rm -rf "$state" "$run"
fi
