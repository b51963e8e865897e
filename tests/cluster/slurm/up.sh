#!/usr/bin/env bash
# Brings up a real Slurm cluster on this machine: munge, accounting (slurmdbd and MariaDB), slurmctld and
# three nodes, a slurmd each. On Debian and as root, without systemd, on loopback. It goes on until
# down.sh. Safe to repeat: what runs is left alone, what died is started again.
#
# It makes a user who submits (nobody's login: no password), account lab, partitions main (default),
# small (2 minutes, 600 MB) and urgent (its jobs preempt those of the others), and a QOS few (20 jobs a user, array tasks counted).
#
# env: SLURM_STATE (default /var/lib/magneton-slurm)  SUBMITTER (default magneton-submitter)
#      ACCOUNTING=on|off   off: as on a cluster without sacct; slurmctld is restarted where it changes
set -euo pipefail

state=${SLURM_STATE:-/var/lib/magneton-slurm}
user=${SUBMITTER:-magneton-submitter}
accounting=${ACCOUNTING:-on}
nodes=(n1 n2 n3)
host=$(hostname -s)
configuration=/etc/slurm/slurm.conf
mark="# Magneton's test cluster, made by tests/cluster/slurm/up.sh"

if [ "$(id -u)" != 0 ]; then
    echo "only root can bring up a Slurm cluster" >&2
    exit 1
fi
if [ -s "$configuration" ] && ! grep -qxF "$mark" "$configuration"; then
    echo "$configuration belongs to another cluster: this machine can't have a second one" >&2
    exit 1
fi

