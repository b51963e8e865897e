#!/usr/bin/env bash
# Starts a PostgreSQL of its own for the tests, on loopback, and prints its address as the last line.
#
# usage: PGPASSWORD=... postgres_up.sh DIRECTORY PORT
# Where it isn't installed: Debian and root, by apt-get. As root it runs as the user postgres, who must
# be able to reach DIRECTORY. It goes on until postgres_down.sh, and may be started again after it.
set -euo pipefail

directory=$1 port=$2 password=${PGPASSWORD:?set it to a password of letters and digits}

programs() {
    find /usr/lib/postgresql -maxdepth 3 -name initdb -printf '%h\n' 2>/dev/null | sort -V | tail -n 1 || true
}
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    exec 9>/run/lock/magneton-postgres # two test processes may come at once
    flock 9
    if [ -z "$(programs)" ]; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get -o DPkg::Lock::Timeout=300 update -q >/dev/null
        apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends postgresql >/dev/null
    fi
    exec 9>&- # or the server would hold it
fi
bin=$(programs)
if [ -z "$bin" ]; then
    echo "PostgreSQL isn't installed: install it (Debian: apt-get install postgresql)" >&2
    exit 1
fi

as_postgres() { if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi; }

if [ "$(id -u)" = 0 ]; then
    install -d -m 755 -o postgres "$directory"
else
    mkdir -p "$directory"
fi
is_new=
if [ ! -s "$directory/data/PG_VERSION" ]; then
    is_new=yes
    as_postgres "$bin/initdb" -D "$directory/data" -E UTF8 --locale=C.UTF-8 --auth-local=trust \
        --auth-host=scram-sha-256 >"$directory/initdb.log"
fi
# Without fsync: what these tests write needn't outlive the machine.
as_postgres "$bin/pg_ctl" -D "$directory/data" -w -t 60 -l "$directory/data/server.log" \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$directory -c fsync=off -c synchronous_commit=off -c full_page_writes=off" \
    start >/dev/null
if [ -n "$is_new" ]; then
    as_postgres "$bin/psql" -h "$directory" -p "$port" -v ON_ERROR_STOP=1 -qAt postgres <<SQL
create role airflow login password '$password';
create database airflow owner airflow encoding 'UTF8' template template0;
SQL
fi
echo "postgresql://airflow:$password@127.0.0.1:$port/airflow"
