#!/usr/bin/env bash
# Stops what postgres_up.sh started in DIRECTORY, by its process id.
#
# usage: postgres_down.sh DIRECTORY
set -euo pipefail

pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) || exit 0
kill -INT "$pid" 2>/dev/null || exit 0 # fast shutdown: sessions are ended
for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || exit 0
    sleep 0.1
done
kill -QUIT "$pid"