install_packages() {
    local missing=()
    command -v slurmctld >/dev/null || missing+=(slurm-wlm)
    command -v munged >/dev/null || missing+=(munge)
    command -v slurmdbd >/dev/null || missing+=(slurmdbd)
    command -v mariadbd >/dev/null || missing+=(mariadb-server)
    command -v sshd >/dev/null || [ -x /usr/sbin/sshd ] || missing+=(openssh-server)
    if [ ${#missing[@]} = 0 ]; then return; fi
    # The packages must not start services by themselves: this script does.
    local policy=/usr/sbin/policy-rc.d
    if ! [ -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f /usr/sbin/policy-rc.d' RETURN
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=300 update -q >/dev/null
    apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

wait_for() { # what, how often, command...
    local what=$1 tries=$2
    shift 2
    for _ in $(seq "$tries"); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    echo "$what did not come up; the ends of the logs in $state/log:" >&2
    tail -n 5 "$state"/log/*.log >&2 || true
    return 1
}

start_munge() {
    if munge -n >/dev/null 2>&1; then return; fi # this machine's own
    install -d -m 755 -o munge -g munge /run/munge /var/lib/munge /var/log/munge
    if ! [ -s /etc/munge/munge.key ]; then
        install -d -m 700 -o munge -g munge /etc/munge
        (umask 077 && head -c 128 /dev/urandom >/etc/munge/munge.key)
        chown munge:munge /etc/munge/munge.key
    fi
    rm -f /run/munge/munged.pid
    setpriv --reuid=munge --regid=munge --clear-groups munged --num-threads=4
    wait_for munged 50 munge -n
    cp /run/munge/munged.pid "$state/run/munged.pid"
}

write_configuration() {
    local storage="AccountingStorageType=accounting_storage/none" names
    if [ "$accounting" = on ]; then
        storage="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStoreFlags=job_comment
AccountingStorageEnforce=associations,limits,qos"
    fi
    names=$(IFS=, && echo "${nodes[*]}")
    {
        echo "$mark"
        cat <<CONF
ClusterName=magneton
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=slurm
AuthType=auth/munge
AuthInfo=cred_expire=5
CredType=cred/munge
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,sched_min_interval=0,batch_sched_delay=0,bf_interval=2,max_rpc_cnt=0
PriorityType=priority/basic
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=10
KillWait=5
InactiveLimit=0
CompleteWait=0
MinJobAge=300
MaxJobCount=20000
MaxArraySize=1001
OverTimeLimit=0
DefMemPerCPU=200
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/none
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/spool/%n
SlurmctldPidFile=$state/run/slurmctld.pid
SlurmdPidFile=$state/run/slurmd.%n.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.%n.log
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MailProg=/bin/true
SlurmdParameters=config_overrides
$storage
CONF
        for i in "${!nodes[@]}"; do
            echo "NodeName=${nodes[i]} NodeHostname=$host NodeAddr=127.0.0.1 Port=$((16821 + i)) CPUs=2 RealMemory=4000 Feature=zen3 State=UNKNOWN"
        done
        echo "PartitionName=main Nodes=$names Default=YES MaxTime=04:00:00 DefaultTime=60 State=UP"
        echo "PartitionName=urgent Nodes=$names MaxTime=5 DefaultTime=1 PriorityTier=10 State=UP"
        echo "PartitionName=small Nodes=$names MaxTime=2 DefaultTime=1 MaxMemPerNode=600 State=UP"
    } >"$configuration.new"
    chmod 644 "$configuration.new"
    if ! cmp -s "$configuration.new" "$configuration" && [ -s "$configuration" ]; then
        stop_controller
    fi
    mv "$configuration.new" "$configuration"
}

stop_controller() {
    if ! alive "$state/run/slurmctld.pid"; then return; fi
    local pid
    pid=$(cat "$state/run/slurmctld.pid")
    kill "$pid"
    for _ in $(seq 150); do
        if ! kill -0 "$pid" 2>/dev/null; then return; fi
        sleep 0.2
    done
    echo "slurmctld (pid $pid) did not end within 30 s" >&2
    return 1
}

start_accounting() {
    install -d -m 750 -o mysql -g mysql "$state/mysql"
    install -d -m 755 -o mysql -g mysql "$state/mysql-run"
    if ! [ -d "$state/mysql/mysql" ]; then
        mariadb-install-db --no-defaults --user=mysql --datadir="$state/mysql" \
            --auth-root-authentication-method=socket --skip-test-db >"$state/log/mariadb-install.log" 2>&1
    fi
    if ! alive "$state/mysql-run/mariadbd.pid"; then
        setsid nohup mariadbd --no-defaults --user=mysql --datadir="$state/mysql" \
            --socket="$state/mysql-run/socket" --pid-file="$state/mysql-run/mariadbd.pid" --skip-networking \
            --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 \
            >"$state/log/mariadbd.log" 2>&1 </dev/null &
    fi
    local sql=(mariadb --no-defaults --socket="$state/mysql-run/socket" -u root)
    wait_for MariaDB 300 "${sql[@]}" -e 'select 1'
    "${sql[@]}" -e "create database if not exists slurm_acct_db;
        create user if not exists slurm@localhost identified via unix_socket;
        grant all on slurm_acct_db.* to slurm@localhost"
    (
        umask 077
        cat >/etc/slurm/slurmdbd.conf <<CONF
$mark
AuthType=auth/munge
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=slurm
PidFile=$state/run/slurmdbd.pid
LogFile=$state/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm_acct_db
CommunicationParameters=NoInAddrAny
CONF
    )
    chown slurm:slurm /etc/slurm/slurmdbd.conf
    if ! alive "$state/run/slurmdbd.pid"; then
        rm -f "$state/run/slurmdbd.pid"
        MYSQL_UNIX_PORT="$state/mysql-run/socket" slurmdbd
    fi
    wait_for slurmdbd 150 sacctmgr -n list cluster
}

name_users() { # who may submit, and how much
    sacctmgr -n list cluster format=cluster%20 | grep -qw magneton || sacctmgr -i add cluster magneton >/dev/null
    sacctmgr -n list qos format=name | grep -qw few || sacctmgr -i add qos few MaxSubmitJobsPerUser=20 >/dev/null
    sacctmgr -n list account format=account | grep -qw lab ||
        sacctmgr -i add account lab Description=lab Organization=lab >/dev/null
    sacctmgr -n list user "$user" format=user%40 | grep -qw "$user" ||
        sacctmgr -i add user "$user" Account=lab QOS=normal,few DefaultQOS=normal >/dev/null
}

all_idle() { [ "$(sinfo -h -N -p main -o '%T' | grep -c -E '^(idle|mixed|allocated)$')" = "${#nodes[@]}" ]; }

install_packages
install -d -m 755 "$state" "$state/spool" /etc/slurm
install -d -m 755 -o slurm -g slurm "$state/ctld" "$state/log" "$state/run"
if ! id "$user" >/dev/null 2>&1; then
    useradd --system --create-home --home-dir "$state/home" --shell /bin/bash "$user"
fi
start_munge
write_configuration
if [ "$accounting" = on ]; then
    start_accounting
    name_users
fi
if ! alive "$state/run/slurmctld.pid"; then
    rm -f "$state/run/slurmctld.pid"
    slurmctld
fi
wait_for slurmctld 150 scontrol ping
for node in "${nodes[@]}"; do
    install -d -m 755 "$state/spool/$node"
    if ! alive "$state/run/slurmd.$node.pid"; then
        rm -f "$state/run/slurmd.$node.pid"
        slurmd -N "$node"
    fi
done
for node in "${nodes[@]}"; do # a node that was killed or drained
    scontrol update nodename="$node" state=resume 2>/dev/null || true
done
wait_for "the nodes" 150 all_idle
sinfo -p main -N -o '%N %T %c CPUs %m MB'
