#!/usr/bin/env bash
# `make test-slurm`: brings up a Slurm cluster on this machine and runs the tests on it; what was started
# is stopped at the end. Needs Debian and root.
#
# env: KEEP=1 (leave the cluster running). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
here=tests/cluster/slurm
state=${SLURM_STATE:-/var/lib/magneton-slurm}

was_up=no
if [ -s "$state/run/slurmctld.pid" ] && kill -0 "$(cat "$state/run/slurmctld.pid")" 2>/dev/null; then
    was_up=yes
fi
stop() {
    if [ "$was_up" = no ] && [ "${KEEP:-0}" != 1 ]; then "$here/down.sh"; fi
}
trap stop EXIT
"$here/up.sh"
SLURM_PYTHON=$("$here/python.sh")
export SLURM_PYTHON
.venv/bin/python -m pytest -m slurm tests/cluster/slurm "$@"
