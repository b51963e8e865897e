#!/bin/sh
# Runs `magneton "$@"` as the only work of a container, with this shell as process 1.
#
# The first process of a container ignores every signal that it doesn't handle, so it mustn't be the
# worker. SIGTERM and SIGINT go on to the worker, which stops after the file that it writes and ends
# with 75. One that hasn't ended after GRACE_S is killed, which is safe too: files are renamed into
# place. The worker's exit code is the container's.
set -u

GRACE_S=${MAGNETON_GRACE_S:-8}
EXIT_TEMPORARY=75
stopped=

magneton "$@" &
worker=$!

# shellcheck disable=SC2329  # the trap calls it
stop() {
    [ -z "$stopped" ] || return 0
    stopped=yes
    kill -TERM "$worker" 2>/dev/null
    (sleep "$GRACE_S" && kill -KILL "$worker") 2>/dev/null &
}
trap stop TERM INT

# A trapped signal ends `wait` early; the worker's own end is the one that counts.
while :; do
    wait "$worker"
    code=$?
    kill -0 "$worker" 2>/dev/null || break
done
# The signal may have met the worker before it could handle it (143), or it was killed (137).
if [ -n "$stopped" ] && [ "$code" -gt 128 ]; then
    code=$EXIT_TEMPORARY
fi
exit "$code"
