#!/usr/bin/env bash
# Prints this machine's own apt sources of a Debian suite, a line each, for what is built of packages.
#
# usage: apt_sources.sh SUITE
set -euo pipefail

suite=$1
# shellcheck disable=SC2016  # apt's own variables
found=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v suite="$suite" '$2 == suite || index($2, suite "-") == 1 {print "deb", $1, $2, $3}' |
    sort -u)
if [ -z "$found" ]; then
    echo "this machine has no apt source for $suite" >&2
    exit 1
fi
echo "$found"
