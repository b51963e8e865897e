#!/usr/bin/env bash
# Stops the cluster that up.sh started (no other), by process ids. PURGE=1 also removes its state and
# its configuration; the user and the packages stay.
set -euo pipefail

state=${SLURM_STATE:-/var/lib/magneton-slurm}
mark="# Magneton's test cluster, made by tests/cluster/slurm/up.sh"

stop() { # pid file
    if ! [ -s "$1" ]; then return; fi
    local pid
    pid=$(cat "$1")
    rm -f "$1"
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 100); do
        if ! kill -0 "$pid" 2>/dev/null; then return; fi
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
}

jobs=$(timeout 20 squeue -h -o %A 2>/dev/null | sort -u || true)
if [ -n "$jobs" ] && [ -s "$state/run/slurmctld.pid" ]; then
    xargs timeout 20 scancel <<<"$jobs" || true
    sleep 1
fi
shopt -s nullglob
for file in "$state"/run/slurmd.*.pid; do stop "$file"; done
stop "$state/run/slurmctld.pid"
stop "$state/run/slurmdbd.pid"
stop "$state/mysql-run/mariadbd.pid"
stop "$state/run/munged.pid"
if [ "${PURGE:-0}" = 1 ]; then
    rm -rf "$state"
    for file in /etc/slurm/slurm.conf /etc/slurm/slurmdbd.conf; do
        if grep -qxsF "$mark" "$file"; then rm -f "$file"; fi
    done
fi
