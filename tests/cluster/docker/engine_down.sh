#!/usr/bin/env bash
# Stops the engine that engine_up.sh started (no other), by its pid. PURGE=1 also removes its state.
set -euo pipefail

state=${ENGINE_STATE:-/var/lib/magneton-engine}
run=${ENGINE_RUN:-/run/magneton-engine}

if [ -s "$run/docker.pid" ]; then
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
