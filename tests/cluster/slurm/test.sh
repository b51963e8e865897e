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
# The kernels are compiled once for this CPU, as on any cluster; what `make test` compiled may do.
user=${SUBMITTER:-magneton-submitter}
kernels=$state/home/.cache/magneton/kernels
install -d -o "$user" "$state/home/.cache" "$state/home/.cache/magneton" "$kernels"
cp -n "${XDG_CACHE_HOME:-$HOME/.cache}"/magneton/kernels/*.zip "$kernels" 2>/dev/null || true
(cd "$state/home" && runuser -u "$user" -- env HOME="$state/home" "$SLURM_PYTHON" -m magneton_tasks warm)
.venv/bin/python -m pytest -m slurm tests/cluster/slurm "$@"
